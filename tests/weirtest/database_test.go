//go:build unix

package weirtest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/migrations"
)

func TestDatabasesAreIsolatedAndDropped(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var addresses []string
	t.Run("group", func(t *testing.T) {
		for i := range 12 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				d := New(t)
				mu.Lock()
				addresses = append(addresses, d.URL)
				mu.Unlock()
				Exec(t, d, "create table mine as select $1::int as n", i)
				if n := Value[int](t, d, "select n from mine"); n != i {
					t.Errorf("got %d, want %d", n, i)
				}
				state, err := migrations.Read(t.Context(), d.URL)
				if err != nil || !state.Current() {
					t.Errorf("got schema %+v, %v; want it current", state, err)
				}
			})
		}
	})
	if len(addresses) != 12 {
		t.Fatalf("got %d databases, want 12", len(addresses))
	}
	for _, address := range addresses {
		if _, err := pgx.Connect(t.Context(), address); !HasSQLState(err, "3D000") { // invalid_catalog_name
			t.Errorf("got %v after the test of a database, want that it does not exist", err)
		}
	}
}

func TestEmptyHasNoSchema(t *testing.T) {
	t.Parallel()
	if n := Value[int](t, Empty(t), "select count(*)::int from pg_namespace where nspname = 'weir'"); n != 0 {
		t.Errorf("got %d schemas weir, want none", n)
	}
}

func TestOpenConnectionsDoNotPreventTheDrop(t *testing.T) {
	t.Parallel()
	var conn *pgx.Conn
	t.Run("test", func(t *testing.T) {
		var err error
		if conn, err = pgx.Connect(t.Context(), New(t).URL); err != nil {
			t.Fatal(err)
		}
	})
	if err := conn.Ping(context.Background()); err == nil {
		t.Error("the connection outlived its database")
	}
}
