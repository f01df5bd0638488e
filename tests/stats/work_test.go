package stats

import (
	"fmt"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

// work makes 300 jobs of two queues and three kinds that wait and run for some seconds and end in every way.
func work(t *testing.T, d *weirtest.Database) {
	t.Helper()
	weirtest.Exec(t, d, "select weir.set_queue('red', '{\"lease_seconds\": 3600}'), weir.set_queue('blue', '{\"lease_seconds\": 3600}')")
	weirtest.Exec(t, d, `select weir.enqueue(('{a,b,c}'::text[])[1 + i % 3], queue => case when i % 5 < 2 then 'red' else 'blue' end,
		options => case when i % 7 < 3 then '{"tenant": "acme"}' when i % 7 < 6 then '{"tenant": "globex"}' else '{}' end::jsonb) from generate_series(1, 300) i`)
	weirtest.Exec(t, d, "update weir.job set created_at = created_at - make_interval(secs => 60 + id % 37 + (id * 7) % 53)")
	jobs := append(weirtest.Claim(t, d, "red", 100), weirtest.Claim(t, d, "blue", 160)...)
	weirtest.Exec(t, d, "update weir.job_lease set leased_at = leased_at - make_interval(secs => 1 + (job_id * 7) % 53)")
	for i, j := range jobs {
		switch i % 13 {
		case 0:
			j.Call(t, d, `fail($1, $2, '{"message": "slow", "type": "Timeout"}', '1 hour')`)
		case 1:
			j.Call(t, d, `fail($1, $2, '{"message": "gone"}', retry => false)`)
		case 2:
			j.Call(t, d, fmt.Sprintf(`fail($1, $2, '{"message": "no route %d", "type": "Network"}', retry => false)`, i))
		case 3:
			j.Call(t, d, "snooze($1, $2, '1 hour')")
		case 4:
			j.Call(t, d, "release($1, $2)")
		case 5:
			j.Call(t, d, "snooze($1, $2, '1 hour')")
			weirtest.Exec(t, d, "select weir.cancel($1)", j.ID)
		default:
			weirtest.Complete(t, d, j)
		}
	}
}

// chosen says of which jobs numbers are: a queue, a kind, a tenant; empty: of all.
type chosen struct{ queue, kind, tenant string }

func (c chosen) query() string {
	query := ""
	for name, value := range map[string]string{"queue": c.queue, "kind": c.kind, "tenant": c.tenant} {
		if value != "" {
			query += "&" + name + "=" + value
		}
	}
	return query
}

// counted are the jobs and attempts that a query is about: q is the queue's name.
func counted(c chosen) string {
	where := " where true"
	for column, value := range map[string]string{"q.name": c.queue, "j.kind": c.kind, "j.tenant": c.tenant} {
		if value != "" {
			where += " and " + column + " = '" + value + "'"
		}
	}
	return where
}

// plainCounts counts over the jobs themselves what a throughput has, in the same order.
func plainCounts(t *testing.T, q weirtest.Querier, c chosen) string {
	t.Helper()
	const of = " join weir.job j on j.id = x.job_id join weir.queue q on q.id = j.queue_id"
	where := counted(c)
	return weirtest.Value[string](t, q, `select concat_ws(' ', (select count(*) from weir.job j join weir.queue q on q.id = j.queue_id`+where+`),
		(select concat_ws(' ', count(*) filter (where x.state = 'completed'), count(*) filter (where x.state = 'dead'), count(*) filter (where x.state = 'cancelled'))
			from weir.job_outcome x`+of+where+`),
		(select concat_ws(' ', count(*) filter (where x.kind = 'failed'), count(*) filter (where x.kind = 'snoozed'), count(*) filter (where x.kind = 'released'))
			from weir.job_event x`+of+where+`))`)
}

// plainTimes are the exact waits or runs: count, longest, and the three percentiles.
func plainTimes(t *testing.T, q weirtest.Querier, c chosen, runs bool) []float64 {
	t.Helper()
	times := "x.started_at - j.created_at"
	attempts := `select job_id, started_at, finished_at from weir.job_outcome where state = 'completed'
		union all select job_id, started_at, at from weir.job_event where kind in ('failed', 'snoozed', 'released')`
	if runs {
		times, attempts = "x.finished_at - x.started_at", "select job_id, started_at, finished_at from weir.job_outcome where state = 'completed'"
	}
	return weirtest.Value[[]float64](t, q, `select array[count(*), max(s), percentile_disc(0.5) within group (order by s), percentile_disc(0.95) within group (order by s),
		percentile_disc(0.99) within group (order by s)] from (select date_part('epoch', `+times+`) as s from (`+attempts+`) x
		join weir.job j on j.id = x.job_id join weir.queue q on q.id = j.queue_id`+counted(c)+`) times`)
}
