package connection

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// asRole makes a role that owns the test's schemas, with settings of its own, and returns the database as that role sees it.
func asRole(t *testing.T, d *weirtest.Database, options string, settings ...string) *weirtest.Database {
	t.Helper()
	role := "weir_role_" + d.Config().ConnConfig.Database
	weirtest.Exec(t, d, fmt.Sprintf("create role %s login superuser password 'secret' %s", role, options))
	t.Cleanup(func() { weirtest.Exec(t, d, "drop role "+role) })
	if strings.Contains(options, "connection limit") { // a superuser has no limit
		own(t, d, role)
	}
	for _, s := range settings {
		weirtest.Exec(t, d, fmt.Sprintf("alter role %s set %s", role, s))
	}
	u, err := url.Parse(d.Direct)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "secret")
	return &weirtest.Database{Pool: d.Pool, URL: u.String(), Direct: u.String(), T: t}
}

// own gives a role that is no superuser all rights on weir's schemas.
func own(t *testing.T, d *weirtest.Database, role string) {
	t.Helper()
	weirtest.Exec(t, d, "alter role "+role+" nosuperuser")
	weirtest.Exec(t, d, "grant pg_read_all_stats to "+role)
	weirtest.Exec(t, d, fmt.Sprintf(`do $$ declare owner name := current_user; begin
		execute format('alter schema weir owner to %[1]s');
		execute format('alter schema weir_auth owner to %[1]s');
		execute format('alter schema weir_read owner to %[1]s');
		execute format('alter schema weir_river owner to %[1]s');
		execute (select string_agg(format('alter %%s %%s owner to %[1]s', case when relkind = 'S' then 'sequence' when relkind = 'v' then 'view' else 'table' end, c.oid::regclass), '; ')
			from pg_class c where relnamespace in ('weir'::regnamespace, 'weir_auth'::regnamespace, 'weir_read'::regnamespace, 'weir_river'::regnamespace) and relkind in ('r', 'p', 'v', 'S')
			and not exists (select from pg_depend where objid = c.oid and deptype in ('a', 'i') and relkind = 'S'));
		execute (select string_agg(format('alter routine %%s owner to %[1]s', oid::regprocedure), '; ') from pg_proc where pronamespace in ('weir'::regnamespace, 'weir_river'::regnamespace));
		execute format('grant create on database %%I to %[1]s', current_database());
	end $$`, role))
	t.Cleanup(func() {
		weirtest.Exec(t, d, "reassign owned by "+role+" to current_user")
		weirtest.Exec(t, d, "drop owned by "+role)
	})
}

// TestSettingsOfARoleChangeNothing serves with a role each of whose settings changes what a statement, or its text, means.
func TestSettingsOfARoleChangeNothing(t *testing.T) {
	weirtest.Long(t, "it serves with many settings")
	t.Parallel()
	d := weirtest.New(t)
	settings := []string{
		"client_encoding = 'LATIN1'", "standard_conforming_strings = off", "escape_string_warning = on", "backslash_quote = off", "array_nulls = off",
		"transform_null_equals = on", "datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'", "timezone = 'America/St_Johns'", "bytea_output = 'escape'",
		"extra_float_digits = -10", "xmlbinary = 'hex'", "xmloption = 'document'", "search_path = 'information_schema'", "row_security = off",
		"default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on", "statement_timeout = '300ms'", "lock_timeout = '1ms'",
		"idle_session_timeout = '500ms'", "idle_in_transaction_session_timeout = '50ms'", "quote_all_identifiers = on", "lc_messages = 'C'", "plan_cache_mode = 'force_generic_plan'",
	}
	if weirtest.Value[int](t, d, "select current_setting('server_version_num')::int") >= 170000 {
		settings = append(settings, "transaction_timeout = '300ms'")
	}
	s, _ := weirtest.StartServe(t, asRole(t, d, "", settings...))
	smoke(t, s)

	// The connection that listens outlives idle_session_timeout, and wakes a claim at once.
	time.Sleep(3 * time.Second)
	if up := s.Metric("weir_listener_up"); up != 1 {
		t.Errorf("weir_listener_up is %v", up)
	}
	answer := s.Park(weirtest.Object{"worker": "w", "queues": []string{"late"}, "wait_seconds": 30})
	time.Sleep(time.Second)
	began := time.Now()
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "late"})
	if jobs := s.Answer(answer); len(jobs) != 1 || time.Since(began) > weirtest.Soon {
		t.Errorf("%d jobs after %s", len(jobs), time.Since(began))
	}
	if log := s.Log.String(); strings.Contains(log, `"level":"WARN"`) || strings.Contains(log, `"level":"ERROR"`) {
		t.Error("the node has logged problems")
	}
}

