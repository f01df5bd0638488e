package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// What is due is known ahead, so an idle node promotes it when it is due. A node that polled every second would do so in
// a quarter of the rounds; a machine that stalls may delay two of seven.
func TestIdleNodePromotesOnTime(t *testing.T) {
	weirtest.Long(t, "it has seven rounds of three seconds")
	t.Parallel()
	s := weirtest.StartNode(t)
	d := s.DB
	var late []time.Duration
	for range 7 {
		time.Sleep(1200 * time.Millisecond) // it has nothing to do
		weirtest.Exec(t, d, `select weir.enqueue('later', queue => 'q', run_at => now() + interval '1.7 s')`)
		weirtest.Eventually(t, "it is available", func() bool { return weirtest.Value[int](t, d, "select count(*)::int from weir.job_ready") == 1 })
		j := weirtest.ClaimOne(t, d, "q")
		seconds := weirtest.Value[float64](t, d, `select extract(epoch from clock_timestamp() - min(t.at))
			from weir.timeline($1) t where t.event = 'available'`, j.ID)
		late = append(late, time.Duration(seconds*float64(time.Second)))
		weirtest.Complete(t, d, j)
	}
	// A loop that nothing wakes rests for five seconds, so its median would be half of that. Benchmarks show how fast it is.
	if slices.Sort(late); late[3] > time.Second {
		t.Errorf("the jobs were available %s after they were due, want a second at most for four of seven", late)
	}
}

// Loops rest between their queries, even where nothing tells them when to query next.
func TestIdleNodeLeavesDatabaseAlone(t *testing.T) {
	weirtest.Long(t, "it watches an idle node for six seconds")
	t.Parallel()
	s := weirtest.StartNode(t)
	if none := weirtest.Value[bool](t, s.DB, "select next_in_seconds is null from weir.run_workflow_timers()"); !none {
		t.Error("got a time for the next check of workflows, want none without workflows")
	}
	committed := func() int {
		return weirtest.Value[int](t, s.DB, "select xact_commit::int from pg_stat_database where datname = current_database()")
	}
	const seconds, most = 6, 30 // about twelve a second are normal, four of them from the chores
	time.Sleep(time.Second)     // sessions report their transactions up to a second late
	before, since := committed(), time.Now()
	time.Sleep(seconds * time.Second)
	n, took := committed()-before, time.Since(since)
	if float64(n) > most*took.Seconds() {
		t.Errorf("%d transactions in %s, and nothing to do", n, took)
	}
}

// A transaction that pins the horizon keeps every dead row. When it ends, the space returns to the system without
// anyone's help.
func TestHotTablesShrinkAfterPinnedHorizon(t *testing.T) {
	weirtest.Long(t, "it waits for vacuum")
	t.Parallel()
	s := weirtest.StartNode(t)
	size := func() int { return s.Count(`select pg_relation_size('weir.job_lease')::int`) }
	unpin := s.ExecUncommitted(`set transaction isolation level repeatable read; select pg_current_xact_id()`)
	const batch = 10_000
	for range 8 {
		s.Count(`select count(*)::int from weir.enqueue_many((select jsonb_agg('{"kind": "k"}'::jsonb) from generate_series(1, 10000)))`)
		done := 0
		s.Eventually("the jobs are done", func() bool { // an enqueue that took long is found at the next tick
			done += s.Count(`with c as (select array_agg(job_id) as ids, array_agg(token) as tokens from weir.claim('{default}', repeat('w', 200), 10000))
				select count(*)::int from c, weir.complete_many(c.ids, c.tokens)`)
			return done >= batch
		})
	}
	pinned := size()
	if pinned <= 16<<20 {
		t.Fatalf("%d bytes: a table so small is left as it is", pinned)
	}
	unpin()
	s.Eventually(fmt.Sprintf("the %d bytes of before became a tenth", pinned), func() bool { return size() < pinned/10 })
}
