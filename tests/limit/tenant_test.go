package limit

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestTenantsShareByWeight(t *testing.T) {
	weirtest.Long(t, "it works many jobs")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 20, "tenants": {"weights": {"b": 3}}}`)
	weirtest.Exec(t, d, `select weir.set_limit('q', tenant => 'c', limits => '{"weight": 6}')`)
	for _, tenant := range []string{"a", "b", "c"} {
		weirtest.Exec(t, d, "select weir.enqueue('w', queue => 'q', options => jsonb_build_object('tenant', $1::text)) from generate_series(1, 700)", tenant)
	}
	had := map[string]int{}
	serve := func(n int) {
		for range n {
			weirtest.Value[int](t, d, "select admitted from weir.admit('q', 7)")
			jobs := weirtest.Claim(t, d, "q", 7)
			for _, tenant := range weirtest.Values[string](t, d, "select tenant from weir.job where id = any ($1)", weirtest.IDs(jobs)) {
				had[tenant]++
			}
			weirtest.Complete(t, d, jobs...)
		}
	}
	serve(5) // a pass reads a thousand notes, so it takes several to know all of them
	clear(had)
	serve(100)
	if had["a"] < 60 || had["a"] > 80 || had["b"] < 200 || had["b"] > 220 || had["c"] < 410 || had["c"] > 430 {
		t.Errorf("shares are %v, want 1, 3 and 6 of ten", had)
	}
	weirtest.CheckLimits(t, d)
	ids := weirtest.Enqueue(t, d, `{"kind": "late", "queue": "q", "tenant": "d"}`, `{"kind": "late", "queue": "q", "tenant": "d"}`)
	serve(6)
	if ended := weirtest.Value[int](t, d, "select count(*) from weir.job_outcome where job_id = any ($1)", ids); ended != 2 {
		t.Errorf("%d of 2 jobs of a tenant that came late have ended", ended)
	}
	serve(400) // to the end: what some do not use goes to the others
	if left := weirtest.Value[int](t, d, "select count(*) from weir.job_held"); left != 0 {
		t.Errorf("%d jobs are left", left)
	}
	weirtest.CheckLimits(t, d)
}

func TestTenantLimitsJobsInFlight(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"tenants": {}, "per_key": 5}`)
	weirtest.Exec(t, d, `select weir.set_limit('q', tenant => 'a', limits => '{"concurrency": 2}')`)
	weirtest.Exec(t, d, `select weir.set_limit('q', key => 'k', limits => '{"concurrency": 1}')`)
	for _, tenant := range []string{"a", "b"} {
		weirtest.Exec(t, d, "select weir.enqueue('w', queue => 'q', options => jsonb_build_object('tenant', $1::text, 'concurrency_key', k)) from generate_series(1, 10), unnest(array['k', 'l']) k", tenant)
	}
	weirtest.Admit(t, d, "q", 100)
	weirtest.Claim(t, d, "q", 100)
	got := weirtest.Value[string](t, d, "select string_agg(tenant || key || in_flight, ' ' order by 1) from (select tenant, key, in_flight::text from weir.lines where in_flight > 0 order by 1, 2) l")
	if got != "ak1 al1 bk1 bl5" {
		t.Errorf("in flight are %s", got)
	}
	weirtest.Exec(t, d, `select weir.set_limit('q', tenant => 'a')`)
	weirtest.Admit(t, d, "q", 100)
	weirtest.Claim(t, d, "q", 100)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_lease l join weir.job j on j.id = l.job_id where j.tenant = 'a'"); n != 6 {
		t.Errorf("without its own limit tenant a has %d in flight, want 6", n)
	}
	weirtest.CheckLimits(t, d)
}
