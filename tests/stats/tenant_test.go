package stats

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type tenants struct{ Tenants []share }

func TestTenantsAreThoseOfAPlainCount(t *testing.T) {
	t.Parallel()
	for i, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			s := atStage(t, i)
			for _, c := range choices {
				got, sum := get[tenants](s, "tenants", fmt.Sprintf("window_seconds=%d%s", stage.window, c.query())), 0.0
				for _, one := range got.Tenants {
					narrow := c
					narrow.tenant = one.Name
					if want := plainCounts(t, s.DB, narrow); one.String() != want {
						t.Errorf("tenant %q of %+v: got %v, want %s", one.Name, c, one.counts, want)
					}
					sum += one.Share
				}
				want := 2
				if c.tenant != "" {
					want = 1
				}
				if len(got.Tenants) != want || sum < 0.999 || sum > 1.001 {
					t.Errorf("of %+v: %+v, with shares of %v", c, got.Tenants, sum)
				}
			}
		})
	}
}

// A key that is bound to a tenant reads the numbers of that tenant's jobs, in queues of its own and in shared ones.
func TestBoundKeysReadNumbersOfTheirTenant(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	work(t, d)
	weirtest.Age(t, d, 30)
	weirtest.RollUp(t, d, "0 s")
	s := weirtest.StartNodeWithAuthOn(t, d)
	acme := s.AsNew("acme", obj{"tenant": "acme"}, "reader")
	inRed := s.AsNew("red", obj{"tenant": "acme", "queues": []string{"red"}}, "reader")
	for _, c := range []struct {
		who   *weirtest.Node
		query string
		want  chosen
	}{
		{acme, "", chosen{tenant: "acme"}},
		{acme, "&queue=red", chosen{tenant: "acme", queue: "red"}},
		{acme, "&kind=b", chosen{tenant: "acme", kind: "b"}},
		{acme, "&tenant=acme", chosen{tenant: "acme"}},
		{acme, "&tenant=globex", chosen{tenant: "nobody"}},
		{inRed, "", chosen{tenant: "acme", queue: "red"}},
		{inRed, "&kind=c", chosen{tenant: "acme", queue: "red", kind: "c"}},
	} {
		if got, want := get[throughput](c.who, "throughput", "window_seconds=3600"+c.query).Total.String(), plainCounts(t, d, c.want); got != want {
			t.Errorf("%q: got %s, want %s", c.query, got, want)
		}
		var failed int64
		for _, f := range get[failures](c.who, "failures", "window_seconds=3600"+c.query).Classes {
			failed += f.Attempts
		}
		if want := weirtest.Value[int64](t, d, "select count(*) from weir.job_event x join weir.job j on j.id = x.job_id join weir.queue q on q.id = j.queue_id"+counted(c.want)+" and x.kind = 'failed'"); failed != want {
			t.Errorf("%q: got %d failures, want %d", c.query, failed, want)
		}
	}
	if got := get[tenants](acme, "tenants", "").Tenants; len(got) != 1 || got[0].Name != "acme" {
		t.Errorf("it reads of %+v", got)
	}
	inRed.Get("/v1/stats/throughput?queue=blue").Problem(http.StatusNotFound, "queue_not_found")
	weirtest.Exec(t, d, "select weir.set_queue('empty'), weir.enqueue('k', queue => 'theirs', options => '{\"tenant\": \"globex\"}')")
	for _, queue := range []string{"empty", "theirs", "none"} {
		acme.Get("/v1/stats/throughput?queue="+queue).Problem(http.StatusNotFound, "queue_not_found")
	}
}

// Rows by tenant stand beside those of all jobs, and there are none where no job has a tenant.
func TestRowsOfTenantsAreBesideTheOthers(t *testing.T) {
	t.Parallel()
	for _, tenants := range []int{0, 20} {
		d := weirtest.New(t)
		weirtest.Exec(t, d, `select weir.enqueue('k', queue => 'q', options => case when $1 > 0 then jsonb_build_object('tenant', 't' || i % $1) else '{}' end) from generate_series(1, 100) i`, tenants)
		for _, j := range weirtest.Claim(t, d, "q", 100) {
			weirtest.Complete(t, d, j)
		}
		weirtest.Age(t, d, 30)
		weirtest.RollUp(t, d, "0 s")
		for _, q := range []string{"count(distinct tenant) filter (where tenant <> '')", "sum(completed) filter (where tenant <> '') / 5"} {
			if got := weirtest.Value[int](t, d, "select coalesce("+q+", 0)::int from weir.rollup"); got != tenants {
				t.Errorf("%s of %d tenants is %d", q, tenants, got)
			}
		}
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', sum(completed), sum(enqueued)) from weir.throughput"); got != "100 100" {
			t.Errorf("with %d tenants the view has %s", tenants, got)
		}
	}
}

// Where there are more kinds than go by name, the others are counted together and none is lost.
func TestNamesHaveABound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('known', queue => 'q')")
	weirtest.RollUp(t, d, "0 s")
	weirtest.Exec(t, d, "insert into weir.rollup_name select 'kind', 'k' || i, now() from generate_series(1, 998) i")
	weirtest.Exec(t, d, "select weir.enqueue('kind-' || i % 50, queue => 'q') from generate_series(1, 500) i")
	weirtest.Exec(t, d, "select weir.enqueue('known', queue => 'q')")
	for _, j := range weirtest.Claim(t, d, "q", 300) {
		weirtest.Complete(t, d, j)
	}
	kinds := `select concat_ws(' ', count(distinct kind) filter (where kind <> '(others)'), sum(enqueued), sum(completed), sum(enqueued) filter (where kind = 'known')) from weir.throughput`
	if got := weirtest.Value[string](t, d, kinds); got != "51 502 300 2" {
		t.Errorf("before the names are full: %s", got)
	}
	weirtest.Age(t, d, 30)
	weirtest.RollUp(t, d, "0 s")
	if got := weirtest.Value[string](t, d, kinds); got != "2 502 300 2" {
		t.Errorf("rolled up: %s", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.rollup_name"); n != 1000 {
		t.Errorf("%d names", n)
	}
	weirtest.Exec(t, d, "update weir.rollup_name set seen_at = now() - interval '8 days'")
	weirtest.Exec(t, d, "select weir.sweep_rollups()")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.rollup_name"); n != 0 {
		t.Errorf("%d names are left a week after they were seen", n)
	}
}
