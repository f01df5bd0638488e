package lease

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestAssertLeaseFencesTransaction(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	tx := d.Tx()
	weirtest.Exec(t, tx, "select weir.assert_lease($1, $2)", j.ID, j.Token)
	other := d.ConnectWithLockTimeout()
	weirtest.Exec(t, other, "select weir.heartbeat(array[$1::bigint], array[$2::bigint])", j.ID, j.Token)
	weirtest.Exec(t, other, "select weir.cancel($1)", j.ID)
	weirtest.Exec(t, other, "select weir.assert_lease($1, $2)", j.ID, j.Token)
	if err := weirtest.TryExec(other, "select weir.release($1, $2)", j.ID, j.Token); !weirtest.HasSQLState(err, "55P03") {
		t.Errorf("the lease was given back below a transaction that has asserted it: %v", err)
	}
	weirtest.Exec(t, tx, "select weir.complete($1, $2)", j.ID, j.Token)
	weirtest.Commit(t, tx)
	weirtest.WantState(t, d, j.ID, "completed")
}
