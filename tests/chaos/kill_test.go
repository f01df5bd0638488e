package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// A lease ends by the database's clock, and within two seconds the job runs elsewhere (later if the machine stalls).
// The lease is long enough for a slow machine to keep it while the worker lives.
func TestJobOfKilledWorkerRunsElsewhere(t *testing.T) {
	weirtest.Long(t, "it waits for the end of a lease")
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	doomed := weirtest.StartProgram(t, []string{"WEIR_URL=" + s.URL}, weirtest.Program(t, "./cmd/weir"),
		"work", "--queue", "q", "--worker", "doomed", "--lease-seconds", "9", "--", "sleep", "600")
	var first weirtest.Job
	s.Eventually("the job runs", func() bool {
		first = s.Job(id)
		return first.State == "running"
	})
	if first.Worker != "doomed" || first.Attempt != 1 {
		t.Fatalf("%+v", first)
	}
	s.Eventually("a heartbeat keeps its lease", func() bool { return s.Job(id).LeaseExpiresAt.After(*first.LeaseExpiresAt) })
	answer := s.Park(obj{"worker": "heir", "queues": []string{"q"}, "wait_seconds": 60})
	doomed.Kill()

	var expired time.Time
	var second weirtest.Job
	s.Eventually("another worker has it", func() bool {
		second = s.Job(id)
		if second.Attempt == 1 && second.LeaseExpiresAt != nil {
			expired = *second.LeaseExpiresAt
		}
		return second.Attempt == 2
	})
	if late := second.StartedAt.Sub(expired); late < 0 || late > weirtest.Soon {
		t.Errorf("it ran elsewhere %v after its lease ran out; want within 2 s", late)
	} else {
		t.Logf("it ran elsewhere %v after its lease ran out", late)
	}
	got := s.Answer(answer)
	if len(got) != 1 || got[0].ID != id || second.Worker != "heir" || len(second.Errors) != 1 || second.Errors[0].Kind != "lost" || second.Errors[0].Worker != "doomed" {
		t.Errorf("claimed %+v of %+v", got, second)
	}
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": got[0].Token}).Want(http.StatusOK)
}

func TestTwoNodesShareWorkAndOneStops(t *testing.T) {
	weirtest.Long(t, "it waits for a node to stop")
	t.Parallel()
	database := weirtest.New(t)
	a, processA := weirtest.StartServe(t, database)
	b, _ := weirtest.StartServe(t, database)

	// Both nodes hand out jobs of one backlog.
	const backlog = 400
	a.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, backlog))
	a.Settle()
	given := map[string]int{}
	for len(given) < backlog {
		for _, node := range []*weirtest.Node{a, b} {
			for _, j := range node.Claim(10, "q") {
				given[j.ID]++
				// An ack may go to any node.
				b.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
			}
		}
	}
	for id, n := range given {
		if n != 1 {
			t.Errorf("job %s was given out %d times", id, n)
		}
	}
	if x, y := a.Metric("weir_jobs_claimed_total"), b.Metric("weir_jobs_claimed_total"); x < backlog/4 || y < backlog/4 {
		t.Errorf("one node gave out %v jobs and the other %v", x, y)
	}

	// Claims wait at both nodes. A job that arrives through one node goes to either.
	waitingA := a.ParkMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprintf("a%d", i), "queues": []string{"q"}, "wait_seconds": 60}
	})
	waitingB := b.ParkMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprintf("b%d", i), "queues": []string{"q"}, "wait_seconds": 60}
	})

	// Producers enqueue through the node that stops, until it no longer answers.
	var mu sync.Mutex
	accepted := map[string]bool{}
	refusals := 0
	var producers sync.WaitGroup
	for p := range 4 {
		producers.Go(func() {
			for n := 0; ; n++ {
				r, err := a.Send(t.Context(), http.MethodPost, "/v1/jobs", obj{"kind": "produced", "queue": "elsewhere", "args": fmt.Sprintf("%d-%d", p, n)})
				var j weirtest.Job
				if err == nil {
					if err := json.Unmarshal(r.Body, &j); err != nil || r.Status != http.StatusCreated && r.Status != http.StatusServiceUnavailable {
						t.Errorf("%v: %v", r, err)
						return
					}
				}
				mu.Lock()
				if err != nil {
					refusals++
				} else if r.Status == http.StatusCreated {
					accepted[j.ID] = true
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	a.Eventually("the producers are at it", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted) > 20
	})
	processA.Signal(syscall.SIGTERM)
	for _, answer := range waitingA {
		if got := a.Answer(answer); got == nil || len(got) != 0 {
			t.Errorf("a claim that waited at the node that ends got %+v, want an empty list", got)
		}
	}
	if status := processA.Wait(); status != 0 {
		t.Errorf("the node ended with status %d", status)
	}
	producers.Wait()
	if refusals != 4 {
		t.Errorf("%d of 4 producers saw the node end", refusals)
	}
	if _, err := a.Send(t.Context(), http.MethodGet, "/livez", nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the node that has ended: %v", err)
	}
	// What was answered is stored; what was not answered is not.
	if n := b.Count(`select count(*) from weir.job where kind = 'produced'`); n != len(accepted) {
		t.Errorf("%d jobs are stored, and %d were accepted", n, len(accepted))
	}
	for _, answer := range waitingB {
		select {
		case x := <-answer:
			t.Fatalf("a claim that waits at the other node got %+v", x)
		default:
		}
	}
	b.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 5))
	for _, answer := range waitingB {
		for _, j := range b.Answer(answer) {
			b.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
		}
	}
	for _, j := range b.ClaimAs("w", len(accepted), "elsewhere") {
		if !accepted[j.ID] || j.Attempt != 1 {
			t.Errorf("%+v", j)
		}
	}
	if n := b.Count(`select (select count(*) from weir.job_ready) + (select count(*) from weir.job_lease where worker <> 'w')`); n != 0 {
		t.Errorf("%d jobs are left over", n)
	}
}

