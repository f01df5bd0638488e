package tests

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Ways in which a job becomes available, each of which ends the wait of a claim. The service does nothing on its own in between but what it
// always does: no other claim comes to wake this one.
func TestRESTAWaitingClaimIsAnsweredWhenAJobBecomesAvailable(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]struct {
		before func(s *weirtest.Node) (later func(), id string) // what is done before the claim waits, and then
	}{
		"an enqueue": {func(s *weirtest.Node) (func(), string) {
			return func() { s.Enqueue(`{"kind": "k", "queue": "q"}`) }, ""
		}},
		"a batch": {func(s *weirtest.Node) (func(), string) {
			return func() { s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}}) }, ""
		}},
		"an enqueue by SQL": {func(s *weirtest.Node) (func(), string) {
			return func() { s.Exec(`select weir.enqueue('k', queue => 'q')`) }, ""
		}},
		"a transaction that commits later": {func(s *weirtest.Node) (func(), string) {
			return func() {
				tx := s.ExecUncommitted(`select weir.enqueue('k', queue => 'q')`)
				s.Eventually("the watermark has passed it", func() bool { return s.Count(`select count(*) from weir.watermark where holders <> '{}'`) == 1 })
				tx()
			}, ""
		}},
		"a transaction that began before the claim": {func(s *weirtest.Node) (func(), string) {
			s.Enqueue(`{"kind": "k", "queue": "q"}`) // the queue exists, and has been claimed from
			s.ClaimOne("q")
			return s.ExecUncommitted(`select weir.enqueue('k', queue => 'q')`), ""
		}},
		"the first job of a new queue, in a transaction that began before the claim": {func(s *weirtest.Node) (func(), string) {
			return s.ExecUncommitted(`select weir.enqueue('k', queue => 'q')`), ""
		}},
		"a job that becomes due": {func(s *weirtest.Node) (func(), string) {
			return func() { s.Enqueue(`{"kind": "k", "queue": "q", "delay_seconds": 1}`) }, ""
		}},
		"a release": {func(s *weirtest.Node) (func(), string) {
			j := s.EnqueueAndClaim("q")
			return func() { s.Post("/v1/jobs/"+j.ID+"/release", obj{"token": j.Token}).Want(http.StatusOK) }, j.ID
		}},
		"a release among acks": {func(s *weirtest.Node) (func(), string) {
			j := s.EnqueueAndClaim("q")
			return func() {
				s.Post("/v1/acks", obj{"acks": []obj{{"id": j.ID, "token": j.Token, "outcome": "release"}}}).Want(http.StatusOK)
			}, j.ID
		}},
		"a snooze of a second": {func(s *weirtest.Node) (func(), string) {
			j := s.EnqueueAndClaim("q")
			return func() {
				s.Post("/v1/jobs/"+j.ID+"/snooze", obj{"token": j.Token, "delay_seconds": 1}).Want(http.StatusOK)
			}, j.ID
		}},
		"a failure that is retried at once": {func(s *weirtest.Node) (func(), string) {
			j := s.EnqueueAndClaim("q")
			return func() {
				s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}, "retry_in_seconds": 0}).Want(http.StatusOK)
			}, j.ID
		}},
		"a lease that runs out": {func(s *weirtest.Node) (func(), string) {
			id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
			got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "queues": ["q"], "wait_seconds": 20, "lease_seconds": 2}`).Want(http.StatusOK)).Jobs
			if len(got) != 1 {
				s.T.Fatal("nothing to claim")
			}
			return func() {}, id
		}},
		"somebody who runs it again": {func(s *weirtest.Node) (func(), string) {
			id := s.EndedJob("q", "complete", obj{})
			return func() { s.Post("/v1/jobs/"+id+"/retry", nil).Want(http.StatusOK) }, id
		}},
		"a change that brings it forward": {func(s *weirtest.Node) (func(), string) {
			id := s.Enqueue(`{"kind": "k", "queue": "q", "delay_seconds": 3600}`)
			return func() {
				s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"run_at": "2020-01-01T00:00:00Z"}`).Want(http.StatusOK)
			}, id
		}},
		"a queue that goes on": {func(s *weirtest.Node) (func(), string) {
			id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
			s.Post("/v1/queues/q/pause", nil).Want(http.StatusOK)
			return func() { s.Post("/v1/queues/q/resume", nil).Want(http.StatusOK) }, id
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weirtest.StartNode(t)
			later, id := way.before(s)
			answer := s.Park(obj{"worker": "w", "queues": []string{"other", "q"}, "limit": 10, "wait_seconds": 60})
			later()
			got := s.Answer(answer)
			if len(got) != 1 || got[0].Queue != "q" || id != "" && got[0].ID != id {
				t.Errorf("got %+v, want one job of queue q %s", got, id)
			}
		})
	}
}

