//go:build unix

package weirtest

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/embedded"
	"github.com/weirhq/weir/migrations"
)

// NewServer starts a server of the test's own, with a migrated database "weir", for a test that stops, kills or
// exhausts it. It ends with the test. It needs PostgreSQL's programs, whatever the other tests run on. Such a test is
// long.
func NewServer(t testing.TB) *embedded.Server {
	t.Helper()
	return NewServerWith(t, nil)
}

// NewServerWith is NewServer with PostgreSQL settings beside those that all servers of the tests have.
func NewServerWith(t testing.TB, settings map[string]string) *embedded.Server {
	t.Helper()
	return newServer(t, embedded.Config{Settings: settings})
}

func newServer(t testing.TB, config embedded.Config) *embedded.Server {
	t.Helper()
	Long(t, "it starts a server")
	config.DataDir = serverFolder(t)
	s := startServer(t, config)

	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := speedUpLogins(ctx, conn); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "create database weir template template0"); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(ctx, s.URL("weir")); err != nil {
		t.Fatal(err)
	}
	return s
}

// Restart starts a server of NewServer's again, after its Stop or Kill, on the same data and under the same address.
func Restart(t testing.TB, s *embedded.Server) *embedded.Server {
	t.Helper()
	return startServer(t, embedded.Config{DataDir: s.DataDir(), Port: s.Port()})
}

// Standby starts a standby from the data of a server of NewServer's, which must be stopped. It has what the server
// committed before its stop and receives nothing more, as a standby that lags behind.
func Standby(t testing.TB, s *embedded.Server) *embedded.Server {
	t.Helper()
	dir := serverFolder(t)
	if out, err := exec.Command("cp", "-a", s.DataDir()+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("copying the data folder: %v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return startServer(t, embedded.Config{DataDir: dir})
}

// serverFolder is a folder for a server's data. It is removed when the test ends.
func serverFolder(t testing.TB) string {
	t.Helper()
	dir, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.remove(); err != nil {
			t.Error(err)
		}
	})
	return dir.path
}

func startServer(t testing.TB, c embedded.Config) *embedded.Server {
	t.Helper()
	c.BinDir = os.Getenv("WEIR_POSTGRES_BIN")
	given := c.Settings
	c.Settings = maps.Clone(settings)
	maps.Copy(c.Settings, given)
	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	defer cancel()
	s, err := embedded.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}
