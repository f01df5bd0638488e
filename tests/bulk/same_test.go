package bulk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// populate makes jobs in every place: available for the first time and again, scheduled, retryable, held, running,
// ended, in lines, behind a breaker, in workflows, of a tenant with a quota, with unique keys. It makes the same in
// each database.
func populate(t *testing.T, d *weirtest.Database) {
	t.Helper()
	run := func(sql string, args ...any) { t.Helper(); weirtest.Exec(t, d, sql, args...) }
	run(`select weir.set_queue('plain', '{"lease_seconds": 3600, "retry": {"strategy": "fixed", "base_seconds": 3000, "jitter": false}}')`)
	run(`select weir.enqueue('k' || i % 3, jsonb_build_object('n', i), queue => 'plain', priority => 1 + i % 3, options => jsonb_build_object('tags', jsonb_build_array('t' || i % 2)))
		from generate_series(1, 40) i`)
	run(`select weir.enqueue('later', queue => 'plain', run_at => now() + interval '1 hour', unique_key => 'u' || i) from generate_series(1, 6) i`)
	for i, j := range weirtest.Claim(t, d, "plain", 24) {
		switch i % 6 {
		case 0: // it runs on
		case 1:
			j.Call(t, d, `complete($1, $2, '{"ok": true}')`)
		case 2:
			j.Call(t, d, `fail($1, $2, '{"message": "no"}', retry => false)`)
		case 3:
			j.Call(t, d, `fail($1, $2, '{"message": "not yet"}')`)
		case 4:
			j.Call(t, d, `release($1, $2)`)
		default:
			j.Call(t, d, `snooze($1, $2, '1 hour')`)
		}
	}
	run(`select weir.cancel(id) from weir.jobs where kind = 'k1' and state = 'available' and id % 4 = 0`)

	run(`select weir.set_queue('lines', '{"lease_seconds": 3600, "retry": {"strategy": "fixed", "base_seconds": 3000}}')`)
	weirtest.SetLimits(t, d, "lines", `{"concurrency": 6, "per_key": 1}`)
	run(`select weir.enqueue('l', queue => 'lines', options => jsonb_build_object('concurrency_key', 'k' || i % 4)) from generate_series(1, 20) i`)
	weirtest.Admit(t, d, "lines", 6)
	for i, j := range weirtest.Claim(t, d, "lines", 3) {
		if i == 0 {
			j.Call(t, d, `fail($1, $2, '{"message": "the line stays reserved"}')`)
		}
	}

	run(`select weir.set_breaker('b', '{"while_open": {"policy": "hold"}}')`)
	run(`select weir.trip_breaker('b', 'ann', 'a test', 3600)`)
	run(`select weir.enqueue('b', queue => 'broken', options => '{"breaker": "b"}') from generate_series(1, 5)`)
	run(`select weir.enqueue('b', queue => 'broken') from generate_series(1, 2)`)
	weirtest.Claim(t, d, "broken", 1)

	run(`select weir.set_tenant_quota('acme', 4)`)
	run(`select weir.enqueue('q', queue => 'theirs', options => '{"tenant": "acme"}') from generate_series(1, 4)`)
	for _, j := range weirtest.Claim(t, d, "theirs", 4) {
		j.Call(t, d, `fail($1, $2, '{"message": "no"}', retry => false)`)
	}
	run(`select weir.enqueue('q', queue => 'theirs', options => '{"tenant": "acme"}') from generate_series(1, 2)`)

	for _, steps := range []string{
		`{"name": "a", "kind": "s"}, {"name": "b", "kind": "s", "depends_on": ["a"]}, {"name": "c", "kind": "s", "depends_on": ["b"]}, {"name": "clean", "kind": "s", "depends_on": ["c"], "needs": "ended"}`,
		`{"name": "a", "kind": "s"}, {"name": "b", "kind": "s"}, {"name": "join", "kind": "s", "depends_on": ["a", "b"], "needs": "any"}`,
		`{"name": "wait", "wait_for": {"signal": "x"}}, {"name": "timer", "wait_for": {"seconds": 3600}}, {"name": "after", "kind": "s", "depends_on": ["wait"]}`,
		`{"name": "sub", "workflow": {"name": "child", "steps": [{"name": "x", "kind": "s"}]}}, {"name": "after", "kind": "s", "depends_on": ["sub"]}`,
	} {
		run(`select weir.submit_workflow($1)`, `{"name": "w", "steps": [`+steps+`]}`)
	}
	for i, j := range weirtest.Claim(t, d, "default", 2) {
		if i == 1 {
			j.Call(t, d, `fail($1, $2, '{"message": "no"}', retry => false)`)
		}
	}
}