func TestRESTAClaimThatWaitsInVainIsAnsweredWithAnEmptyList(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{}`).Want(http.StatusOK)
	s.ExecUncommitted(`select weir.enqueue('k', queue => 'q')`) // and never commit
	answer := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 2})
	s.Enqueue(`{"kind": "k", "queue": "another"}`)
	s.Enqueue(`{"kind": "k", "queue": "q", "delay_seconds": 60}`)
	if got := s.Answer(answer); got == nil || len(got) != 0 {
		t.Errorf("got %+v, want an empty list", got)
	}
	if n := s.Metric("weir_claims_waiting"); n != 0 {
		t.Errorf("%v claims still wait", n)
	}
}

func TestRESTAPausedQueueGivesNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(`{"kind": "k", "queue": "q"}`)
	s.Post("/v1/queues/q/pause", nil).Want(http.StatusOK)
	answer := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 1})
	s.Enqueue(`{"kind": "k", "queue": "q"}`)
	if got := s.Answer(answer); len(got) != 0 {
		t.Errorf("got %+v from a paused queue", got)
	}
	if got := s.Claim(10, "q"); len(got) != 0 {
		t.Errorf("got %+v from a paused queue", got)
	}
	s.Post("/v1/queues/q/resume", nil).Want(http.StatusOK)
	s.ClaimAs("w", 2, "q")
}

func TestRESTOneJobWakesExactlyOneOf200WaitingWorkers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	const workers = 200
	answers := make(chan weirtest.ClaimAnswer, workers)
	for _, answer := range s.ParkMany(workers, func(i int) obj {
		return obj{"worker": fmt.Sprintf("w%d", i), "queues": []string{"q"}, "wait_seconds": 60}
	}) {
		go func() { answers <- <-answer }()
	}
	seen := map[string]bool{}
	for left := workers; left > 0; left-- {
		id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
		select {
		case a := <-answers:
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			if len(a.Jobs) != 1 || a.Jobs[0].ID != id || seen[id] {
				t.Fatalf("a worker got %+v, want job %s", a.Jobs, id)
			}
			seen[id] = true
		case <-time.After(2 * weirtest.Patience):
			t.Fatalf("nobody got job %s", id)
		}
		if left%50 == 0 || left == 2 {
			s.Eventually("all others wait on", func() bool { return s.Metric("weir_claims_waiting") == float64(left-1) })
		}
	}
	if len(answers) != 0 || len(seen) != workers {
		t.Errorf("%d jobs went to workers, and %d more were answered", len(seen), len(answers))
	}
}

// A claim that does not wait is answered at once, however much those that wait would take.
func TestRESTClaimsThatWaitHoldUpNone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	waiting := s.ParkMany(3, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{"q"}, "limit": 1000, "wait_seconds": 50}
	})
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*weirtest.Soon) // sooner than the waits of the others
		r, err := s.Send(ctx, http.MethodPost, "/v1/claims", `{"worker": "w", "queues": ["q"]}`)
		cancel()
		if err != nil {
			t.Fatalf("a claim that does not wait was held up by those that do: %v", err)
		}
		if got := weirtest.Decode[weirtest.ClaimedJobs](r.Want(http.StatusOK)).Jobs; len(got) != 0 {
			t.Fatalf("got %+v", got)
		}
	}
	s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}})
	got := 0
	for got < 2 { // together or one each
		select {
		case a := <-waiting[0]:
			got += len(a.Jobs)
			waiting[0] = nil
		case a := <-waiting[1]:
			got += len(a.Jobs)
			waiting[1] = nil
		case a := <-waiting[2]:
			got += len(a.Jobs)
			waiting[2] = nil
		case <-time.After(weirtest.Patience):
			t.Fatalf("the workers that wait got %d jobs of 2", got)
		}
	}
}

// All claims for the same queues go to the database together. One that it refuses must not take the others with it.
func TestRESTABadClaimFailsAlone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	waiting := s.ParkMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{"q"}, "wait_seconds": 50}
	})
	for _, worker := range []string{`"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"` + "\xff" + `"`} {
		if r := s.Post("/v1/claims", `{"worker": `+worker+`, "queues": ["q"], "wait_seconds": 0}`); r.Status != http.StatusOK && r.Status != http.StatusUnprocessableEntity && r.Status != http.StatusBadRequest {
			t.Errorf("a worker called %q: %v", worker, r)
		}
	}
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 5))
	for _, answer := range waiting {
		if got := s.Answer(answer); len(got) != 1 {
			t.Errorf("a worker got %+v", got)
		}
	}
}

