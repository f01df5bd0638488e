package docs

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestEverythingInSchemaHasComment(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	weirtest.RollOver(t, d) // partitions made later are documented too
	for _, line := range weirtest.Values[string](t, d, undocumented) {
		t.Error(line)
	}
	tx := d.Tx()
	for _, sql := range []string{
		"create table weir.x (y int)", "create view weir.x as select 1 as y", "create function weir.x() returns int language sql as 'select 1'", "create type weir.x as enum ('y')",
		"create sequence weir.x", "comment on column weir.job.id is null", "comment on table weir.job_p0 is null", "comment on function weir.complete(bigint, bigint, jsonb, jsonb, jsonb) is ''",
		"create materialized view weir.x as select 1 as y", "create procedure weir.x() language sql as ''", "create domain weir.x as int",
	} {
		weirtest.Exec(t, tx, "savepoint s")
		weirtest.Exec(t, tx, sql)
		if len(weirtest.Values[string](t, tx, undocumented)) == 0 {
			t.Errorf("not found: %s", sql)
		}
		weirtest.Exec(t, tx, "rollback to s")
	}
}

const undocumented = `
with things as (
	select 'schema weir' as what, obj_description('weir'::regnamespace, 'pg_namespace') as says
	union all select format('%s %s', case c.relkind when 'v' then 'view' when 'm' then 'view' when 'S' then 'sequence' else 'table' end, c.relname), obj_description(c.oid, 'pg_class')
		from pg_class c where c.relnamespace = 'weir'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
		and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'i' and c.relkind = 'S') -- of an identity column
	union all select format('column %s.%s', c.relname, a.attname), col_description(c.oid, a.attnum)
		from pg_class c join pg_attribute a on a.attrelid = c.oid where c.relnamespace = 'weir'::regnamespace and c.relkind in ('r', 'p', 'f') and a.attnum > 0 and not a.attisdropped
	union all select format('function %s', p.oid::regprocedure), obj_description(p.oid, 'pg_proc') from pg_proc p where p.pronamespace = 'weir'::regnamespace
	union all select format('type %s', t.typname), obj_description(t.oid, 'pg_type')
		from pg_type t where t.typnamespace = 'weir'::regnamespace and (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
)
select what || ' has no comment' from things where coalesce(trim(says), '') = '' order by 1`

