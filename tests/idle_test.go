package tests

import (
	"testing"
	"time"
)

// While few jobs come and go, the node seldom looks where claims are to begin; who commits late is found all the same.
func TestANodeFindsALateCommitterWithinASecond(t *testing.T) {
	t.Parallel()
	s := startService(t)
	d := &database{Pool: s.pool, t: t}
	do(t, d, "select weir.set_queue('q')")
	took := time.Hour
	for round := 0; round < 10 && took > time.Second; round++ { // of which one is not held up by the machine
		tx, err := s.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		late := enqueueOne(t, tx, "q")
		for range 15 { // so that the frontier moves on, with the late one behind it
			enqueueOne(t, d, "q")
			complete(t, d, claim(t, d, "q", 10)...)
			time.Sleep(100 * time.Millisecond)
		}
		commit(t, tx)
		committed := time.Now()
		eventually(t, "the late job is claimed", func() bool {
			jobs := claim(t, d, "q", 1)
			complete(t, d, jobs...)
			return len(jobs) == 1 && jobs[0].ID == late
		})
		took = time.Since(committed)
	}
	if took > time.Second {
		t.Errorf("it was found %s after its commit", took)
	}
}

// What is due is known ahead, so it is found when it is due.
func TestANodeWithNothingToDoFindsWhatIsDueAtItsTime(t *testing.T) {
	t.Parallel()
	s := startService(t)
	d := &database{Pool: s.pool, t: t}
	late := time.Hour
	for round := 0; round < 10 && late > 150*time.Millisecond; round++ { // of which one is not held up by the machine
		time.Sleep(1200 * time.Millisecond) // it has nothing to do
		do(t, d, `select weir.enqueue('later', queue => 'q', run_at => now() + interval '1.7 s')`)
		eventually(t, "it is available", func() bool { return ask[int](t, d, "select count(*)::int from weir.job_ready") == 1 })
		j := claimOne(t, d, "q")
		late = min(late, time.Duration(ask[float64](t, d, `select extract(epoch from clock_timestamp() - min(t.at)) from weir.timeline($1) t where t.event = 'available'`, j.ID)*float64(time.Second)))
		complete(t, d, j)
	}
	if late > 150*time.Millisecond {
		t.Errorf("it was available %s after it was due", late)
	}
}

// Loops that look at the database rest between their looks, also where there is nothing that tells them when to look next.
func TestANodeWithNothingToDoLeavesTheDatabaseInPeace(t *testing.T) {
	t.Parallel()
	s := startService(t)
	if none := ask[bool](t, s.pool, "select next_in_seconds is null from weir.tend_workflows()"); !none {
		t.Error("without workflows there is a time at which one is to be tended")
	}
	committed := func() int {
		return ask[int](t, s.pool, "select xact_commit::int from pg_stat_database where datname = current_database()")
	}
	const seconds, most = 6, 30 // it is about twelve a second, of the chores four
	time.Sleep(time.Second)     // sessions tell of their transactions a second late
	before, since := committed(), time.Now()
	time.Sleep(seconds * time.Second)
	n, took := committed()-before, time.Since(since)
	if float64(n) > most*took.Seconds() {
		t.Errorf("%d transactions in %s, and nothing to do", n, took)
	}
}