func TestRESTAClientThatGoesAwayWhileItWaitsLosesNoJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	start := func() (goAway func()) {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = s.Send(ctx, http.MethodPost, "/v1/claims", `{"worker": "gone", "queues": ["q"], "wait_seconds": 60, "lease_seconds": 1}`)
		}()
		return func() { cancel(); <-gone }
	}
	nobodyWaits := func() bool { return s.Metric("weir_claims_waiting") == 0 }
	goAway := start()
	s.Eventually("the claim waits", func() bool { return s.Metric("weir_claims_waiting") == 1 })
	goAway()
	s.Eventually("nobody waits", nobodyWaits)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	if got := s.ClaimOne("q"); got.ID != id || got.Attempt != 1 {
		t.Errorf("claimed %+v, want the first attempt of job %s", got, id)
	}

	// It goes away in the very moment in which there is a job for it. If it was handed out already, the lease runs out.
	var ids []string
	for i := range 30 {
		goAway := start()
		var going sync.WaitGroup
		if i%2 == 0 {
			going.Go(goAway)
		}
		ids = append(ids, s.Enqueue(`{"kind": "k", "queue": "q", "max_attempts": 100}`))
		if i%2 == 1 {
			going.Go(goAway)
		}
		going.Wait()
	}
	s.Eventually("nobody waits", nobodyWaits)
	for _, got := range s.ClaimAs("w", len(ids), "q") {
		s.Post("/v1/jobs/"+got.ID+"/complete", obj{"token": got.Token}).Want(http.StatusOK)
	}
	for _, id := range ids {
		if j := s.Job(id); j.State != "completed" {
			t.Errorf("%+v", j)
		}
	}
}