// The functions that users may call. Adding one is a promise; changing or removing one breaks a promise.
const publicFunctions = `
weir.acknowledge_alert(alert_id bigint, note text)
weir.add_steps(job_id bigint, token bigint, steps jsonb)
weir.admit(queue text, wanted integer, OUT admitted integer, OUT waiting integer, OUT held_by text, OUT next_in double precision, OUT more boolean, OUT available integer)
weir.advance_frontier(every interval, OUT tick bigint, OUT late_tick bigint, OUT holders integer, OUT fresh boolean, OUT passed bigint)
weir.assert_lease(job_id bigint, token bigint)
weir.cancel(job_id bigint)
weir.cancel_operation(operation_id bigint)
weir.cancel_workflow(workflow_id bigint, compensate boolean)
weir.check_workflows(workflow_id bigint)
weir.check_limits(repair boolean)
weir.claim(queues text[], worker text, max_jobs integer, lease_seconds integer)
weir.claim_refusal(worker text)
weir.complete(job_id bigint, token bigint, result jsonb, jobs jsonb, steps jsonb)
weir.complete_many(job_ids bigint[], tokens bigint[], results jsonb[])
weir.count_dead(filter jsonb)
weir.count_jobs(filter jsonb, kind text, seconds double precision, OUT total bigint, OUT exact boolean)
weir.count_waiting(name text, state text)
weir.default_retry()
weir.delete_preset(name text, tenant text)
weir.delete_alert_rule(name text, tenant text)
weir.delete_alert_target(name text, tenant text)
weir.delete_queue(name text)
weir.delete_webhook(name text, tenant text)
weir.disable_webhook(name text, reason text, tenant text)
weir.dependencies(job_id bigint)
weir.delete_schedule(name text, tenant text)
weir.dry_run(job jsonb)
weir.drain_worker(name text)
weir.drop_partition(number integer)
weir.edit(job_id bigint, changes jsonb)
weir.edit_schedule(name text, changes jsonb, tenant text)
weir.edit_worker(name text, changes jsonb)
weir.enable_webhook(name text, tenant text)
weir.enqueue(kind text, args jsonb, queue text, priority integer, run_at timestamp with time zone, max_attempts integer, unique_key text, options jsonb)
weir.enqueue_batch(jobs jsonb, workflow_id bigint, schedules text[], slots timestamp with time zone[], principals integer[])
weir.enqueue_many(jobs jsonb)
weir.error_words(error jsonb)
weir.evaluate_alerts(rule text, definition jsonb, tenant text)
weir.events_after(after text, filter jsonb, most integer)
weir.events_since(after_at timestamp with time zone, after_id bigint, most integer, until_at timestamp with time zone, after_key text, filter jsonb, most_bytes integer)
weir.expire_leases(max_jobs integer, after timestamp with time zone, OUT expired integer, OUT looked_until timestamp with time zone)
weir.fail(job_id bigint, token bigint, error jsonb, retry_in interval, retry boolean, cancel boolean)
weir.fail_many(job_ids bigint[], tokens bigint[], errors jsonb[], retry_ins interval[], retries boolean[], cancels boolean[])
weir.fork_workflow(workflow_id bigint, from_steps text[], by text)
weir.fire_due(max_schedules integer, after timestamp with time zone, as_of timestamp with time zone, OUT handled integer, OUT fired integer, OUT looked_until timestamp with time zone, OUT next_due_at timestamp with time zone, OUT lateness double precision[])
weir.grant_access(role text, access text, queues text[], tenant text)
weir.revoke_access(role text, access text)
weir.heartbeat(job_ids bigint[], tokens bigint[], lease_seconds integer, progress jsonb[])
weir.job_words(kind text, args jsonb, tags text[])
weir.keep_partitions(roll_after interval, ahead integer)
weir.merge_histograms(integer[])
weir.mute_alert_rule(name text, until timestamp with time zone, tenant text)
weir.park(queues text[], node text, seconds integer)
weir.pause_queue(name text, reason text, resume_at timestamp with time zone)
weir.pause_schedule(name text, tenant text)
weir.pause_worker(name text)
weir.percentile(histogram integer[], fraction double precision)
weir.preset_filter(name text, tenant text)
weir.preview_definition(definition jsonb, count integer, "from" timestamp with time zone, name text)
weir.preview_schedule(name text, count integer, "from" timestamp with time zone, tenant text)
weir.promote_due(max_jobs integer, after timestamp with time zone, OUT promoted integer, OUT looked_until timestamp with time zone)
weir.purge_dead(job_id bigint, by text)
weir.purge_queue(name text, max_jobs integer, state text)
weir.queue_id(name text)
weir.read_export(operation_id bigint, n integer)
weir.redrive(job_id bigint, by text, keep_attempts boolean)
weir.register_worker(name text, settings jsonb)
weir.release(job_id bigint, token bigint)
weir.release_many(job_ids bigint[], tokens bigint[])
weir.remove_worker(name text)
weir.resume_due(OUT resumed integer, OUT next_at timestamp with time zone)
weir.resume_queue(name text)
weir.resume_schedule(name text, tenant text)
weir.resume_worker(name text)
weir.retain_partition(number integer, keep_at_most integer)
weir.replay(job_id bigint, changes jsonb)
weir.retry(job_id bigint, reset_attempts boolean)
weir.retry_delay(policy jsonb, attempt integer)
weir.roll_up(patience interval, most integer, OUT did text, OUT counted bigint, OUT until timestamp with time zone)
weir.retry_workflow(workflow_id bigint, by text)
weir.search_query(search text)
weir.seal_step(OUT partition integer, OUT statement text)
weir.rotate_webhook_secret(name text, keep_old interval, tenant text, secret text)
weir.touch_workers(names text[], seconds_ago double precision[])
weir.set_alert_rule(name text, settings jsonb, replace boolean, tenant text, make boolean)
weir.set_alert_target(name text, settings jsonb, make boolean, tenant text, secrets jsonb)
weir.set_limit(queue text, key text, tenant text, limits jsonb)
weir.set_preset(name text, preset jsonb, replace boolean, tenant text)
weir.set_queue(name text, settings jsonb, replace boolean)
weir.set_webhook(name text, settings jsonb, make boolean, tenant text, secret text)
weir.is_encrypted(value jsonb)
weir.signal(workflow_id bigint, name text, payload jsonb)
weir.set_schedule(name text, definition jsonb, replace boolean, tenant text)
weir.snooze(job_id bigint, token bigint, delay interval)
weir.snooze_many(job_ids bigint[], tokens bigint[], delays interval[])
weir.start_workflow(job_id bigint, token bigint, definition jsonb)
weir.submit_workflow(definition jsonb)
weir.sweep_alerts(most integer, kept_for interval, kept integer)
weir.sweep_results(most integer)
weir.start_operation(kind text, filter jsonb, rate_per_second double precision, keep_attempts boolean, by text, options jsonb)
weir.sweep_dead(most integer)
weir.sweep_deliveries(most integer, kept_for interval)
weir.sweep_exports(most integer)
weir.sweep_operations(most integer)
weir.sweep_rollups(minutes_for interval, hours_for interval, most integer)
weir.sweep_schedule_slots(most integer)
weir.sweep_unique_keys(most integer)
weir.sweep_workers(silent_for interval)
weir.test_alert_target(name text, tenant text)
weir.test_webhook(name text, tenant text)
weir.time_bucket(seconds double precision)
weir.run_workflow_timers(max_workflows integer, OUT handled integer, OUT next_in_seconds double precision)
weir.timeline(job_id bigint)
weir.trigger_schedule(name text, tenant text)
weir.unmute_alert_rule(name text, tenant text)
weir.unpark(queues text[], node text)
weir.run_operation(operation_id bigint, most integer, OUT over boolean, OUT wait_seconds double precision)
weir.why(job_id bigint)
weir.why_queue(queue text)
weir.compare(job_id bigint, other_id bigint)
weir.similar_jobs(job_id bigint, max_jobs integer)
weir.forecast_queue(queue text, window_seconds integer, OUT waiting bigint, OUT exact boolean, OUT enqueued_per_second double precision, OUT ended_per_second double precision, OUT since timestamp with time zone, OUT until timestamp with time zone, OUT outlook text, OUT gone_at timestamp with time zone, OUT gone_without_more_at timestamp with time zone)
weir.workflow_timeline(workflow_id bigint)
weir.worker_heartbeat(name text, load double precision, OUT state text, OUT capacity integer, OUT registered boolean)
weir.worker_history(worker text, since timestamp with time zone, before timestamp with time zone, before_job bigint, max_rows integer)
weir.worker_stats(span interval, only_worker text)
weir.set_breaker(name text, settings jsonb, replace boolean, by text)
weir.delete_breaker(name text, by text)
weir.trip_breaker(name text, by text, reason text, open_seconds double precision)
weir.reset_breaker(name text, by text, reason text)
weir.pin_breaker(name text, state text, by text, reason text, for_seconds double precision)
weir.report_breaker(name text, outcome text, error jsonb, calls integer)
weir.tick_breakers(most integer, OUT breakers integer, OUT moved integer)
weir.check_health(every interval)
weir.count_queues(every interval)
weir.sweep_breakers(most integer)
weir.sweep_breaker_results(most integer)
weir.create_key(name text, roles text[], queues text[], tenant text, expires_at timestamp with time zone, rate_per_second double precision, redact boolean, created_by text, kind text, OUT id text, OUT key text)
weir.edit_key(id text, settings jsonb)
weir.rotate_key(id text, keep_old interval)
weir.revoke_key(id text)
weir.log(job_id bigint, token bigint, lines jsonb, OUT stored integer, OUT dropped integer)
weir.retain_logs(number integer)
weir.job_facets(filter jsonb, facets text[], seconds double precision)
weir.keep_audit(retention interval, months_ahead integer)
weir.set_tenant_quota(tenant text, max_waiting integer, enqueues_per_second double precision, enqueue_burst integer, max_bytes bigint)
weir.delete_tenant_quota(tenant text)
weir.tend_quotas()`

