package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// setBreaker makes a breaker that opens at two failures and is quick about everything, changed by settings.
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

// tickUntil does what the service does for breakers, until one is in a state.
func tickUntil(t testing.TB, q weirtest.Querier, name, state string) {
	t.Helper()
	weirtest.Eventually(t, "breaker "+name+" is "+state, func() bool {
		weirtest.Exec(t, q, "select weir.tick_breakers()")
		return breakerState(t, q, name) == state
	})
}

// needing is a job that needs a dependency.
func needing(queue, breaker string) string {
	return fmt.Sprintf(`{"kind": "charge", "queue": %q, "breaker": %q, "retry": {"strategy": "fixed", "base_seconds": 0}}`, queue, breaker)
}

func failWith(t testing.TB, q weirtest.Querier, j weirtest.Lease, kind string) string {
	t.Helper()
	return weirtest.Value[string](t, q, "select weir.fail($1, $2, jsonb_build_object('type', $3::text, 'message', 'it said ' || $3))", j.ID, j.Token, kind)
}

// trip opens a breaker by failures of its jobs.
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

func TestABreakerOpensAtItsThresholdAndOnlyThen(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Enqueue(t, d, needing("q", "stripe"), needing("q", "stripe"), needing("q", "stripe"), `{"kind": "x", "queue": "q"}`)
	if got := weirtest.Value[string](t, d, "select failure_threshold || ' ' || open_seconds || ' ' || policy from weir.breakers"); got != "5 60 hold" {
		t.Errorf("a breaker that a job made has %s", got)
	}
	setBreaker(t, d, "stripe", `{"failure_threshold": 3}`)
	for i, want := range []string{"closed", "closed", "open"} {
		failWith(t, d, weirtest.ClaimOne(t, d, "q"), "Timeout")
		if got := breakerState(t, d, "stripe"); got != want {
			t.Errorf("after %d failures it is %s", i+1, got)
		}
	}
	if got := breakerHistory(t, d, "stripe"); got != "opened" {
		t.Errorf("its history: %s", got)
	}
	if why := weirtest.Value[string](t, d, "select reason from weir.breaker_events where event = 'opened'"); why != "3 of 3 calls failed within 60 seconds" {
		t.Errorf("it opened because %s", why)
	}
}

func TestABreakerOpensAtItsRatioOfEnoughCalls(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"failure_threshold": null, "failure_ratio": 0.5, "min_calls": 4}`)
	for i, step := range []struct{ outcome, state string }{
		{"failure", "closed"}, {"failure", "closed"}, {"success", "closed"}, {"success", "closed"}, {"success", "closed"}, {"failure", "open"},
	} {
		weirtest.Exec(t, d, "select weir.report_breaker('b', $1)", step.outcome)
		if got := breakerState(t, d, "b"); got != step.state {
			t.Errorf("after call %d it is %s, want %s", i+1, got, step.state)
		}
	}
}

func TestOnlyTheErrorsThatCountOpenABreaker(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"failure_threshold": 1, "counts": {"types": ["Timeout"], "pattern": "50[0-9]", "except_types": ["HTTP501"]}}`)
	for kind, opens := range map[string]bool{"Timeout": true, "HTTP503": true, "HTTP501": false, "Declined": false, "lost": false} {
		weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure', jsonb_build_object('type', $1::text, 'message', 'm'))", kind)
		if open := breakerState(t, d, "b") == "open"; open != opens {
			t.Errorf("after %s it is open: %t", kind, open)
		}
		weirtest.Exec(t, d, "select weir.reset_breaker('b')")
	}
	weirtest.Enqueue(t, d, needing("q", "c"))
	setBreaker(t, d, "c", `{"failure_threshold": 1}`)
	weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "update weir.job_lease set expires_at = clock_timestamp()")
	weirtest.Exec(t, d, "select weir.expire_leases()")
	wantBreaker(t, d, "c", "closed") // that the worker died says nothing of the dependency
}

func TestAFailureOutsideOfTheWindowDoesNotCount(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"window_seconds": 2}`)
	weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure')")
	weirtest.Exec(t, d, "update weir.breaker_sample set at = at - interval '3 s'")
	weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure')")
	wantBreaker(t, d, "b", "closed")
	weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure')")
	wantBreaker(t, d, "b", "open")
}

func TestOldSamplesAreSummedUpAndGoAfterAnHour(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"failure_threshold": 1000}`)
	weirtest.Exec(t, d, "insert into weir.breaker_sample (breaker_id, at, ok, failed) select 1, date_trunc('second', now()) - interval '10 s' + n * interval '1 ms', 1, 1 from generate_series(1, 500) n")
	weirtest.Exec(t, d, "insert into weir.breaker_sample (breaker_id, at, ok, failed) select 1, clock_timestamp() - interval '2 hours', 1, 1")
	weirtest.Exec(t, d, "select weir.sweep_breakers()")
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.breaker_sample"); n != 1 {
		t.Errorf("%d samples are left", n)
	}
	if got := weirtest.Value[string](t, d, "select window_ok || ' ' || window_failed from weir.breakers"); got != "500 500" {
		t.Errorf("the window has %s", got)
	}
}

// A dependency that fails, recovers, flaps and recovers, and a worker that does as it is told.
func TestABreakerFollowsItsDependency(t *testing.T) {
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
	for range 3 { // the probes find it sick
		tickUntil(t, d, "stripe", "half_open")
		if n := work(); n != 2 {
			t.Errorf("%d probes", n)
		}
		wantBreaker(t, d, "stripe", "open")
		work() // holds what the probes were
	}
	well = true
	tickUntil(t, d, "stripe", "half_open")
	work()
	wantBreaker(t, d, "stripe", "closed recovering")
	const failures = "select count(*)::int from weir.job_event where kind = 'failed'"
	before := weirtest.Value[int](t, d, failures)
	well = false // it flaps: it is down again before all are back
	weirtest.Exec(t, d, "select weir.set_breaker('stripe', '{\"ramp_per_second\": 20}')")
	weirtest.Eventually(t, "some come back", func() bool { weirtest.Exec(t, d, "select weir.tick_breakers()"); return work() > 0 })
	weirtest.Eventually(t, "it opens again", func() bool {
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		work()
		return breakerState(t, d, "stripe") == "open"
	})
	if n := weirtest.Value[int](t, d, "select openings from weir.breakers"); n != 5 {
		t.Errorf("it has opened %d times in a row", n)
	}
	attempts += weirtest.Value[int](t, d, failures) - before // those that opened it again
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
	// Each job completed with one attempt more than had failed before, so no probe cost one.
	if n := weirtest.Value[int](t, d, "select sum(attempt - 1)::int from weir.jobs where state = 'completed'"); n != attempts {
		t.Errorf("%d attempts failed, want %d", n, attempts)
	}
}

func TestHeldJobsComeBackInOrderAndAtTheRamp(t *testing.T) {
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
	weirtest.Exec(t, d, "select weir.reset_breaker('b', 'ann', 'it is well')")
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

func TestAQueueIsHeldByItsOwnBreaker(t *testing.T) {
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
