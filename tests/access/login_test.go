package access

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/tests/weirtest"
)

// What each kind of access may call, and what of that a login may not that is limited to some queues or to a tenant.
var functions = map[string]struct{ all, onlyUnlimited string }{
	"producer": {"dry_run enqueue enqueue_many submit_workflow timeline why", ""},
	"worker": {
		"assert_lease claim claim_refusal complete complete_many fail fail_many heartbeat log park register_worker release release_many report_breaker snooze snooze_many unpark worker_heartbeat", "",
	},
	"reader": {
		"compare current_policy evaluate_alerts events_after forecast_queue iso local_iso merge_histograms percentile preview_schedule schedule_definition similar_jobs time_bucket timeline utc_offset why why_queue",
		"count_work dependencies job_facets line_key line_tenant pending_failures pending_rollup preset_filter rate_burst " +
			"worker_history worker_stats workflow_timeline",
	},
	"operator": {
		"acknowledge_alert cancel compare count_waiting current_policy delete_alert_rule delete_breaker delete_queue delete_schedule drain_worker edit edit_schedule edit_worker evaluate_alerts iso local_iso mute_alert_rule pause_queue pause_schedule pause_worker pin_breaker preview_definition preview_schedule purge_dead purge_queue " +
			"redrive register_worker remove_worker replay report_breaker reset_breaker resume_queue resume_schedule resume_worker retry schedule_definition set_alert_rule set_breaker set_schedule similar_jobs timeline trigger_schedule trip_breaker unmute_alert_rule utc_offset why",
		"cancel_operation cancel_workflow claim_refusal count_dead count_jobs delete_preset delete_tenant_quota dependencies fork_workflow job_facets " +
			"preset_filter retry_workflow set_limit set_preset set_queue set_tenant_quota signal start_operation worker_history worker_stats workflow_timeline",
	},
}

// What each kind of access may read.
const (
	limitedViews = "weir_read.dead_letters weir_read.job_logs weir_read.jobs weir_read.queue_depth weir_read.running"
	ownedViews   = " weir_read.alert_rules weir_read.alerts weir_read.breaker_events weir_read.breakers weir_read.schedule_runs weir_read.schedules weir_read.webhooks weir_read.workers"
	allViews     = "weir_read.alert_rules weir_read.alert_targets weir_read.alerts weir_read.breaker_events weir_read.breakers weir_read.dead_letters weir_read.failure_classes weir_read.failures weir_read.health weir_read.horizon weir_read.job_logs weir_read.jobs weir_read.latency " +
		"weir_read.limits weir_read.lines weir_read.presets weir_read.queue_depth weir_read.running weir_read.schedule_runs weir_read.schedules weir_read.settled weir_read.tenant_throughput weir_read.tenants weir_read.throughput " +
		"weir_read.webhooks weir_read.worker_throughput weir_read.workers weir_read.workflow_steps weir_read.workflows"
)

const spaces = "('weir', 'weir_auth', 'weir_read', 'weir_river')"

// TestRightsOfLogins compares what a login may do with every function, table, view, sequence and schema of weir.
func TestRightsOfLogins(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for access, f := range functions {
		for _, limited := range []bool{false, true} {
			l, allowed, views := weirtest.Login(t, d, fmt.Sprint(access, "_", limited)), strings.Fields(f.all), limitedViews
			args := fmt.Sprintf("'%s'", access)
			if limited {
				args += ", '{mail.*}', 'acme'"
			} else {
				allowed = append(allowed, strings.Fields(f.onlyUnlimited)...)
			}
			switch {
			case access == "reader" && !limited:
				views = allViews
			case access == "reader", access == "operator":
				views += ownedViews
			}
			before := rightsOf(t, d, l.Role())
			weirtest.Exec(t, d, fmt.Sprintf("select weir.grant_access('%s', %s)", l.Role(), args))
			want := slices.Concat(prefixed("execute weir.", allowed), prefixed("select ", strings.Fields(views)), []string{"usage weir", "usage weir_read"})
			slices.Sort(want)
			if got := rightsOf(t, d, l.Role()); !slices.Equal(got, want) {
				t.Errorf("%s, limited %t:\ngot  %v\nwant %v", access, limited, got, want)
			}
			weirtest.Exec(t, d, "select weir.revoke_access($1)", l.Role())
			if after := rightsOf(t, d, l.Role()); len(before) > 0 || len(after) > 0 {
				t.Errorf("%s: %v before access was granted, %v after it was revoked", access, before, after)
			}
		}
	}
}

