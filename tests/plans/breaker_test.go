package plans

import (
	"fmt"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// As TestCallsReadOnlyWhatTheyNeed, for circuit breakers: thousands of them, a few of which have work.
func TestBreakerCallsReadOnlyWhatTheyNeed(t *testing.T) {
	weirtest.Long(t, "it fills tables")
	t.Parallel()
	d := weirtest.New(t)
	const settings = `{"half_open_probes": 5, "close_after": 5, "ramp_per_second": 200, "ramp_factor": 1, "window_seconds": 10}`
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 3600}'), weir.set_queue('own', '{"breaker": "own"}')`)
	for _, name := range []string{"due", "back", "own", "well", "shut"} {
		weirtest.Exec(t, d, "select weir.set_breaker($1, $2)", name, settings)
	}
	weirtest.Exec(t, d, "select weir.pin_breaker('shut', 'open')")
	weirtest.Exec(t, d, "update weir.breaker set release_from = '-infinity', released = 0")
	id := func(name string) int {
		return weirtest.Value[int](t, d, "select id from weir.breaker where name = $1", name)
	}
	some := func(first, n int) string {
		return fmt.Sprintf("array(select i::bigint from generate_series(%d, %d) i)", first, first+n-1)
	}
	failures := "array_fill('{\"type\": \"Timeout\", \"message\": \"m\"}'::jsonb, array[200])"
	const job = `{"kind": "a", "queue": "q", "breaker": "%s"}`
	warmUp := []string{
		"select weir.enqueue_many('[" + fmt.Sprintf(job, "due") + "," + fmt.Sprintf(job, "back") + "," + fmt.Sprintf(job, "shut") + `, {"kind": "a", "queue": "own"}, {"kind": "a", "queue": "q"}]')`,
		"select weir.trip_breaker('due', open_seconds => 0.1), weir.trip_breaker('back', open_seconds => 0.1), weir.trip_breaker('own', open_seconds => 0.1)",
		"select weir.claim(array['q', 'own'], 'w', 200)",
		"update weir.breaker set next_probe_at = clock_timestamp() where pinned is null and state = 'open'",
		"select weir.tick_breakers()",
		"select weir.tick_breakers()",
		"select weir.claim(array['q', 'own'], 'w', 200)",
		"select weir.fail_many(array_agg(job_id), array_agg(token), array_agg('{}'::jsonb)) from weir.job_lease",
		"select weir.reset_breaker('back'), weir.reset_breaker('own')",
		"update weir.breaker set release_from = clock_timestamp() - interval '1 s' where state = 'closed'",
		"select weir.tick_breakers()",
		"select weir.report_breaker('well', 'failure')",
	}
	calls := []plannedCall{
		{sql: "select breakers from weir.tick_breakers()", want: 4, rows: 12},
		{sql: fmt.Sprintf("select weir.tick_breaker(%d, 200)", id("due")), want: 5},
		{
			first: "select weir.reset_breaker('back'); update weir.breaker set release_from = clock_timestamp() - interval '1 s' where name = 'back'",
			sql:   fmt.Sprintf("select weir.tick_breaker(%d, 200)", id("back")), want: 200,
		},
		{
			first: "update weir.breaker set release_from = clock_timestamp() - interval '1 s', state = 'closed' where name = 'own'",
			sql:   fmt.Sprintf("select weir.tick_breaker(%d, 200)", id("own")), want: 200,
		},
		{sql: "select count(*) from weir.claim_batch(array['q', 'own'], array['w'], array[100], array[3600]) where refusal is null", want: 100, rows: 2100},
		{sql: "select count(*) from weir.complete_many(" + some(60001, 200) + ", " + some(60001, 200) + ")", want: 200},
		{sql: "select count(*) from weir.fail_many(" + some(60001, 200) + ", " + some(60001, 200) + ", " + failures + ")", want: 200},
		{sql: "select count(*) from weir.fail_many(" + some(79801, 200) + ", " + some(79801, 200) + ", " + failures + ")", want: 200}, // probes
		{first: "set constraints all immediate", sql: "select length(weir.report_breaker('well', 'failure'))", want: 6},               // judged at once
		{sql: "select count(*) from (select weir.trip_breaker('due')) x", want: 1},
		{sql: "select count(*) from (select weir.reset_breaker('due')) x", want: 1},
		{sql: "select count(*) from (select weir.set_breaker('due', '{\"close_after\": 3}')) x", want: 1},
		{sql: "select count(*) from (select weir.delete_breaker('x3000')) x", want: 1},
		{sql: "select count(*) from weir.why(101)", want: 1, rows: 10},
		{sql: "select count(*) from (select weir.cancel(101)) x", want: 1},
		{sql: "select count(*) from (select weir.cancel(30101)) x", want: 1},
		{sql: "select weir.sweep_breakers(1000)", want: 100, rows: 2100}, // of 2000 breakers with samples
		{sql: "select window_ok from weir.breakers where breaker = 'well'", want: 0, rows: 1, viewed: true},
		{sql: "select count(*) from (select * from weir.breaker_events where breaker = 'x17' order by id desc limit 10) x", want: 10, viewed: true},
		{sql: "select count(*) from (select * from weir.breaker_events where breaker = 'well' order by id desc limit 10) x", want: 1, rows: 10, viewed: true},
		{sql: "select count(*) from (select * from weir.breaker_events where at > now() - interval '1 hour' order by id) x", want: 7, viewed: true},
	}
	checkReads(t, d, `^(job_ready|job_lease|job_scheduled|job_held|line_reservation|admission_inbox|breaker|breaker_.*|.*_p\d+)$`, warmUp, calls, func() {
		weirtest.Exec(t, d, "alter sequence weir.job_id_seq restart 1000000")
		weirtest.Exec(t, d, "update weir.breaker set state = 'half_open', gated = true, version = 900000, changed_at = now(), next_probe_at = null where name in ('due', 'own')")
		weirtest.Exec(t, d, "update weir.breaker set state = 'open', gated = true, next_probe_at = 'infinity' where name = 'back'")
		for _, sql := range []string{
			"insert into weir.breaker (name, failure_threshold) select 'x' || i, 5 from generate_series(1, 3000) i",
			"insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args, breaker) select i, 1, 300, 1 + i % 10, 5, 'a', '{}', case when i % 2 = 0 then 'shut' else 'back' end from generate_series(1, 30000) i",
			"insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq) select id, queue_id, priority, 0, 'breaker', breaker, id from weir.job where id between 1 and 20000",
			"insert into weir.job_ready (queue_id, priority, seq) select queue_id, priority, id from weir.job where id between 20001 and 30000",
			"insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args) select i, 1 + (i > 50000)::int, 300, 1 + i % 10, 5, 'a', '{}' from generate_series(30001, 60000) i",
			"insert into weir.job_held (job_id, queue_id, priority, attempt, reason) select id, queue_id, priority, 0, 'dependency' from weir.job where id between 30001 and 40000",
			"insert into weir.job_ready (queue_id, priority, seq) select queue_id, priority, id from weir.job where id between 40001 and 60000",
			"insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args, breaker) select i, 1, 300, 1 + i % 10, 5, 'a', '{}', 'well' from generate_series(60001, 80000) i",
			fmt.Sprintf("insert into weir.job_lease (job_id, token, leased_at, expires_at, queue_id, lease_seconds, priority, attempt, worker, breaker_id) select id, id, now(), now() + interval '1 hour', queue_id, 30, priority, 1, 'w', %d from weir.job where id between 60001 and 80000", id("well")),
			"insert into weir.breaker_probe (breaker_id, job_id, version) select 1000 + i % 1000, 75000 + i, 900000 from generate_series(1, 5000) i",
			"insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args, breaker) select i, 1, 300, 1 + i % 10, 5, 'a', '{}', 'due' from generate_series(80001, 100000) i",
			"insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq) select id, queue_id, priority, 0, 'breaker', breaker, id from weir.job where id between 80001 and 100000",
			"insert into weir.breaker_sample (breaker_id, at, ok, failed, summed) select 100 + i % 2000, now() - 10 * interval '1 minute', 1, 1, true from generate_series(1, 20000) i",
			fmt.Sprintf("insert into weir.breaker_sample (breaker_id, at, ok, failed) select %d, date_trunc('second', now()) - interval '30 s' + i * interval '1 ms', 1, 0 from generate_series(1, 100) i", id("well")),
			fmt.Sprintf("insert into weir.breaker_sample (breaker_id, at, ok, failed, summed) select %d, now() - i * interval '1 s', 1, 0, true from generate_series(60, 3600) i", id("well")),
			"insert into weir.breaker_event (at, breaker_id, breaker, event, from_state, state) select now() - interval '2 days', 100 + i % 2000, 'x' || 100 + i % 2000 - 100, 'set', 'closed', 'closed' from generate_series(1, 20000) i",
			"insert into weir.breaker_event (at, breaker_id, breaker, event, from_state, state) select now() - interval '2 days', 17, 'x17', 'set', 'closed', 'closed' from generate_series(1, 20) i",
			"insert into weir.breaker_result (breaker_id, fingerprint, job_id) select 100, md5(i::text)::uuid, i from generate_series(1, 20000) i",
		} {
			weirtest.Exec(t, d, sql)
		}
	})
}
