package tests

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/embedded"
	"github.com/weirhq/weir/tests/pgtest"
)

// newServer starts a server of the test's own that takes prepared transactions.
func newServer(t *testing.T) (*database, *embedded.Server) {
	t.Helper()
	s := pgtest.NewServer(t)
	conn, err := pgx.Connect(t.Context(), s.URL("weir"))
	if err != nil {
		t.Fatal(err)
	}
	do(t, conn, "alter system set max_prepared_transactions = 60")
	conn.Close(t.Context())
	return reopen(t, s, s.Stop)
}

// reopen ends a server in one way or another and starts it again.
func reopen(t *testing.T, s *embedded.Server, end func() error) (*database, *embedded.Server) {
	t.Helper()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	s = pgtest.Restart(t, s)
	config, err := pgxpool.ParseConfig(s.URL("weir"))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 60
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &database{Pool: pool, t: t, url: s.URL("weir")}, s
}

func TestAPreparedTransactionIsFoundWhenItCommits(t *testing.T) {
	t.Parallel()
	d, s := newServer(t)
	do(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
	prepare := func(name string) int64 {
		tx := d.begin()
		id := enqueueOne(t, tx, "q")
		tick(t, d)
		do(t, tx, "prepare transaction '"+name+"'")
		rollback(t, tx)
		return id
	}
	first, second, third := prepare("first"), prepare("second"), prepare("third")
	pass(t, d, "q", "other")
	do(t, d, "commit prepared 'first'")
	wantFound(t, d, "q,other", first)
	pass(t, d, "q", "other")

	d.Close()
	d, s = reopen(t, s, s.Kill)
	do(t, d, "commit prepared 'second'") // before any tick
	wantFound(t, d, "q,other", second)
	pass(t, d, "q", "other")
	d.Close()
	d, _ = reopen(t, s, s.Stop)
	pass(t, d, "q", "other")
	do(t, d, "commit prepared 'third'")
	wantFound(t, d, "q,other", third)
	d.checkPlaces()
}

// Virtual transaction ids begin anew with the server: another transaction may get the one that a prepared one had.
func TestAPreparedTransactionIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	d, s := newServer(t)
	do(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
	d.Close()
	d, s = reopen(t, s, s.Stop)

	const vxid = "select virtualtransaction from pg_locks where pid = pg_backend_pid() and locktype = 'virtualxid'"
	first := d.connect()
	tx, err := first.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := ask[string](t, tx, vxid)
	id := enqueueOne(t, tx, "q")
	do(t, tx, "prepare transaction 'p'")
	pass(t, d, "q")
	first.Close(t.Context())
	d.Close()
	d, _ = reopen(t, s, s.Kill)

	var other pgx.Tx
	eventually(t, "another transaction has the same name as the prepared one had", func() bool {
		for range 40 { // sessions, each of which has its own part of the numbers
			conn := d.connect()
			for range 20 {
				tx, err := conn.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if ask[string](t, tx, vxid) == name {
					other = tx
					return true
				}
				tx.Rollback(t.Context())
			}
		}
		t.Skipf("no session came by the number %s", name)
		return false
	})
	found := enqueueOne(t, other, "other")
	tick(t, d)
	commit(t, other)
	wantFound(t, d, "q,other", found)
	pass(t, d, "q", "other")
	do(t, d, "commit prepared 'p'")
	wantFound(t, d, "q,other", id)
}
