package access

import (
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestLoginsOfATenantUseItsQueues: a worker and an operator with a tenant, for all queues, reach those that belong to it.
func TestLoginsOfATenantUseItsQueues(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('mine', '{"tenant": "acme"}'), weir.set_queue('theirs', '{"tenant": "other"}'), weir.set_queue('shared')`)
	for _, queue := range []string{"mine", "theirs", "shared"} {
		weirtest.Exec(t, d, "select weir.enqueue('k', queue => $1)", queue)
	}
	l := weirtest.Login(t, d, "of_acme", "'worker', tenant => 'acme'", "'operator', tenant => 'acme'", "'producer', tenant => 'acme'")
	for _, queue := range []string{"theirs", "shared"} {
		weirtest.WantSQLState(t, weirtest.TryExec(l, "select weir.claim(array[$1], 'w')", queue), "WR011")
		weirtest.WantSQLState(t, weirtest.TryExec(l, "select weir.pause_queue($1)", queue), "WR011")
	}
	weirtest.WantSQLState(t, weirtest.TryExec(l, "select weir.enqueue('k', queue => 'theirs')"), "WR018")
	weirtest.Exec(t, l, "select weir.enqueue('k', queue => 'shared')")
	weirtest.Exec(t, l, "select weir.pause_queue('mine')")
	weirtest.Exec(t, l, "select weir.resume_queue('mine')")
	if n := weirtest.Value[int](t, l, "select count(*) from weir.claim('{mine}', 'w', 10)"); n != 1 {
		t.Errorf("it claims %d jobs of its queue", n)
	}
	if got := weirtest.Values[string](t, l, "select queue from weir_read.queue_depth"); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("it sees the depth of %v", got)
	}
	foreign := weirtest.Value[int64](t, d, "select min(id) from weir.jobs where queue = 'theirs'")
	weirtest.WantSQLState(t, weirtest.TryExec(l, "select weir.why($1)", foreign), "WR002")
	named := weirtest.Login(t, d, "named", "'worker', '{sha*}', 'acme'")
	if n := weirtest.Value[int](t, named, "select count(*) from weir.claim('{shared}', 'w', 10)"); n != 2 {
		t.Errorf("a worker that names the queue claims %d jobs", n)
	}
}

// TestWhyTellsALoginOfATenantNoNumbers of the jobs in a queue that tenants share.
func TestWhyTellsALoginOfATenantNoNumbers(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('mine', '{"tenant": "acme"}')`)
	l := weirtest.Login(t, d, "asks", "'producer', tenant => 'acme'")
	for _, queue := range []string{"mine", "shared"} {
		weirtest.Exec(t, d, "select weir.enqueue('k', queue => $1) from generate_series(1, 3)", queue)
	}
	weirtest.Settle(t, d)
	for queue, want := range map[string]string{"mine": "3", "shared": "none"} {
		id := weirtest.Value[int64](t, l, "select weir.enqueue('k', queue => $1)", queue)
		if got := weirtest.Value[string](t, l, "select coalesce(detail ->> 'ahead', 'none') from weir.why($1) where code = 'backlog_ahead'", id); got != want {
			t.Errorf("in queue %s it is told %s", queue, got)
		}
	}
}
