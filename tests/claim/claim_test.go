package claim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestClaimRecordsLease(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 77, "timeout_seconds": 500}')`)
	for _, c := range []struct {
		lease string
		want  int
	}{{"null", 77}, {"5", 5}, {"3600", 500}} {
		id := weirtest.EnqueueOne(t, d, "q")
		before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
		told := weirtest.Value[time.Time](t, d, "select lease_expires_at from weir.claim(array['q'], 'worker 7', 3, "+c.lease+")")
		after := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', worker, attempt, token = job_id) from weir.job_lease where job_id = $1", id); got != "worker 7 1 t" {
			t.Errorf("lease_seconds %s: worker, attempt and token are %s", c.lease, got)
		}
		kept := weirtest.Value[time.Time](t, d, "select lease_expires_at from weir.jobs where id = $1 and state = 'running' and worker = 'worker 7'", id)
		length := time.Duration(c.want) * time.Second
		if !kept.Equal(told) || kept.Before(before.Add(length)) || kept.After(after.Add(length)) {
			t.Errorf("lease_seconds %s: the worker is told %s, the lease ends at %s, want %s after a time from %s to %s", c.lease, told, kept, length, before, after)
		}
		if n := weirtest.Value[int](t, d, "select count(*) from weir.running where job_id = $1 and worker = 'worker 7' and queue = 'q'", id); n != 1 {
			t.Errorf("lease_seconds %s: weir.running has %d rows of it", c.lease, n)
		}
	}
}

