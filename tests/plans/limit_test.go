package plans

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// As TestCallsReadOnlyWhatTheyNeed, for queues with limits: two with thousands of lines each.
func TestLimitCallsReadOnlyWhatTheyNeed(t *testing.T) {
	weirtest.Long(t, "it fills tables")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "create table picked (name text primary key, ids bigint[], tokens bigint[])")
	weirtest.SetLimits(t, d, "g", `{"per_key": 2, "concurrency": 100000}`)
	weirtest.SetLimits(t, d, "h", `{"per_key": 1, "tenants": {}}`)
	weirtest.Admit(t, d, "g", 0)
	weirtest.Admit(t, d, "h", 0)
	const (
		ids    = "(select ids from picked where name = 'leased')"
		tokens = "(select tokens from picked where name = 'leased')"
		one    = "(select ids[1] from picked where name = 'held')"
		pick   = "insert into picked select 'leased', array_agg(job_id order by job_id), array_agg(token order by job_id) from weir.claim(array['g'], 'w', 200)"
	)
	some := func(queue, n string) string {
		return "select count(*) from weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'k', 'queue', '" + queue + "', 'concurrency_key', 'k' || i % 5000, 'tenant', 't' || i % 50)) from generate_series(1, " + n + ") i))"
	}
	warmUp := []string{
		"truncate picked", some("g", "5"), some("h", "5"), "select weir.admit('g', 2), weir.admit('h', 2)", pick,
		"insert into picked select 'held', array_agg(job_id) from weir.job_held",
	}
	calls := []plannedCall{
		{sql: "select least(admitted, 200) from weir.admit('g', 200)", want: 200, rows: 1000}, // up to five times the number wanted, where claims follow each other quickly
		{sql: "select least(admitted, 100) from weir.admit('h', 100)", want: 100, rows: 500},
		{first: "select weir.admit('g', 100)", sql: "select count(*) from weir.claim_batch(array['g'], array['w'], array[100], array[3600]) where refusal is null", want: 100},
		{sql: "select count(*) from weir.complete_many(" + ids + ", " + tokens + ")", want: 200},
		{sql: "select count(*) from weir.fail_many(" + ids + ", " + tokens + ", array_fill('{}'::jsonb, array[200]))", want: 200},
		{sql: "select count(*) from weir.snooze_many(" + ids + ", " + tokens + ", array_fill('1 s'::interval, array[200]))", want: 200},
		{sql: "select count(*) from weir.release_many(" + ids + ", " + tokens + ")", want: 200},
		{first: "select weir.admit('g', 0); select weir.complete_many(" + ids + ", " + tokens + ")", sql: "select count(*) from weir.admit('g', 1)", want: 1, rows: 202}, // the notes of 200
		{sql: some("g", "200"), want: 200},
		{sql: "select count(*) from (select weir.cancel(" + one + ")) x", want: 1},
		{sql: "select count(*) from (select weir.edit(" + one + ", '{\"priority\": 9}')) x", want: 1},
		{sql: "select count(*) from weir.why(" + one + ")", want: 1, rows: 10},
		{sql: "select count(*) from (select weir.set_limit('g', key => 'k7', limits => '{\"concurrency\": 5}')) x", want: 1},
		{sql: "select count(*) from weir.admissions()", want: 2},
		{sql: "select weir.purge_queue('g', 200)", want: 200},
		{sql: "select sum(waiting + in_flight) from weir.lines where queue = 'g' and line = '1k7'", want: 4, viewed: true},
		{sql: "select count(*) from weir.lines where queue = 'g' and line = any (array(select n from weir.line_names('g', '1k2', 100) n))", want: 100, viewed: true}, // as a page over REST
	}
	checkReads(t, d, `^(job_ready|job_lease|job_scheduled|job_held|line_reservation|line|admission_inbox|tenant_share|.*_p\d+)$`, warmUp, calls, func() {
		for range 4 {
			weirtest.Exec(t, d, some("g", "5000"))
			weirtest.Exec(t, d, some("h", "5000"))
		}
		weirtest.Eventually(t, "all are in their lines", func() bool {
			weirtest.Exec(t, d, "select weir.advance_frontier('0 s')")
			weirtest.Exec(t, d, "select weir.admit('g', 0)")
			weirtest.Exec(t, d, "select weir.admit('h', 0)")
			return weirtest.Value[int](t, d, "select count(*)::int from weir.job_ready r where exists (select from weir.queue q where q.id = r.queue_id)") == 0
		})
		for claimed := 0; claimed < 200; {
			weirtest.Exec(t, d, "select weir.admit('g', 200)")
			weirtest.Exec(t, d, "truncate picked")
			weirtest.Exec(t, d, pick)
			claimed = weirtest.Value[int](t, d, "select cardinality(ids) from picked")
		}
		weirtest.Exec(t, d, "insert into picked select 'held', array[max(job_id)] from weir.job_held where queue_id = weir.queue_id('g')")
	})
}
