package frontier

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestTicksLookAtQueuesInUse makes many queues, moves jobs of a few in every way, and compares each tick with a look at all queues.
func TestTicksLookAtQueuesInUse(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "insert into weir.queue (name) select 'idle' || n from generate_series(1, 1500) n")
	weirtest.Exec(t, d, `select weir.set_queue('limited', '{"limits": {"concurrency": 1}}')`)
	tick := func(after string) {
		t.Helper()
		weirtest.Exec(t, d, "select weir.advance_frontier('0')")
		wrong := weirtest.Values[string](t, d, `select concat_ws(' ', q.name, p, f.positions[p], r.first) from weir.queue q cross join unnest(array[q.id, q.admitted_id]) u(id)
			cross join generate_series(1, 10) p
			cross join lateral (select min(r.seq) - 1 as first from weir.job_ready r where r.queue_id = u.id and r.priority = p) r
			left join lateral (select x.positions from weir.frontier x where x.queue_id = u.id order by x.tick desc limit 1) f on true
			where u.id is not null and (u.id = q.id or q.governed) and f.positions[p] is distinct from r.first`)
		if len(wrong) > 0 {
			t.Errorf("after %s these frontiers are not at the first entry: %v", after, wrong)
		}
	}
	looked := func() int {
		return weirtest.Value[int](t, d, `select coalesce(cardinality(weir.queues_to_look_at(w, pg_sequence_last_value('weir.job_id_seq'), null)), -1)
			from weir.watermark w order by w.tick desc limit 1`)
	}
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'a')")
	tick("the first job")
	for _, step := range []struct{ what, query string }{
		{"an enqueue", "select weir.enqueue('k', queue => 'a')"},
		{"a new queue", "select weir.enqueue('k', queue => 'b', priority => 9)"},
		{"a claim", "select weir.claim('{a}', 'w', 1)"},
		{"a release", "select weir.release(job_id, token) from weir.job_lease"},
		{"another claim", "select weir.claim('{a}', 'w', 5)"},
		{"a failure", `select weir.fail(job_id, token, '{"message": "m"}', '0') from weir.job_lease limit 1`},
		{"a snooze", "select weir.snooze(job_id, token, '0.1 s') from weir.job_lease limit 1"},
		{"jobs with limits", "select weir.enqueue('k', queue => 'limited') from generate_series(1, 3)"},
		{"an admission", "select weir.admit('limited', 10)"},
		{"another admission", "select weir.admit('limited', 10)"},
		{"a claim with limits", "select weir.claim('{limited}', 'w', 1)"},
		{"another priority", "select weir.edit(job_id, '{\"priority\": 2}') from weir.jobs j, lateral (select j.id as job_id) x where j.queue = 'b' and j.state = 'available' limit 1"},
		{"a promotion", "select weir.enqueue('k', queue => 'idle7', run_at => now() - interval '1 s')"},
		{"the last claim", "select weir.claim('{a,b,idle7}', 'w', 10)"},
		{"nothing", "select 1"},
	} {
		weirtest.Exec(t, d, step.query)
		tick(step.what)
		if n := looked(); n < 0 || n > 10 {
			t.Errorf("after %s a tick looks at %d queues (-1: all)", step.what, n)
		}
	}

	late := d.Tx()
	weirtest.Exec(t, late, "select weir.enqueue('k', queue => 'idle9')")
	for range 5 {
		weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'b')")
		weirtest.Exec(t, d, "select weir.claim('{b}', 'w', 10)")
		weirtest.Exec(t, d, "select weir.advance_frontier('0')")
	}
	weirtest.Commit(t, late)
	tick("a late commit")
}
