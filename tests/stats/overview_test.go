package stats

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

type waitingIn struct {
	Queue     string
	Available int64
	Oldest    float64 `json:"oldest_available_seconds"`
}

type overview struct {
	Throughput counts
	WaitTimes  struct{ Count int64 } `json:"wait_times"`
	RunTimes   struct{ Count int64 } `json:"run_times"`
	Jobs       *struct {
		Available, Running, Scheduled, Retryable, Held, Dead int64
		Exact                                                bool
	}
	MostWaiting   []waitingIn `json:"most_waiting"`
	OldestWaiting []waitingIn `json:"oldest_waiting"`
	Workers       struct{ Active, Paused, Draining, Lost int64 }
	BreakersOpen  *int64 `json:"breakers_open"`
	SchedulesDue  int64  `json:"schedules_due"`
	Version       string
	Previous      *struct{ Throughput counts }
}

func overviewOf(s *weirtest.Node, query string) overview {
	s.T.Helper()
	return weirtest.Decode[overview](s.Get("/v1/stats?" + query).Want(http.StatusOK))
}

// The first page has what plain counts have.
func TestOverviewIsThatOfPlainCounts(t *testing.T) {
	t.Parallel()
	for i, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			s := atStage(t, i)
			s.Do(http.MethodPut, "/v1/workers/one", obj{}).Want(http.StatusOK)
			s.Do(http.MethodPut, "/v1/workers/two", obj{}).Want(http.StatusOK)
			s.Post("/v1/workers/two/pause", nil).Want(http.StatusOK)
			for _, name := range []string{"ill", "well"} {
				s.Do(http.MethodPut, "/v1/breakers/"+name, obj{}).Want(http.StatusOK)
			}
			s.Post("/v1/breakers/ill/trip", nil).Want(http.StatusOK)
			got := overviewOf(s, fmt.Sprintf("compare=previous&window_seconds=%d", stage.window))
			if want := plainCounts(t, s.DB, chosen{}); got.Throughput.String() != want {
				t.Errorf("got %v, want %s", got.Throughput, want)
			}
			if waits, runs := plainTimes(t, s.DB, chosen{}, false)[0], plainTimes(t, s.DB, chosen{}, true)[0]; float64(got.WaitTimes.Count) != waits || float64(got.RunTimes.Count) != runs {
				t.Errorf("got %d waits and %d runs, want %v and %v", got.WaitTimes.Count, got.RunTimes.Count, waits, runs)
			}
			want := weirtest.Value[string](t, s.DB, `select concat_ws(' ', (select count(*) from weir.job_ready), (select count(*) from weir.job_lease),
				(select count(*) filter (where not retryable) from weir.job_scheduled), (select count(*) filter (where retryable) from weir.job_scheduled), (select count(*) from weir.job_dead))`)
			if j := got.Jobs; fmt.Sprint(j.Available, j.Running, j.Scheduled, j.Retryable, j.Dead) != want || !j.Exact {
				t.Errorf("got %+v, want %s", j, want)
			}
			if len(got.MostWaiting) != 2 || got.MostWaiting[0].Available < got.MostWaiting[1].Available || len(got.OldestWaiting) != 2 || got.OldestWaiting[0].Oldest < got.OldestWaiting[1].Oldest {
				t.Errorf("waiting: %+v and %+v", got.MostWaiting, got.OldestWaiting)
			}
			if got.Workers.Active+got.Workers.Lost != 2 || got.Workers.Paused != 1 || got.BreakersOpen == nil || *got.BreakersOpen != 1 || got.Version == "" || got.Previous == nil || got.Previous.Throughput.Enqueued != 0 {
				t.Errorf("got %+v", got)
			}
			s.Do(http.MethodPut, "/v1/queues/own", obj{"tenant": "acme"}).Want(http.StatusOK)
			s.Enqueue(obj{"kind": "k", "queue": "own"})
			if of := overviewOf(s, "tenant=acme"); of.Jobs == nil || of.Jobs.Available != 1 || len(of.MostWaiting) != 1 || of.MostWaiting[0].Queue != "own" {
				t.Errorf("of a tenant: %+v", of)
			}
			if of := overviewOf(s, "queue=red&kind=b"); of.Jobs != nil {
				t.Errorf("jobs are counted by kind: %+v", of.Jobs)
			}
		})
	}
}

