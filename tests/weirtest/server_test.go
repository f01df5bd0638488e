//go:build unix

package weirtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestKilledServerKeepsWhatWasCommitted(t *testing.T) {
	Long(t, "it starts a server")
	t.Parallel()
	s := NewServer(t)
	conn, err := pgx.Connect(t.Context(), s.URL("weir"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		Exec(t, conn, fmt.Sprintf("create table kept_%d ()", i))
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	again := Restart(t, s)
	if again.URL("weir") != s.URL("weir") {
		t.Errorf("got address %s after the restart, want %s", again.URL("weir"), s.URL("weir"))
	}
	if conn, err = pgx.Connect(t.Context(), again.URL("weir")); err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if kept := Value[int](t, conn, "select count(*)::int from pg_class where relname like 'kept_%'"); kept != 100 {
		t.Errorf("got %d tables after the restart, want 100", kept)
	}
}

func TestKilledServersFolderIsRemoved(t *testing.T) {
	Long(t, "it starts a server")
	t.Parallel()
	var dir string
	t.Run("test", func(t *testing.T) {
		s := NewServer(t)
		dir = s.DataDir()
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for the folder, want that it does not exist", err)
	}
}

// A login costs little, and a wrong password is still refused.
func TestLoginsTakeOneIteration(t *testing.T) {
	Long(t, "it starts a server")
	t.Parallel()
	s := NewServer(t)
	conn, err := pgx.Connect(t.Context(), s.URL("weir"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if stored := Value[string](t, conn, "select rolpassword from pg_authid where rolname = current_user"); !strings.HasPrefix(stored, "SCRAM-SHA-256$1:") {
		t.Errorf("the server keeps %q", stored)
	}
	if _, err := pgx.Connect(t.Context(), s.URLFor("postgres", "wrong", "weir")); !HasSQLState(err, "28P01") {
		t.Errorf("a wrong password: %v", err)
	}
}
