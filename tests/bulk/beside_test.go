package bulk

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Workers claim, complete and release jobs while a bulk action takes the same ones. At the end weirtest checks that
// each job is in one place.
func TestBulkCancelRunsBesideWorkers(t *testing.T) {
	weirtest.Long(t, "workers and a bulk action work on 4,000 jobs")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'q', options => jsonb_build_object('delay_seconds', i % 2 * 0.01)) from generate_series(1, 4000) i")
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var working sync.WaitGroup
	for range 3 {
		working.Go(func() {
			for ctx.Err() == nil {
				leases, err := weirtest.TryClaim(d, "q", 20)
				for n, call := range []string{"complete_many", "release_many"} {
					if half := leases[n*len(leases)/2 : (n+1)*len(leases)/2]; err == nil {
						err = weirtest.TryExec(d, "select weir."+call+"($1, $2)", weirtest.IDs(half), weirtest.Tokens(half))
					}
				}
				if err == nil {
					err = weirtest.TryExec(d, "select weir.promote_due(100)")
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	id := weirtest.Value[int64](t, d, `select weir.start_operation('bulk_cancel', '{"queue": "q"}')`)
	for !weirtest.Value[bool](t, d, "select over from weir.run_operation($1)", id) {
	}
	stop()
	working.Wait()
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.jobs where state in ('available', 'scheduled')"); n > 0 {
		t.Errorf("%d jobs still wait", n)
	}
	if n := weirtest.Value[int](t, d, "select done::int from weir.operation where id = $1", id); n < 1000 {
		t.Errorf("%d jobs were cancelled, want most of 4000", n)
	}
}

// A session that has locked a job delays an operation a little, and does not stop it.
func TestBulkActionsPassOverLockedJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'q') from generate_series(1, 10)")
	tx := d.Tx()
	taken := weirtest.ClaimOne(t, tx, "q")
	for _, kind := range []struct{ name, options string }{{"bulk_reprioritise", `{"priority": 8}`}, {"bulk_cancel", `{}`}} {
		id := weirtest.Value[int64](t, d, "select weir.start_operation($1, '{}', options => $2)", kind.name, kind.options)
		began := time.Now()
		for !weirtest.Value[bool](t, d, "select over from weir.run_operation($1)", id) {
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", kind.name, took)
		}
		if got := weirtest.Value[string](t, d, "select format('%s done, %s failed', done, failed) from weir.operation where id = $1", id); got != "9 done, 1 failed" {
			t.Errorf("%s: %s", kind.name, got)
		}
	}
	weirtest.Commit(t, tx)
	weirtest.WantState(t, d, taken.ID, "running")
}