func TestScheduleThatIsDueIsCounted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Post("/v1/schedules", obj{"name": "hourly", "every_seconds": 3600, "job": obj{"kind": "k"}}).Want(http.StatusCreated)
	if got := overviewOf(s, "").SchedulesDue; got != 0 {
		t.Errorf("%d schedules are due", got)
	}
	s.Exec("update weir.schedule set due_at = clock_timestamp()")
	weirtest.Eventually(t, "the schedule to fire", func() bool { return overviewOf(s, "").SchedulesDue == 0 })
}

type share struct {
	Name  string
	Other bool
	Share float64
	counts
}

func TestDistributionIsThatOfAPlainCount(t *testing.T) {
	t.Parallel()
	for i, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			s := atStage(t, i)
			for _, c := range choices {
				got := get[struct{ Queues, Kinds []share }](s, "distribution", fmt.Sprintf("window_seconds=%d%s", stage.window, c.query()))
				for of, shares := range map[string][]share{"queue": got.Queues, "kind": got.Kinds} {
					sum := 0.0
					for _, one := range shares {
						narrow := c
						if of == "queue" {
							narrow.queue = one.Name
						} else {
							narrow.kind = one.Name
						}
						if want := plainCounts(t, s.DB, narrow); one.String() != want {
							t.Errorf("%s %q of %v: got %v, want %s", of, one.Name, c, one.counts, want)
						}
						sum += one.Share
					}
					if sum < 0.999 || sum > 1.001 || of == "queue" && c.queue == "" && len(shares) != 2 || of == "kind" && c.kind == "" && len(shares) != 3 {
						t.Errorf("of %v: %s %+v, with shares of %v", c, of, shares, sum)
					}
				}
			}
		})
	}
}

// The answer names fifty kinds, and adds up the others.
func TestKindsAreCapped(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("select weir.enqueue('kind-' || i % 60, queue => 'q') from generate_series(1, 600) i")
	got := get[struct{ Queues, Kinds []share }](s, "distribution", "")
	if len(got.Kinds) != 51 || !got.Kinds[50].Other || got.Kinds[50].Enqueued != 100 || got.Kinds[50].Name != "" || len(got.Queues) != 1 {
		t.Errorf("got %d kinds, at last %+v", len(got.Kinds), got.Kinds[len(got.Kinds)-1])
	}
	retries := get[struct {
		Kinds []struct{ Other bool }
	}](s, "retries", "")
	if len(retries.Kinds) != 51 || !retries.Kinds[50].Other {
		t.Errorf("got the retries of %d kinds", len(retries.Kinds))
	}
}

func TestRetriesAreThoseOfTheJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'q') from generate_series(1, 20) i")
	jobs := weirtest.Claim(t, d, "q", 20)
	weirtest.Complete(t, d, jobs[:10]...)
	for i, j := range jobs[10:] {
		j.Call(t, d, fmt.Sprintf(`fail($1, $2, '{"message": "m"}', '0', retry => %v)`, i < 6))
	}
	weirtest.Exec(t, d, "select weir.promote_due()")
	weirtest.Tick(t, d)
	weirtest.Complete(t, d, weirtest.Claim(t, d, "q", 20)...)
	s := weirtest.StartNodeOn(t, d)
	got := get[struct {
		Total struct {
			Attempts, Succeeded, Dead int
			First                     int     `json:"completed_first"`
			Later                     int     `json:"completed_later"`
			Success                   float64 `json:"success_ratio"`
			Recovery                  float64 `json:"recovery_ratio"`
		}
	}](s, "retries", "").Total
	if fmt.Sprint(got) != "{26 16 4 10 6 0.6153846153846154 0.6}" {
		t.Errorf("got %+v", got)
	}
}

