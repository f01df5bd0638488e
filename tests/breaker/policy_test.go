package breaker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// openWith opens a breaker with a policy and keeps it open.
func openWith(t testing.TB, q weirtest.Querier, name, whileOpen string) {
	t.Helper()
	weirtest.Exec(t, q, "select weir.set_breaker($1, jsonb_build_object('while_open', $2::jsonb, 'ramp_per_second', 1000))", name, whileOpen)
	weirtest.Exec(t, q, "select weir.trip_breaker($1, 'ann', 'a test', 3600)", name)
}

func TestOpenBreakerHoldsOnlyItsJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	openWith(t, d, "b", `{"policy": "hold"}`)
	held := weirtest.Enqueue(t, d, slices.Repeat([]string{needing("q", "b")}, 700)...)
	other := weirtest.EnqueueOne(t, d, "q")
	if got := weirtest.ClaimOne(t, d, "q").ID; got != other {
		t.Errorf("claimed job %d, want %d, the one behind 700 that are held", got, other)
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.job_ready"); n != 0 {
		t.Errorf("%d jobs are still in the way", n)
	}
	if n := weirtest.Value[int](t, d, "select sum(attempt)::int from weir.job_held"); n != 0 {
		t.Errorf("being held cost %d attempts", n)
	}
	weirtest.WantState(t, d, held[0], "held")
	if got := weirtest.Value[string](t, d, "select code || ': ' || message from weir.why($1) limit 1", held[0]); !strings.HasPrefix(got, "held_breaker: its circuit breaker b is open and is probed next at ") {
		t.Errorf("why: %s", got)
	}
	more := weirtest.Enqueue(t, d, needing("q", "b"))[0] // which no claim has met yet
	if got := weirtest.Value[string](t, d, "select string_agg(code, ' ') from weir.why($1)", more); !strings.HasPrefix(got, "held_breaker") || strings.Contains(got, "next") {
		t.Errorf("why, of one that is available: %s", got)
	}
	weirtest.Exec(t, d, "select weir.cancel($1)", held[0])
	weirtest.WantState(t, d, held[0], "cancelled")
}

func TestHeldQueueDoesNotBlockClaimFromOthers(t *testing.T) {
	weirtest.Long(t, "it holds many jobs")
	t.Parallel()
	d := weirtest.New(t)
	openWith(t, d, "b", `{"policy": "hold"}`)
	for range 3 {
		weirtest.Exec(t, d, `select count(*) from weir.enqueue_many((select jsonb_agg('{"kind": "k", "queue": "full", "breaker": "b"}'::jsonb) from generate_series(1, 10000)))`)
	}
	weirtest.Enqueue(t, d, slices.Repeat([]string{`{"kind": "k", "queue": "other"}`}, 5)...)
	for range 5 {
		before := weirtest.Value[int](t, d, "select count(*)::int from weir.job_held")
		if got := weirtest.Values[string](t, d, "select queue from weir.claim(array['full', 'other'], 'w', 1)"); !slices.Equal(got, []string{"other"}) {
			t.Fatalf("claimed of %q", got)
		}
		if n := weirtest.Value[int](t, d, "select count(*)::int from weir.job_held") - before; n > 3000 {
			t.Errorf("before it took the one that it could have it moved %d jobs", n)
		}
	}
	// Alone, the queue is searched further: up to the number of jobs that a call may take.
	last := weirtest.EnqueueOne(t, d, "full")
	if got := weirtest.ClaimOne(t, d, "full").ID; got != last {
		t.Errorf("claimed job %d, want %d, the one behind all that are held", got, last)
	}
}

func TestTimelineShowsWhatBreakerDid(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	openWith(t, d, "b", `{"policy": "hold"}`)
	id := weirtest.Enqueue(t, d, needing("q", "b"))[0]
	weirtest.Claim(t, d, "q", 1)
	weirtest.Exec(t, d, "select weir.reset_breaker('b')")
	weirtest.Eventually(t, "it is let through", func() bool {
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		return len(weirtest.Claim(t, d, "q", 1)) == 1
	})
	got := strings.Join(weirtest.Values[string](t, d, "select event || coalesce(' (' || cause || ')', '') from weir.timeline($1)", id), ", ")
	if want := "enqueued, available (enqueued), held, let_through, available (let_through), started"; got != want {
		t.Errorf("its timeline: %s, want %s", got, want)
	}
}

