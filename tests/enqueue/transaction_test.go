package enqueue

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRolledBackEnqueueNeverRuns(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	d.Unchanged("a transaction that rolls back", func() {
		tx := d.Tx()
		weirtest.EnqueueOne(t, tx, "q")
		weirtest.EnqueueOne(t, tx, "another")
		weirtest.Enqueue(t, tx, `{"kind": "later", "delay_seconds": 5}`, `{"kind": "keyed", "unique": {"key": "k"}}`)
		weirtest.Rollback(t, tx)
	})
	tx := d.Tx()
	before := weirtest.EnqueueOne(t, tx, "q")
	weirtest.Exec(t, tx, "savepoint s")
	weirtest.EnqueueOne(t, tx, "q")
	weirtest.Enqueue(t, tx, `{"kind": "keyed", "unique": {"key": "k"}}`)
	weirtest.Exec(t, tx, "rollback to s")
	after := weirtest.EnqueueOne(t, tx, "q")
	weirtest.Commit(t, tx)
	got := weirtest.IDs(weirtest.Claim(t, d, "q,default,another", 100))
	if len(got) != 3 || !slices.Contains(got, before) || !slices.Contains(got, after) {
		t.Errorf("the claim got %v, want three jobs, with %d and %d, which were committed", got, before, after)
	}
}

func TestUncommittedJobIsNotClaimed(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	tx := d.Tx()
	id := weirtest.EnqueueOne(t, tx, "q")
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 0 {
		t.Errorf("claimed %v, which is not committed", got)
	}
	if got := weirtest.Claim(t, tx, "q", 10); len(got) != 1 || got[0].ID != id {
		t.Errorf("its own transaction claimed %v, want %d", got, id)
	}
	weirtest.Rollback(t, tx)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 0 {
		t.Errorf("%d jobs after the rollback", n)
	}
}

func TestOpenEnqueueBlocksNoOthers(t *testing.T) {
	t.Parallel()
	t.Run("SQL", openEnqueueBlocksNoOthersSQL)
	t.Run("REST", openEnqueueBlocksNoOthersREST)
}

func openEnqueueBlocksNoOthersSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 20 {
		weirtest.EnqueueOne(t, d, "q")
	}
	running := weirtest.Claim(t, d, "q", 10)
	tx := d.Tx()
	weirtest.EnqueueOne(t, tx, "q")
	weirtest.Enqueue(t, tx, `{"kind": "later", "queue": "q", "delay_seconds": 0.001}`, `{"kind": "keyed", "queue": "q", "unique": {"key": "k"}}`, `{"kind": "new", "queue": "a-new-one"}`)

	other := d.ConnectWithLockTimeout()
	weirtest.Exec(t, other, "set statement_timeout = '60s'")
	j := func(i int) (int64, int64) { return running[i].ID, running[i].Token }
	for _, c := range []struct {
		sql  string
		args []any
	}{
		{"select * from weir.claim(array['q', 'a-new-one'], 'w', 5)", nil},
		{"select weir.enqueue('other', queue => 'q')", nil},
		{"select weir.enqueue('other', queue => 'another', unique_key => 'another')", nil},
		{"select weir.enqueue('other', queue => 'q', run_at => now() + interval '1 hour')", nil},
		{"select weir.set_queue('q', '{\"priority\": 6}')", nil},
		{"select weir.pause_queue('q'), weir.resume_queue('q')", nil},
		{"select * from weir.promote_due()", nil},
		{"select * from weir.expire_leases()", nil},
		{"select * from weir.advance_frontier('0 s')", nil},
		{"select weir.keep_partitions('0 s', 4)", nil},
		{"select weir.park(array['q'], 'node')", nil},
		{"select * from weir.queue_depth", nil},
		{"select weir.purge_queue('q', 1)", nil},
		{"vacuum (analyze) weir.job_ready", nil},
	} {
		if err := weirtest.TryExec(other, c.sql, c.args...); err != nil {
			t.Errorf("%s: %v", c.sql, err)
		}
	}
	for i, sql := range []string{
		"select weir.complete($1, $2)", "select weir.fail($1, $2, null)", "select weir.snooze($1, $2, '1 s')", "select weir.release($1, $2)", "select * from weir.heartbeat(array[$1::bigint], array[$2::bigint])",
		"select weir.assert_lease($1, $2)",
	} {
		id, token := j(i)
		if err := weirtest.TryExec(other, sql, id, token); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for i, sql := range []string{"select weir.cancel($1)", "select weir.retry($1)", "select weir.edit($1, '{\"priority\": 9}')"} {
		id := running[0].ID // ended
		if i != 1 {
			id = weirtest.Value[int64](t, other, "select min(seq) from weir.job_ready")
		}
		if err := weirtest.TryExec(other, sql, id); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// An application that has taken a key, or made a queue, in an open transaction blocks those that want the same, and no
// others.
func openEnqueueBlocksNoOthersREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(`{"kind": "k", "queue": "there"}`)
	tx, err := s.DB.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `select weir.enqueue('k', unique_key => 'taken', queue => 'there'), weir.enqueue('k', queue => 'made just now')`); err == nil {
		t.Fatal("a queue's name with spaces was taken")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tx, err = s.DB.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select weir.enqueue('k', unique_key => 'taken', queue => 'there'), weir.enqueue('k', queue => 'just-made')`); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	held := make(chan int, 8)
	for i := range 8 {
		waiting.Go(func() {
			body := `{"kind": "k", "queue": "there", "unique": {"key": "taken"}}`
			if i%2 == 1 {
				body = `{"kind": "k", "queue": "just-made"}`
			}
			r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs", body)
			if err != nil {
				t.Error(err)
				return
			}
			held <- r.Status
		})
	}
	s.Eventually("an enqueue waits for the open transaction", func() bool {
		return s.Count(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'weir%' and wait_event_type = 'Lock'`) > 0
	})
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), weirtest.Patience)
		r, err := s.Send(ctx, http.MethodPost, "/v1/jobs", `{"kind": "free", "queue": "there"}`)
		cancel()
		if err != nil {
			t.Errorf("an enqueue of another key was held up: %v", err)
			break
		}
		r.Want(http.StatusCreated)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	close(held)
	for status := range held {
		if status != http.StatusOK && status != http.StatusCreated && status != http.StatusServiceUnavailable {
			t.Errorf("one that had to wait was answered with %d", status)
		}
	}
	if n := s.Count(`select count(*) from weir.job where unique_key = 'taken'`); n != 1 {
		t.Errorf("%d jobs have the key", n)
	}
}

