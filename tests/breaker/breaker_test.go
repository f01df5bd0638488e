package breaker

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// setBreaker makes a breaker that opens after two failures and waits briefly everywhere. settings change it.
func setBreaker(t testing.TB, q weirtest.Querier, name, settings string) {
	t.Helper()
	weirtest.Exec(t, q, `select weir.set_breaker($1, '{"failure_threshold": 2, "open_seconds": 0.1, "max_open_seconds": 0.4, "ramp_per_second": 1000}'::jsonb || $2::jsonb)`, name, settings)
}

func breakerState(t testing.TB, q weirtest.Querier, name string) string {
	t.Helper()
	return weirtest.Value[string](t, q, "select state || case when recovering then ' recovering' else '' end from weir.breakers where breaker = $1", name)
}

func wantBreaker(t testing.TB, q weirtest.Querier, name, want string) {
	t.Helper()
	if got := breakerState(t, q, name); got != want {
		t.Errorf("breaker %s is %s, want %s", name, got, want)
	}
}

// tickUntil runs the service's breaker step until the breaker is in a state.
func tickUntil(t testing.TB, q weirtest.Querier, name, state string) {
	t.Helper()
	weirtest.Eventually(t, "breaker "+name+" is "+state, func() bool {
		weirtest.Exec(t, q, "select weir.tick_breakers()")
		return breakerState(t, q, name) == state
	})
}

// needing is a job that depends on a breaker.
func needing(queue, breaker string) string {
	return fmt.Sprintf(`{"kind": "charge", "queue": %q, "breaker": %q, "retry": {"strategy": "fixed", "base_seconds": 0}}`, queue, breaker)
}

func failWith(t testing.TB, q weirtest.Querier, j weirtest.Lease, kind string) string {
	t.Helper()
	return weirtest.Value[string](t, q, "select weir.fail($1, $2, jsonb_build_object('type', $3::text, 'message', 'it said ' || $3))", j.ID, j.Token, kind)
}

// trip opens a breaker by failing its jobs.
func trip(t testing.TB, d *weirtest.Database, queue, breaker string) {
	t.Helper()
	for range 2 {
		id := weirtest.Enqueue(t, d, needing(queue, breaker))[0]
		j := weirtest.ClaimOne(t, d, queue)
		weirtest.Exec(t, d, "select weir.fail($1, $2, '{\"message\": \"no\"}', retry => false)", j.ID, j.Token)
		weirtest.Exec(t, d, "select weir.purge_dead($1)", id)
	}
	wantBreaker(t, d, breaker, "open")
}

func breakerHistory(t testing.TB, q weirtest.Querier, name string) string {
	t.Helper()
	return strings.Join(weirtest.Values[string](t, q, "select event from weir.breaker_events where breaker = $1 and event <> 'set' order by id", name), " ")
}

func TestBreakerFollowsItsDependency(t *testing.T) {
	t.Parallel()
	t.Run("SQL", breakerFollowsItsDependencySQL)
	t.Run("REST", breakerFollowsItsDependencyREST)
}