func prefixed(prefix string, names []string) []string {
	list := make([]string, 0, len(names))
	for _, n := range names {
		list = append(list, prefix+n)
	}
	return list
}

// rightsOf lists all that a role may do in weir's schemas.
func rightsOf(t *testing.T, d *weirtest.Database, role string) []string {
	t.Helper()
	return weirtest.Values[string](t, d, `
		select distinct what collate "C" from (
			select 'execute ' || n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
				where n.nspname in `+spaces+` and has_schema_privilege($1, n.oid, 'usage') and has_function_privilege($1, p.oid, 'execute')
			union all select r || ' ' || n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
				cross join unnest('{select,insert,update,delete,truncate,references,trigger}'::text[]) r
				where n.nspname in `+spaces+` and c.relkind in ('r', 'p', 'v', 'm', 'f') and has_table_privilege($1, c.oid, r)
			union all select r || ' ' || n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
				cross join unnest('{usage,select,update}'::text[]) r
				where n.nspname in `+spaces+` and c.relkind = 'S' and has_sequence_privilege($1, c.oid, r)
			union all select 'select column of ' || n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
				where n.nspname in ('weir', 'weir_auth', 'weir_river') and c.relkind in ('r', 'p', 'v') and has_any_column_privilege($1, c.oid, 'select')
			union all select r || ' ' || n.nspname from pg_namespace n cross join unnest('{usage,create}'::text[]) r
				where n.nspname in `+spaces+` and has_schema_privilege($1, n.oid, r)
		) x (what) order by 1`, role)
}

// TestAccessOutlastsAMigration applies the functions again, which makes them again.
func TestAccessOutlastsAMigration(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	l := weirtest.Login(t, d, "app", "'producer'", "'worker', '{mail}'")
	before := rightsOf(t, d, l.Role())
	weirtest.Exec(t, d, "update weir.schema_source set checksum = ''")
	if err := migrations.Up(t.Context(), d.Direct); err != nil {
		t.Fatal(err)
	}
	if after := rightsOf(t, d, l.Role()); !slices.Equal(after, before) {
		t.Errorf("after the migration the login may %v, before it %v", after, before)
	}
	id := weirtest.Value[int64](t, l, "select weir.enqueue('k', queue => 'mail')")
	weirtest.Exec(t, l, "select weir.complete(c.job_id, c.token) from weir.claim('{mail}', 'w') c")
	if state := weirtest.Value[string](t, d, "select state from weir.jobs where id = $1", id); state != "completed" {
		t.Errorf("the job is %s", state)
	}
}

