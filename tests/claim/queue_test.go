package claim

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestQueuesShareClaim(t *testing.T) {
	t.Parallel()
	t.Run("SQL", queuesShareClaimSQL)
	t.Run("REST", queuesShareClaimREST)
}

func queuesShareClaimSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fill := func(queue string, n int) {
		weirtest.Exec(t, d, "select weir.enqueue('a', queue => $1) from generate_series(1, $2)", queue, n)
	}
	shares := func(queues string, n int) string {
		counts := map[string]int{}
		for _, j := range weirtest.Claim(t, d, queues, n) {
			counts[j.Queue]++
		}
		return fmt.Sprint(counts) // sorted by name
	}
	fill("a", 200)
	fill("b", 200)
	fill("c", 200)
	fill("few", 2)
	weirtest.Exec(t, d, "select weir.set_queue('empty')")
	for _, c := range []struct {
		queues string
		n      int
		want   string
	}{
		{"a,b,c", 30, "map[a:10 b:10 c:10]"},
		{"few,a", 30, "map[a:28 few:2]"},
		{"a,few,empty,unknown", 10, "map[a:10]"},
		{"a,b", 20, "map[a:10 b:10]"},
		{"a,a,a", 5, "map[a:5]"},
		{"empty,unknown", 5, "map[]"},
	} {
		if got := shares(c.queues, c.n); got != c.want {
			t.Errorf("a claim of %d from %s got %s, want %s", c.n, c.queues, got, c.want)
		}
	}
}

func queuesShareClaimREST(t *testing.T) {
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
	if single["full"] < 20 || single["urgent"] < 20 { // one in two is fair; fewer than one in five happens by chance once in 10^9 runs
		t.Errorf("a hundred claims of one job took %v", single)
	}
	// If one queue has too few jobs, the others give more.
	if n := count(s.Claim(1000, "poor", "full")); n["poor"]+n["full"] != 1000 {
		t.Errorf("a thousand jobs are %v", n)
	}
}

func TestNoQueueStarves(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q' || i % 3, priority => 1 + i % 3 * 4) from generate_series(1, 300) i")
	counts := map[string]int{}
	for range 90 {
		counts[weirtest.ClaimOne(t, d, "q0,q1,q2").Queue]++
	}
	for queue, n := range counts { // 30 each on average; 4 or fewer happens once in 10^9 runs
		if n < 5 {
			t.Errorf("of 90 claims of one job, %s got %d", queue, n)
		}
	}
	if len(counts) != 3 {
		t.Errorf("the claims went to %v", counts)
	}
}

func TestClaimSkipsPausedQueue(t *testing.T) {
	t.Parallel()
	t.Run("SQL", claimSkipsPausedQueueSQL)
	t.Run("REST", claimSkipsPausedQueueREST)
}

func claimSkipsPausedQueueSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 3 {
		weirtest.EnqueueOne(t, d, "q")
		weirtest.EnqueueOne(t, d, "other")
	}
	running := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.pause_queue('q')")
	weirtest.EnqueueOne(t, d, "q") // works as before
	got := weirtest.Claim(t, d, "q,other", 10)
	if len(got) != 3 || slices.ContainsFunc(got, func(j weirtest.Lease) bool { return j.Queue != "other" }) {
		t.Errorf("claimed %+v, want the three jobs of the queue that is not paused", got)
	}
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 0 {
		t.Errorf("claimed %v of the paused queue, want none", got)
	}
	weirtest.Exec(t, d, "select weir.complete($1, $2)", running.ID, running.Token)
	weirtest.Exec(t, d, "select weir.resume_queue('q')")
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 3 {
		t.Errorf("claimed %d after the pause, want 3", len(got))
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.pause_queue('unknown')"), "WR011")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.resume_queue('unknown')"), "WR011")
}

func claimSkipsPausedQueueREST(t *testing.T) {
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

func TestClaimMayNameQueueCreatedMeanwhile(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q'), weir.set_queue('p')")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		conn := d.Connect()
		for ctx.Err() == nil {
			if err := weirtest.TryExec(conn, "select weir.pause_queue('q')"); err != nil {
				t.Error(err)
			}
			if err := weirtest.TryExec(conn, "select weir.resume_queue('q')"); err != nil {
				t.Error(err)
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			conn := d.Connect()
			for range 1500 {
				if _, err := weirtest.TryClaim(conn, "q", 1); err != nil {
					t.Error(err)
					break
				}
			}
			stop()
		})
	}
	wg.Wait()
}

func TestClaimMayNameHundredQueues(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var queues []string
	for i := range 100 {
		queues = append(queues, fmt.Sprintf("%s-%d", strings.Repeat("q", 120), i)) // together longer than a notification may be
	}
	answer := s.Park(obj{"worker": "w", "queues": queues, "wait_seconds": 60, "limit": 100})
	s.Enqueue(obj{"kind": "k", "queue": queues[99]})
	if got := s.Answer(answer); len(got) != 1 || got[0].Queue != queues[99] {
		t.Errorf("got %+v", got)
	}
}

func TestEmptyQueueGivesEmptyList(t *testing.T) {
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

// Jobs of a transaction that a tick saw writing are met by a later look of a claim. They come in equal shares too.
func TestQueuesShareClaimOfJobsThatCameLate(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue(q) from unnest('{a,b,c}'::text[]) q")
	tx := d.Tx()
	weirtest.Exec(t, tx, "select weir.enqueue('k', queue => q) from unnest('{a,b,c}'::text[]) q, generate_series(1, 40)")
	weirtest.Exec(t, d, "select weir.advance_frontier('0 s')")
	weirtest.Commit(t, tx)
	for _, c := range []struct {
		n    int
		want string
	}{{60, "map[a:20 b:20 c:20]"}, {60, "map[a:20 b:20 c:20]"}} {
		counts := map[string]int{}
		for _, j := range weirtest.Claim(t, d, "a,b,c", c.n) {
			counts[j.Queue]++
		}
		if got := fmt.Sprint(counts); got != c.want {
			t.Errorf("a claim of %d got %s, want %s", c.n, got, c.want)
		}
	}
}
