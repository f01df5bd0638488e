// Package encryption shows that what an encrypted queue stores is encrypted, that every door gives it back as it was, that nothing
// readable gets in, and that keys can be rotated.
package encryption

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/encryption"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }

// planted is in everything secret that the tests send.
const planted = "gr33nh3r0n"

// keyFile makes a file with a key.
func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	file, err := encryption.NewFile()
	if err == nil {
		err = file.Write(path, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// startNode starts a node with the keys of a file; without one: none.
func startNode(t *testing.T, d *weirtest.Database, path string) *weirtest.Node {
	t.Helper()
	var config jobs.Config
	if path != "" {
		keys, err := encryption.OpenKeys(path)
		if err != nil {
			t.Fatal(err)
		}
		config.Keys = keys
	}
	return weirtest.StartNodeWith(t, d, config)
}

// start starts a node with a key, and makes the queue `secret` encrypted.
func start(t *testing.T) (*weirtest.Node, string) {
	t.Helper()
	path := keyFile(t)
	s := startNode(t, weirtest.New(t), path)
	s.Do("PUT", "/v1/queues/secret", obj{"encrypted": true}).Want(200)
	return s, path
}

// dump is everything that the database holds, as text.
func dump(t *testing.T, d *weirtest.Database) string {
	t.Helper()
	bin := weirtest.Value[string](t, d, "select setting from pg_config where name = 'BINDIR'")
	command := exec.CommandContext(t.Context(), filepath.Join(bin, "pg_dump"), d.Direct)
	command.Env = append(os.Environ(), "LC_ALL=C")
	text, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantHidden fails the test if the database holds a text.
func wantHidden(t *testing.T, d *weirtest.Database, text string) {
	t.Helper()
	for line := range strings.Lines(dump(t, d)) {
		if strings.Contains(line, text) {
			t.Errorf("the database has %.300s", line)
		}
	}
}
