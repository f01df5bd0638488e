package frontier

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/embedded"
	"github.com/weirhq/weir/tests/weirtest"
)

// newServer starts a server for this test that accepts prepared transactions.
func newServer(t *testing.T) (*weirtest.Database, *embedded.Server) {
	t.Helper()
	s := weirtest.NewServer(t)
	conn, err := pgx.Connect(t.Context(), s.URL("weir"))
	if err != nil {
		t.Fatal(err)
	}
	weirtest.Exec(t, conn, "alter system set max_prepared_transactions = 60")
	conn.Close(t.Context())
	return reopen(t, s, s.Stop)
}

// reopen ends a server and starts it again.
func reopen(t *testing.T, s *embedded.Server, end func() error) (*weirtest.Database, *embedded.Server) {
	t.Helper()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	s = weirtest.Restart(t, s)
	return weirtest.Open(t, s.URL("weir")), s
}

func TestPreparedTransactionIsFoundAfterCommit(t *testing.T) {
	weirtest.Long(t, "it restarts PostgreSQL")
	t.Parallel()
	d, s := newServer(t)
	weirtest.Exec(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
	prepare := func(name string) int64 {
		tx := d.Tx()
		id := weirtest.EnqueueOne(t, tx, "q")
		weirtest.Tick(t, d)
		weirtest.Exec(t, tx, "prepare transaction '"+name+"'")
		weirtest.Rollback(t, tx)
		return id
	}
	first, second, third := prepare("first"), prepare("second"), prepare("third")
	pass(t, d, "q", "other")
	weirtest.Exec(t, d, "commit prepared 'first'")
	wantFound(t, d, "q,other", first)
	pass(t, d, "q", "other")

	d.Close()
	d, s = reopen(t, s, s.Kill)
	weirtest.Exec(t, d, "commit prepared 'second'") // before any tick
	wantFound(t, d, "q,other", second)
	pass(t, d, "q", "other")
	d.Close()
	d, _ = reopen(t, s, s.Stop)
	pass(t, d, "q", "other")
	weirtest.Exec(t, d, "commit prepared 'third'")
	wantFound(t, d, "q,other", third)
	d.CheckPlaces()
}

// Virtual transaction ids start over with the server: another transaction may get the id that a prepared one had.
func TestPreparedTransactionIsNotTakenForAnother(t *testing.T) {
	weirtest.Long(t, "it restarts PostgreSQL")
	t.Parallel()
	d, s := newServer(t)
	weirtest.Exec(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
	d.Close()
	d, s = reopen(t, s, s.Stop)

	const vxid = "select virtualtransaction from pg_locks where pid = pg_backend_pid() and locktype = 'virtualxid'"
	first := d.Connect()
	for range 30 { // background processes of the server keep low slots
		first = d.Connect()
	}
	for range 200 { // more than any session below has begun by then, so that its numbers are still ahead
		weirtest.Exec(t, first, "select 1")
	}
	tx, err := first.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := weirtest.Value[string](t, tx, vxid)
	id := weirtest.EnqueueOne(t, tx, "q")
	weirtest.Exec(t, tx, "prepare transaction 'p'")
	pass(t, d, "q")
	first.Close(t.Context())
	d.Close()
	d, _ = reopen(t, s, s.Kill)

	slot, _, _ := strings.Cut(name, "/")
	var other pgx.Tx
	for range 60 { // sessions, each with its own slot
		conn := d.Connect()
		for range 1000 { // the transactions of a slot are counted
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := weirtest.Value[string](t, tx, vxid)
			if got == name {
				other = tx
				break
			}
			weirtest.Rollback(t, tx)
			if !strings.HasPrefix(got, slot+"/") {
				break
			}
		}
		if other != nil {
			break
		}
	}
	if other == nil {
		t.Fatalf("no transaction got the name %s", name)
	}
	found := weirtest.EnqueueOne(t, other, "other")
	weirtest.Tick(t, d)
	weirtest.Commit(t, other)
	wantFound(t, d, "q,other", found)
	pass(t, d, "q", "other")
	weirtest.Exec(t, d, "commit prepared 'p'")
	wantFound(t, d, "q,other", id)
}
