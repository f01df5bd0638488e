package cli

import (
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestServeRefusesUnmigratedDatabase(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	settings := []string{"WEIR_DATABASE_URL=" + d.URL, "WEIR_ADDR=127.0.0.1:0"}
	weirtest.RunCLI(t, settings, "", "serve").Says(1, "weir migrate up", "--migrate")
	weirtest.RunCLI(t, settings, "", "migrate", "status").Says(0, "not yet", "weir migrate up")
	weirtest.RunCLI(t, settings, "", "migrate", "up").Says(0, "from version 0")
	weirtest.RunCLI(t, settings, "", "migrate", "up").Says(0, "nothing to do")
	if r := weirtest.RunCLI(t, settings, "", "migrate", "status").Says(0); strings.Contains(r.Stdout, "not yet") {
		t.Errorf("after migrating:\n%s", r.Stdout)
	}

	_, err := d.Exec(t.Context(), "update weir.schema_source set checksum = 'older' where name = 'functions/claim.sql'")
	if err != nil {
		t.Fatal(err)
	}
	weirtest.RunCLI(t, settings, "", "serve").Says(1, "out of date", "1 files", "weir migrate up")
	weirtest.RunCLI(t, settings, "", "migrate", "up").Says(0, "Updated its functions and views")

	if r := weirtest.RunCLI(t, settings, "no\n", "migrate", "down"); r.Status != 1 || !strings.Contains(r.Stderr, "nothing was removed") {
		t.Errorf("migrate down after no: status %d\n%s", r.Status, r.Stderr)
	}
	weirtest.RunCLI(t, settings, "", "migrate", "status").Says(0, "0001_schema.sql")
	weirtest.RunCLI(t, settings, "yes\n", "migrate", "down").Says(0, "Removed")
	weirtest.RunCLI(t, settings, "", "serve").Says(1, "does not have weir's schema")
	weirtest.RunCLI(t, settings, "", "migrate", "down", "--yes").Says(0, "Removed")
}

func TestServeMigratesWhenAsked(t *testing.T) {
	t.Parallel()
	settings := []string{"WEIR_DATABASE_URL=" + weirtest.Empty(t).URL, "WEIR_ADDR=127.0.0.1:0"}
	c := weirtest.StartProgram(t, settings, weirtest.Program(t, "./cmd/weir"), "serve", "--migrate")
	weirtest.Eventually(t, "it serves", func() bool { return strings.Contains(c.Output.String(), "msg=serving") })
	if status := c.Stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, c.Output)
	}
}
