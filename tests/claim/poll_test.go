package claim

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestParkedClaimsPollWithoutNotifications(t *testing.T) {
	weirtest.Long(t, "it waits for polls")
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

	// The connection is cut each time it returns, while claims wait. They are answered nevertheless.
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

	// The node may not have noticed the last cut yet, so what counts is that a round was notified.
	before := s.Metric("weir_wakeups_total")
	s.Eventually("the node listens again", func() bool { round(); return s.Metric("weir_wakeups_total") > before })
	// Notified again: the wake-ups grow with the rounds, which polling alone would not cause. In some rounds a poll may
	// come before the claim has parked its queue, and then the enqueue does not notify.
	before = s.Metric("weir_wakeups_total")
	rounds := 0
	s.Eventually("five rounds are notified", func() bool {
		round()
		rounds++
		return s.Metric("weir_wakeups_total")-before >= 5
	})
	if rounds > 15 {
		t.Errorf("got five wake-ups in %d rounds, want them in at most 15", rounds)
	}
}

func TestParkedClaimSurvivesRestartOfPostgreSQL(t *testing.T) {
	weirtest.Long(t, "it restarts PostgreSQL")
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

// An enqueue that sees no parked claim and commits after one has parked notifies no node. The node finds the job
// without waiting for the next poll.
func TestCommitWithoutNotificationWakesNode(t *testing.T) {
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
