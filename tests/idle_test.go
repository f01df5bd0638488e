package tests

import (
	"testing"
	"time"
)

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
	const seconds, most = 4, 150 // it is about fifty a second
	time.Sleep(time.Second)      // sessions tell of their transactions a second late
	before, since := committed(), time.Now()
	time.Sleep(seconds * time.Second)
	n, took := committed()-before, time.Since(since)
	if float64(n) > most*took.Seconds() {
		t.Errorf("%d transactions in %s, and nothing to do", n, took)
	}
}
