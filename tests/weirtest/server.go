//go:build unix

package weirtest

import (
	"context"
	"os"
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
	Long(t)
	dir, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.remove(); err != nil {
			t.Error(err)
		}
	})
	s := startServer(t, embedded.Config{DataDir: dir.path})

	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
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

func startServer(t testing.TB, c embedded.Config) *embedded.Server {
	t.Helper()
	c.BinDir = os.Getenv("WEIR_POSTGRES_BIN")
	c.Settings = settings
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