func TestOpenBreakerReroutes(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	openWith(t, d, "b", `{"policy": "reroute", "queue": "backup"}`)
	ids := weirtest.Enqueue(t, d, needing("q", "b"), needing("q", "b"))
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Errorf("%d jobs were claimed", n)
	}
	jobs := weirtest.Claim(t, d, "backup", 10)
	if !slices.Equal(weirtest.IDs(jobs), ids) || jobs[0].Attempt != 1 {
		t.Fatalf("the other queue has %v", jobs)
	}
	for _, j := range jobs { // a failure of the other route says nothing about the dependency
		failWith(t, d, j, "Timeout")
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.breaker_sample"); n != 0 {
		t.Errorf("it has %d samples", n)
	}
	if got := weirtest.Value[string](t, d, "select queue || ' ' || state from weir.jobs where id = $1", ids[0]); got != "backup available" {
		t.Errorf("after a failure there it is in %s", got)
	}
	if got := weirtest.Value[string](t, d, "select detail::text from weir.timeline($1) where event = 'rerouted'", ids[0]); got != `{"from": "q", "queue": "backup", "breaker": "b"}` {
		t.Errorf("its timeline has %s", got)
	}
}

func TestOpenBreakerCompletesWithFallback(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_breaker('b', '{"while_open": {"policy": "complete_last_result"}}')`)
	price := func(of string) string {
		return fmt.Sprintf(`{"kind": "price", "queue": "q", "breaker": "b", "args": {"of": %q}}`, of)
	}
	weirtest.Enqueue(t, d, price("tea"), price("tea"), price("milk"))
	for i, j := range weirtest.Claim(t, d, "q", 10) {
		weirtest.Exec(t, d, "select weir.complete($1, $2, $3::int::text::jsonb)", j.ID, j.Token, i+1)
	}
	weirtest.Exec(t, d, "select weir.sweep_breaker_results()")
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.breaker_result"); n != 2 {
		t.Errorf("%d results are noted", n)
	}
	weirtest.Exec(t, d, "select weir.trip_breaker('b')")
	ids := weirtest.Enqueue(t, d, price("tea"), price("salt"), price("milk"))
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Errorf("%d jobs were claimed", n)
	}
	results := func(ids []int64) string {
		return weirtest.Value[string](t, d, "select string_agg(state || ' ' || coalesce(result::text, '-') || ' ' || attempt, ', ' order by id) from weir.jobs where id = any ($1)", ids)
	}
	if got := results(ids); got != "completed 2 0, held - 0, completed 3 0" {
		t.Errorf("they are %s", got)
	}
	weirtest.Exec(t, d, `select weir.set_breaker('b', '{"while_open": {"policy": "complete_default", "result": {"price": null}}}')`)
	weirtest.Exec(t, d, "select weir.tick_breakers()") // held jobs follow the new policy
	weirtest.Claim(t, d, "q", 10)
	if got := results(ids[1:2]); got != `completed {"price": null} 0` {
		t.Errorf("with a default it is %s", got)
	}
	if got := weirtest.Value[string](t, d, "select string_agg(event, ' ') from weir.timeline($1)", ids[0]); got != "enqueued available substituted completed" {
		t.Errorf("its timeline: %s", got)
	}
}

func TestOpenBreakerMarksJobsDegraded(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	openWith(t, d, "b", `{"policy": "degraded"}`)
	weirtest.Enqueue(t, d, needing("q", "b"), `{"kind": "x", "queue": "q"}`)
	got := weirtest.Value[string](t, d, "select string_agg(kind || ' ' || degraded, ', ' order by job_id) from weir.claim(array['q'], 'w', 10)")
	if got != "charge true, x false" {
		t.Errorf("claimed %s", got)
	}
	weirtest.Exec(t, d, "select weir.fail(job_id, token, '{}') from weir.job_lease order by job_id")
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.breaker_sample"); n != 0 {
		t.Errorf("it has %d samples", n)
	}
	// After the wait a job is held for a moment to become the probe.
	weirtest.Exec(t, d, "update weir.breaker set next_probe_at = clock_timestamp()")
	tickUntil(t, d, "b", "half_open")
	weirtest.Eventually(t, "a probe is claimed", func() bool {
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		return weirtest.Value[bool](t, d, "select coalesce(bool_or(not degraded), false) from weir.claim(array['q'], 'w', 10)")
	})
	weirtest.Enqueue(t, d, needing("q", "b"))
	if got := weirtest.Value[string](t, d, "select string_agg(kind || ' ' || degraded, ', ') from weir.claim(array['q'], 'w', 10)"); got != "charge true" {
		t.Errorf("while it is probed: claimed %s", got)
	}
}

func TestOpenBreakerThrottles(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	openWith(t, d, "b", `{"policy": "throttle", "per_second": 20}`)
	ids := weirtest.Enqueue(t, d, slices.Repeat([]string{needing("q", "b")}, 40)...)
	began := time.Now()
	var got []int64
	weirtest.Eventually(t, "all are let through", func() bool {
		got = append(got, weirtest.IDs(weirtest.Claim(t, d, "q", 100))...)
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		return len(got) == len(ids)
	})
	if took := time.Since(began); took < 980*time.Millisecond { // jobs due in the second before may come at once
		t.Errorf("40 jobs at 20 a second took %s", took)
	}
	if !slices.Equal(got, ids) {
		t.Errorf("they came as %v, want %v", got, ids)
	}
	wantBreaker(t, d, "b", "open")
}

func TestOpenBreakerPostpones(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	openWith(t, d, "b", `{"policy": "postpone", "delay_seconds": 600}`)
	id := weirtest.Enqueue(t, d, needing("q", "b"))[0]
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Errorf("%d jobs were claimed", n)
	}
	if got := weirtest.Value[string](t, d, "select state || ' ' || attempt || ' ' || (run_at between now() + interval '9 minutes' and now() + interval '10 minutes') from weir.jobs where id = $1", id); got != "scheduled 0 true" {
		t.Errorf("it is %s", got)
	}
	if got := weirtest.Value[string](t, d, "select string_agg(event, ' ') from weir.timeline($1)", id); got != "enqueued available postponed" {
		t.Errorf("its timeline: %s", got)
	}
}

func TestPolicyEndsAfterItsTime(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for i, end := range []string{`"until": "2020-01-01T00:00:00Z"`, `"for_seconds": 0.1`} {
		name, queue := fmt.Sprint("b", i), fmt.Sprint("q", i)
		openWith(t, d, name, `{"policy": "reroute", "queue": "backup", `+end+`}`)
		time.Sleep(110 * time.Millisecond)
		id := weirtest.Enqueue(t, d, needing(queue, name))[0]
		weirtest.Claim(t, d, queue, 1)
		weirtest.WantState(t, d, id, "held")
	}
}

func TestQueueReroutesByItsBreaker(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"breaker": "b"}')`)
	openWith(t, d, "b", `{"policy": "reroute", "queue": "backup"}`)
	plain, own := weirtest.EnqueueOne(t, d, "q"), weirtest.Enqueue(t, d, needing("q", "mine"))[0]
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 1 || got[0].ID != own { // whose own breaker is closed
		t.Errorf("claimed %v", got)
	}
	if got := weirtest.ClaimOne(t, d, "backup").ID; got != plain {
		t.Errorf("job %d was routed", got)
	}
}

