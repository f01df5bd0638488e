//go:build linux

package clock

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// recovery bounds how long weir takes to recover from a step back. It takes seconds; the steps are hours long.
const recovery = 3 * time.Minute

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Since(began) > recovery {
			t.Fatalf("%s: not within %s", what, recovery)
		}
	}
}

func TestStepsOfTheDatabasesClock(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a server of its own for minutes")
	}
	t.Parallel()
	server, shift := weirtest.NewServerWithClock(t)
	d := weirtest.Open(t, server.URL("weir"))
	nodes := []*weirtest.Node{weirtest.StartNodeOn(t, d), weirtest.StartNodeOn(t, d)}
	s := nodes[0]
	s.Do(http.MethodPut, "/v1/queues/limited", weirtest.Object{"limits": weirtest.Object{"rate": weirtest.Object{"per_second": 100, "burst": 1}}}).Want(http.StatusOK)

	rounds := 0
	check := func(ahead time.Duration) {
		t.Helper()
		rounds++
		queue := fmt.Sprintf("q%d", rounds)
		schedule := fmt.Sprintf("s%d", rounds)
		// A worker that dies, a job that fails and is tried again, and a schedule, all of the time before the step back.
		s.Do(http.MethodPut, "/v1/schedules/"+schedule, weirtest.Object{"cron": "* * * * * *", "job": weirtest.Object{"kind": "tick", "queue": schedule}}).Want(http.StatusOK)
		lost := s.Enqueue(weirtest.Object{"kind": "lost", "queue": queue})
		s.Settle()
		claimed := weirtest.Decode[struct{ Jobs []weirtest.ClaimedJob }](s.Post("/v1/claims", weirtest.Object{"worker": "dies", "queues": []string{queue}, "lease_seconds": 10, "wait_seconds": 20}).Want(http.StatusOK)).Jobs
		if len(claimed) != 1 {
			t.Fatalf("claimed %d jobs", len(claimed))
		}
		retried := s.Enqueue(weirtest.Object{"kind": "fails", "queue": queue + "-r", "retry": weirtest.Object{"strategy": "fixed", "base_seconds": 8, "jitter": false}})
		again := weirtest.Decode[struct{ Jobs []weirtest.ClaimedJob }](s.Post("/v1/claims", weirtest.Object{"worker": "w", "queues": []string{queue + "-r"}, "wait_seconds": 20}).Want(http.StatusOK)).Jobs
		s.Post("/v1/jobs/"+retried+"/fail", weirtest.Object{"token": again[0].Token, "error": weirtest.Object{"message": "once"}}).Want(http.StatusOK)
		s.Enqueue(weirtest.Object{"kind": "k", "queue": "limited"})
		within(t, "the rate lets a job through", func() bool {
			return len(weirtest.Decode[struct{ Jobs []weirtest.ClaimedJob }](s.Post("/v1/claims", weirtest.Object{"worker": "w", "queues": []string{"limited"}, "wait_seconds": 1}).Want(http.StatusOK)).Jobs) == 1
		})
		within(t, "the schedule fires", func() bool {
			return s.Count("select count(*)::int from weir.job where schedule = $1", schedule) > 0
		})

		before := s.Count("select count(*)::int from weir.job where schedule = $1", schedule)
		shift(ahead)
		stepped := time.Now()
		within(t, "the lost lease ends", func() bool { return s.Job(lost).State == "available" })
		within(t, "the retry becomes available", func() bool { return s.Job(retried).State == "available" })
		s.Enqueue(weirtest.Object{"kind": "k", "queue": "limited"})
		within(t, "the rate lets a job through", func() bool {
			return len(weirtest.Decode[struct{ Jobs []weirtest.ClaimedJob }](s.Post("/v1/claims", weirtest.Object{"worker": "w", "queues": []string{"limited"}, "wait_seconds": 1}).Want(http.StatusOK)).Jobs) == 1
		})
		t.Logf("recovered from a step to %+d h within %s", int(ahead.Hours()), time.Since(stepped).Round(time.Second))
		if got := s.Job(lost); got.Attempt != 1 {
			t.Errorf("the lost job has had %d attempts", got.Attempt)
		}
		if ahead >= 0 { // of other times, slots have not fired before
			within(t, "the schedule fires again", func() bool {
				return s.Count("select count(*)::int from weir.job where schedule = $1", schedule) > before
			})
		}
	}

	shift(8 * time.Hour)
	time.Sleep(3 * time.Second)
	check(0)              // 8 hours ahead, and back
	check(-1 * time.Hour) // an hour back
	if n := s.Count("select count(*)::int from (select from weir.job j where schedule is not null group by schedule, slot having count(*) > 1) x"); n != 0 {
		t.Errorf("%d slots have fired twice", n)
	}
	for _, n := range nodes {
		if !strings.Contains(n.Log.String(), "clock went back") {
			t.Error("a node has not noticed")
		}
	}
}
