package plans

import (
	"fmt"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// As TestCallsReadOnlyWhatTheyNeed, for workflows: thousands of them, in every state.
func TestWorkflowCallsReadOnlyWhatTheyNeed(t *testing.T) {
	weirtest.Long(t, "it fills tables")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "create table picked (name text primary key, ids bigint[], tokens bigint[])")
	weirtest.Exec(t, d, "select weir.set_queue('a'), weir.set_queue('b'), weir.set_queue('e')")
	// a, then b, c and d, then e, which needs all three; s waits for a signal and z for a time.
	const definition = `{"name": "w", "deadline_seconds": 86400, "steps": [{"name": "a", "kind": "k", "queue": "a"},
		{"name": "b", "kind": "k", "queue": "b", "depends_on": ["a"]}, {"name": "c", "kind": "k", "queue": "b", "depends_on": ["a"]}, {"name": "d", "kind": "k", "queue": "b", "depends_on": ["a"]},
		{"name": "e", "kind": "k", "queue": "e", "depends_on": ["b", "c", "d"]}, {"name": "s", "wait_for": {"signal": "go"}}, {"name": "z", "wait_for": {"seconds": 80000}}]}`
	submit := func(n int) string {
		return fmt.Sprintf("select count(weir.submit_workflow('%s')) from generate_series(1, %d)", definition, n)
	}
	pick := func(queue string, n int) string {
		return fmt.Sprintf("insert into picked select '%[1]s', array_agg(job_id order by job_id), array_agg(token order by job_id) from weir.claim(array['%[1]s'], 'w', %[2]d)", queue, n)
	}
	ids := func(name string) string { return "(select ids from picked where name = '" + name + "')" }
	tokens := func(name string) string { return "(select tokens from picked where name = '" + name + "')" }
	one := func(name string) string { return "(select ids[1] from picked where name = '" + name + "')" }
	ack := func(function, name, more string) string {
		return fmt.Sprintf("select count(*) from weir.%s(%s, %s%s)", function, ids(name), tokens(name), more)
	}
	const workflow = "(select ids[1] from picked where name = 'workflow')"
	pickWorkflow := "insert into picked select 'workflow', array[s.workflow_id] from weir.workflow_step s where s.job_id = " + one("b")
	pickFailed := "insert into picked select 'failed', array[max(w.id)] from weir.workflow w where w.state = 'failed'"
	die := ", array_fill('{}'::jsonb, array[cardinality(" + ids("b") + ")]), null, array_fill(false, array[cardinality(" + ids("b") + ")])"
	warmUp := []string{
		"truncate picked", submit(3), pick("a", 3), ack("complete_many", "a", ""), pick("b", 4), pickWorkflow, ack("complete_many", "b", ""), pick("e", 1),
		"delete from picked where name = 'b'", pick("b", 2), ack("fail_many", "b", die), "truncate picked", submit(3), pick("a", 2), pick("b", 3), pickWorkflow, pickFailed,
	}
	calls := []plannedCall{
		{sql: submit(20), want: 20, rows: 140},
		{sql: ack("complete_many", "a", ""), want: 100, rows: 500},
		{sql: ack("complete_many", "b", ""), want: 99, rows: 300},
		{sql: ack("complete_many", "e", ""), want: 100, rows: 300},
		{sql: ack("fail_many", "b", die), want: 99, rows: 33 * 12},
		{sql: ack("fail_many", "a", ", array_fill('{}'::jsonb, array[100])"), want: 100, rows: 300},
		{sql: ack("release_many", "a", ""), want: 100, rows: 300},
		{sql: "select count(*) from weir.claim_batch(array['b'], array['w'], array[90], array[3600]) where refusal is null", want: 90, rows: 200},
		{sql: "select count(*) from weir.claim_batch(array['e'], array['w'], array[90], array[3600]) where refusal is null", want: 90, rows: 900}, // with the results of three each
		{sql: "select weir.signal(" + workflow + ", 'go')", want: 1, rows: 10},
		{sql: "select handled from weir.run_workflow_timers(500)", want: 0, rows: 1},
		{first: "update weir.workflow_wait set until = now() where job_id = any (array(select x.job_id from weir.workflow_wait x where x.until is not null order by x.until limit 10))", sql: "select handled from weir.run_workflow_timers(500)", want: 10, rows: 80},
		{first: "update weir.workflow set deadline_at = now() where id = " + workflow, sql: "select handled from weir.run_workflow_timers(500)", want: 1, rows: 20},
		{sql: "select count(*) from weir.add_steps(" + one("a") + ", " + "(select tokens[1] from picked where name = 'a')" + `, '[{"name": "more", "kind": "k", "queue": "b", "depends_on": ["a"]}]')`, want: 1, rows: 10},
		{sql: "select length(weir.cancel_workflow(" + workflow + "))", want: 8, rows: 20},
		{sql: "select (weir.retry_workflow(" + one("failed") + ") is not null)::int", want: 1, rows: 20},
		{sql: "select (weir.fork_workflow(" + one("failed") + ", array['a']) > 0)::int", want: 1, rows: 30},
		{sql: "select count(*) from weir.dependencies(" + one("e") + ")", want: 3, rows: 6},
		{sql: "select count(*) from weir.workflow_timeline(" + workflow + ")", want: 20, rows: 30},
		{sql: "select count(*) from weir.check_workflows(" + workflow + ")", want: 0, rows: 30},
		{sql: "select completed from weir.workflows where id = " + workflow, want: 1, rows: 20, viewed: true},
		{sql: "select count(state) from weir.workflow_steps where workflow_id = " + workflow, want: 7, rows: 20, viewed: true},
		{sql: "select count(*) from (select w.id from weir.workflow w where w.id < 9223372036854775807 and w.finished_at is null and w.state = 'running' order by w.id desc limit 10) x", want: 10, viewed: true},
	}
	checkReads(t, d, `^(job_ready|job_lease|job_scheduled|job_held|line_reservation|workflow|workflow_join|workflow_wait|.*_p\d+)$`, warmUp, calls, func() {
		weirtest.Exec(t, d, submit(1000))
		for range 6 {
			weirtest.Exec(t, d, "truncate picked")
			weirtest.Exec(t, d, pick("a", 100))
			weirtest.Exec(t, d, ack("complete_many", "a", ""))
		}
		for range 4 {
			weirtest.Exec(t, d, "delete from picked where name = 'b'")
			weirtest.Exec(t, d, pick("b", 150))
			weirtest.Exec(t, d, ack("complete_many", "b", ", array_fill('1'::jsonb, array[cardinality("+ids("b")+")])"))
		}
		weirtest.Exec(t, d, "delete from picked where name = 'b'")
		weirtest.Exec(t, d, pick("b", 60))
		weirtest.Exec(t, d, ack("fail_many", "b", die))
		weirtest.Exec(t, d, "truncate picked")
		weirtest.Exec(t, d, pick("a", 100))
		weirtest.Exec(t, d, pick("b", 99))
		weirtest.Exec(t, d, pick("e", 100))
		weirtest.Exec(t, d, pickWorkflow)
		weirtest.Exec(t, d, pickFailed)
	})
}