// everything lists the rows of weir's tables, without times, and with places in a queue counted from 1.
func everything(t *testing.T, d *weirtest.Database) []string {
	t.Helper()
	tables := weirtest.Values[string](t, d, `select c.relname from pg_class c where c.relnamespace = 'weir'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
		and c.relname <> all ('{operation,audit_entry,watermark,frontier,schema_source,parked,admission_inbox,job_lease,weir_version}') order by 1`)
	var lines []string
	for _, table := range tables {
		from := "weir." + table
		if table == "job_ready" {
			from = "(select queue_id, priority, attempt, job_id, let_through, row_number() over (partition by queue_id, priority order by seq) as place, case when job_id is null then seq end as fresh from weir.job_ready)"
		}
		lines = append(lines, weirtest.Values[string](t, d, fmt.Sprintf(`select '%s ' || (select jsonb_object_agg(f.key, f.value) from jsonb_each(to_jsonb(x)) f
			where f.value <> 'null' and f.value #>> '{}' !~ '^20[0-9-]+T' and f.key <> all ('{detail,tokens,tick,inbox_xip,inbox_xmax}'))::text
			|| coalesce((nullif(to_jsonb(x) -> 'detail', 'null') - '{run_at,started_at,finished_at}'::text[])::text, '') from %s x order by 1`, table, from))...)
	}
	lines = append(lines, weirtest.Values[string](t, d, `select 'lease ' || jsonb_build_object('job_id', job_id, 'asked', cancel_requested_at is not null, 'attempt', attempt, 'worker', worker)::text from weir.job_lease order by 1`)...)
	return append(lines, weirtest.Values[string](t, d, `select format('departed from %s: %s (%s)', i.queue_id, u.name, u.job) from weir.admission_inbox i, unnest(i.departed, i.departed_jobs) u(name, job) order by 1`)...)
}

// A bulk action does to each job what the single call does, in every table.
func TestBulkActionsDoTheSameAsSingleCalls(t *testing.T) {
	weirtest.Long(t, "it fills two databases for each action")
	t.Parallel()
	ignored := `exception when sqlstate 'WR002' or sqlstate 'WR003' or sqlstate 'WR004' or sqlstate 'WR005' or sqlstate 'WR018' or sqlstate 'WR019' then null; end; end loop; end $do$`
	for name, c := range map[string]struct{ kind, filter, options, single string }{
		"cancel":       {"bulk_cancel", `{}`, `{}`, `perform weir.cancel(one)`},
		"retry":        {"bulk_retry", `{}`, `{"reset_attempts": true}`, `perform weir.retry(one, true)`},
		"run now":      {"bulk_retry", `{"state": "retryable"}`, `{}`, `perform weir.retry(one)`},
		"run later":    {"bulk_retry", `{"state": "scheduled"}`, `{"reset_attempts": true}`, `perform weir.retry(one, true)`},
		"reprioritise": {"bulk_reprioritise", `{}`, `{"priority": 2}`, `if (select j.priority from weir.jobs j where j.id = one) <> 2 then perform weir.edit(one, '{"priority": 2}'); end if`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			single, bulk := weirtest.New(t), weirtest.New(t)
			populate(t, single)
			populate(t, bulk)
			before := everything(t, single)
			wantSame(t, before, everything(t, bulk))

			weirtest.Exec(t, single, fmt.Sprintf(`do $do$ declare one bigint; begin
				for one in select p from weir.filter_job_ids(array(select id from weir.job), '%s', weir.bulk_states(case when '%s' = '{}' then '%s' end)) p order by p loop begin %s; %s`,
				c.filter, c.filter, c.kind, c.single, ignored))
			id := weirtest.Value[int64](t, bulk, `select weir.start_operation($1, $2, options => $3)`, c.kind, c.filter, c.options)
			for !weirtest.Value[bool](t, bulk, `select over from weir.run_operation($1)`, id) {
			}
			after := everything(t, single)
			if slices.Equal(before, after) {
				t.Error("the single calls changed nothing")
			}
			wantSame(t, after, everything(t, bulk))
			for _, d := range []*weirtest.Database{single, bulk} {
				weirtest.Admit(t, d, "lines", 6)
				weirtest.CheckLimits(t, d)
			}
			wantSame(t, everything(t, single), everything(t, bulk))
		})
	}
}

func wantSame(t *testing.T, single, bulk []string) {
	t.Helper()
	missing := func(all, of []string) string {
		left := slices.Clone(of)
		var lines []string
		for _, line := range all {
			if i := slices.Index(left, line); i >= 0 {
				left = slices.Delete(left, i, i+1)
			} else {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines[:min(len(lines), 12)], "\n  ")
	}
	if a, b := missing(single, bulk), missing(bulk, single); a != "" || b != "" {
		t.Errorf("only of single calls:\n  %s\nonly of the bulk action:\n  %s", a, b)
	}
}