// A dependency fails, recovers, flaps and recovers again, and a worker follows.
func breakerFollowsItsDependencySQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "stripe", `{"half_open_probes": 2, "close_after": 2}`)
	well := true
	var done []int64
	work := func() int {
		jobs := weirtest.Claim(t, d, "q", 100)
		for _, j := range jobs {
			if well {
				weirtest.Complete(t, d, j)
				done = append(done, j.ID)
			} else if state := failWith(t, d, j, "Timeout"); state != "available" {
				t.Errorf("job %d is %s", j.ID, state)
			}
		}
		return len(jobs)
	}
	ids := make([]int64, 0, 20)
	more := func(n int) {
		for range n {
			ids = append(ids, weirtest.Enqueue(t, d, needing("q", "stripe"))...)
		}
	}
	more(3)
	work()
	well = false
	more(2)
	work()
	wantBreaker(t, d, "stripe", "open")
	more(10)
	if n := work(); n != 0 {
		t.Errorf("%d jobs were claimed while it was open", n)
	}
	if n := weirtest.Value[int](t, d, "select held::int from weir.breakers"); n != 12 {
		t.Errorf("it holds %d jobs", n)
	}
	attempts := weirtest.Value[int](t, d, "select sum(attempt)::int from weir.jobs where state <> 'completed'")
	for range 3 { // the probes fail
		tickUntil(t, d, "stripe", "half_open")
		if n := work(); n != 2 {
			t.Errorf("%d probes", n)
		}
		wantBreaker(t, d, "stripe", "open")
		work() // holds the jobs that were probes
	}
	well = true
	tickUntil(t, d, "stripe", "half_open")
	work()
	wantBreaker(t, d, "stripe", "closed recovering")
	const failures = "select count(*)::int from weir.job_event where kind = 'failed'"
	before := weirtest.Value[int](t, d, failures)
	well = false // it flaps: down again before all jobs have returned
	weirtest.Exec(t, d, "select weir.set_breaker('stripe', '{\"ramp_per_second\": 2}')")
	weirtest.Eventually(t, "some come back", func() bool { weirtest.Exec(t, d, "select weir.tick_breakers()"); return work() > 0 })
	weirtest.Eventually(t, "it opens again", func() bool {
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		work()
		return breakerState(t, d, "stripe") == "open"
	})
	if n := weirtest.Value[int](t, d, "select openings from weir.breakers"); n != 5 {
		t.Errorf("it has opened %d times in a row", n)
	}
	attempts += weirtest.Value[int](t, d, failures) - before // the jobs whose failure opened it again
	well = true
	tickUntil(t, d, "stripe", "half_open")
	work()
	wantBreaker(t, d, "stripe", "closed recovering")
	weirtest.Exec(t, d, "select weir.set_breaker('stripe', '{\"ramp_per_second\": 1000}')")
	weirtest.Eventually(t, "all are done", func() bool { weirtest.Exec(t, d, "select weir.tick_breakers()"); work(); return len(done) == len(ids) })
	tickUntil(t, d, "stripe", "closed")
	want := "opened half_opened opened half_opened opened half_opened opened half_opened closed opened half_opened closed recovered"
	if got := breakerHistory(t, d, "stripe"); got != want {
		t.Errorf("its history:\n%s, want\n%s", got, want)
	}
	// Each job took one attempt more than had failed before: no probe cost an attempt.
	if n := weirtest.Value[int](t, d, "select sum(attempt - 1)::int from weir.jobs where state = 'completed'"); n != attempts {
		t.Errorf("%d attempts failed, want %d", n, attempts)
	}
}

// The same dependency, with a node that does all breaker work.
func breakerFollowsItsDependencyREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/breakers/smtp", obj{"failure_threshold": 3, "open_seconds": 0.2, "max_open_seconds": 0.4, "ramp_per_second": 500}).Want(http.StatusOK)
	events, _ := s.WatchEvents("event=breaker_opened,breaker_half_opened,breaker_closed,breaker_recovered", "")
	job := obj{"kind": "mail", "queue": "q", "breaker": "smtp", "retry": obj{"strategy": "fixed", "base_seconds": 0}}
	s.EnqueueAll(slices.Repeat([]obj{job}, 40))
	work := func(n int, well bool) int {
		jobs := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "limit": n, "wait_seconds": 0.2}).Want(http.StatusOK)).Jobs
		for _, j := range jobs {
			if well {
				s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
			} else {
				s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no", "type": "Refused"}}).Want(http.StatusOK)
			}
		}
		return len(jobs)
	}
	failed := 0
	s.Eventually("three jobs have failed", func() bool { failed += work(3-failed, false); return failed == 3 })
	s.Eventually("it has opened", func() bool { return s.Breaker("smtp").Openings > 0 }) // it is half open soon
	for s.Breaker("smtp").Openings < 3 {                                                 // the probes fail too
		work(10, false)
	}
	s.Eventually("all jobs are done", func() bool {
		work(100, true)
		return s.Count("select count(*) from weir.jobs where state = 'completed'") == 40
	})
	s.Eventually("it has recovered", func() bool { b := s.Breaker("smtp"); return b.State == "closed" && !b.Recovering })
	if n := s.Count("select sum(attempt) from weir.jobs"); n != 43 {
		t.Errorf("%d attempts were made, want 40 and the 3 that opened it", n)
	}
	opened := s.Breaker("smtp").TimesOpened
	var told []string
	for len(told) == 0 || told[len(told)-1] != "breaker_recovered" {
		ev := s.NextEvents(events, 1)[0]
		if ev.Data.Breaker != "smtp" {
			t.Errorf("told of %+v", ev.Data)
		}
		told = append(told, ev.Name)
	}
	want := strings.Repeat("breaker_opened breaker_half_opened ", opened) + "breaker_closed breaker_recovered"
	if got := strings.Join(told, " "); got != want {
		t.Errorf("told of %s, want %s", got, want)
	}
	s.Eventually("the figures say so", func() bool {
		return s.MetricOrZero("weir_breaker_opened_total", `breaker="smtp"`) == float64(opened) && s.MetricOrZero("weir_breaker_state", `breaker="smtp"`, `state="closed"`) == 1
	})
	history := weirtest.Decode[weirtest.Page[obj]](s.Get("/v1/breakers/smtp/events?limit=2").Want(http.StatusOK))
	if len(history.Items) != 2 || history.Items[0]["event"] != "recovered" || history.NextCursor == nil {
		t.Errorf("its history begins with %v", history)
	}
}