// TestTenantOfALoginIsImposed enqueues by every function, naming another tenant.
func TestTenantOfALoginIsImposed(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	acme, other := weirtest.Login(t, d, "acme", "'producer', '{mail*}', 'acme'"), weirtest.Login(t, d, "other", "'producer', '{*}', 'other'")
	for _, call := range []string{
		`select weir.enqueue('k', queue => 'mail', options => '{"tenant": "other"}')`, `select weir.enqueue('k', queue => 'mail_2', unique_key => 'u')`,
		`select weir.enqueue_many('[{"kind": "k", "queue": "mail", "tenant": "other"}, {"kind": "k", "queue": "mail", "tenant": null, "tags": ["a"]}]')`,
		`select weir.submit_workflow('{"name": "w", "steps": [{"name": "a", "kind": "k", "queue": "mail", "tenant": "other"}]}')`,
	} {
		weirtest.Exec(t, acme, call)
	}
	if tenants := weirtest.Values[string](t, d, "select distinct coalesce(tenant, 'none') from weir.job"); !slices.Equal(tenants, []string{"acme"}) {
		t.Errorf("the jobs are of tenants %v", tenants)
	}
	for _, call := range []string{
		"select weir.enqueue('k')", "select weir.enqueue('k', queue => 'post')",
		`select weir.enqueue_many('[{"kind": "k", "queue": "mail"}, {"kind": "k", "queue": "post"}]')`,
		`select weir.submit_workflow('{"name": "w", "steps": [{"name": "a", "kind": "k", "queue": "post"}]}')`,
		`select weir.submit_workflow('{"name": "w", "steps": [{"name": "a", "queue": "mail", "workflow": {"name": "x", "steps": [{"name": "a", "kind": "k", "queue": "post"}]}}]}')`,
	} {
		weirtest.WantSQLState(t, weirtest.TryExec(acme, call), "WR011")
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 5 {
		t.Errorf("%d jobs are stored, want 5", n)
	}

	if n := weirtest.Value[int](t, acme, "select count(*) from weir_read.jobs"); n != 5 {
		t.Errorf("the tenant sees %d of its jobs, want 5", n)
	}
	if n := weirtest.Value[int](t, other, "select count(*) from weir_read.jobs"); n != 0 {
		t.Errorf("another tenant sees %d jobs", n)
	}
	id := weirtest.Value[int64](t, d, "select min(id) from weir.job")
	for _, call := range []string{"select weir.timeline($1)", "select weir.why($1)"} {
		weirtest.Exec(t, acme, call, id)
		hidden := weirtest.WantSQLState(t, weirtest.TryExec(other, call, id), "WR002")
		missing := weirtest.WantSQLState(t, weirtest.TryExec(other, call, 99), "WR002")
		if strings.ReplaceAll(hidden.Message, fmt.Sprint(id), "99") != missing.Message || hidden.Hint != missing.Hint {
			t.Errorf("another's job gives %q %q, no job %q %q", hidden.Message, hidden.Hint, missing.Message, missing.Hint)
		}
	}
}

// TestALeaseBelongsToItsLogin tries to report on jobs that others hold, with their tokens. The first token of a job is
// its id, so knowing it proves nothing.
func TestALeaseBelongsToItsLogin(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	one, two := weirtest.Login(t, d, "one", "'worker', '{q,r}'"), weirtest.Login(t, d, "two", "'worker', '{q}'")
	acks := map[string]string{
		"complete": "select weir.complete($1, $2)", "fail": "select weir.fail($1, $2, '{}')", "snooze": "select weir.snooze($1, $2, '1 hour')", "release": "select weir.release($1, $2)",
		"assert_lease": "select weir.assert_lease($1, $2)",
	}
	manyAcks := map[string]string{
		"complete_many": "select count(*) from weir.complete_many(array[$1::bigint], array[$2::bigint])", "fail_many": "select count(*) from weir.fail_many(array[$1::bigint], array[$2::bigint], '{null}')",
		"snooze_many":  "select count(*) from weir.snooze_many(array[$1::bigint], array[$2::bigint], array['1 hour'::interval])",
		"release_many": "select count(*) from weir.release_many(array[$1::bigint], array[$2::bigint])", "heartbeat": "select count(*) from weir.heartbeat(array[$1::bigint], array[$2::bigint])",
	}
	for holder, q := range map[string]weirtest.Querier{"another login": one, "the owner": d} {
		for queue, code := range map[string]string{"q": "WR001", "r": "WR002"} {
			weirtest.Exec(t, d, "select weir.enqueue('k', queue => $1)", queue)
			j := weirtest.ClaimOne(t, q, queue)
			for name, sql := range acks {
				if err := weirtest.TryExec(two, sql, j.ID, j.Token); !weirtest.HasSQLState(err, code) {
					t.Errorf("%s of a job of queue %s that %s holds: %v, want %s", name, queue, holder, err, code)
				}
			}
			for name, sql := range manyAcks {
				if n := weirtest.Value[int](t, two, sql, j.ID, j.Token); n != 0 {
					t.Errorf("%s of a job that %s holds is accepted", name, holder)
				}
			}
			if state := weirtest.Value[string](t, d, "select state from weir.jobs where id = $1", j.ID); state != "running" {
				t.Errorf("the job that %s holds is %s", holder, state)
			}
		}
	}
	for _, sql := range acks { // its own
		weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'q')")
		j := weirtest.ClaimOne(t, two, "q")
		weirtest.Exec(t, two, sql, j.ID, j.Token)
	}
	for name, sql := range manyAcks {
		weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'q')")
		j := weirtest.ClaimOne(t, two, "q")
		if n := weirtest.Value[int](t, two, sql, j.ID, j.Token); n != 1 {
			t.Errorf("%s of a job of its own is not accepted", name)
		}
	}
	for _, call := range []string{"select weir.claim('{r}', 'w')", "select weir.claim('{q,r}', 'w')", "select weir.park('{r}', 'n')", "select weir.unpark('{r}', 'n')"} {
		weirtest.WantSQLState(t, weirtest.TryExec(two, call), "WR011")
	}
}

