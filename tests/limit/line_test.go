package limit

import (
	"context"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestPriorityHoldsWithinAndAmongLines(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	ids := weirtest.Enqueue(t, d, `{"kind": "w", "queue": "q", "concurrency_key": "a", "priority": 2}`, `{"kind": "w", "queue": "q", "concurrency_key": "a", "priority": 9}`,
		`{"kind": "w", "queue": "q", "concurrency_key": "b", "priority": 5}`, `{"kind": "w", "queue": "q", "concurrency_key": "c", "priority": 10}`)
	var got []int64
	for range ids {
		weirtest.Value[int](t, d, "select admitted from weir.admit('q', 1)")
		weirtest.Value[int](t, d, "select admitted from weir.admit('q', 1)")
		job := weirtest.ClaimOne(t, d, "q")
		got = append(got, job.ID)
		weirtest.Complete(t, d, job)
	}
	if want := []int64{ids[3], ids[1], ids[2], ids[0]}; !slices.Equal(got, want) {
		t.Errorf("claimed %v, want %v", got, want)
	}
	weirtest.CheckLimits(t, d)
}

func TestEditedJobStaysInItsLine(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 1}`)
	ids := enqueueKeyed(t, d, "q", "a b c")
	weirtest.Admit(t, d, "q", 10)
	if state := weirtest.Value[string](t, d, `select weir.edit($1, '{"priority": 9}')`, ids[2]); state != "held" {
		t.Errorf("its state is %s, want held", state)
	}
	weirtest.Exec(t, d, `select weir.edit($1, '{"priority": 1}')`, ids[0]) // it was admitted
	weirtest.Admit(t, d, "q", 10)
	weirtest.CheckLimits(t, d)
	if job := weirtest.ClaimOne(t, d, "q"); job.ID != ids[2] {
		t.Errorf("claimed %d, want %d", job.ID, ids[2])
	}
}

func TestAdmissionPassesBlockOnlyEachOther(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 5}`)
	enqueueKeyed(t, d, "q", "a a")
	weirtest.Admit(t, d, "q", 1)
	tx := d.Tx()
	weirtest.Value[int](t, tx, "select admitted from weir.admit('q', 10)") // a pass that does not end
	other := d.ConnectWithLockTimeout()
	if n := weirtest.Value[int](t, other, "select coalesce(sum(admitted), 0) from weir.admit('q')"); n != 0 {
		t.Errorf("a second pass admitted %d", n)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(other, "select weir.admit('q', 5)"), "55P03")
	enqueueKeyed(t, other, "q", "b")
	for _, job := range weirtest.Claim(t, other, "q", 1) {
		weirtest.Complete(t, other, job)
	}
	weirtest.Exec(t, other, `select weir.set_queue('q', '{"limits": {"concurrency": 2}}')`)
	weirtest.Commit(t, tx)
	weirtest.Admit(t, d, "q", 10)
	weirtest.CheckLimits(t, d)
	serializable, err := d.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer serializable.Rollback(context.Background())
	weirtest.Exec(t, serializable, "set transaction isolation level repeatable read")
	weirtest.WantSQLState(t, weirtest.TryExec(serializable, "select weir.admit('q', 5)"), "WR010")
}