func TestRESTWaitingClaimsPollWhileNotificationsDoNotComeIn(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Eventually("the node listens", func() bool { return s.Metric("weir_listener_up") == 1 })
	round := func() {
		t.Helper()
		answer := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 60})
		s.Eventually("the queue is parked", func() bool {
			return s.Count(`select count(*) from weir.parked where queue = 'q' and until > clock_timestamp()`) > 0
		})
		s.Exec(`select weir.enqueue('k', queue => 'q')`)
		if got := s.Answer(answer); len(got) != 1 {
			t.Fatalf("got %+v", got)
		}
	}
	round()

	// The connection is ended whenever it comes back, while claims wait and are answered all the same.
	const end = `select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'weir listener' and datname = current_database()`
	ctx, cancel := context.WithCancel(t.Context())
	var killed atomic.Int64
	var killer sync.WaitGroup
	killer.Go(func() {
		for ctx.Err() == nil {
			var n int64
			if err := s.DB.QueryRow(ctx, end).Scan(&n); err == nil {
				killed.Add(n)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	s.Eventually("the node notices", func() bool { return s.Metric("weir_listener_up") == 0 })
	for range 5 {
		round()
	}
	s.Eventually("its connection was ended when it came back, too", func() bool { round(); return killed.Load() >= 2 })
	cancel()
	killer.Wait()

	// The last connection that was ended may not be known to be gone yet, so what counts is that a round was notified.
	before := s.Metric("weir_wakeups_total")
	s.Eventually("the node listens again", func() bool { round(); return s.Metric("weir_wakeups_total") > before })
	// Notified again: the wake-ups grow with the rounds, which polling does not make them do.
	before = s.Metric("weir_wakeups_total")
	for range 5 {
		round()
	}
	// A poll may come before the notification, which is counted all the same.
	s.Eventually("there were five wake-ups in five rounds", func() bool { return s.Metric("weir_wakeups_total")-before >= 5 })
}

// A claim parks the queue before it waits, and whoever enqueues then notifies, once; while nobody waits, nobody is notified.
func TestRESTOnlyAParkedQueueIsNotified(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	conn, err := s.DB.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "listen weir_ready"); err != nil {
		t.Fatal(err)
	}
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "early", "queue": "q"}}, 3))
	s.ClaimAs("w", 3, "q")
	answer := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 60, "limit": 10})
	s.Eventually("the queue is parked", func() bool {
		return s.Count(`select count(*) from weir.parked where queue = 'q' and until > clock_timestamp()`) > 0
	})
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "another"}}, 3))
	s.Answer(answer)
	ctx, cancel := context.WithTimeout(t.Context(), weirtest.Patience)
	defer cancel()
	n, err := conn.Conn().WaitForNotification(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n.Payload != "q" {
		t.Errorf("notified of %q, want q", n.Payload)
	}
	s.Exec(`notify weir_ready, 'the end'`)
	if n, err = conn.Conn().WaitForNotification(ctx); err != nil || n.Payload != "the end" {
		t.Errorf("one statement notified a second time: %v, %v", n, err)
	}
	if _, err := conn.Exec(t.Context(), "unlisten *"); err != nil {
		t.Fatal(err)
	}
}

func TestRESTAWaitingClaimSurvivesARestartOfPostgreSQL(t *testing.T) {
	t.Parallel()
	server := weirtest.NewServer(t)
	s := weirtest.StartNodeOn(t, weirtest.Open(t, server.URL("weir")))
	answers := s.ParkMany(3, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{"q", fmt.Sprintf("q%d", i%2)}, "wait_seconds": 60}
	})
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	s.Eventually("the node notices", func() bool { return s.Metric("weir_listener_up") == 0 })
	s.Post("/v1/claims", `{"worker": "impatient", "queues": ["q"]}`).Problem(http.StatusServiceUnavailable, "unavailable")
	for _, answer := range answers {
		if len(answer) > 0 {
			t.Fatalf("a claim that waits was answered while the database was away: %+v", <-answer)
		}
	}
	weirtest.Restart(t, server)
	for range answers {
		s.Eventually("a job is enqueued", func() bool { return s.Post("/v1/jobs", `{"kind": "k", "queue": "q"}`).Status == http.StatusCreated })
	}
	seen := map[string]bool{}
	for _, answer := range answers {
		got := s.Answer(answer)
		if len(got) != 1 || seen[got[0].ID] {
			t.Fatalf("a claim that waited got %+v", got)
		}
		seen[got[0].ID] = true
	}
}

