package limit

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestLimitsAreTurnedOnAndOffUnderWork(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	ids := enqueueKeyed(t, d, "q", "a a a b b")
	running := weirtest.Claim(t, d, "q", 2) // both of key a
	weirtest.SetLimits(t, d, "q", `{"per_key": 2}`)
	weirtest.CheckLimits(t, d)
	weirtest.Admit(t, d, "q", 10)
	got := weirtest.Claim(t, d, "q", 10)
	if !slices.Equal(weirtest.IDs(got), ids[3:]) {
		t.Fatalf("claimed %v, want %v: two of key a are running", weirtest.IDs(got), ids[3:])
	}
	weirtest.SetLimits(t, d, "q", `{"per_key": 1, "tenants": {}}`)
	weirtest.Complete(t, d, running[0])
	weirtest.Admit(t, d, "q", 10)
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Error("the lower limit was passed")
	}
	weirtest.Complete(t, d, running[1])
	weirtest.Admit(t, d, "q", 10)
	weirtest.CheckLimits(t, d)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"limits": {}}')`) // the third of key a is admitted, and not claimed
	more := enqueueKeyed(t, d, "q", "a a")
	weirtest.Admit(t, d, "q", 0)
	if got := weirtest.IDs(weirtest.Claim(t, d, "q", 10)); len(got) != 3 || !slices.Contains(got, ids[2]) || !slices.Contains(got, more[1]) {
		t.Errorf("without limits claimed %v, want %d and %v", got, ids[2], more)
	}
	if left := weirtest.Value[int](t, d, "select (select count(*) from weir.line) + (select count(*) from weir.line_reservation) + (select count(*) from weir.admission_inbox) + (select count(*) from weir.admission)"); left != 0 {
		t.Errorf("%d rows are left of the limits", left)
	}
}

func TestJobsOfOldLimitsAreFound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	tx := d.Tx()
	plain := enqueueKeyed(t, tx, "q", "a")
	weirtest.SetLimits(t, d, "q", `{"concurrency": 10}`)
	tx2 := d.Tx()
	inOneLine := enqueueKeyed(t, tx2, "q", "a")
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	weirtest.Commit(t, tx)
	weirtest.Tick(t, d)
	weirtest.Admit(t, d, "q", 10)
	job := weirtest.ClaimOne(t, d, "q")
	weirtest.Commit(t, tx2)
	weirtest.Admit(t, d, "q", 10)
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 || job.ID != plain[0] {
		t.Fatalf("claimed %d and %d more, want %d and none", job.ID, n, plain[0])
	}
	weirtest.Complete(t, d, job)
	weirtest.Admit(t, d, "q", 10)
	if job = weirtest.ClaimOne(t, d, "q"); job.ID != inOneLine[0] {
		t.Errorf("claimed %d, want %d", job.ID, inOneLine[0])
	}
	tx3 := d.Tx()
	late := enqueueKeyed(t, tx3, "q", "a")
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"limits": {}}')`)
	weirtest.Admit(t, d, "q", 0)
	weirtest.Commit(t, tx3)
	if queues := weirtest.Values[string](t, d, "select queue from weir.admissions() where busy"); !slices.Equal(queues, []string{"q"}) {
		t.Errorf("to be looked after: %v", queues)
	}
	weirtest.Admit(t, d, "q", 0)
	if job = weirtest.ClaimOne(t, d, "q"); job.ID != late[0] {
		t.Errorf("claimed %d, want %d", job.ID, late[0])
	}
}

func TestLimitsAreSet(t *testing.T) {
	t.Parallel()
	t.Run("REST", limitsAreSetREST)
	t.Run("CLI", limitsAreSetCLI)
}

func limitsAreSetREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for body, field := range map[string]string{
		`{"limits": {"concurrency": 0}}`: "body.limits.concurrency", `{"limits": {"per_key": -1}}`: "body.limits.per_key", `{"limits": {"rate": {"per_second": 0}}}`: "body.limits.rate.per_second",
		`{"limits": {"rate": {"burst": 1}}}`: "body.limits.rate", `{"limits": {"per_tenant": 1}}`: "body.limits", `{"limits": {"tenants": {"weights": {"a": 0}}}}`: "limits.tenants.weights",
	} {
		if p := s.Do(http.MethodPut, "/v1/queues/q", body).Problem(http.StatusUnprocessableEntity, "invalid_argument"); !strings.Contains(fmt.Sprint(p), field) {
			t.Errorf("%s: %+v does not name %s", body, p, field)
		}
	}
	s.Get("/v1/queues/q").Problem(http.StatusNotFound, "queue_not_found")
	s.SetLimits("q", `{"concurrency": 5, "tenants": {"weights": {"a": 2}}}`)
	s.Do(http.MethodPut, "/v1/queues/q/limits/keys/x%2Fy", `{"concurrency": 0}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Do(http.MethodPut, "/v1/queues/q/limits/tenants/b", `{"weight": 0}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Do(http.MethodPut, "/v1/queues/q/limits/keys/x%2Fy", `{"concurrency": 3, "rate": {"per_second": 9}}`).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/queues/q/limits/tenants/b", `{"weight": 7}`).Want(http.StatusOK)
	first := weirtest.Decode[weirtest.Page[jobs.LimitOverride]](s.Get("/v1/queues/q/limits?limit=1").Want(http.StatusOK))
	second := weirtest.Decode[weirtest.Page[jobs.LimitOverride]](s.Get("/v1/queues/q/limits?limit=1&cursor=" + *first.NextCursor).Want(http.StatusOK))
	if first.Items[0].Key != "x/y" || *first.Items[0].Concurrency != 3 || first.Items[0].Rate.Burst != 9 || second.Items[0].Tenant != "b" || *second.Items[0].Weight != 7 || second.NextCursor != nil {
		t.Errorf("%+v, %+v", first, second)
	}
	s.Do(http.MethodDelete, "/v1/queues/q/limits/keys/x%2Fy", nil).Want(http.StatusNoContent)
	s.Do(http.MethodDelete, "/v1/queues/q/limits/tenants/b", nil).Want(http.StatusNoContent)
	if page := weirtest.Decode[weirtest.Page[jobs.LimitOverride]](s.Get("/v1/queues/q/limits").Want(http.StatusOK)); len(page.Items) != 0 {
		t.Errorf("%+v", page)
	}
	q := weirtest.Decode[jobs.Queue](s.Do(http.MethodPatch, "/v1/queues/q", `{"priority": 7}`).Want(http.StatusOK))
	if q.Limits == nil || *q.Limits.Concurrency != 5 || q.Limits.Tenants.Weights["a"] != 2 {
		t.Errorf("a change of something else left %+v", q.Limits)
	}
	if q = weirtest.Decode[jobs.Queue](s.Do(http.MethodPatch, "/v1/queues/q", `{"limits": {}}`).Want(http.StatusOK)); q.Limits != nil {
		t.Errorf("limits are %+v", q.Limits)
	}
}

func limitsAreSetCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{}`).Want(http.StatusOK)
	s.CLI("queue", "limits", "q", "concurrency=5", "rate.per_second=10", "per_key=1").Says(0, "queue q is active")
	s.CLI("queue", "limits", "q", "--key", "a/b", "concurrency=3").Says(0, "a/b has limits of its own")
	s.CLI("queue", "limits", "q", "--tenant", "acme", "weight=4").Says(0, "acme has limits of its own")
	s.Enqueue(obj{"kind": "k", "queue": "q", "tenant": "acme", "concurrency_key": "a/b"})
	s.Eventually("the job is in a line", func() bool { return s.Count("select count(*) from weir.lines") == 1 })
	s.CLI("queue", "limits", "q").Says(0, `"concurrency":5`, "key a/b", "tenant acme", "WAITING", "acme")
	s.CLI("queue", "limits", "q", "--key", "a/b", "--off").Says(0, "no limits of its own")
	s.CLI("queue", "limits", "q", "--off").Says(0)
	s.CLI("queue", "limits", "q", "--tenant", "acme", "--off").Says(0)
	s.CLI("queue", "limits", "q").Says(0, "limits of queue q: {}")
	s.CLI("queue", "limits", "q", "concurrency=0").Says(1, "limits.concurrency")
	s.CLI("queue", "limits", "q", "--key", "a").Says(2, "concurrency=2")
	s.CLI("queue", "limits", "none").Says(1, "no queue")
}

func TestInvalidLimitsAreRefused(t *testing.T) {
	t.Parallel()
	t.Run("SQL", invalidLimitsAreRefusedSQL)
	t.Run("REST", invalidLimitsAreRefusedREST)
}

func invalidLimitsAreRefusedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	for limits, field := range map[string]string{
		`{"concurrency": 0}`: "limits.concurrency", `{"concurrency": -1}`: "limits.concurrency", `{"concurrency": 1.5}`: "limits.concurrency", `{"per_key": 0}`: "limits.per_key",
		`{"rate": {"per_second": 0}}`: "limits.rate.per_second", `{"rate": {"burst": 5}}`: "limits.rate.per_second", `{"rate": {"per_second": 5, "burst": 0}}`: "limits.rate.burst", `{"rate": 5}`: "limits.rate",
		`{"key_rate": {"per_second": -5}}`: "limits.key_rate.per_second", `{"rate": {"per_second": 5, "per_minute": 1}}`: "limits.rate.per_minute", `{"tenants": {"weights": {"a": 0}}}`: "limits.tenants.weights",
		`{"tenants": {"shares": {}}}`: "limits.tenants.shares", `{"tenants": 3}`: "limits.tenants", `{"per_tenant": 3}`: "limits.per_tenant", `[]`: "limits", `"x"`: "limits",
	} {
		d.Unchanged(limits, func() {
			if e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.set_queue('q', jsonb_build_object('limits', $1::text::jsonb))", limits), "WR010"); e.ColumnName != field {
				t.Errorf("%s: the field is %q, want %q", limits, e.ColumnName, field)
			}
		})
	}
	for call, field := range map[string]string{
		`select weir.set_limit('q')`: "key", `select weir.set_limit('q', key => 'a', tenant => 'b')`: "key", `select weir.set_limit('q', key => '', limits => '{"concurrency": 1}')`: "key",
		`select weir.set_limit('q', key => 'a', limits => '{"weight": 1}')`: "weight", `select weir.set_limit('q', tenant => 'a', limits => '{"weight": 0}')`: "weight",
		`select weir.set_limit('q', tenant => 'a', limits => '{"rate": {"per_second": 1}}')`: "rate", `select weir.set_limit('q', key => 'a', limits => '{"rate": {"per_second": 0}}')`: "rate.per_second",
		`select weir.set_limit('q', key => 'a', limits => '{"concurrency": 0}')`: "concurrency", `select weir.set_limit('q', key => 'a', limits => '5')`: "limits",
	} {
		d.Unchanged(call, func() {
			if e := weirtest.WantSQLState(t, weirtest.TryExec(d, call), "WR010"); e.ColumnName != field {
				t.Errorf("%s: the field is %q, want %q", call, e.ColumnName, field)
			}
		})
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.set_limit('none', key => 'a')"), "WR011")
	for _, job := range []string{`{"kind": "x", "concurrency_key": ""}`, `{"kind": "x", "concurrency_key": 5}`, `{"kind": "x", "concurrency_key": "a\u001fb"}`} {
		if e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue_many($1)", "["+job+"]"), "WR010"); e.ColumnName != "jobs[0].concurrency_key" {
			t.Errorf("%s: the field is %q", job, e.ColumnName)
		}
	}
}

func invalidLimitsAreRefusedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{"limits": {"concurrency": 5}}`).Want(http.StatusOK)
	for _, n := range []string{"0", "-1"} {
		for field, limits := range map[string]string{
			"concurrency": `{"concurrency": ` + n + `}`, "per_key": `{"per_key": ` + n + `}`, "rate.per_second": `{"rate": {"per_second": ` + n + `}}`, "rate.burst": `{"rate": {"per_second": 5, "burst": ` + n + `}}`,
			"key_rate.per_second": `{"key_rate": {"per_second": ` + n + `}}`, "key_rate.burst": `{"key_rate": {"per_second": 5, "burst": ` + n + `}}`,
		} {
			for _, method := range []string{http.MethodPut, http.MethodPatch} {
				s.Do(method, "/v1/queues/q", `{"limits": `+limits+`}`).RefusedAt("body.limits."+field, "")
			}
		}
		s.Do(http.MethodPut, "/v1/queues/q/limits/keys/k", `{"concurrency": `+n+`}`).RefusedAt("body.concurrency", "1")
		s.Do(http.MethodPut, "/v1/queues/q/limits/keys/k", `{"rate": {"per_second": `+n+`}}`).RefusedAt("body.rate.per_second", "")
		s.Do(http.MethodPut, "/v1/queues/q/limits/tenants/t", `{"weight": `+n+`}`).RefusedAt("body.weight", "0.001")
		s.Do(http.MethodPut, "/v1/queues/q/limits/tenants/t", `{"concurrency": `+n+`}`).RefusedAt("body.concurrency", "1")
	}
	if n := s.Count("select (limits ->> 'concurrency')::int from weir.queue where name = 'q'"); n != 5 {
		t.Errorf("the limit is %d", n)
	}
	if n := s.Count("select count(*) from weir.limit_override"); n != 0 {
		t.Errorf("%d limits were set", n)
	}
}