func TestPublicFunctionsAreAsPromised(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	got := weirtest.Values[string](t, d, `select format('weir.%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) collate "C" from pg_proc p
		where p.pronamespace = 'weir'::regnamespace and obj_description(p.oid, 'pg_proc') not like 'Internal%' order by 1`)
	want := strings.Split(strings.TrimSpace(publicFunctions), "\n")
	for _, f := range got {
		if !slices.Contains(want, f) {
			t.Errorf("new: %s", f)
		}
	}
	for _, f := range want {
		if !slices.Contains(got, f) {
			t.Errorf("gone: %s", f)
		}
	}
}

// A function's comment names its errors, so that \df+ shows them.
func TestCommentsNameTheErrors(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for function, codes := range map[string]string{
		"enqueue": "WR010 WR019", "dry_run": "WR006 WR010 WR018", "enqueue_many": "WR010 WR019", "claim": "WR010", "complete": "WR001 WR002 WR010", "complete_many": "WR010", "fail": "WR001 WR002 WR010", "snooze": "WR001 WR002 WR010", "release": "WR001 WR002",
		"heartbeat": "WR010", "log": "WR001 WR002 WR010 WR023", "grant_access": "WR010", "revoke_access": "WR010", "assert_lease": "WR001 WR002", "cancel": "WR002 WR003", "timeline": "WR002", "events_after": "WR010", "why": "WR002", "why_queue": "WR011", "forecast_queue": "WR010 WR011", "compare": "WR002", "similar_jobs": "WR002 WR010", "retry": "WR002 WR005 WR019", "replay": "WR002 WR010 WR019", "edit": "WR002 WR004 WR010", "set_limit": "WR010 WR011", "admit": "WR010", "set_queue": "WR010", "pause_queue": "WR010 WR011",
		"resume_queue": "WR011", "purge_queue": "WR010 WR011", "count_waiting": "WR010 WR011", "delete_queue": "WR011 WR012",
		"register_worker": "WR010", "edit_worker": "WR010 WR015", "worker_heartbeat": "WR010 WR015", "pause_worker": "WR015", "drain_worker": "WR015", "resume_worker": "WR015", "remove_worker": "WR015",
		"redrive": "WR010 WR014 WR019", "purge_dead": "WR010 WR014", "count_dead": "WR010", "count_jobs": "WR010", "job_facets": "WR010", "preset_filter": "WR093", "set_preset": "WR010 WR011 WR016 WR094 WR095", "delete_preset": "WR093 WR094", "start_operation": "WR010", "cancel_operation": "WR020 WR021", "read_export": "WR022",
		"set_webhook": "WR010 WR040 WR041", "delete_webhook": "WR040", "rotate_webhook_secret": "WR010 WR040", "disable_webhook": "WR010 WR040", "enable_webhook": "WR040", "test_webhook": "WR040",
		"submit_workflow": "WR006 WR010 WR013", "add_steps": "WR001 WR002 WR010 WR013 WR051 WR054", "start_workflow": "WR001 WR002 WR010 WR013 WR051 WR054", "signal": "WR010 WR050 WR051",
		"set_breaker": "WR010", "delete_breaker": "WR010 WR065 WR066", "trip_breaker": "WR010 WR065 WR067", "reset_breaker": "WR010 WR065 WR067", "pin_breaker": "WR010 WR065", "report_breaker": "WR010 WR065",
		"set_schedule": "WR010 WR031", "edit_schedule": "WR010 WR030", "pause_schedule": "WR030", "resume_schedule": "WR030", "delete_schedule": "WR030", "trigger_schedule": "WR010 WR013 WR030",
		"create_key": "WR010 WR081", "edit_key": "WR010 WR080 WR081", "rotate_key": "WR010 WR080", "revoke_key": "WR080", "set_tenant_quota": "WR010", "delete_tenant_quota": "WR017",
		"preview_schedule": "WR010 WR030", "preview_definition": "WR010",
		"set_alert_rule": "WR010 WR011 WR100 WR103", "delete_alert_rule": "WR100", "mute_alert_rule": "WR010 WR100", "unmute_alert_rule": "WR100", "acknowledge_alert": "WR010 WR101 WR105", "evaluate_alerts": "WR010 WR011 WR100",
		"set_alert_target": "WR010 WR102 WR104", "delete_alert_target": "WR102 WR106", "test_alert_target": "WR010 WR102",
		"cancel_workflow": "WR050 WR051", "retry_workflow": "WR010 WR050 WR051 WR052", "fork_workflow": "WR010 WR050", "dependencies": "WR002", "workflow_timeline": "WR050",
	} {
		comment := weirtest.Value[string](t, d, "select obj_description(p.oid, 'pg_proc') from pg_proc p where p.pronamespace = 'weir'::regnamespace and p.proname = $1", function)
		_, errors, _ := strings.Cut(comment, "Errors: ")
		for code := range strings.FieldsSeq(codes) {
			if !strings.Contains(errors, code) {
				t.Errorf("the comment of weir.%s does not name %s: %s", function, code, comment)
			}
		}
	}
}

