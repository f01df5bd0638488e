package lease

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestExpiredLeaseCountsAsLostAttempt(t *testing.T) {
	t.Parallel()
	t.Run("SQL", expiredLeaseCountsAsLostAttemptSQL)
	t.Run("REST", expiredLeaseCountsAsLostAttemptREST)
}

func expiredLeaseCountsAsLostAttemptSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 60}')`)
	lost := weirtest.EnqueueOne(t, d, "q")
	last := weirtest.Value[int64](t, d, "select weir.enqueue('a', queue => 'q', max_attempts => 1)")
	cancelled := weirtest.EnqueueOne(t, d, "q")
	kept := weirtest.EnqueueOne(t, d, "q")
	jobs := weirtest.Claim(t, d, "q", 4)
	weirtest.Exec(t, d, "select weir.cancel($1)", cancelled)
	beat := func() {
		weirtest.Exec(t, d, "select weir.heartbeat(array[$1::bigint], array[$2::bigint], 200)", kept, jobs[3].Token)
	}
	beat()
	if n := weirtest.Value[int](t, d, "select expired from weir.expire_leases()"); n != 0 {
		t.Fatalf("%d leases were taken back before their time", n)
	}
	weirtest.Exec(t, d, "update weir.job_lease set expires_at = expires_at - interval '60 s'") // as if a minute had passed
	if n := weirtest.Value[int](t, d, "select expired from weir.expire_leases()"); n != 3 {
		t.Fatalf("%d leases were taken back, want three", n)
	}
	weirtest.WantState(t, d, lost, "available")
	weirtest.WantState(t, d, last, "dead")
	weirtest.WantState(t, d, cancelled, "cancelled")
	weirtest.WantState(t, d, kept, "running")
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', j.state, j.error ->> 'type', errors -> 0 ->> 'kind', errors -> 0 ->> 'attempt', errors -> 0 ->> 'worker') from weir.jobs j where id = $1", last); got != "dead lost lost 1 worker" {
		t.Errorf("the one that is dead is %q", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_dead where job_id = $1", last); n != 1 {
		t.Errorf("%d dead letters of it", n)
	}
	if kinds := weirtest.Values[string](t, d, "select kind::text from weir.job_event where job_id = $1 order by at", cancelled); !slices.Equal(kinds, []string{"cancel_requested", "lost"}) {
		t.Errorf("the events of the one that was cancelled are %q", kinds)
	}

	again := weirtest.ClaimOne(t, d, "q")
	if again.ID != lost || again.Attempt != 2 || again.Token == jobs[0].Token {
		t.Errorf("claimed job %d at attempt %d with token %d, want %d at 2 with another token than %d", again.ID, again.Attempt, again.Token, lost, jobs[0].Token)
	}
	d.Unchanged("what the first worker says late", func() {
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", lost, jobs[0].Token), "WR001")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.fail($1, $2, null)", lost, jobs[0].Token), "WR001")
	})
	weirtest.Complete(t, d, again)
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", last, jobs[1].Token), "WR001")
}

func expiredLeaseCountsAsLostAttemptREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "max_attempts": 2}`)
	for attempt := 1; attempt <= 2; attempt++ {
		got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "queues": ["default"], "wait_seconds": 60, "lease_seconds": 1}`).Want(http.StatusOK)).Jobs
		if len(got) != 1 || got[0].ID != id || got[0].Attempt != attempt {
			t.Fatalf("attempt %d: claimed %+v", attempt, got)
		}
	}
	s.Eventually("its attempts are used up", func() bool { return s.Job(id).State == "dead" })
	j := s.Job(id)
	if len(j.Errors) != 2 || j.Errors[0].Kind != "lost" || j.Errors[1].Kind != "lost" || j.Errors[1].Worker != "w" || j.Errors[0].Message == "" {
		t.Errorf("%+v", j.Errors)
	}
}

func TestTimeoutEndsAttemptDespiteHeartbeats(t *testing.T) {
	t.Parallel()
	t.Run("SQL", timeoutEndsAttemptDespiteHeartbeatsSQL)
	t.Run("REST", timeoutEndsAttemptDespiteHeartbeatsREST)
}