func TestManyHeldJobsDoNotHideOthers(t *testing.T) {
	weirtest.Long(t, "it holds many jobs")
	t.Parallel()
	s := weirtest.StartNode(t)
	d := s.DB
	openWith(t, d, "b", `{"policy": "hold"}`)
	for range 3 {
		weirtest.Exec(t, d, "select count(*) from weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'x', 'queue', 'q', 'breaker', 'b')) from generate_series(1, 6000)))")
	}
	id := s.Enqueue(obj{"kind": "x", "queue": "q"})
	s.Settle()
	if got := s.Claim(5, "q"); len(got) != 1 || got[0].ID != id { // nine claims that hold back 2,000 jobs find nothing before it
		t.Errorf("claimed %v", got)
	}
}

func TestBreakerCanBePinned(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", "{}")
	weirtest.Exec(t, d, "select weir.pin_breaker('b', 'closed', 'ann', 'it is only slow')")
	weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure', calls => 100)")
	wantBreaker(t, d, "b", "closed")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.trip_breaker('b')"), "WR067")
	weirtest.Exec(t, d, "select weir.pin_breaker('b', 'open', 'ann', 'it is down', 3600)")
	wantBreaker(t, d, "b", "open")
	time.Sleep(150 * time.Millisecond) // longer than the breaker would stay open
	weirtest.Exec(t, d, "select weir.tick_breakers()")
	wantBreaker(t, d, "b", "open")
	weirtest.Exec(t, d, "update weir.breaker set pinned_until = clock_timestamp()")
	tickUntil(t, d, "b", "half_open")
	if got := breakerHistory(t, d, "b"); got != "pinned pinned opened unpinned half_opened" {
		t.Errorf("its history: %s", got)
	}
	if got := weirtest.Value[string](t, d, "select by || ': ' || reason from weir.breaker_events where event = 'opened'"); got != "ann: it is down" {
		t.Errorf("it was opened by %s", got)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.delete_breaker('b')"), "WR066")
	weirtest.Exec(t, d, "select weir.report_breaker('b', 'success')") // counts as a probe
	tickUntil(t, d, "b", "closed")
	weirtest.Exec(t, d, "select weir.delete_breaker('b', 'ann')")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.trip_breaker('b')"), "WR065")
	weirtest.Enqueue(t, d, needing("q", "b"))
	wantBreaker(t, d, "b", "closed")
}