func TestPeaksAreTheBusiestMinutes(t *testing.T) {
	t.Parallel()
	type peaks struct {
		Enqueued, Completed, Failed *struct {
			At    time.Time
			Count int64
		}
		LongestWait *struct{ Seconds float64 } `json:"longest_wait"`
		LongestRun  *struct{ Seconds float64 } `json:"longest_run"`
		Hours       []struct{ Enqueued int64 }
		Bucket      int `json:"bucket_seconds"`
	}
	for i, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			s := atStage(t, i)
			got := get[peaks](s, "peaks", fmt.Sprintf("window_seconds=%d", stage.window))
			if want := []int{60, 60, 3600, 3600}[i]; got.Bucket != want {
				t.Errorf("the buckets are of %d s, want %d", got.Bucket, want)
			}
			most := weirtest.Values[int64](t, s.DB, `select count(*) from weir.job group by date_bin(make_interval(secs => $1), created_at, 'epoch') order by 1 desc limit 1`, got.Bucket)
			if got.Enqueued == nil || got.Enqueued.Count != most[0] || got.Failed == nil {
				t.Errorf("got %+v, want a peak of %d", got, most[0])
			}
			if want := plainTimes(t, s.DB, chosen{}, true)[1]; got.LongestRun.Seconds < want*0.999 || got.LongestRun.Seconds > want*1.001 {
				t.Errorf("the longest run is %v, want %v", got.LongestRun.Seconds, want)
			}
			sum := int64(0)
			for _, h := range got.Hours {
				sum += h.Enqueued
			}
			if len(got.Hours) != 24 || sum != 300 {
				t.Errorf("%d hours have %d jobs", len(got.Hours), sum)
			}
		})
	}
	s := weirtest.StartNode(t)
	if got := get[peaks](s, "peaks", ""); got.Enqueued != nil || got.LongestWait != nil || len(got.Hours) != 24 {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestOverviewIsTheCallers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.Do(http.MethodPut, "/v1/queues/acme-mail", obj{"tenant": "acme"}).Want(http.StatusOK)
	s.EnqueueAll([]obj{{"kind": "a", "queue": "acme-mail", "tenant": "acme"}, {"kind": "a", "queue": "mail-eu"}, {"kind": "b", "queue": "mail-us"}, {"kind": "a", "queue": "secret"}})
	s.Do(http.MethodPut, "/v1/workers/w", obj{"queues": []string{"secret"}}).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/breakers/b", obj{}).Want(http.StatusOK)
	s.Post("/v1/breakers/b/trip", nil).Want(http.StatusOK)
	tenant, queues := s.AsNew("tenant", obj{"tenant": "acme"}, "reader"), s.AsNew("queues", obj{"queues": []string{"mail-*"}}, "reader")
	all, ofTenant, ofQueues := overviewOf(s, ""), overviewOf(tenant, ""), overviewOf(queues, "")
	if all.Jobs.Available != 4 || all.Workers.Active != 1 || *all.BreakersOpen != 1 {
		t.Errorf("an admin gets %+v", all)
	}
	if ofTenant.Jobs.Available != 1 || ofTenant.Throughput.Enqueued != 1 || ofTenant.Workers.Active != 0 || *ofTenant.BreakersOpen != 0 {
		t.Errorf("a tenant gets %+v", ofTenant)
	}
	if ofQueues.Jobs.Available != 2 || ofQueues.Throughput.Enqueued != 2 || ofQueues.Workers.Active != 0 || ofQueues.BreakersOpen != nil {
		t.Errorf("a key with queues gets %+v", ofQueues)
	}
	for _, caller := range []*weirtest.Node{tenant, queues} {
		shares := get[struct{ Queues, Kinds []share }](caller, "distribution", "")
		if slices.ContainsFunc(shares.Queues, func(s share) bool { return s.Name == "secret" }) || len(shares.Kinds) != map[*weirtest.Node]int{tenant: 1, queues: 2}[caller] {
			t.Errorf("got %+v", shares)
		}
		caller.Get("/v1/stats?queue=secret").Problem(http.StatusNotFound, "queue_not_found")
	}
}