func TestLeaseIsAsLongAsClaimOrQueueSays(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/long", `{"lease_seconds": 600, "timeout_seconds": 3000}`).Want(http.StatusOK)
	for _, c := range []struct {
		queue, lease string
		want         int
	}{{"plain", "", 30}, {"long", "", 600}, {"long", `, "lease_seconds": 45`, 45}, {"plain", `, "lease_seconds": 3600`, 300}} { // not beyond the timeout of the attempt
		s.Enqueue(obj{"kind": "k", "queue": c.queue})
		got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "wait_seconds": 20, "queues": ["`+c.queue+`"]`+c.lease+`}`).Want(http.StatusOK)).Jobs
		if len(got) != 1 {
			t.Fatalf("claimed %+v", got)
		}
		j := s.Job(got[0].ID)
		if length := got[0].LeaseExpiresAt.Sub(*j.StartedAt); length != time.Duration(c.want)*time.Second {
			t.Errorf("queue %s%s: a lease of %v, want %d s", c.queue, c.lease, length, c.want)
		}
	}
}

func TestConcurrentClaimsNeverShareJob(t *testing.T) {
	t.Parallel()
	t.Run("SQL", concurrentClaimsNeverShareJobSQL)
	t.Run("REST", concurrentClaimsNeverShareJobREST)
}

func concurrentClaimsNeverShareJobSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const jobs = 3000
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q' || i % 2, priority => 1 + i % 10) from generate_series(1, $1) i", jobs)
	var mu sync.Mutex
	by := map[int64]int{}
	var wg sync.WaitGroup
	for claimer := range 8 {
		wg.Go(func() {
			for n := 1; ; n = 1 + (n*7+claimer)%50 {
				got, err := weirtest.TryClaim(d, "q0,q1", n)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, j := range got {
					if other, there := by[j.ID]; there {
						t.Errorf("claimers %d and %d got job %d", other, claimer, j.ID)
					}
					by[j.ID] = claimer
				}
				all := len(by) == jobs
				mu.Unlock()
				if all {
					return
				}
				if len(got) == 0 {
					time.Sleep(time.Millisecond) // another session has locked the rest
				}
			}
		})
	}
	wg.Wait()
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_lease where attempt = 1"); n != jobs {
		t.Errorf("%d leases, want %d", n, jobs)
	}
}

func concurrentClaimsNeverShareJobREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	batch := make([]obj, 500)
	for i := range batch {
		batch[i] = obj{"kind": "k", "queue": fmt.Sprintf("q%d", i%2)}
	}
	s.EnqueueAll(batch)
	var mu sync.Mutex
	given := map[string]int{}
	var workers sync.WaitGroup
	for i := range 20 {
		workers.Go(func() {
			queues := [][]string{{"q0"}, {"q1"}, {"q0", "q1"}, {"q1", "q0", "q1"}}[i%4] // different sets of queues are claimed separately
			for {
				r, err := s.Send(t.Context(), http.MethodPost, "/v1/claims", obj{"worker": fmt.Sprint(i), "queues": queues, "limit": 1 + i%3})
				var got weirtest.ClaimedJobs
				if err == nil {
					err = json.Unmarshal(r.Body, &got)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, j := range got.Jobs {
					given[j.ID]++
				}
				enough := len(given) == len(batch)
				mu.Unlock()
				if enough || t.Context().Err() != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	for id, n := range given {
		if n != 1 {
			t.Errorf("job %s was given out %d times", id, n)
		}
	}
}

func TestClaimDoesNotWaitForAnother(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 10 {
		weirtest.EnqueueOne(t, d, "q")
	}
	tx := d.Tx()
	first := weirtest.IDs(weirtest.Claim(t, tx, "q", 4))
	second := weirtest.IDs(weirtest.Claim(t, d.ConnectWithLockTimeout(), "q", 100))
	if len(first) != 4 || len(second) != 6 || second[0] < first[3] {
		t.Errorf("beside %v the claim got %v, want the six after them", first, second)
	}
}

func TestRolledBackClaimReturnsJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	var want []int64
	for range 10 {
		want = append(want, weirtest.EnqueueOne(t, d, "q"))
	}
	weirtest.Tick(t, d)
	d.Unchanged("a claim that rolls back", func() {
		tx := d.Tx()
		weirtest.Claim(t, tx, "q", 7)
		weirtest.Tick(t, d)
		weirtest.Rollback(t, tx)
	})
	tx := d.Tx()
	weirtest.Exec(t, tx, "savepoint s")
	weirtest.Claim(t, tx, "q", 3)
	weirtest.Exec(t, tx, "rollback to s")
	got := weirtest.Claim(t, tx, "q", 3)
	weirtest.Commit(t, tx)
	weirtest.Tick(t, d)
	got = append(got, weirtest.Claim(t, d, "q", 100)...)
	if !slices.Equal(weirtest.IDs(got), want) {
		t.Errorf("claimed %v, want %v", weirtest.IDs(got), want)
	}
	for _, j := range got {
		if j.Attempt != 1 {
			t.Errorf("job %d is at attempt %d, want 1", j.ID, j.Attempt)
		}
	}
}

func TestAttemptsAreCounted(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.Value[int64](t, d, "select weir.enqueue('a', queue => 'q', max_attempts => 50)")
	expire := func() {
		weirtest.Exec(t, d, "update weir.job_lease set expires_at = now() - interval '1 s'")
		if n := weirtest.Value[int](t, d, "select expired from weir.expire_leases()"); n != 1 {
			t.Fatalf("%d leases expired, want 1", n)
		}
	}
	attempt := 1
	for i, c := range []struct {
		calls []string
		costs int
	}{
		{[]string{"release($1, $2)"}, 0},
		{[]string{"fail($1, $2, null, '0')"}, 1},
		{[]string{"snooze($1, $2, '0')"}, 0},
		{[]string{"fail($1, $2, null, '1 hour')", "retry($1)"}, 1},
		{nil, 1}, // the lease expires
		{[]string{"snooze($1, $2, '1 hour')", "retry($1)"}, 0},
		{[]string{"complete($1, $2)", "retry($1)"}, 1},
		{[]string{"fail($1, $2, null, retry => false)", "retry($1)"}, 1},
		{[]string{"release($1, $2)"}, 0},
		{[]string{"release($1, $2)", `edit($1, '{"priority": 7}')`}, 0},
		{[]string{"release($1, $2)", "cancel($1)", "retry($1)"}, 0},
	} {
		j := weirtest.ClaimOne(t, d, "q")
		if j.ID != id || j.Attempt != attempt {
			t.Errorf("claim %d: job %d at attempt %d, want %d at %d", i, j.ID, j.Attempt, id, attempt)
		}
		if got := weirtest.Value[int](t, d, "select attempt from weir.jobs where id = $1", id); got != attempt {
			t.Errorf("claim %d: weir.jobs says attempt %d, want %d", i, got, attempt)
		}
		for _, call := range c.calls {
			j.Call(t, d, call)
		}
		if c.calls == nil {
			expire()
		}
		attempt += c.costs
	}
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Complete(t, d, j)
	weirtest.Exec(t, d, "select weir.retry($1, reset_attempts => true)", id)
	if j := weirtest.ClaimOne(t, d, "q"); j.Attempt != 1 {
		t.Errorf("after a reset the attempt is %d, want 1", j.Attempt)
	}
}

func TestInvalidClaimIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("SQL", invalidClaimIsRefusedSQL)
	t.Run("REST", invalidClaimIsRefusedREST)
}

func invalidClaimIsRefusedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	for sql, field := range map[string]string{
		"array[]::text[], 'w'":                   "queues",
		"null, 'w'":                              "queues",
		"array_fill('q'::text, array[101]), 'w'": "queues",
		"array['q'], ''":                         "worker",
		"array['q'], null":                       "worker",
		"array['q'], repeat('x', 201)":           "worker",
		"array['q'], 'w', 0":                     "max_jobs",
		"array['q'], 'w', -1":                    "max_jobs",
		"array['q'], 'w', 10001":                 "max_jobs",
		"array['q'], 'w', null":                  "max_jobs",
		"array['q'], 'w', 1, 0":                  "lease_seconds",
		"array['q'], 'w', 1, 3601":               "lease_seconds",
	} {
		d.Unchanged(sql, func() {
			if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select * from weir.claim("+sql+")"), "WR010"); refusal.ColumnName != field {
				t.Errorf("%s: the place is %q, want %q", sql, refusal.ColumnName, field)
			}
		})
	}
	if got := weirtest.Claim(t, d, strings.Repeat("q,", 99)+"q", 10000); len(got) != 1 {
		t.Errorf("the largest claim got %d jobs, want 1", len(got))
	}
}

// All claims for the same queues go to the database together. A refused one must not fail the others.
func invalidClaimIsRefusedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	waiting := s.ParkMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{"q"}, "wait_seconds": 50}
	})
	for _, worker := range []string{`"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"` + "\xff" + `"`} {
		if r := s.Post("/v1/claims", `{"worker": `+worker+`, "queues": ["q"], "wait_seconds": 0}`); r.Status != http.StatusOK && r.Status != http.StatusUnprocessableEntity && r.Status != http.StatusBadRequest {
			t.Errorf("a worker called %q: %v", worker, r)
		}
	}
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 5))
	for _, answer := range waiting {
		if got := s.Answer(answer); len(got) != 1 {
			t.Errorf("a worker got %+v", got)
		}
	}
}
