package frontier

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestNoCommittedJobIsMissed(t *testing.T) {
	weirtest.Long(t, "it works under load for a while")
	t.Parallel()
	d, _ := newServer(t)
	r := &frontierRun{d: d, t: t, committed: map[int64]time.Time{}, undone: map[int64]bool{}, done: map[int64]time.Time{}, passed: time.Now()}
	for _, q := range frontierQueues {
		weirtest.Exec(t, d, "select weir.set_queue($1, '{\"max_attempts\": 100}')", q)
	}
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	goroutine := uint64(0)
	start := func(ctx context.Context, wg *sync.WaitGroup, n int, body func(ctx context.Context, rng *rand.Rand)) {
		for range n {
			goroutine++
			rng := rand.New(rand.NewPCG(seed, goroutine))
			wg.Go(func() { body(ctx, rng) })
		}
	}
	var producers, others sync.WaitGroup
	running, end := context.WithCancel(context.Background())
	defer end()

	pin := d.Tx() // pins the xmin horizon: no dead row can be vacuumed
	weirtest.Exec(t, pin, "set transaction isolation level repeatable read")
	weirtest.Exec(t, pin, "select pg_current_xact_id()")

	start(running, &others, 5, r.work)
	start(running, &others, 1, r.workWithHint)
	start(running, &others, 2, r.tick)
	start(running, &others, 2, r.promote)
	start(running, &others, 1, r.disturb)
	// The end of a transaction makes the frontiers go back to its beginning, and so find jobs that were missed.
	// Therefore many transactions at once are followed by few at a time: a job missed then stays missed.
	producing, stop := context.WithCancel(context.Background())
	defer stop()
	start(producing, &producers, 7, r.produce)
	time.Sleep(4 * time.Second)
	weirtest.Eventually(t, "enough jobs are committed and undone", r.enough) // a busy machine needs longer
	stop()
	producers.Wait()
	r.calm.Store(true)
	producing, stop = context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	start(producing, &producers, 2, r.produceCalmly)
	producers.Wait()
	lastCommit := time.Now()
	for !r.allDone() && time.Since(r.lastProgress()) < weirtest.Patience {
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d jobs committed, %d undone; all done %s after the last commit; the longest way from commit to done took %s", len(r.committed), len(r.undone), r.lastProgress().Sub(lastCommit), r.longest())
	end()
	others.Wait()
	weirtest.Rollback(t, pin)

	for id := range r.committed {
		if r.done[id].IsZero() {
			t.Errorf("job %d was missed: %s", id, weirtest.Value[string](t, d, `select jsonb_build_object('state', j.state, 'created', j.created_at, 'ready', to_jsonb(r), 'frontier', f.positions, 'watermark', to_jsonb(w))::text
				from weir.watermark w, weir.jobs j left join weir.job_ready r on coalesce(r.job_id, r.seq) = j.id left join weir.frontier f on f.queue_id = j.queue_id where j.id = $1`, id))
		}
	}
	for id := range r.done {
		if r.committed[id].IsZero() {
			t.Errorf("job %d was done and never committed", id)
		}
	}
	if n := weirtest.Value[int](t, d, "select (select count(*) from weir.job_ready) + (select count(*) from weir.job_lease) + (select count(*) from weir.job_scheduled)"); n != 0 && !t.Failed() {
		t.Errorf("%d jobs are left somewhere", n)
	}
	d.CheckPlaces()
}

var frontierQueues = []string{"f0", "f1", "f2", "f3"}

// frontierRun is shared by the goroutines of TestNoCommittedJobIsMissed.
type frontierRun struct {
	d *weirtest.Database
	t *testing.T

	calm atomic.Bool // few transactions at a time

	mu        sync.Mutex
	committed map[int64]time.Time
	undone    map[int64]bool
	done      map[int64]time.Time
	passed    time.Time
	prepared  int
}

func (r *frontierRun) allDone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.committed {
		if r.done[id].IsZero() {
			return false
		}
	}
	return true
}

// enough reports whether the run can show anything.
func (r *frontierRun) enough() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.committed) >= 100 && len(r.undone) >= 20
}

func (r *frontierRun) lastProgress() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passed
}

func (r *frontierRun) longest() (most time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, at := range r.done {
		most = max(most, at.Sub(r.committed[id]))
	}
	return most
}

// ended notes the outcome of a producer's transaction for its jobs.
func (r *frontierRun) ended(ids []int64, committed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if committed {
			r.committed[id] = time.Now()
		} else {
			r.undone[id] = true
		}
	}
}

func (r *frontierRun) completed(ids []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if !r.done[id].IsZero() {
			r.t.Errorf("job %d was done twice", id)
		}
		r.done[id] = time.Now()
		r.passed = time.Now()
	}
}

// jobs returns the text of some jobs for random queues and priorities.
func (r *frontierRun) jobs(rng *rand.Rand, n int, more string) string {
	var list []string
	for range n {
		list = append(list, fmt.Sprintf(`{"kind": "a", "queue": "%s", "priority": %d%s}`, frontierQueues[rng.IntN(4)], 1+rng.IntN(10), more))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// some enqueues a few jobs in one of several ways and returns the new ones.
func (r *frontierRun) some(q weirtest.Querier, rng *rand.Rand) []int64 {
	more := ""
	switch rng.IntN(8) {
	case 0:
		more = fmt.Sprintf(`, "delay_seconds": %f`, rng.Float64()/3)
	case 1:
		more = fmt.Sprintf(`, "unique": {"key": "%d"}`, rng.Int64())
	}
	n := 1 + rng.IntN(20)
	if rng.IntN(3) == 0 || strings.Contains(more, "unique") {
		n = 1
	}
	return weirtest.Values[int64](r.t, q, "select job_id from weir.enqueue_batch($1) where not duplicate", r.jobs(rng, n, more))
}
