package plans

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// In a sealed partition a search reads what it finds, for each filter that has an index and for filters together. The ten
// jobs that match are the oldest of thirty thousand, so a search that read the newest first would read all of them.
func TestSearchesOfSealedPartitionsReadWhatTheyFind(t *testing.T) {
	weirtest.Long(t, "it fills tables")
	t.Parallel()
	d := weirtest.New(t)
	calls := []plannedCall{}
	for _, filter := range []string{
		`{"kind": "rare"}`, `{"queue": "rare"}`, `{"tenant": "rare"}`, `{"tag": ["rare", "none"]}`, `{"args": {"customer": {"id": 7}}}`, `{"priority": 1}`, `{"max_priority": 2}`,
		`{"q": "order-7"}`, `{"q": "\"customer id 7\""}`, `{"q": "smtperror or nothing"}`, `{"error_type": "SMTPError"}`, `{"error": "refused"}`, `{"worker": "rare"}`, `{"state": "dead"}`,
		`{"state": ["dead", "cancelled"]}`, `{"min_attempts": 2}`, `{"min_run_seconds": 3000}`, `{"min_wait_seconds": 1500}`, `{"created_before": "2020-01-02T00:00:00Z"}`, `{"finished_before": "2020-01-02T00:00:00Z"}`,
		`{"started_before": "2020-01-02T00:00:00Z"}`, `{"kind": "rare", "state": "dead"}`, `{"error": "refused", "queue": ["rare", "common"]}`,
		`{"worker": "rare", "args": {"customer": {"id": 7}}}`, `{"q": "rare", "min_run_seconds": 3000, "has_error": true}`, `{"bounds": {"tenant": "rare", "principal": 1}}`,
	} {
		rows := 45 // with a look at the newest 400, whether many of them match
		if strings.Contains(filter, "_before") || strings.Contains(filter, "_seconds") {
			rows = 600 // of a zone
		}
		calls = append(calls, plannedCall{
			sql:  "select least(count(*), 10) from weir.search_step('" + filter + "', 4294967296, 100) s cross join unnest(s.ids) i where i <= 10",
			want: 10, rows: rows,
		})
	}
	calls = append(calls, plannedCall{sql: "select count(*) from weir.jobs where id = 1", want: 1, rows: 10, viewed: true})
	fill := func() {
		for _, sql := range []string{
			`select weir.set_queue('common'), weir.set_queue('rare')`,
			`insert into weir.job (id, created_at, queue_id, timeout_seconds, priority, max_attempts, kind, args, tags, tenant)
				select i, case when rare then '2020-01-01'::timestamptz else now() - interval '1 hour' end, q.id, 300, case when rare then 1 else 5 end, 5, s, jsonb_build_object('customer', jsonb_build_object('id', case when rare then 7 else 8 end),
				'order', 'order-' || case when rare then 7 else 8 end), array[s], case when rare and i % 2 = 0 then 'common' else s end
				from generate_series(1, 30000) i cross join lateral (select i <= 10 as rare, case when i <= 10 then 'rare' else 'common' end as s) x join weir.queue q on q.name = s`,
			`update weir.job set tenant = 'rare' where id <= 10`,
			`insert into weir.job_outcome (job_id, finished_at, started_at, queue_id, state, attempt, worker, error)
				select id, created_at + case when rare then interval '2 hours' else interval '1 s' end, created_at + case when rare then interval '30 min' else interval '0' end, queue_id, case when rare then 'dead' else 'completed' end::weir.job_state, case when rare then 3 else 1 end, kind,
				case when rare then '{"type": "SMTPError", "message": "connection refused"}'::jsonb end from weir.job cross join lateral (select kind = 'rare' as rare) x`,
			`insert into weir.job_dead (job_id, queue_id) select job_id, queue_id from weir.job_outcome where state = 'dead'`,
			`update weir.job_partition set opened_at = '2020-01-01' where number = 0`,
			`insert into weir.job_event (job_id, kind, attempt, detail) select id, 'failed', 3, '{"type": "SMTPError", "message": "connection refused"}' from weir.job where id <= 10`,
			`alter sequence weir.job_id_seq restart 40000`,
		} {
			weirtest.Exec(t, d, sql)
		}
		weirtest.RollOver(t, d)
		weirtest.Tick(t, d)
		for {
			next := weirtest.Value[*string](t, d, "select statement from weir.seal_step()")
			if next == nil {
				break
			}
			if _, err := d.Exec(context.Background(), *next, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
		}
		if weirtest.Value[int](t, d, "select count(*) from weir.job_partition where outcomes_sealed_at is not null") != 1 {
			t.Fatal("the partition is not sealed")
		}
	}
	checkReads(t, d, `^(job_ready|job_lease|job_scheduled|job_held|job_dead|.*_p\d+)$`, nil, calls, fill)
}