func TestHeldJobsReturnInOrderAlongTheRamp(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"ramp_per_second": 20, "ramp_factor": 1}`)
	trip(t, d, "q", "b")
	var ids []int64
	for i := range 30 {
		ids = append(ids, weirtest.Enqueue(t, d, strings.Replace(needing("q", "b"), `"kind"`, fmt.Sprintf(`"priority": %d, "kind"`, 5+i%2), 1))...)
	}
	if n := len(weirtest.Claim(t, d, "q", 100)); n != 0 {
		t.Fatalf("%d jobs were claimed", n)
	}
	began := time.Now()
	weirtest.Exec(t, d, "select weir.reset_breaker('b', 'ann', 'it works again')")
	later := weirtest.Enqueue(t, d, strings.Replace(needing("q", "b"), `"kind"`, `"priority": 5, "kind"`, 1))
	var got []int64
	weirtest.Eventually(t, "all come back", func() bool {
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		got = append(got, weirtest.IDs(weirtest.Claim(t, d, "q", 100))...)
		return len(got) == 31
	})
	if took := time.Since(began); took < 1200*time.Millisecond {
		t.Errorf("31 jobs came back in %s, at 20 a second", took)
	}
	want := append(slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return (id-ids[0])%2 == 0 }), slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return (id-ids[0])%2 == 1 })...)
	if want = append(want, later...); !slices.Equal(got, want) {
		t.Errorf("they came as %v, want %v", got, want)
	}
}

func TestQueueIsHeldByItsBreaker(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"breaker": "smtp"}')`)
	setBreaker(t, d, "smtp", `{"half_open_probes": 3, "close_after": 3}`)
	first := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q"}`, `{"kind": "a", "queue": "q"}`)
	for _, j := range weirtest.Claim(t, d, "q", 2) {
		failWith(t, d, j, "Refused")
	}
	wantBreaker(t, d, "smtp", "open")
	ids := append(first, weirtest.Enqueue(t, d, slices.Repeat([]string{`{"kind": "a", "queue": "q"}`}, 8)...)...)
	weirtest.Exec(t, d, "select weir.retry(id) from weir.jobs where state = 'retryable'")
	if n := len(weirtest.Claim(t, d, "q", 100)); n != 0 {
		t.Errorf("%d jobs were claimed", n)
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.job_held"); n != 0 {
		t.Errorf("%d jobs were moved", n)
	}
	tickUntil(t, d, "smtp", "half_open")
	weirtest.Exec(t, d, "select weir.tick_breakers()")
	probes := weirtest.Claim(t, d, "q", 100)
	if len(probes) != 3 {
		t.Fatalf("%d probes", len(probes))
	}
	weirtest.Complete(t, d, probes...)
	wantBreaker(t, d, "smtp", "closed recovering")
	var got []int64
	weirtest.Eventually(t, "all are back", func() bool {
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		jobs := weirtest.Claim(t, d, "q", 100)
		weirtest.Complete(t, d, jobs...)
		got = append(got, weirtest.IDs(jobs)...)
		return len(got)+3 == len(ids)
	})
	tickUntil(t, d, "smtp", "closed")
	if !slices.IsSorted(append(weirtest.IDs(probes), got...)[:8]) {
		t.Errorf("they came as %v, then %v", weirtest.IDs(probes), got)
	}
}
