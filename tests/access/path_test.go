package access

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/tests/weirtest"
)

// plant makes, as a role without rights, functions and operators in public that fit calls of weir's better than
// PostgreSQL's own do. They note in public.ran that they ran, and as whom.
const plant = `
create table public.ran (what text);
grant insert on public.ran to public;
do $do$
declare
	f record;
	body text := $b$ begin insert into public.ran values (%L || ' ran as ' || current_user); return %s; end $b$;
begin
	for f in select * from (values
		('format(text, numeric)', 'text', '''planted'''), ('format(text, bigint)', 'text', '''planted'''), ('format(text, text)', 'text', '''planted'''),
		('format(text, bigint, text)', 'text', '''planted'''), ('format(text, text, text)', 'text', '''planted'''),
		('format(text, text, int)', 'text', '''planted'''), ('format(text, int, text)', 'text', '''planted'''),
		('jsonb_build_object(text, text, text, jsonb, text, text)', 'jsonb', '''{}'''), ('jsonb_build_object(text, int)', 'jsonb', '''{}'''),
		('jsonb_build_object(text, text)', 'jsonb', '''{}'''), ('jsonb_build_array(jsonb)', 'jsonb', '''[]'''),
		('array_position(text[], text)', 'int', '1'), ('cardinality(bigint[])', 'int', '1'), ('cardinality(text[])', 'int', '1'), ('array_fill(int, int[])', 'int[]', 'null'),
		('round(numeric)', 'numeric', '1'), ('left(text, bigint)', 'text', '''''')
	) v (name, result, value) loop
		execute format('create function public.%s returns %s language plpgsql as %L', f.name, f.result, format(body, f.name, f.value));
	end loop;
	create function public.text_and_int(text, int) returns text language plpgsql as $f$ begin insert into public.ran values ('|| ran as ' || current_user); return ''; end $f$;
	create operator public.|| (function = public.text_and_int, leftarg = text, rightarg = int);
	create function public.text_and_bigint(text, bigint) returns text language plpgsql as $f$ begin insert into public.ran values ('|| ran as ' || current_user); return ''; end $f$;
	create operator public.|| (function = public.text_and_bigint, leftarg = text, rightarg = bigint);
	create function public.smaller(smallint, numeric) returns boolean language plpgsql as $f$ begin insert into public.ran values ('< ran as ' || current_user); return true; end $f$;
	create operator public.< (function = public.smaller, leftarg = smallint, rightarg = numeric);
	create function public.smaller(numeric, int) returns boolean language plpgsql as $f$ begin insert into public.ran values ('< ran as ' || current_user); return true; end $f$;
	create operator public.< (function = public.smaller, leftarg = numeric, rightarg = int);
end $do$`

// script runs statements.
func script(t *testing.T, d *weirtest.Database, statements string) {
	t.Helper()
	if _, err := d.Exec(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
}

// TestNothingRunsWhatAnotherRolePlanted calls weir's functions in a session whose search path leads through public.
func TestNothingRunsWhatAnotherRolePlanted(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "grant create on schema public to public")
	script(t, weirtest.Stranger(t, d, "planter"), plant)
	conn := d.Connect()
	weirtest.Exec(t, conn, `set search_path = weir, public`)
	if weirtest.Value[string](t, conn, "select format('%s', 1::numeric)") != "planted" {
		t.Fatal("what was planted would not run anyway")
	}
	weirtest.Exec(t, conn, "delete from public.ran")
	for _, call := range []string{
		"select check_health('0')", "select enqueue('k', priority => 3, unique_key => 'u', max_attempts => 4, run_at => now())", "select enqueue('k', options => '{\"tenant\": \"t\"}')",
		"select set_queue('q', '{\"retry\": {\"strategy\": \"linear\"}, \"limits\": {\"concurrency\": 2, \"rate\": {\"per_second\": 5}}}')",
		"select enqueue_many('[{\"kind\": \"a\", \"queue\": \"q\"}, {\"kind\": \"b\", \"queue\": \"r\", \"metadata\": {\"a\": 1}}]')",
		"select log(job_id, token, '[{\"message\": \"m\", \"level\": \"warn\", \"fields\": {\"a\": 1}}]') from claim('{default}', 'w')", "select * from job_logs", "select complete(job_id, token, '1') from claim('{default}', 'w')", "select admit('q')", "select fail(job_id, token, '{\"message\": \"m\"}') from claim('{q,r,default}', 'w', 10)",
		"select set_schedule('s', '{\"cron\": \"* * * * *\", \"job\": {\"kind\": \"k\"}}')", "select fire_due()", "select * from preview_schedule('s')",
		"select set_breaker('b', '{\"failure_threshold\": 1}')", "select trip_breaker('b')", "select report_breaker('b', 'failure')",
		"select submit_workflow('{\"name\": \"w\", \"steps\": [{\"name\": \"a\", \"kind\": \"k\"}, {\"name\": \"b\", \"kind\": \"k\", \"depends_on\": [\"a\"]}]}')",
		"select set_webhook('h', '{\"url\": \"https://example.com\", \"events\": [\"dead\"]}')", "select roll_up()", "select keep_partitions()", "select advance_frontier('0')", "select promote_due(), expire_leases()",
		"select why(id), timeline(id) from jobs", "select start_operation('export_jobs')", "select * from queue_depth", "select * from latency", "select * from schedules", "select * from breakers", "select * from lines",
		"select percentile(merge_histograms(array[1, 2]), 0.5), time_bucket(3), retry_delay('{}', 3)", "select register_worker('w', '{\"capacity\": 3}')", "select * from worker_stats()", "select set_limit('q', key => 'k', limits => '{\"concurrency\": 1}')",
	} {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := weirtest.TryExec(tx, call); err != nil {
			t.Errorf("%s: %v", call, err)
			weirtest.Rollback(t, tx)
			continue
		}
		weirtest.Commit(t, tx)
		if ran := weirtest.Values[string](t, conn, "select distinct what from public.ran"); len(ran) > 0 {
			t.Errorf("%s: %s", call, strings.Join(ran, ", "))
			weirtest.Exec(t, conn, "delete from public.ran")
		}
	}
}