// smoke uses what depends on how texts and times are written: a job with text of all kinds, a failure, a schedule, a workflow.
func smoke(t *testing.T, s *weirtest.Node) {
	t.Helper()
	args := `{"text": "Grüße \\ '' \u0001 日本 🎉", "number": 0.1234567890123456789, "path": "C:\\temp\\new"}`
	id := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", `{"kind": "smoke", "queue": "q", "tags": ["NULL", "a\\b"], "unique": {"key": "k'\\"}, "args": `+args+`}`).Want(http.StatusCreated)).ID
	j := s.ClaimOne("q")
	if j.ID != id || !weirtest.SameJSON(t, j.Args, []byte(args)) {
		t.Fatalf("claimed %+v, enqueued %s", j, args)
	}
	s.Post("/v1/jobs/"+id+"/fail", weirtest.Object{"token": j.Token, "error": weirtest.Object{"message": `it's 'bad' \ "worse" 🎉`}, "retry_in_seconds": 0}).Want(http.StatusOK)
	again := s.ClaimPatiently(weirtest.Object{"worker": "w", "queues": []string{"q"}, "wait_seconds": 20}).Jobs
	if len(again) != 1 {
		t.Fatalf("the failed job is not retried: %v", again)
	}
	s.Post("/v1/jobs/"+id+"/complete", weirtest.Object{"token": again[0].Token, "result": weirtest.Object{"text": `\ 🎉`}}).Want(http.StatusOK)
	if got := s.Job(id); got.State != "completed" {
		t.Errorf("the job is %s", got.State)
	}
	s.Get("/v1/jobs/" + id + "/timeline").Want(http.StatusOK)

	s.Do(http.MethodPost, "/v1/schedules", weirtest.Object{
		"name": "cron", "cron": "*/5 * * * * *", "timezone": "Europe/Berlin", "job": weirtest.Object{"kind": "scheduled", "queue": "cron"},
	}).Want(http.StatusCreated)
	s.Do(http.MethodPost, "/v1/schedules", weirtest.Object{
		"name": "every", "every_seconds": 1, "job": weirtest.Object{"kind": "scheduled", "queue": "every"},
	}).Want(http.StatusCreated)
	for _, queue := range []string{"every", "cron"} {
		if jobs := s.ClaimPatiently(weirtest.Object{"worker": "w", "queues": []string{queue}, "wait_seconds": 30}).Jobs; len(jobs) != 1 {
			t.Errorf("schedule %s has fired %d jobs", queue, len(jobs))
		}
	}
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "later", "delay_seconds": 0.5})
	if jobs := s.ClaimPatiently(weirtest.Object{"worker": "w", "queues": []string{"later"}, "wait_seconds": 30}).Jobs; len(jobs) != 1 {
		t.Errorf("%d delayed jobs were claimed", len(jobs))
	}
}

