package job

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestCallWaitsForEndOfJob(t *testing.T) {
	t.Parallel()
	t.Run("REST", callWaitsForEndOfJobREST)
	t.Run("CLI", callWaitsForEndOfJobCLI)
}

func callWaitsForEndOfJobREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	token := func(j weirtest.ClaimedJob) obj { return obj{"token": j.Token} }
	for end, how := range map[string]func(j weirtest.ClaimedJob){
		"completed": func(j weirtest.ClaimedJob) { s.Post("/v1/jobs/"+j.ID+"/complete", token(j)).Want(http.StatusOK) },
		"dead": func(j weirtest.ClaimedJob) {
			s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "retry": false, "error": obj{"message": "no"}}).Want(http.StatusOK)
		},
		"cancelled": func(j weirtest.ClaimedJob) {
			s.Post("/v1/jobs/"+j.ID+"/release", token(j)).Want(http.StatusOK)
			s.Post("/v1/jobs/"+j.ID+"/cancel", nil).Want(http.StatusOK)
		},
	} {
		id := s.Enqueue(obj{"kind": "k", "queue": end})
		answers := []<-chan *weirtest.Response{s.AwaitJob(id, 60), s.AwaitJob(id, 60)}
		j := s.ClaimOne(end)
		how(j)
		for _, answer := range answers {
			if got := s.Awaited(answer); got.State != end || got.FinishedAt == nil {
				t.Errorf("the answer is %+v, want it %s", got, end)
			}
		}
		// A call does not wait for a job that has ended.
		if got := weirtest.Decode[weirtest.Job](s.Get("/v1/jobs/" + id + "?wait_seconds=60").Want(http.StatusOK)); got.State != end {
			t.Errorf("once more: %+v", got)
		}
	}

	id := s.Enqueue(`{"kind": "k", "queue": "waits"}`)
	began := time.Now()
	if got := weirtest.Decode[weirtest.Job](s.Get("/v1/jobs/" + id + "?wait_seconds=0.5").Want(http.StatusOK)); got.State != "available" || time.Since(began) < 500*time.Millisecond {
		t.Errorf("a wait that timed out: got %s after %v", got.State, time.Since(began))
	}
	s.Get("/v1/jobs/99999?wait_seconds=60").Problem(http.StatusNotFound, "job_not_found")
	for _, bad := range []string{"-1", "61", "x"} {
		s.Get("/v1/jobs/"+id+"?wait_seconds="+bad).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	if n := s.Metric("weir_job_waits"); n != 0 {
		t.Errorf("%v calls wait still", n)
	}
}

func callWaitsForEndOfJobCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	s.CLI("job", "wait", id, "--timeout", "300ms").Says(1, "has not ended", "available")
	waits := make(chan weirtest.CLIResult, 1)
	go func() { waits <- s.CLI("job", "wait", id) }()
	s.Eventually("the command waits", func() bool { return s.Metric("weir_job_waits") == 1 })
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": j.Token, "result": "done"}).Want(http.StatusOK)
	(<-waits).Says(0, "completed", "done")
	s.CLI("job", "wait", id, "--json").Says(0, `"state":"completed"`)
	dead := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	s.Post("/v1/jobs/"+dead+"/fail", obj{"token": s.ClaimOne("q").Token, "retry": false, "error": obj{"message": "no"}}).Want(http.StatusOK)
	s.CLI("job", "wait", dead).Says(1, "is dead")
	s.CLI("job", "wait", "4711").Says(1, "there is no job 4711")
}