// unpinned lists functions that a session can begin with and that find names where its search path leads.
const unpinned = `
select p.oid::regprocedure::text from pg_proc p
where p.pronamespace in ('weir'::regnamespace) and p.prokind in ('f', 'p') and p.prosqlbody is null
	and not coalesce(p.proconfig @> '{"search_path=pg_catalog, weir, pg_temp"}', false)
	and (p.proname = any ($1) or p.prosecdef or obj_description(p.oid) not like 'Internal%' or p.prorettype = 'trigger'::regtype
		or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee <> p.proowner))`

func TestFunctionsThatASessionCanCallPinTheirSearchPath(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	called := calledByNodes(t)
	if len(called) < 50 {
		t.Fatalf("the queries call only %d functions: %v", len(called), called)
	}
	for _, f := range weirtest.Values[string](t, d, unpinned, called) {
		t.Errorf("%s has no search path of its own", f)
	}
	for _, f := range weirtest.Values[string](t, d, `select p.oid::regprocedure::text from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
		where p.pronamespace = 'weir'::regnamespace and a.grantee = 0`) {
		t.Errorf("any role may call %s", f)
	}
}

// calledByNodes returns the functions that the statements of nodes call.
func calledByNodes(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../../sql/queries/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`weir\.(\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// TestMigrationsRunNothingThatWasPlanted prepares a database as another role, and migrates it as the role that is to own it.
func TestMigrationsRunNothingThatWasPlanted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ plant, refused string }{
		"the old record, with a trigger": {plant: `
			create table public.weir_migrations (id int generated by default as identity, version_id bigint, is_applied boolean, tstamp timestamptz default now());
			create table public.ran (what text);
			grant insert on public.ran, public.weir_migrations to public;
			create function public.note() returns trigger language plpgsql as $$ begin insert into public.ran values (current_user); return new; end $$;
			create trigger note before insert on public.weir_migrations for each row execute function public.note()`},
		"functions in public":    {plant: plant},
		"the schema":             {plant: "create schema weir", refused: "has the schema weir"},
		"the schema of chores":   {plant: "create schema weir_river", refused: "has the schema weir_river"},
		"a table in the schema":  {plant: "create table weir.migration (id int)", refused: "has "},
		"a function in a schema": {plant: "create function weir.queue_id(int) returns int language sql as 'select 1'", refused: "has "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.Empty(t)
			owner, planter := weirtest.Stranger(t, d, "owner"), weirtest.Stranger(t, d, "planter")
			weirtest.Exec(t, d, fmt.Sprintf("grant create on database %s to public", d.Config().ConnConfig.Database))
			weirtest.Exec(t, d, "grant create on schema public to public")
			if strings.HasPrefix(name, "a ") {
				weirtest.Exec(t, owner, "create schema weir")
				weirtest.Exec(t, owner, "grant create, usage on schema weir to "+planter.Role())
			}
			script(t, planter, c.plant)
			err := migrations.Up(t.Context(), owner.URL)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), planter.Role()) {
					t.Fatalf("the error is %v, want one that names %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, ran := range weirtest.Values[string](t, d, "select what from public.ran") {
				t.Errorf("it ran: %s", ran)
			}
		})
	}
}
