package rollup

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// unequalFailureSums are the rows of weir.rollup_failure_sum that differ from the events, and the hours that have none.
const unequalFailureSums = `with wanted as (
		select date_bin(l.length, e.at, 'epoch') as at, extract(epoch from l.length)::int as seconds, coalesce(j.queue_id, 0) as queue_id, j.kind, e.kind as event,
			coalesce(e.detail ->> 'type', '') as type, concat_ws(' ', count(*), date_bin('1 min', min(e.at), 'epoch'), max(e.at)) as numbers
		from weir.job_event e join weir.job j on j.id = e.job_id cross join (values (interval '1 hour'), (interval '24 hours')) l(length)
		where e.kind in ('failed', 'timed_out', 'lost') and (l.length = '1 hour' or date_bin(l.length, e.at, 'epoch') < weir.failure_days_until())
		group by 1, 2, j.kind, e.kind, 6, grouping sets ((), (j.queue_id))
	), have as (
		select at, seconds, queue_id, kind, event, type, concat_ws(' ', attempts, first_at, last_at) as numbers from weir.rollup_failure_sum
	)
	select concat_ws(' | ', at, seconds, queue_id, kind, event, type, h.numbers, w.numbers) from have h full join wanted w using (at, seconds, queue_id, kind, event, type)
	where h.numbers is distinct from w.numbers order by 1`

// failJobs makes failures of some classes, spread over a week.
func failJobs(t *testing.T, d *weirtest.Database) {
	t.Helper()
	weirtest.Exec(t, d, `select weir.enqueue(('{a,b}'::text[])[1 + i % 2], queue => ('{red,blue}'::text[])[1 + i % 5 / 3],
		options => case when i % 7 < 5 then jsonb_build_object('tenant', 't' || i % 3) else '{}' end) from generate_series(1, 200) i`)
	for _, queue := range []string{"red", "blue"} {
		for i, j := range weirtest.Claim(t, d, queue, 200) {
			j.Call(t, d, []string{`fail($1, $2, '{"message": "m", "type": "T"}')`, `fail($1, $2, '{"message": "m", "type": "U"}', retry => false)`, `fail($1, $2, '{"message": "m"}')`}[i%3])
		}
	}
	weirtest.Exec(t, d, "update weir.job_event set at = at - make_interval(mins => (job_id::int * 997) % 10000) where at > now() - interval '1 min'")
	weirtest.Exec(t, d, "update weir.rollup_cursor set until = date_bin('1 minute', now() - interval '8 days', 'epoch')")
}

func TestSumsOfFailuresAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	check := func(when string) {
		t.Helper()
		for _, row := range weirtest.Values[string](t, d, unequalFailureSums) {
			t.Errorf("%s a sum of failures is wrong: %s", when, row)
		}
	}
	failJobs(t, d)
	weirtest.RollUp(t, d, "0 s")
	check("after a roll-up")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.rollup_failure_sum where seconds = 86400"); n != 0 {
		t.Errorf("there are %d sums of days that are not over", n)
	}
	weirtest.Exec(t, d, "select weir.roll_up_minutes(now() - interval '2 hours', now() - interval '1 minute', true)")
	check("counted again")
	for range 2 {
		weirtest.Exec(t, d, "select weir.sweep_rollups(most => 1000)")
		check("folded")
	}
	if n := weirtest.Value[int](t, d, "select count(distinct at) from weir.rollup_failure_sum where seconds = 86400"); n < 3 {
		t.Errorf("there are sums of %d days, want three or four", n)
	}
	weirtest.Exec(t, d, "select weir.sweep_rollups('1 hour')")
	check("with more days")
	weirtest.Exec(t, d, "select weir.sweep_rollups(hours_for => '2 hours')")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.rollup_failure_sum where at < now() - interval '2 hours'"); n != 0 {
		t.Errorf("%d rows are kept for ever", n)
	}
}

// A worker that gives each failure its own class makes no more than a thousand rows an hour.
func TestSumsOfFailuresHaveABound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.enqueue('k', queue => 'q', options => jsonb_build_object('tenant', 't' || i % 40)) from generate_series(1, 1500) i`)
	weirtest.Exec(t, d, `select weir.fail(c.job_id, c.token, jsonb_build_object('message', 'm', 'type', 'T' || c.job_id), retry => false) from weir.claim('{q}', 'w', 1500) c`)
	weirtest.Exec(t, d, "update weir.job_event set at = date_bin('1 hour', now(), 'epoch') - interval '55 min'")
	weirtest.Exec(t, d, "update weir.rollup_cursor set until = date_bin('1 hour', now(), 'epoch') - interval '1 hour'")
	check := func(want string) {
		t.Helper()
		for _, of := range []string{"queue_id = 0", "queue_id <> 0"} {
			got := weirtest.Value[string](t, d, "select concat_ws(' ', count(*), sum(attempts), sum(attempts) filter (where type = '(others)')) from weir.rollup_failure_sum where "+of)
			if got != want {
				t.Errorf("%s has %s classes, attempts and those of the others, want %s", of, got, want)
			}
		}
	}
	weirtest.RollUp(t, d, "0 s")
	check("1001 1500 500")
	weirtest.Exec(t, d, `insert into weir.rollup_failure (at, queue_id, kind, event, type, message, attempts, last_at, last_job_id)
		select date_bin('1 hour', now(), 'epoch') - interval '10 min', s.queue_id, 'k', 'failed', v.type, '', 3, now(), s.last_job_id
		from weir.rollup_failure_sum s cross join lateral (values ('new'), (s.type)) v(type) where s.queue_id <> 0 and s.type like 'T%' order by s.last_job_id desc limit 2`)
	weirtest.Exec(t, d, "select weir.sum_failures(date_bin('1 hour', now(), 'epoch') - interval '10 min', date_bin('1 hour', now(), 'epoch') - interval '9 min', false)")
	check("1001 1506 503") // a class that is known goes by its name still
}