// TestAFailureOfALoginOpensABreaker: the breaker is evaluated at commit, when the login's own rights hold again.
func TestAFailureOfALoginOpensABreaker(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	l := weirtest.Login(t, d, "app", "'worker'")
	weirtest.Exec(t, d, `select weir.set_breaker('b', '{"failure_threshold": 1}')`)
	weirtest.Exec(t, d, `select weir.enqueue('k', options => '{"breaker": "b"}')`)
	j := weirtest.ClaimOne(t, l, "default")
	weirtest.Exec(t, l, "select weir.fail($1, $2, '{}')", j.ID, j.Token)
	if state := weirtest.Value[string](t, d, "select state from weir.breakers"); state != "open" {
		t.Errorf("the breaker is %s", state)
	}
}

// TestIdentityIsThatOfTheSession: another role's rights, by membership or by set role, are not the session's access.
func TestIdentityIsThatOfTheSession(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	group, member := weirtest.Login(t, d, "team", "'producer'", "'worker'"), weirtest.Stranger(t, d, "member")
	weirtest.Exec(t, d, fmt.Sprintf("grant %s to %s", group.Role(), member.Role()))
	weirtest.Exec(t, d, "select weir.enqueue_many('[{\"kind\": \"k\"}, {\"kind\": \"k\"}]')")
	held := weirtest.ClaimOne(t, group, "default")
	conn := member.Connect()
	for range 2 {
		for _, call := range []string{"select weir.enqueue('k')", "select weir.claim('{default}', 'w')"} {
			if err := weirtest.TryExec(conn, call); !weirtest.HasSQLState(err, "42501") {
				t.Errorf("%s: %v", call, err)
			}
		}
		weirtest.WantSQLState(t, weirtest.TryExec(conn, "select weir.complete($1, $2)", held.ID, held.Token), "WR002")
		if n := weirtest.Value[int](t, conn, "select count(*) from weir.heartbeat(array[$1::bigint], array[$2::bigint])", held.ID, held.Token); n != 0 {
			t.Error("it extends a lease of the other role")
		}
		if n := weirtest.Value[int](t, conn, "select count(*) from weir_read.jobs"); n != 0 {
			t.Errorf("it reads %d jobs", n)
		}
		weirtest.Exec(t, conn, "set role "+group.Role())
	}

	// A row with the login's number and another name, as after a restore in another cluster.
	weirtest.Exec(t, d, "update weir_auth.sql_access set name = 'another'")
	if err := weirtest.TryExec(group, "select weir.enqueue('k')"); !weirtest.HasSQLState(err, "42501") {
		t.Errorf("a login whose number was another role's may enqueue: %v", err)
	}
	if n := weirtest.Value[int](t, group, "select count(*) from weir_read.jobs"); n != 0 {
		t.Errorf("it reads %d jobs", n)
	}
}

