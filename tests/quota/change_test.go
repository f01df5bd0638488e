package quota

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type tenant struct {
	Tenant     string
	MaxWaiting *int     `json:"max_waiting"`
	PerSecond  *float64 `json:"enqueues_per_second"`
	Burst      *int     `json:"enqueue_burst"`
	MaxBytes   *int64   `json:"max_bytes"`
	Waiting    *int
	Bytes      *int64
	Exact      bool
}

func TestQuotasAreSetAndShown(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Get("/v1/tenants/acme").Problem(http.StatusNotFound, "quota_not_found")
	s.Do(http.MethodDelete, "/v1/tenants/acme", nil).Problem(http.StatusNotFound, "quota_not_found")
	got := weirtest.Decode[tenant](s.Do(http.MethodPut, "/v1/tenants/acme", obj{"max_waiting": 10, "enqueues_per_second": 2.5}).Want(http.StatusOK))
	if *got.MaxWaiting != 10 || *got.PerSecond != 2.5 || *got.Burst != 3 || got.MaxBytes != nil || *got.Waiting != 0 || got.Bytes != nil {
		t.Errorf("it is %+v", got)
	}
	s.Enqueue(obj{"kind": "k", "tenant": "acme"})
	if got := weirtest.Decode[tenant](s.Get("/v1/tenants/acme").Want(http.StatusOK)); *got.Waiting != 1 {
		t.Errorf("it uses %+v", got)
	}
	got = weirtest.Decode[tenant](s.Do(http.MethodPut, "/v1/tenants/acme", obj{"max_bytes": 1000}).Want(http.StatusOK))
	if got.MaxWaiting != nil || got.Burst != nil || *got.MaxBytes != 1000 || *got.Bytes != 0 {
		t.Errorf("it is replaced by %+v", got)
	}
	for _, name := range []string{"b", "c"} {
		s.Do(http.MethodPut, "/v1/tenants/"+name, obj{"max_waiting": 0}).Want(http.StatusOK)
	}
	page := weirtest.Decode[weirtest.Page[tenant]](s.Get("/v1/tenants?limit=2").Want(http.StatusOK))
	if len(page.Items) != 2 || page.Items[0].Tenant != "acme" || page.NextCursor == nil {
		t.Errorf("the first page is %+v", page)
	}
	if next := weirtest.Decode[weirtest.Page[tenant]](s.Get("/v1/tenants?limit=2&cursor=" + *page.NextCursor).Want(http.StatusOK)); len(next.Items) != 1 || next.Items[0].Tenant != "c" {
		t.Errorf("the second page is %+v", next)
	}
	s.Do(http.MethodDelete, "/v1/tenants/b", nil).Want(http.StatusNoContent)
	s.Enqueue(obj{"kind": "k", "tenant": "b"})
}

func TestBadQuotasAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.DB.Unchanged("a bad quota", func() {
		for field, body := range map[string]obj{
			"body.max_waiting":         {"max_waiting": -1},
			"body.enqueues_per_second": {"enqueues_per_second": 0},
			"body.enqueue_burst":       {"max_waiting": 1, "enqueue_burst": 3},
			"body.max_bytes":           {"max_bytes": 2e15},
		} {
			r := s.Do(http.MethodPut, "/v1/tenants/acme", body)
			if p := r.Problem(http.StatusUnprocessableEntity, "invalid_argument"); len(p.Errors) != 1 || p.Errors[0].Location != field {
				t.Errorf("%v: want it at %s", r, field)
			}
		}
		s.Do(http.MethodPut, "/v1/tenants/acme", obj{}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		for _, arguments := range []string{
			"null, 1", "'', 1", "'x'", "'x', -1", "'x', 10000001", "'x', enqueues_per_second => 0", "'x', enqueues_per_second => 'nan'", "'x', enqueues_per_second => 'infinity'",
			"'x', 1, enqueue_burst => 1", "'x', enqueues_per_second => 1, enqueue_burst => 0", "'x', max_bytes => -1",
		} {
			weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.set_tenant_quota("+arguments+")"), "WR010")
		}
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.delete_tenant_quota('x')"), "WR017")
	})
}