func TestBatchWaitsForNoUnneededRow(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 20 {
		weirtest.EnqueueOne(t, d, "q")
	}
	worker := d.Tx() // a worker's long transaction: it claims, completes and keeps all of its locks
	jobs := weirtest.Claim(t, worker, "q", 10)
	weirtest.Complete(t, worker, jobs[:5]...)
	weirtest.Exec(t, worker, "select weir.fail($1, $2, null)", jobs[5].ID, jobs[5].Token)
	weirtest.Exec(t, worker, "select weir.release($1, $2)", jobs[6].ID, jobs[6].Token)
	other := d.ConnectWithLockTimeout()
	for range 3 {
		if err := weirtest.TryExec(other, "select weir.enqueue_many($1)", `[{"kind": "a", "queue": "q"}, {"kind": "b", "queue": "q", "delay_seconds": 1, "unique": {"key": "k"}}]`); err != nil {
			t.Fatal(err)
		}
	}
	if got := weirtest.Claim(t, other, "q", 100); len(got) != 13 {
		t.Errorf("claimed %d jobs beside the transaction, want 13", len(got))
	}
}

// Another session holds what single calls need, for longer than a group commit waits. The calls succeed once it is
// free.
func TestSingleCallsOutlastLock(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k"})
	j := s.ClaimOne("default")
	free := s.ExecUncommitted(`lock table weir.job_ready, weir.job_lease in share mode`)
	var calls sync.WaitGroup
	calls.Go(func() {
		time.Sleep(900 * time.Millisecond)
		free()
	})
	call := func(path string, body any, status int) {
		calls.Go(func() {
			if r, err := s.Send(t.Context(), http.MethodPost, path, body); err != nil || r.Status != status {
				t.Errorf("%v, %v; want %d", r, err, status)
			}
		})
	}
	call("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}, http.StatusOK)
	for range 20 {
		call("/v1/jobs", `{"kind": "k"}`, http.StatusCreated)
	}
	calls.Wait()
	if n := s.Count(`select count(*)::int from weir.job`); n != 21 {
		t.Errorf("there are %d jobs", n)
	}
}