func TestEachJobCompletesOnceWhileServersAreKilled(t *testing.T) {
	weirtest.Long(t, "it works 20,000 jobs while servers are killed")
	t.Parallel()
	began := time.Now()
	f := &fleet{t: t, jobs: 20_000, over: make(chan struct{}), ids: map[string]bool{}, oks: map[string]int{}}
	server := weirtest.NewServer(t)
	database := weirtest.Open(t, server.URL("weir"))
	f.pool = database.Pool
	weirtest.Exec(t, database, `create table effects (job_id bigint not null, worker text not null)`)
	node, process := weirtest.StartServe(t, database)
	f.node.Store(node)

	var producers, workers sync.WaitGroup
	defer workers.Wait()
	defer producers.Wait()
	end := sync.OnceFunc(func() { close(f.over) })
	defer end()
	const producing = 8
	for p := range producing {
		producers.Go(func() { f.produce(f.jobs*p/producing, f.jobs*(p+1)/producing) })
	}
	for w := range 8 {
		workers.Go(func() { f.work(fmt.Sprintf("worker-%d", w)) })
	}

	f.until("a quarter is accepted", func() bool { return f.accepted.Load() >= int64(f.jobs/4) && f.completed.Load() > 0 })
	process.Kill()
	node, process = weirtest.StartServe(t, database)
	f.node.Store(node)
	t.Logf("the node was killed and started again with %d jobs accepted and %d completed", f.accepted.Load(), f.completed.Load())

	f.until("half of them are completed", func() bool { return f.completed.Load() >= int64(f.jobs/2) })
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	weirtest.Restart(t, server)
	t.Logf("PostgreSQL was killed and started again with %d jobs accepted and %d completed", f.accepted.Load(), f.completed.Load())

	f.until("three quarters are completed", func() bool { return f.completed.Load() >= int64(f.jobs*3/4) })
	process.Kill()
	node, _ = weirtest.StartServe(t, database)
	f.node.Store(node)

	f.until("all are completed", func() bool {
		n, err := f.count(`select count(*) from weir.job_outcome where state = 'completed'`)
		return err == nil && n >= f.jobs
	})
	producers.Wait()
	end()
	workers.Wait()
	late := node.Post("/v1/acks", obj{"acks": f.late}).Want(http.StatusOK)
	results := weirtest.Decode[struct{ Results []weirtest.AckResult }](late).Results
	if len(results) != len(f.late) {
		t.Errorf("%d late acks got %d results", len(f.late), len(results))
	}
	for _, result := range results {
		if result.Status != "stale_token" {
			t.Errorf("job %s, which was taken from a worker, is completed by that: %s", result.ID, result.Status)
		}
	}
	f.checkBooks()
	lost, err := f.count(`select count(*) from weir.job_event where kind = 'lost'`)
	if err != nil {
		t.Fatal(err)
	}
	if lost < len(f.late) || len(f.late) == 0 {
		t.Errorf("%d attempts were lost, and %d jobs were claimed and never heard of again", lost, len(f.late))
	}
	t.Logf("%d jobs in %v; %d attempts were lost", f.jobs, time.Since(began).Round(time.Second), lost)
}