// A claim that asks for few is not given many because others asked for them in the same moment.
func TestRESTNobodyGetsMoreThanItAskedFor(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	waiting := s.ParkMany(30, func(i int) obj {
		return obj{"worker": fmt.Sprintf("w%d", i), "queues": []string{"q"}, "limit": 1 + i%5, "wait_seconds": 60, "lease_seconds": 100 + i}
	})
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q", "timeout_seconds": 3600}}, 200))
	for i, answer := range waiting {
		got := s.Answer(answer)
		if len(got) == 0 || len(got) > 1+i%5 {
			t.Errorf("worker %d asked for %d jobs and got %d", i, 1+i%5, len(got))
		}
		for _, j := range got {
			seen := s.Job(j.ID)
			if seen.Worker != fmt.Sprintf("w%d", i) || seen.LeaseExpiresAt.Sub(*seen.StartedAt) != time.Duration(100+i)*time.Second {
				t.Errorf("worker %d got a job that is %s's, for %v", i, seen.Worker, seen.LeaseExpiresAt.Sub(*seen.StartedAt))
			}
		}
	}
}

func TestRESTAClaimMayNameAHundredQueues(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var queues []string
	for i := range 100 {
		queues = append(queues, fmt.Sprintf("%s-%d", strings.Repeat("q", 120), i)) // longer together than a notification may be
	}
	answer := s.Park(obj{"worker": "w", "queues": queues, "wait_seconds": 60, "limit": 100})
	s.Enqueue(obj{"kind": "k", "queue": queues[99]})
	if got := s.Answer(answer); len(got) != 1 || got[0].Queue != queues[99] {
		t.Errorf("got %+v", got)
	}
}

// The wait of a claim may end in the very moment in which the node looks for it.
func TestRESTAWaitThatEndsWhileTheQueueIsLookedAtIsAnsweredToo(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	var waker sync.WaitGroup
	defer waker.Wait()
	defer cancel()
	waker.Go(func() {
		for ctx.Err() == nil { // the node looks again and again
			_, _ = s.DB.Exec(ctx, `select pg_notify('weir_ready', 'q')`)
		}
	})
	for i := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), weirtest.Patience)
		r, err := s.Send(ctx, http.MethodPost, "/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 0.01 + float64(i)/1000})
		cancel()
		if err != nil {
			t.Fatalf("claim number %d: %v", i, err)
		}
		if got := weirtest.Decode[weirtest.ClaimedJobs](r.Want(http.StatusOK)).Jobs; len(got) != 0 {
			t.Fatalf("got %+v", got)
		}
	}
	if n := s.Metric("weir_claims_waiting"); n != 0 {
		t.Errorf("%v claims still wait", n)
	}
}

// An enqueue that looks who waits, sees nobody, and commits when somebody does, notifies nobody. The node finds that out by itself, and does
// not leave it to the next poll.
func TestRESTACommitThatNotifiesNobodyWakesTheNode(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Eventually("the node listens", func() bool { return s.Metric("weir_listener_up") == 1 })
	woken := 0
	for i := 0; i < 30 && woken < 3; i++ { // a poll may come first, once a second, but not each time
		queue := fmt.Sprintf("q%d", i)
		s.Do(http.MethodPut, "/v1/queues/"+queue, `{}`).Want(http.StatusOK)
		commit := s.ExecUncommitted(`select weir.enqueue('k', queue => '` + queue + `')`)
		looks := s.Metric("weir_claim_batch_jobs_count")
		answer := s.Park(obj{"worker": "w", "queues": []string{queue}, "wait_seconds": 60})
		s.Eventually("the queue is parked, and was looked at again after that", func() bool { return s.Metric("weir_claim_batch_jobs_count") >= looks+3 })
		before := s.Metric("weir_wakeups_total")
		commit()
		if got := s.Answer(answer); len(got) != 1 {
			t.Fatalf("got %+v", got)
		}
		if s.Metric("weir_wakeups_total") > before {
			woken++
		}
	}
	if woken < 3 {
		t.Errorf("the node was woken %d times in 30", woken)
	}
}
