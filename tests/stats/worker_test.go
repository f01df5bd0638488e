package stats

import (
	"fmt"
	"math"
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type workerShare struct {
	Name, State, Tenant        string
	Completed, Failed, Snoozed int64
	Running                    int64
	Busy                       float64 `json:"busy_seconds"`
	Mean                       float64 `json:"mean_seconds"`
	P95                        float64 `json:"p95_seconds"`
	Longest                    float64 `json:"longest_seconds"`
	Utilization                float64
}

type fleet struct {
	Workers  []workerShare
	Other    struct{ Completed int64 }
	Previous *struct{ Workers []workerShare }
}

// What workers did is what outcomes and events say of them.
func TestWorkersAreThoseOfAPlainCount(t *testing.T) {
	t.Parallel()
	for i, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			work(t, d)
			weirtest.Exec(t, d, "update weir.job_outcome set worker = 'w' || job_id % 3 where worker is not null")
			weirtest.Exec(t, d, "update weir.job_event set worker = 'w' || job_id % 3 where worker is not null")
			s := ofStage(t, d, i)
			got := get[fleet](s, "workers", fmt.Sprintf("compare=previous&window_seconds=%d", stage.window))
			want := weirtest.Values[string](t, d, `select format('%s %s %s %s %s', worker, count(*) filter (where what = 'completed'), count(*) filter (where what = 'failed'),
				count(*) filter (where what = 'snoozed'), round(sum(busy)::numeric)) from (
				select worker, state::text as what, date_part('epoch', finished_at - started_at) as busy from weir.job_outcome where state = 'completed'
				union all select worker, kind::text, date_part('epoch', at - started_at) from weir.job_event where kind in ('failed', 'snoozed', 'released')) x
				group by worker order by count(*) filter (where what in ('completed', 'failed')) desc, worker`)
			if len(got.Workers) != len(want) || len(want) != 3 {
				t.Fatalf("got %+v, want %q", got.Workers, want)
			}
			for j, w := range got.Workers {
				if have := fmt.Sprintf("%s %d %d %d %.0f", w.Name, w.Completed, w.Failed, w.Snoozed, w.Busy); have != want[j] {
					t.Errorf("got %s, want %s", have, want[j])
				}
				exact := weirtest.Value[[]float64](t, d, `select array[avg(s), percentile_disc(0.95) within group (order by s), max(s)] from (
					select date_part('epoch', finished_at - started_at) as s from weir.job_outcome where state = 'completed' and worker = $1) x`, w.Name)
				if math.Abs(w.Mean-exact[0]) > 0.001 || math.Abs(w.P95-exact[1]) > 0.05*exact[1] || math.Abs(w.Longest-exact[2]) > 0.001 {
					t.Errorf("%s ran %v, %v, %v, want %v", w.Name, w.Mean, w.P95, w.Longest, exact)
				}
				if w.State != "gone" || w.Utilization <= 0 {
					t.Errorf("got %+v", w)
				}
			}
			if got.Previous == nil || len(got.Previous.Workers) != 0 {
				t.Errorf("before: %+v", got.Previous)
			}
			if sum := weirtest.Value[int64](t, d, "select sum(completed)::bigint from weir.worker_throughput"); sum != weirtest.Value[int64](t, d, "select count(*) from weir.job_outcome where state = 'completed'") {
				t.Errorf("the view has %d completions", sum)
			}
		})
	}
}

// A worker shows its state, and a bound key sees the workers of its tenant.
func TestWorkersOfATenant(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	for _, tenant := range []string{"a", "b"} {
		queue := "q_" + tenant
		s.Do(http.MethodPut, "/v1/queues/"+queue, obj{"tenant": tenant}).Want(http.StatusOK)
		s.Enqueue(obj{"kind": "k", "queue": queue})
		worker := s.AsNew("worker "+tenant, obj{"tenant": tenant, "queues": []string{queue}}, "worker")
		worker.Do(http.MethodPut, "/v1/workers/w_"+tenant, obj{"queues": []string{queue}, "version": "7"}).Want(http.StatusOK)
		for _, j := range weirtest.Decode[weirtest.ClaimedJobs](worker.Post("/v1/claims", obj{"worker": "w_" + tenant, "queues": []string{queue}}).Want(http.StatusOK)).Jobs {
			worker.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
		}
	}
	reader := s.AsNew("reader", obj{"tenant": "a"}, "reader")
	if got := get[fleet](reader, "workers", "").Workers; len(got) != 1 || got[0].Name != "w_a" || got[0].Completed != 1 || got[0].State != "active" || got[0].Tenant != "a" {
		t.Errorf("a bound key reads %+v", got)
	}
	if got := get[fleet](s, "workers", "").Workers; len(got) != 2 {
		t.Errorf("a key for all reads %+v", got)
	}
	if got := get[fleet](s, "workers", "tenant=b").Workers; len(got) != 1 || got[0].Name != "w_b" {
		t.Errorf("of a tenant: %+v", got)
	}
}

// The answer names a hundred workers, and adds up the others.
func TestWorkersAreCapped(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'q') from generate_series(1, 120)")
	for _, j := range weirtest.Claim(t, d, "q", 120) {
		weirtest.Complete(t, d, j)
	}
	weirtest.Exec(t, d, "update weir.job_outcome set worker = 'w' || job_id % 110")
	weirtest.Exec(t, d, "update weir.rollup_cursor set until = until - interval '10 min'")
	got, sum := get[fleet](weirtest.StartNodeOn(t, d), "workers", ""), int64(0)
	for _, w := range got.Workers {
		sum += w.Completed
	}
	if len(got.Workers) != 100 || got.Other.Completed != 10 || sum != 110 {
		t.Errorf("%d workers completed %d jobs, the others %d", len(got.Workers), sum, got.Other.Completed)
	}
}
