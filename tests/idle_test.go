package tests

import (
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// While few jobs come and go, the node seldom looks where claims are to begin; who commits late is found all the same.
func TestANodeFindsALateCommitterWithinASecond(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	d := s.DB
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	took := time.Hour
	for round := 0; round < 10 && took > time.Second; round++ { // of which one is not held up by the machine
		tx, err := s.DB.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		late := weirtest.EnqueueOne(t, tx, "q")
		for range 15 { // so that the frontier moves on, with the late one behind it
			weirtest.EnqueueOne(t, d, "q")
			weirtest.Complete(t, d, weirtest.Claim(t, d, "q", 10)...)
			time.Sleep(100 * time.Millisecond)
		}
		weirtest.Commit(t, tx)
		committed := time.Now()
		weirtest.Eventually(t, "the late job is claimed", func() bool {
			jobs := weirtest.Claim(t, d, "q", 1)
			weirtest.Complete(t, d, jobs...)
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
	s := weirtest.StartNode(t)
	d := s.DB
	late := time.Hour
	for round := 0; round < 10 && late > 150*time.Millisecond; round++ { // of which one is not held up by the machine
		time.Sleep(1200 * time.Millisecond) // it has nothing to do
		weirtest.Exec(t, d, `select weir.enqueue('later', queue => 'q', run_at => now() + interval '1.7 s')`)
		weirtest.Eventually(t, "it is available", func() bool { return weirtest.Value[int](t, d, "select count(*)::int from weir.job_ready") == 1 })
		j := weirtest.ClaimOne(t, d, "q")
		late = min(late, time.Duration(weirtest.Value[float64](t, d, `select extract(epoch from clock_timestamp() - min(t.at)) from weir.timeline($1) t where t.event = 'available'`, j.ID)*float64(time.Second)))
		weirtest.Complete(t, d, j)
	}
	if late > 150*time.Millisecond {
		t.Errorf("it was available %s after it was due", late)
	}
}

// Loops that look at the database rest between their looks, also where there is nothing that tells them when to look next.
func TestANodeWithNothingToDoLeavesTheDatabaseInPeace(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	if none := weirtest.Value[bool](t, s.DB, "select next_in_seconds is null from weir.tend_workflows()"); !none {
		t.Error("without workflows there is a time at which one is to be tended")
	}
	committed := func() int {
		return weirtest.Value[int](t, s.DB, "select xact_commit::int from pg_stat_database where datname = current_database()")
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
