package connection

import (
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestDatabasesThatAreNotUTF8AreRefused migrates and serves databases of other encodings.
func TestDatabasesThatAreNotUTF8AreRefused(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			d := weirtest.Empty(t)
			name := d.Config().ConnConfig.Database
			other := name + "_" + strings.ToLower(encoding)
			weirtest.Exec(t, d, "create database "+other+" template template0 encoding '"+encoding+"' locale 'C'")
			t.Cleanup(func() { weirtest.Exec(t, d, "drop database "+other+" with (force)") })
			settings := []string{"WEIR_DATABASE_URL=" + strings.Replace(d.Direct, "/"+name, "/"+other, 1), "WEIR_ADDR=127.0.0.1:0"}
			for _, command := range [][]string{{"migrate", "up"}, {"serve"}, {"serve", "--migrate"}} {
				r := weirtest.RunCLI(t, settings, "", command...)
				if said := r.Stdout + r.Stderr; r.Status == 0 || !strings.Contains(said, encoding) || !strings.Contains(said, "UTF8") {
					t.Errorf("weir %s: status %d, %s", strings.Join(command, " "), r.Status, said)
				}
			}
		})
	}
}