// TestABoundKeySeesItsOwnQuota and no other, and changes none.
func TestABoundKeySeesItsOwnQuota(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	for _, name := range []string{"a", "b"} {
		s.Do(http.MethodPut, "/v1/tenants/"+name, obj{"max_waiting": 1}).Want(http.StatusOK)
	}
	for _, role := range []string{"producer", "reader", "operator"} {
		own := s.AsNew("own "+role, obj{"tenant": "a"}, role)
		own.Get("/v1/tenants/a").Want(http.StatusOK)
		hidden, missing := own.Get("/v1/tenants/b").Problem(http.StatusNotFound, "quota_not_found"), own.Get("/v1/tenants/x").Problem(http.StatusNotFound, "quota_not_found")
		if strings.Replace(hidden.Detail, `"b"`, `"x"`, 1) != missing.Detail {
			t.Errorf("another's quota gives %q, none %q", hidden.Detail, missing.Detail)
		}
		own.Do(http.MethodPut, "/v1/tenants/a", obj{"max_waiting": 5}).Problem(http.StatusForbidden, "forbidden")
		own.Do(http.MethodDelete, "/v1/tenants/a", nil).Problem(http.StatusForbidden, "forbidden")
		if role == "producer" {
			continue
		}
		if list := weirtest.Decode[weirtest.Page[tenant]](own.Get("/v1/tenants").Want(http.StatusOK)); len(list.Items) != 1 || list.Items[0].Tenant != "a" {
			t.Errorf("a %s lists %+v", role, list)
		}
	}
	queues := s.AsNew("queues", obj{"queues": []string{"q"}}, "reader")
	queues.Get("/v1/tenants/a").Problem(http.StatusNotFound, "quota_not_found")
	if list := weirtest.Decode[weirtest.Page[tenant]](queues.Get("/v1/tenants").Want(http.StatusOK)); len(list.Items) != 0 {
		t.Errorf("a key of queues lists %+v", list)
	}
	s.AsNew("any producer", nil, "producer").Get("/v1/tenants/a").Problem(http.StatusNotFound, "quota_not_found")
}

func TestWhatIsKeptOfAQuotaGoesWithIt(t *testing.T) {
	weirtest.Long(t, "it waits for the loop of quotas")
	t.Parallel()
	s := weirtest.StartNode(t)
	set(t, s.DB, "acme", "max_waiting => 10, max_bytes => 100000")
	s.Enqueue(obj{"kind": "k", "tenant": "acme"})
	s.Do(http.MethodDelete, "/v1/tenants/acme", nil).Want(http.StatusNoContent)
	s.Eventually("nothing is left", func() bool {
		return s.Count("select (select count(*) from weir.tenant_job) + (select count(*) from weir.tenant_bytes) + (select count(*) from weir.tenant_usage)") == 0
	})
	set(t, s.DB, "acme", "max_waiting => 1")
	s.Eventually("a new quota counts the job", func() bool { return s.Count("select count(*) from weir.tenants where waiting = 1 and exact") == 1 })
}

func TestTenantsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("tenants").Says(0, "No tenant has a quota")
	s.CLI("tenants", "set", "acme", "max_waiting=5", "enqueues_per_second=2", "max_bytes=1000").Says(0, "0 of 5", "2/s (2 at once)", "0 of 1000")
	s.Enqueue(obj{"kind": "k", "tenant": "acme"})
	s.CLI("tenants", "list").Says(0, "acme", "1 of 5")
	s.CLI("tenants", "show", "acme", "--json").Says(0, `"max_waiting":5`)
	s.CLI("tenants", "set", "acme", "max_waiting=-1").Says(1, "max_waiting")
	s.CLI("tenants", "delete", "acme", "--yes").Says(0, "has no quota")
	s.CLI("tenants", "show", "acme").Says(1, "has no quota")
}