func timeoutEndsAttemptDespiteHeartbeatsSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	ids := weirtest.Enqueue(t, d,
		`{"kind": "a", "queue": "q", "timeout_seconds": 1, "retry": {"strategy": "fixed", "base_seconds": 500, "jitter": false}}`,
		`{"kind": "a", "queue": "q", "timeout_seconds": 1, "max_attempts": 1}`,
		`{"kind": "a", "queue": "q", "timeout_seconds": 60}`)
	jobs := weirtest.Claim(t, d, "q", 3)
	weirtest.Eventually(t, "two are taken back", func() bool {
		weirtest.Exec(t, d, "select weir.heartbeat($1, $2, 30)", weirtest.IDs(jobs), weirtest.Tokens(jobs))
		weirtest.Exec(t, d, "select weir.expire_leases()")
		return weirtest.State(t, d, ids[0]) != "running" && weirtest.State(t, d, ids[1]) != "running"
	})
	weirtest.WantState(t, d, ids[0], "retryable")
	weirtest.WantState(t, d, ids[1], "dead")
	weirtest.WantState(t, d, ids[2], "running")
	if wait := weirtest.Value[float64](t, d, "select extract(epoch from run_at - clock_timestamp())::float8 from weir.jobs where id = $1", ids[0]); wait < 470 || wait > 500 {
		t.Errorf("it is tried again in %g s, want about 500, as its policy says", wait)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', errors -> 0 ->> 'kind', errors -> 0 ->> 'type', errors -> 0 ->> 'message') from weir.jobs where id = $1", ids[0]); got != "timed_out timeout ran past its timeout of 1 seconds" {
		t.Errorf("its error is %q", got)
	}
}

func timeoutEndsAttemptDespiteHeartbeatsREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "max_attempts": 1, "timeout_seconds": 2}`)
	got := s.ClaimOne("default")
	s.Eventually("the attempt is taken back", func() bool {
		r := s.Post("/v1/jobs/"+id+"/heartbeat", obj{"token": got.Token, "lease_seconds": 60})
		return r.Status == http.StatusConflict
	})
	if j := s.Job(id); j.State != "dead" || len(j.Errors) != 1 || j.Errors[0].Kind != "timed_out" {
		t.Errorf("%+v", j)
	}
}

func TestLeaseLockedByTransactionExpiresAfterIt(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]string{
		"asserted":  "select weir.assert_lease($1, $2)",
		"completed": "select weir.complete($1, $2)",
		"failed":    "select weir.fail($1, $2, null)",
		"beaten":    "select weir.heartbeat(array[$1::bigint], array[$2::bigint], 600)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 1}')`)
			id, beside := weirtest.EnqueueOne(t, d, "q"), weirtest.EnqueueOne(t, d, "q")
			j := weirtest.Claim(t, d, "q", 2)[0]
			e := weirtest.Expirer{After: weirtest.Value[time.Time](t, d, "select clock_timestamp()")}
			weirtest.Eventually(t, "the lease has run out", func() bool {
				return weirtest.Value[bool](t, d, "select bool_and(expires_at < clock_timestamp()) from weir.job_lease")
			})
			weirtest.Settle(t, d)
			tx := d.Tx()
			weirtest.Exec(t, tx, keep, j.ID, j.Token)
			for range 5 { // as the service does: each call starts where the last one ended
				weirtest.Tick(t, d)
				e.Look(t, d)
			}
			weirtest.WantState(t, d, beside, "available")
			weirtest.WantState(t, d, id, "running")
			weirtest.Rollback(t, tx)
			weirtest.Eventually(t, "it is taken back after the transaction", func() bool {
				weirtest.Tick(t, d)
				e.Look(t, d)
				return weirtest.State(t, d, id) == "available"
			})
		})
	}
}

func TestExpiryInPartsMissesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 1}')`)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 100)")
	for range 10 {
		weirtest.Claim(t, d, "q", 10)
	}
	nodes, expired := make([]weirtest.Expirer, 3), 0
	for i := range nodes {
		nodes[i].After = time.Unix(0, 0)
	}
	weirtest.Eventually(t, "all leases are taken back", func() bool {
		var wg sync.WaitGroup
		var mu sync.Mutex
		weirtest.Tick(t, d)
		for i := range nodes {
			wg.Go(func() {
				n := nodes[i].Look(t, d)
				mu.Lock()
				expired += n
				mu.Unlock()
			})
		}
		wg.Wait()
		return expired >= 100
	})
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_ready where attempt = 1"); n != 100 || expired != 100 {
		t.Errorf("%d leases were taken back, %d jobs are available at attempt 1, want 100 and 100", expired, n)
	}
}
