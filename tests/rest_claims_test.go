package tests

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTClaimsGoByPriorityAndThenByOrder(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	dice := rand.New(rand.NewPCG(1, 2))
	var want []obj
	for len(want) < 300 {
		if dice.IntN(3) == 0 {
			j := obj{"kind": "single", "priority": 1 + dice.IntN(10)}
			j["id"] = s.Enqueue(j)
			want = append(want, j)
			continue
		}
		batch := make([]obj, 1+dice.IntN(30))
		for i := range batch {
			batch[i] = obj{"kind": "batched", "priority": 1 + dice.IntN(10)}
		}
		for i, id := range s.EnqueueAll(batch) {
			batch[i]["id"] = id
		}
		want = append(want, batch...)
	}
	slices.SortStableFunc(want, func(a, b obj) int { return b["priority"].(int) - a["priority"].(int) })
	s.Settle()
	for at := 0; at < len(want); {
		got := s.Claim(1+dice.IntN(20), "default")
		if len(got) == 0 {
			t.Fatalf("nothing to claim after %d jobs", at)
		}
		for _, j := range got {
			if j.ID != want[at]["id"] {
				t.Fatalf("job number %d is %s, want %s with priority %d", at, j.ID, want[at]["id"], want[at]["priority"])
			}
			at++
		}
	}
}

// What comes back goes to the end of its priority: a job is first in, first out by when it became available.
func TestRESTAJobThatComesBackGoesToTheEndOfItsPriority(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := s.EnqueueAll([]obj{{"kind": "a"}, {"kind": "b"}, {"kind": "c", "priority": 4}})
	got := s.ClaimAs("worker", 1, "default")[0]
	if got.ID != ids[0] {
		t.Fatalf("claimed %s first", got.ID)
	}
	s.Post("/v1/jobs/"+got.ID+"/release", obj{"token": got.Token}).Want(http.StatusOK)
	s.Settle()
	for _, want := range []string{ids[1], ids[0], ids[2]} {
		if got := s.Claim(1, "default"); len(got) != 1 || got[0].ID != want {
			t.Fatalf("claimed %+v, want job %s", got, want)
		}
	}
}

func TestRESTQueuesShareAClaimSoThatNoneStarves(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	fill := func(queue string, n, priority int) {
		batch := make([]obj, n)
		for i := range batch {
			batch[i] = obj{"kind": "k", "queue": queue, "priority": priority}
		}
		s.EnqueueAll(batch)
	}
	fill("full", 2000, 10)
	fill("urgent", 500, 10)
	fill("poor", 90, 1)
	s.Settle()
	count := func(jobs []weirtest.ClaimedJob) map[string]int {
		n := map[string]int{}
		for _, j := range jobs {
			n[j.Queue]++
		}
		return n
	}
	for range 10 {
		if n := count(s.Claim(9, "full", "urgent", "poor", "empty", "not-there")); n["full"] < 1 || n["urgent"] < 1 || n["poor"] < 1 || n["full"]+n["urgent"]+n["poor"] != 9 {
			t.Errorf("nine jobs are %v", n)
		}
	}
	single := map[string]int{}
	for range 100 {
		for queue, n := range count(s.Claim(1, "full", "urgent")) {
			single[queue] += n
		}
	}
	if single["full"] < 20 || single["urgent"] < 20 { // one in two would be fair; that one in five is missed by chance happens once in 10^9 runs
		t.Errorf("a hundred claims of one job took %v", single)
	}
	// What one queue lacks, the others give.
	if n := count(s.Claim(1000, "poor", "full")); n["poor"]+n["full"] != 1000 {
		t.Errorf("a thousand jobs are %v", n)
	}
}

func TestRESTAJobIsGivenToOneWorkerOnly(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	batch := make([]obj, 500)
	for i := range batch {
		batch[i] = obj{"kind": "k", "queue": fmt.Sprintf("q%d", i%2)}
	}
	s.EnqueueAll(batch)
	var mu sync.Mutex
	given := map[string]int{}
	var workers sync.WaitGroup
	for i := range 20 {
		workers.Go(func() {
			queues := [][]string{{"q0"}, {"q1"}, {"q0", "q1"}, {"q1", "q0", "q1"}}[i%4] // different sets are claimed for apart
			for {
				r, err := s.Send(t.Context(), http.MethodPost, "/v1/claims", obj{"worker": fmt.Sprint(i), "queues": queues, "limit": 1 + i%3})
				var got weirtest.ClaimedJobs
				if err == nil {
					err = json.Unmarshal(r.Body, &got)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, j := range got.Jobs {
					given[j.ID]++
				}
				enough := len(given) == len(batch)
				mu.Unlock()
				if enough || t.Context().Err() != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	for id, n := range given {
		if n != 1 {
			t.Errorf("job %s was given out %d times", id, n)
		}
	}
}

func TestRESTALeaseIsAsLongAsTheClaimOrTheQueueSays(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/long", `{"lease_seconds": 600, "timeout_seconds": 3000}`).Want(http.StatusOK)
	for _, c := range []struct {
		queue, lease string
		want         int
	}{{"plain", "", 30}, {"long", "", 600}, {"long", `, "lease_seconds": 45`, 45}, {"plain", `, "lease_seconds": 3600`, 300}} { // not beyond the timeout of the attempt
		s.Enqueue(obj{"kind": "k", "queue": c.queue})
		got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "wait_seconds": 20, "queues": ["`+c.queue+`"]`+c.lease+`}`).Want(http.StatusOK)).Jobs
		if len(got) != 1 {
			t.Fatalf("claimed %+v", got)
		}
		j := s.Job(got[0].ID)
		if length := got[0].LeaseExpiresAt.Sub(*j.StartedAt); length != time.Duration(c.want)*time.Second {
			t.Errorf("queue %s%s: a lease of %v, want %d s", c.queue, c.lease, length, c.want)
		}
	}
}

func TestRESTAnEmptyQueueGivesAnEmptyList(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, body := range []string{
		`{"worker": "w", "queues": ["nothing"]}`,
		`{"worker": "w", "queues": ["nothing", "nothing", "too"], "limit": 1000}`,
		`{"worker": "w", "queues": ["nothing"], "wait_seconds": 0}`,
		`{"worker": "w", "queues": ["nothing"], "wait_seconds": 0.3}`,
		`{"worker": "ünï \" worker 🦫", "queues": ["nothing"], "wait_seconds": 1}`,
	} {
		r := s.Post("/v1/claims", body).Want(http.StatusOK)
		if !weirtest.SameJSON(t, r.Body, []byte(`{"jobs": []}`)) {
			t.Errorf("%s: %v", body, r)
		}
	}
}
