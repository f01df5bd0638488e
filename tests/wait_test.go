package tests

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/pgtest"
)

// awaitJob starts a call that waits for the end of a job, and returns when the node has it waiting.
func (s *service) awaitJob(id string, seconds float64) <-chan *reply {
	s.t.Helper()
	before := s.metric("weir_job_waits")
	answer := make(chan *reply, 1)
	go func() {
		r, err := s.send(s.t.Context(), http.MethodGet, fmt.Sprintf("/v1/jobs/%s?wait_seconds=%g", id, seconds), nil)
		if err != nil {
			s.t.Error(err)
		}
		answer <- r
	}()
	s.eventually("the call waits", func() bool { return s.metric("weir_job_waits") == before+1 })
	return answer
}

// awaited is the job that a call which waited was answered with.
func (s *service) awaited(answer <-chan *reply) servedJob {
	s.t.Helper()
	select {
	case r := <-answer:
		if r == nil {
			s.t.FailNow()
		}
		return readAs[servedJob](r.want(http.StatusOK))
	case <-time.After(servicePatience / 2): // sooner than the waits in these tests
		s.t.Fatal("a call that waits for the end of a job is not answered")
	}
	return servedJob{}
}

func TestRESTACallWaitsForTheEndOfAJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	token := func(j servedClaim) obj { return obj{"token": j.Token} }
	for end, how := range map[string]func(j servedClaim){
		"completed": func(j servedClaim) { s.post("/v1/jobs/"+j.ID+"/complete", token(j)).want(http.StatusOK) },
		"dead": func(j servedClaim) {
			s.post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "retry": false, "error": obj{"message": "no"}}).want(http.StatusOK)
		},
		"cancelled": func(j servedClaim) {
			s.post("/v1/jobs/"+j.ID+"/release", token(j)).want(http.StatusOK)
			s.post("/v1/jobs/"+j.ID+"/cancel", nil).want(http.StatusOK)
		},
	} {
		id := s.enqueue(obj{"kind": "k", "queue": end})
		answers := []<-chan *reply{s.awaitJob(id, 60), s.awaitJob(id, 60)}
		j := s.claimOne(end)
		how(j)
		for _, answer := range answers {
			if got := s.awaited(answer); got.State != end || got.FinishedAt == nil {
				t.Errorf("the answer is %+v, want it %s", got, end)
			}
		}
		// One that has ended is not waited for.
		if got := readAs[servedJob](s.get("/v1/jobs/" + id + "?wait_seconds=60").want(http.StatusOK)); got.State != end {
			t.Errorf("once more: %+v", got)
		}
	}

	id := s.enqueue(`{"kind": "k", "queue": "waits"}`)
	began := time.Now()
	if got := readAs[servedJob](s.get("/v1/jobs/" + id + "?wait_seconds=0.5").want(http.StatusOK)); got.State != "available" || time.Since(began) < 500*time.Millisecond {
		t.Errorf("in vain: %s after %v", got.State, time.Since(began))
	}
	s.get("/v1/jobs/99999?wait_seconds=60").problem(http.StatusNotFound, "job_not_found")
	for _, bad := range []string{"-1", "61", "x"} {
		s.get("/v1/jobs/"+id+"?wait_seconds="+bad).problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	if n := s.metric("weir_job_waits"); n != 0 {
		t.Errorf("%v calls wait still", n)
	}
}

// The end may come from elsewhere: from another node, from SQL, from a lease that ran out.
func TestRESTAnEndThatComesFromElsewhereIsSeen(t *testing.T) {
	t.Parallel()
	s := startService(t)
	other := startServiceOn(t, s.pool.Config().ConnString())
	id := s.enqueue(`{"kind": "k", "queue": "q"}`)
	answers := []<-chan *reply{s.awaitJob(id, 60), other.awaitJob(id, 60)}
	s.settle()
	do(t, s.pool, "select weir.complete(job_id, token, '{\"by\": \"sql\"}') from weir.claim(array['q'], 'w')")
	for _, answer := range answers {
		if got := s.awaited(answer); got.State != "completed" || !sameJSON(t, got.Result, []byte(`{"by": "sql"}`)) {
			t.Errorf("the answer is %+v", got)
		}
	}

	id = s.enqueue(`{"kind": "k", "queue": "q", "max_attempts": 1}`)
	answer := s.awaitJob(id, 60)
	s.settle()
	do(t, s.pool, "select from weir.claim(array['q'], 'w', lease_seconds => 1)")
	if got := s.awaited(answer); got.State != "dead" {
		t.Errorf("the one whose lease ran out is %s", got.State)
	}
}

// However many wait, one statement a few times a second looks for all of them.
func TestThousandsOfWaitersCostNoQueryEach(t *testing.T) {
	t.Parallel()
	s := startService(t)
	const waiters = 10000
	ids := s.enqueueAll(slices.Repeat([]obj{{"kind": "k"}}, waiters))
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
				if job, err = s.engine.WaitFor(t.Context(), jobs.ID(n), jobs.MaxWaitFor); err != nil {
					t.Error(err)
					return
				}
			}
			mu.Lock()
			states[job.State]++
			mu.Unlock()
		})
	}
	s.eventually("all wait", func() bool { return s.metric("weir_job_waits") == waiters })
	steps := func() float64 { return s.metric("weir_loop_step_duration_seconds_count", `loop="watch"`) }
	from, since := steps(), time.Now()
	time.Sleep(2 * time.Second)
	s.eventually("it was looked for all of them", func() bool { return steps() > from })
	if rate := (steps() - from) / time.Since(since).Seconds(); rate > 8 {
		t.Errorf("%.1f looks a second, want a few", rate)
	}
	s.settle()
	do(t, s.pool, "select weir.complete_many(array_agg(job_id), array_agg(token)) from weir.claim(array['default'], 'w', 10000)")
	waiting.Wait()
	if states[jobs.Completed] != waiters {
		t.Errorf("the answers are %v", states)
	}
	t.Logf("%d waits took %v in all", waiters, time.Since(began))
}

func TestRESTANodeThatDrainsEndsTheWaitsForJobs(t *testing.T) {
	t.Parallel()
	s, process := startNode(t, pgtest.New(t).URL)
	id := s.enqueue(`{"kind": "k"}`)
	answer := s.awaitJob(id, 60)
	process.signal(syscall.SIGTERM)
	if got := s.awaited(answer); got.State != "available" {
		t.Errorf("the answer is %+v", got)
	}
	if status := process.wait(); status != 0 {
		t.Errorf("it ended with status %d", status)
	}

	drained := startService(t)
	id = drained.enqueue(`{"kind": "k"}`)
	drained.engine.Drain()
	if got := readAs[servedJob](drained.get("/v1/jobs/" + id + "?wait_seconds=60").want(http.StatusOK)); got.State != "available" {
		t.Errorf("a node that drains answers with %+v", got)
	}
}

func TestAWaitEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	s := startService(t)
	id := s.enqueue(`{"kind": "k"}`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = s.send(ctx, http.MethodGet, "/v1/jobs/"+id+"?wait_seconds=60", nil) }()
	s.eventually("the call waits", func() bool { return s.metric("weir_job_waits") == 1 })
	cancel()
	s.eventually("it is forgotten", func() bool { return s.metric("weir_job_waits") == 0 })
}
