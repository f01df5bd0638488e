package audit

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

func lastEntry(t *testing.T, d *weirtest.Database) string {
	t.Helper()
	return weirtest.Value[string](t, d, "select concat_ws('|', principal, principal_kind, operation, object) from weir.audit order by id desc limit 1")
}

// TestSQLNamesTheSessionUser tries functions, plain statements, and a login that forges the setting of nodes.
func TestSQLNamesTheSessionUser(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	me := weirtest.Value[string](t, d, "select session_user::text")
	for _, c := range []struct{ statement, want string }{
		{"select weir.set_queue('a', '{\"priority\": 7}')", "putQueue|queues/a"},
		{"select weir.set_queue('a', '{\"priority\": 8}')", "editQueue|queues/a"},
		{"update weir.queue set priority = 9 where name = 'a'", "editQueue|queues/a"},
		{"select weir.pause_queue('a')", "pauseQueue|queues/a"},
		{"select weir.resume_queue('a')", "resumeQueue|queues/a"},
		{"select weir.set_tenant_quota('acme', 5)", "putTenant|tenants/acme"},
		{"select weir.delete_tenant_quota('acme')", "deleteTenant|tenants/acme"},
		{"select weir.set_limit('a', tenant => 't', limits => '{\"concurrency\": 2}')", "putTenantLimit|queues/a/limits/tenants/t"},
		{"select weir.set_breaker('b')", "putBreaker|breakers/b"},
		{"select weir.trip_breaker('b')", "tripBreaker|breakers/b"},
		{"select weir.set_preset('p', '{\"title\": \"T\", \"filter\": {}}')", "putPreset|presets/p"},
		{"select weir.set_preset('p', '{\"title\": \"U\", \"filter\": {}}', tenant => 'acme')", "putPreset|presets/p?tenant=acme"},
		{"select weir.delete_preset('p')", "deletePreset|presets/p"},
		{"select weir.set_schedule('s', '{\"every_seconds\": 60, \"job\": {\"kind\": \"k\"}}')", "createSchedule|schedules/s"},
		{"select weir.delete_schedule('s')", "deleteSchedule|schedules/s"},
		{"select weir.set_webhook('h', '{\"url\": \"https://example.com\", \"events\": [\"dead\"]}')", "createWebhook|webhooks/h"},
		{"select weir.cancel(weir.enqueue('k', queue => 'a'))", "cancelJob|jobs/"},
		{"select weir.start_operation('purge_dead')", "purgeDeadLetters|operations/1"},
		{"select weir.delete_queue('a')", "deleteQueue|queues/a"},
	} {
		before := weirtest.Value[int](t, d, "select count(*)::int from weir.audit")
		weirtest.Exec(t, d, c.statement)
		if got := lastEntry(t, d); !strings.HasPrefix(got, me+"|sql|"+c.want) {
			t.Errorf("%s left %s, want %s", c.statement, got, c.want)
		}
		if n := weirtest.Value[int](t, d, "select count(*)::int from weir.audit") - before; n != 1 {
			t.Errorf("%s left %d entries, want 1", c.statement, n)
		}
	}

	role := "operator_" + d.Config().ConnConfig.Database
	weirtest.Exec(t, d, "create role "+role+" login password 'secret'")
	t.Cleanup(func() {
		weirtest.Exec(t, d, "drop owned by "+role+" cascade")
		weirtest.Exec(t, d, "drop role "+role)
	})
	weirtest.Exec(t, d, "select weir.grant_access('"+role+"', 'operator')")
	if got := lastEntry(t, d); got != me+"|sql|grantAccess|logins/"+role {
		t.Errorf("granting access left %s", got)
	}
	u, err := url.Parse(d.Direct)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "secret")
	login, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { login.Close(context.Background()) })
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'b')")
	for _, forged := range []string{`{"name": "other", "kind": "key", "operation": "x"}`, "engine", "no JSON"} {
		if _, err := login.Exec(t.Context(), "select set_config('weir.actor', $1, false)", forged); err != nil {
			t.Fatal(err)
		}
		if _, err := login.Exec(t.Context(), "select weir.pause_queue('b', $1)", forged); err != nil {
			t.Fatal(err)
		}
		if got := lastEntry(t, d); got != role+"|sql|pauseQueue|queues/b" {
			t.Errorf("a login with weir.actor %s left %s", forged, got)
		}
	}
	if _, err := login.Exec(t.Context(), "select * from weir.audit_entry"); err == nil {
		t.Error("a login could read the audit trail")
	}
}

// TestWhatTheEngineDoesIsNotRecorded: the end of a pause, and the jobs of a bulk operation.
func TestWhatTheEngineDoesIsNotRecorded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k", "queue": "a", "delay_seconds": 3600})
	s.Enqueue(obj{"kind": "k", "queue": "a", "delay_seconds": 3600})
	s.Post("/v1/queues/a/pause", obj{"resume_in_seconds": 0.2}).Want(http.StatusOK)
	s.Eventually("the pause ends", func() bool { return s.Count("select count(*) from weir.queue where paused_at is not null") == 0 })
	s.Post("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{"queue": "a"}}).Want(http.StatusAccepted)
	s.Exec("select weir.run_operation(1)")
	if n := s.Count("select count(*) from weir.job_outcome where state = 'cancelled'"); n != 2 {
		t.Fatalf("%d jobs were cancelled, want 2", n)
	}
	if got := audit(s, ""); len(got) != 2 || got[0].Operation != "changeJobs" || got[1].Operation != "pauseQueue" {
		t.Errorf("got %+v, want the pause and the operation alone", got)
	}
}

// TestCLIListsTheTrail lists as a table and as JSON.
func TestCLIListsTheTrail(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/a", obj{"priority": 7}).Want(http.StatusOK)
	s.Do(http.MethodPatch, "/v1/queues/a", obj{"priority": 8}).Want(http.StatusOK)
	table := s.CLI("audit")
	for _, want := range []string{"WHO", "putQueue", "editQueue", "queues/a", "priority: 7 -> 8"} {
		if !strings.Contains(table.Stdout, want) {
			t.Errorf("the table lacks %q:\n%s", want, table.Stdout)
		}
	}
	if got := s.CLI("audit", "--operation", "editQueue", "--json").Stdout; !strings.Contains(got, `"editQueue"`) || strings.Contains(got, `"putQueue"`) {
		t.Errorf("got %s, want editQueue alone", got)
	}
}