// The end may come from elsewhere: another node, SQL, a lease that expires.
func TestEndFromElsewhereIsSeen(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	other := weirtest.StartNodeOn(t, s.DB)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	answers := []<-chan *weirtest.Response{s.AwaitJob(id, 60), other.AwaitJob(id, 60)}
	s.Settle()
	weirtest.Exec(t, s.DB, "select weir.complete(job_id, token, '{\"by\": \"sql\"}') from weir.claim(array['q'], 'w')")
	for _, answer := range answers {
		if got := s.Awaited(answer); got.State != "completed" || !weirtest.SameJSON(t, got.Result, []byte(`{"by": "sql"}`)) {
			t.Errorf("the answer is %+v", got)
		}
	}

	id = s.Enqueue(`{"kind": "k", "queue": "q", "max_attempts": 1}`)
	answer := s.AwaitJob(id, 60)
	s.Settle()
	weirtest.Exec(t, s.DB, "select from weir.claim(array['q'], 'w', lease_seconds => 1)")
	if got := s.Awaited(answer); got.State != "dead" {
		t.Errorf("the one whose lease ran out is %s", got.State)
	}
}

// However many callers wait, one statement a few times a second serves all of them.
func TestThousandsOfWaitersShareQueries(t *testing.T) {
	weirtest.Long(t, "thousands of callers wait")
	t.Parallel()
	s := weirtest.StartNode(t)
	const waiters = 3000
	ids := s.EnqueueAll(slices.Repeat([]obj{{"kind": "k"}}, waiters))
	began := time.Now()
	var waiting sync.WaitGroup
	var mu sync.Mutex
	states := map[jobs.State]int{}
	for _, id := range ids {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		waiting.Go(func() {
			var err error
			var job jobs.Job
			for !job.State.Ended() { // a wait is a minute at most
				if job, err = s.Engine.WaitFor(t.Context(), jobs.ID(n), jobs.MaxWaitFor); err != nil {
					t.Error(err)
					return
				}
			}
			mu.Lock()
			states[job.State]++
			mu.Unlock()
		})
	}
	s.Eventually("all wait", func() bool { return s.Metric("weir_job_waits") == waiters })
	steps := func() float64 { return s.MetricOrZero("weir_loop_step_duration_seconds_count", `loop="watch"`) }
	from, since := steps(), time.Now()
	time.Sleep(2 * time.Second)
	s.Eventually("it was looked for all of them", func() bool { return steps() > from })
	if rate := (steps() - from) / time.Since(since).Seconds(); rate > 8 {
		t.Errorf("%.1f looks a second, want a few", rate)
	}
	s.Settle()
	weirtest.Exec(t, s.DB, "select weir.complete_many(array_agg(job_id), array_agg(token)) from weir.claim(array['default'], 'w', 10000)")
	waiting.Wait()
	if states[jobs.Completed] != waiters {
		t.Errorf("the answers are %v", states)
	}
	t.Logf("%d waits took %v in all", waiters, time.Since(began))
}

func TestDrainingNodeEndsWaits(t *testing.T) {
	t.Parallel()
	s, process := weirtest.StartServe(t, weirtest.New(t))
	id := s.Enqueue(`{"kind": "k"}`)
	answer := s.AwaitJob(id, 60)
	process.Signal(syscall.SIGTERM)
	if got := s.Awaited(answer); got.State != "available" {
		t.Errorf("the answer is %+v", got)
	}
	if status := process.Wait(); status != 0 {
		t.Errorf("it ended with status %d", status)
	}

	drained := weirtest.StartNode(t)
	id = drained.Enqueue(`{"kind": "k"}`)
	drained.Engine.Drain()
	if got := weirtest.Decode[weirtest.Job](drained.Get("/v1/jobs/" + id + "?wait_seconds=60").Want(http.StatusOK)); got.State != "available" {
		t.Errorf("a node that drains answers with %+v", got)
	}
}

func TestWaitEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k"}`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = s.Send(ctx, http.MethodGet, "/v1/jobs/"+id+"?wait_seconds=60", nil) }()
	s.Eventually("the call waits", func() bool { return s.Metric("weir_job_waits") == 1 })
	cancel()
	s.Eventually("it is forgotten", func() bool { return s.Metric("weir_job_waits") == 0 })
}