func TestSchemaIsRemovedAndRestored(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.JobsInEachState(t, d)
	weirtest.RollOver(t, d)
	d.CheckPlaces()
	for range 2 {
		if err := migrations.Down(t.Context(), d.URL); err != nil {
			t.Fatal(err)
		}
		if left := weirtest.Value[bool](t, d, "select exists (select from pg_namespace where nspname = 'weir')"); left {
			t.Error("the schema is still there")
		}
		if err := migrations.Up(t.Context(), d.URL); err != nil {
			t.Fatal(err)
		}
	}
	d.Reset() // the connections know the old types
	id := weirtest.EnqueueOne(t, d, "q")
	weirtest.Complete(t, d, weirtest.ClaimOne(t, d, "q"))
	weirtest.WantState(t, d, id, "completed")
	d.CheckPlaces()
}

// TestNodeTakesTheConnectionsThatItSays adds up what a node may take for its own work, and compares that with the help text and the docs.
func TestNodeTakesDocumentedConnections(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	s, _ := weirtest.StartServe(t, database, "WEIR_MAX_CONNECTIONS=3")
	const sessions = `select count(*) from pg_stat_activity where datname = current_database() and application_name = $1`

	scraped := s.Get("/metrics")
	if calls := s.MetricIn(scraped, "weir_db_pool_connections", `pool="calls"`, `state="max"`); calls != 3 {
		t.Errorf("calls may take %v connections, want 3", calls)
	}
	groups := int(s.MetricIn(scraped, "weir_db_pool_connections", `pool="groups"`, `state="max"`))
	loops := int(s.MetricIn(scraped, "weir_db_pool_connections", `pool="loops"`, `state="max"`))
	s.Eventually("the listener is connected", func() bool { return s.Count(sessions, "weir listener") == 1 })

	// River's calls pile up behind the lock, so that its pool grows to its bound.
	tx, err := s.DB.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Eventually("the chores listen", func() bool { return s.Count(sessions+" and query ilike 'listen%'", "weir chores") == 1 })
	weirtest.Exec(t, tx, "lock table weir_river.river_job in access exclusive mode")
	s.Eventually("the chores take five connections", func() bool { return s.Count(sessions, "weir chores") == 5 })
	reads := int(s.MetricIn(scraped, "weir_db_pool_connections", `pool="reads"`, `state="max"`))
	probe := int(s.MetricIn(scraped, "weir_db_pool_connections", `pool="probe"`, `state="max"`))
	const listener, chores, sealing = 1, 5, 2
	own := groups + loops + reads + probe + listener + chores + sealing
	weirtest.Rollback(t, tx)

	help := weirtest.RunCLI(t, nil, "", "serve", "--help").Says(0).Stdout
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for where, found := range map[string][]string{
		"weir serve --help":  regexp.MustCompile(`up\s+to\s+(\d+)\s+more`).FindStringSubmatch(help),
		"docs/operations.md": regexp.MustCompile(`for calls and (\d+) for its own work`).FindStringSubmatch(string(docs)),
	} {
		if len(found) != 2 || found[1] != strconv.Itoa(own) {
			t.Errorf("%s says %q; a node takes up to %d for its own work", where, found, own)
		}
	}
	two := fmt.Sprintf("Two nodes with the default take up to %d.", 2*(16+own))
	if !regexp.MustCompile(regexp.QuoteMeta(two)).Match(docs) {
		t.Errorf("docs/operations.md does not say %q", two)
	}
}