// TestLimitedLoginsSeeAndChangeTheirQueuesOnly looks at every view, and calls every function of an operator.
func TestLimitedLoginsSeeAndChangeTheirQueuesOnly(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	all := weirtest.Login(t, d, "all", "'reader'")
	reader, ofTenant, operator := weirtest.Login(t, d, "reader", "'reader', '{mail}'"), weirtest.Login(t, d, "tenant", "'reader', '{*}', 'acme'"), weirtest.Login(t, d, "operator", "'operator', '{mail}'")
	weirtest.Exec(t, d, `select weir.enqueue_many('[{"kind": "k", "queue": "mail", "tenant": "acme"}, {"kind": "k", "queue": "mail"}, {"kind": "k", "queue": "mailbox", "tenant": "acme"}, {"kind": "k", "queue": "mailbox"}]')`)
	for _, queue := range []string{"mail", "mailbox"} {
		j := weirtest.ClaimOne(t, d, queue)
		weirtest.Exec(t, d, "select weir.fail($1, $2, '{}', retry => false)", j.ID, j.Token)
	}
	for name, want := range map[string]struct {
		d                  *weirtest.Database
		jobs, dead, queues int
	}{"all": {all, 4, 2, 2}, "queue": {reader, 2, 1, 1}, "tenant": {ofTenant, 2, 2, 0}} {
		jobs, dead, queues := weirtest.Value[int](t, want.d, "select count(*) from weir_read.jobs"), weirtest.Value[int](t, want.d, "select count(*) from weir_read.dead_letters"),
			weirtest.Value[int](t, want.d, "select count(*) from weir_read.queue_depth")
		if jobs != want.jobs || dead != want.dead || queues != want.queues {
			t.Errorf("%s sees %d jobs, %d dead letters and %d queues, want %d, %d and %d", name, jobs, dead, queues, want.jobs, want.dead, want.queues)
		}
	}
	for view := range strings.FieldsSeq(allViews) { // with the functions in them
		weirtest.Exec(t, all, "select * from "+view)
	}
	waiting, dead := weirtest.Value[int64](t, d, "select max(id) from weir.jobs where queue = 'mailbox' and state = 'available'"), weirtest.Value[int64](t, d, "select max(job_id) from weir.dead_letters where queue = 'mailbox'")
	for _, call := range []string{"cancel(%d)", "edit(%d, '{\"priority\": 3}')", "retry(%d)", "why(%d)", "timeline(%d)"} {
		weirtest.WantSQLState(t, weirtest.TryExec(operator, fmt.Sprintf("select weir."+call, waiting)), "WR002")
	}
	for _, call := range []string{"redrive(%d)", "purge_dead(%d)"} {
		weirtest.WantSQLState(t, weirtest.TryExec(operator, fmt.Sprintf("select weir."+call, dead)), "WR002")
	}
	for _, call := range []string{"pause_queue", "resume_queue", "purge_queue", "count_waiting", "delete_queue"} {
		hidden := weirtest.WantSQLState(t, weirtest.TryExec(operator, "select weir."+call+"('mailbox')"), "WR011")
		missing := weirtest.WantSQLState(t, weirtest.TryExec(operator, "select weir."+call+"('nothing')"), "WR011")
		if strings.ReplaceAll(hidden.Message, "mailbox", "nothing") != missing.Message || hidden.Hint != missing.Hint {
			t.Errorf("%s says %q of a queue of others, %q of none", call, hidden.Message, missing.Message)
		}
	}
	weirtest.Exec(t, operator, "select weir.pause_queue('mail'), weir.resume_queue('mail'), weir.purge_queue('mail')")
}

func TestGrantAccessRefuses(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	l := weirtest.Stranger(t, d, "app")
	for args, field := range map[string]string{
		"'nobody_here', 'producer'": "role", "current_user, 'producer'": "role", "'%s', 'owner'": "access", "'%s', null": "access", "'%s', 'worker', '{}'": "queues", "'%s', 'worker', '{a,%%}'": "queues",
		"'%s', 'producer', '{a}', ''": "tenant", "'%s', 'producer', null": "queues",
	} {
		if strings.Contains(args, "%s") {
			args = fmt.Sprintf(args, l.Role())
		}
		if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.grant_access("+args+")"), "WR010"); refusal.ColumnName != field {
			t.Errorf("grant_access(%s) refuses %q, want %q", args, refusal.ColumnName, field)
		}
	}
	if rights := rightsOf(t, d, l.Role()); len(rights) > 0 {
		t.Errorf("the role may %v", rights)
	}
	if err := weirtest.TryExec(weirtest.Login(t, d, "self", "'operator'"), "select weir.grant_access(session_user, 'worker')"); !weirtest.HasSQLState(err, "42501") {
		t.Errorf("an operator grants access: %v", err)
	}
}