// TestARoleWithFewConnectionsServesAllCalls makes many calls at once through a node whose role may have only 12 connections.
func TestARoleWithFewConnectionsServesAllCalls(t *testing.T) {
	weirtest.Long(t, "it makes many calls over few connections")
	t.Parallel()
	d := weirtest.New(t)
	s, _ := weirtest.StartServe(t, asRole(t, d, "connection limit 12"))
	failed := make(chan string, 1000)
	const callers = 100
	done := make(chan struct{}, callers)
	ctx, cancel := context.WithTimeout(t.Context(), weirtest.Patience)
	defer cancel()
	for i := range callers {
		go func() {
			defer func() { done <- struct{}{} }()
			queue := fmt.Sprint("q", i%20)
			for range 10 {
				for _, call := range []struct {
					method, path string
					body         any
				}{
					{http.MethodPost, "/v1/jobs", weirtest.Object{"kind": "k", "queue": queue}},
					{http.MethodPost, "/v1/claims", weirtest.Object{"worker": "w", "queues": []string{queue}}},
					{http.MethodGet, "/v1/jobs?limit=1", nil},
				} {
					if r, err := s.Send(ctx, call.method, call.path, call.body); err != nil || r.Status >= 300 {
						select {
						case failed <- fmt.Sprint(r, err):
						default:
						}
					}
				}
			}
		}()
	}
	for range callers {
		<-done
	}
	if n := len(failed); n > 0 {
		t.Errorf("%d of %d calls failed, one of them so: %s", n, callers*30, <-failed)
	}
	s.Get("/readyz").Want(http.StatusOK)
	const warning = "PostgreSQL grants fewer connections"
	if n := strings.Count(s.Log.String(), warning); n != 1 {
		t.Errorf("it warned %d times", n)
	}
	s.Eventually("all its connections work, the listener's and the chores' too", func() bool { return s.Metric("weir_listener_up") == 1 })
}

// TestADatabaseThatTakesNoWritesIsNotReady serves with roles that cannot write.
func TestADatabaseThatTakesNoWritesIsNotReady(t *testing.T) {
	t.Parallel()
	for name, forbid := range map[string]string{
		"read-only by default": "alter role %s set default_transaction_read_only = on",
		"without privileges":   "alter role %s nosuperuser; grant usage on schema weir to %[1]s; grant select on all tables in schema weir to %[1]s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			role := asRole(t, d, "")
			s, _ := weirtest.StartServe(t, role)
			config, err := pgx.ParseConfig(role.URL)
			if err != nil {
				t.Fatal(err)
			}
			for statement := range strings.SplitSeq(fmt.Sprintf(forbid, config.User), ";") {
				weirtest.Exec(t, d, statement)
			}
			t.Cleanup(func() { weirtest.Exec(t, d, "drop owned by "+config.User) })
			weirtest.Exec(t, d, "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", config.User)
			notReady(t, s)
		})
	}
}

// notReady checks that a node says everywhere that it cannot serve, and does not say it again and again.
func notReady(t *testing.T, s *weirtest.Node) {
	t.Helper()
	s.Eventually("the node is not ready", func() bool { return s.Get("/readyz").Status == http.StatusServiceUnavailable })
	s.Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	s.Get("/livez").Want(http.StatusOK)
	lines := strings.Count(s.Log.String(), "\n")
	began := time.Now()
	answers := s.ParkMany(5, func(i int) weirtest.Object {
		return weirtest.Object{"worker": "w", "queues": []string{fmt.Sprint("q", i)}, "wait_seconds": 8}
	})
	s.Post("/v1/jobs", weirtest.Object{"kind": "k"}).Problem(http.StatusServiceUnavailable, "unavailable")
	if failing := s.Component("database").Status; failing != "failing" {
		t.Errorf("the health of the database is %s", failing)
	}
	s.Get("/v1/health/summary").Problem(http.StatusServiceUnavailable, "unavailable")
	for _, answer := range answers {
		<-answer
	}
	time.Sleep(time.Until(began.Add(10 * time.Second)))
	if n := strings.Count(s.Log.String(), "\n") - lines; n > 60 {
		t.Errorf("%d lines were logged in 10 s", n)
	}
}
