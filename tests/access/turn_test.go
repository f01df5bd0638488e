package access

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestLocksOfOtherRolesStopNothing takes, as a role without rights, each advisory lock that weir ever took turns by, and
// tries to lock what it takes turns by now.
func TestLocksOfOtherRolesStopNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"limits": {"concurrency": 5}}')`)
	weirtest.Exec(t, d, `select weir.enqueue('k', queue => 'q')`)
	conn := weirtest.Stranger(t, d, "locker").Connect()
	for _, name := range []string{"advance_frontier", "admit 1", "admit 2", "keep_partitions", "roll_up", "dead_letter_queue", "reroute", "check_health", "seal", "count_queues"} {
		weirtest.Exec(t, conn, "select pg_advisory_lock(hashtext('weir'), hashtext($1))", name)
	}
	for _, name := range []string{"breaker 1", "breaker 2", "breaker 3", "worker w", "worker sign w"} {
		weirtest.Exec(t, conn, "select pg_advisory_lock(hashtextextended('weir.' || $1, 0))", name)
	}
	weirtest.Exec(t, conn, "select pg_advisory_lock(hashtext('weir.schedule'), hashtext('s'))")
	for _, l := range []*weirtest.Database{weirtest.Login(t, d, "operator", "'operator'", "'worker'", "'reader'", "'producer'"), weirtest.Stranger(t, d, "nobody")} {
		for _, table := range weirtest.Values[string](t, d, "select oid::regclass::text from pg_class where relnamespace in ('weir'::regnamespace, 'weir_auth'::regnamespace) and relkind in ('r', 'p', 'v')") {
			for _, mode := range []string{"access share", "exclusive"} {
				tx := l.Tx()
				if err := weirtest.TryExec(tx, "lock table "+table+" in "+mode+" mode nowait"); !weirtest.HasSQLState(err, "42501") {
					t.Errorf("a role may lock %s in %s mode: %v", table, mode, err)
				}
				weirtest.Rollback(t, tx)
			}
		}
	}

	owner := d.ConnectWithLockTimeout()
	if !weirtest.Value[bool](t, owner, "select fresh from weir.advance_frontier('0')") {
		t.Error("the frontier does not advance")
	}
	admitted := 0
	for range 5 { // the first passes begin to govern the queue
		admitted += weirtest.Value[int](t, owner, "select admitted from weir.admit('q', 1)")
	}
	if admitted != 1 {
		t.Errorf("passes admit %d jobs, want 1", admitted)
	}
	if did := weirtest.Value[string](t, owner, "select did from weir.roll_up()"); did == "busy" {
		t.Error("roll-ups stand still")
	}
	if did := weirtest.Value[string](t, owner, "select weir.keep_partitions()"); did == "busy" {
		t.Error("no partitions are made")
	}
	for _, c := range []struct{ what, query string }{
		{"dead letter queues are set", `select true from weir.set_queue('q', '{"dead_letter_queue": "lost"}')`},
		{"queues get breakers", `select true from weir.set_queue('q', '{"breaker": "b"}')`},
		{"breakers send jobs to other queues", `select true from weir.set_breaker('b', '{"failure_threshold": 1, "while_open": {"policy": "reroute", "queue": "spare"}}')`},
		{"breakers are changed by hand", `select true from weir.trip_breaker('b')`},
		{"breakers are made", `select true from weir.set_breaker('d', '{"failure_threshold": 1, "open_seconds": 0.1, "max_open_seconds": 0.1}')`},
		{"a failure is reported", `select weir.report_breaker('d', 'failure') = 'closed'`},
		{"a breaker opens at the commit of a failure", `select state = 'open' from weir.breaker where name = 'd'`},
		{"schedules are made", `select weir.set_schedule('s', '{"every_seconds": 60, "job": {"kind": "k"}}') is not null`},
		{"schedules are changed", `select weir.edit_schedule('s', '{"every_seconds": 30}') is not null`},
		{"workers are registered", `select true from weir.register_worker('w', '{"capacity": 5}')`},
		{"workers are seen", `select exists (select from weir.worker_seen where name = 'w')`},
		{"workers with a capacity claim", `select count(*) = 1 from (select weir.enqueue('k', queue => 'plain')) e, weir.admit_claims('{w}', '{1}') a where a.allowed = '{1}'`},
		{"health is checked", `select weir.check_health('0 s')`},
		{"partitions are sealed", `select weir.try_turn('seal')`},
	} {
		if !weirtest.Value[bool](t, owner, c.query) {
			t.Errorf("not so: %s", c.what)
		}
	}
	weirtest.Eventually(t, "breakers that have waited are probed", func() bool {
		weirtest.Exec(t, owner, "select weir.tick_breakers()")
		return weirtest.Value[bool](t, owner, "select state = 'half_open' from weir.breaker where name = 'd'")
	})
}

// TestAFrontierThatStandsStillIsSeen keeps the turn of the frontier from all nodes, as a defect might.
func TestAFrontierThatStandsStillIsSeen(t *testing.T) {
	weirtest.Long(t, "the frontier must be old")
	t.Parallel()
	s := weirtest.StartNode(t)
	tx := s.DB.Tx()
	weirtest.Exec(t, tx, "select weir.take_turn('advance_frontier')")
	s.Eventually("the metric says that the frontier is old", func() bool {
		s.Enqueue(weirtest.Object{"kind": "k"}) // or there would be nothing to look up
		return s.Metric("weir_frontier_age_seconds") > 7
	})
	weirtest.Rollback(t, tx)
	s.Eventually("the frontier is young again", func() bool { return s.Metric("weir_frontier_age_seconds") < 6 })
}
