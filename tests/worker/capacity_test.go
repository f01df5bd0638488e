package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestWorkerGetsNoMoreThanItsCapacity(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 200)
	claimAs(t, d, "w", 4) // from before it had a capacity: they count too
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"capacity\": 10}')")
	if n := claimAs(t, d, "w", 3); n != 3 {
		t.Errorf("claimed %d, want 3", n)
	}
	if n := claimAs(t, d, "w", 50); n != 3 {
		t.Errorf("with 7 of 10 it claimed %d, want 3", n)
	}
	if n, why := claimAs(t, d, "w", 50), refusalOf(t, d, "w"); n != 0 || why != "at_capacity" {
		t.Errorf("with 10 of 10 it claimed %d, refused as %s", n, why)
	}
	// Other workers are not affected, not even in the same statement, and a worker gets no more by asking twice.
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease order by job_id limit 3")
	got := weirtest.Values[string](t, d, `select format('%s %s %s', slot, coalesce(refusal, 'jobs'), count(*)) from weir.claim_batch(array['q'], array['w', 'x', 'w', 'w'], array[2, 5, 4, 1], array[0, 0, 0, 0])
		group by slot, refusal order by slot, refusal`)
	if want := []string{"1 jobs 2", "2 jobs 5", "3 at_capacity 1", "3 jobs 1", "4 at_capacity 1"}; !slices.Equal(got, want) {
		t.Errorf("four slots got %q, want %q", got, want)
	}
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"capacity\": 12}')")
	if n := claimAs(t, d, "w", 50); n != 2 {
		t.Errorf("two more may be had, and %d were", n)
	}
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"capacity\": 5}')")
	if got := stateOfWorker(t, d, "w"); got != "active 12" || claimAs(t, d, "w", 1) != 0 {
		t.Errorf("after its capacity was lowered it is %s", got)
	}
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"capacity\": 0}')")
	if n := claimAs(t, d, "w", 50); n != 50 {
		t.Errorf("without a limit it claimed %d", n)
	}
}

// The place where counting starts moves on as jobs end, and must never pass an existing lease.
func TestCountStartsBeforeEveryCountedLease(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 200)
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"capacity\": 10}')")
	sign := func() {
		weirtest.Exec(t, d, "update weir.worker_seen set last_seen_at = now() - interval '1 hour'")
		weirtest.Tick(t, d)
		weirtest.Exec(t, d, "select weir.touch_workers(array['w'])")
	}
	for round := range 5 {
		if n := claimAs(t, d, "w", 50); n != 10 {
			t.Fatalf("round %d: claimed %d", round, n)
		}
		sign()
		weirtest.Exec(t, d, "select weir.complete(job_id, token) from (select job_id, token from weir.job_lease order by leased_at limit 4) l")
		if n := claimAs(t, d, "w", 50); n != 4 {
			t.Fatalf("round %d: claimed %d for 4 that were done", round, n)
		}
		sign()
		weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
		sign()
	}
	if late := weirtest.Value[bool](t, d, "select counted_from > now() - interval '1 minute' from weir.worker_seen"); !late {
		t.Error("counting starts where it did")
	}
	// A claim in an open transaction lies before that place when it commits, and counts then.
	tx := d.Tx()
	if n := claimAs(t, tx, "w", 10); n != 10 {
		t.Fatalf("claimed %d", n)
	}
	if n, why := claimAs(t, d, "w", 10), refusalOf(t, d, "w"); n != 0 || why != "none" {
		t.Errorf("beside a claim that is open it claimed %d, refused as %s", n, why)
	}
	for range 3 {
		time.Sleep(10 * time.Millisecond)
		sign()
	}
	weirtest.Commit(t, tx)
	sign()
	if n := claimAs(t, d, "w", 10); n != 0 {
		t.Errorf("claimed %d more than it may have", n)
	}
	// The count is right again after the capacity was removed and restored.
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"capacity\": 0}')")
	claimAs(t, d, "w", 7)
	time.Sleep(10 * time.Millisecond)
	sign()
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"capacity\": 10}')")
	if n := claimAs(t, d, "w", 10); n != 3 {
		t.Errorf("with 7 of 10 it claimed %d", n)
	}
}

func TestConcurrentClaimsKeepToCapacity(t *testing.T) {
	t.Parallel()
	t.Run("SQL", concurrentClaimsKeepToCapacitySQL)
	t.Run("REST", concurrentClaimsKeepToCapacityREST)
}

func concurrentClaimsKeepToCapacitySQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 3000)
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"capacity\": 7}')")
	var all sync.WaitGroup
	var mu sync.Mutex
	got, most := 0, 0
	for range 6 {
		all.Go(func() {
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
				err := pgx.BeginFunc(context.Background(), d, func(tx pgx.Tx) error {
					_, err := tryClaimAs(tx, "w", 3)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				if err := d.QueryRow(context.Background(), "select count(*) from weir.job_lease").Scan(&n); err != nil {
					t.Error(err)
				}
				done := weirtest.TryExec(d, "select weir.complete_many(array_agg(job_id), array_agg(token)) from (select job_id, token from weir.job_lease order by random() limit 1) l having count(*) > 0")
				if done != nil {
					t.Error(done)
				}
				mu.Lock()
				got, most = got+1, max(most, n)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if most == 0 || most > 7 {
		t.Errorf("in %d rounds it had up to %d jobs, and may have 7", got, most)
	}
	// How close to 7 it came depends on who was faster, the claims or the completions. Alone, it gets the rest.
	claimAs(t, d, "w", 10)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_lease"); n != 7 {
		t.Errorf("in the end it had %d jobs, and may have 7", n)
	}
}

func concurrentClaimsKeepToCapacityREST(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	nodes := []*weirtest.Node{weirtest.StartNodeOn(t, database), weirtest.StartNodeOn(t, database)}
	nodes[0].Register("w", 5)
	const jobs = 300
	nodes[0].Fill(jobs)
	var all sync.WaitGroup
	var mu sync.Mutex
	having, most, done := 0, 0, 0
	for i := range 6 {
		s := nodes[i%2]
		all.Go(func() {
			for {
				mu.Lock()
				over := done == jobs
				mu.Unlock()
				if over {
					return
				}
				r, err := s.Send(t.Context(), http.MethodPost, "/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "limit": 4, "wait_seconds": 0.2})
				var got weirtest.ClaimedJobs
				if err == nil {
					err = json.Unmarshal(r.Body, &got)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				having += len(got.Jobs)
				most = max(most, having)
				mu.Unlock()
				for _, j := range got.Jobs {
					// Counted down before the answer, so this never counts too many.
					mu.Lock()
					having--
					mu.Unlock()
					if r, err = s.Send(t.Context(), http.MethodPost, "/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}); err != nil || r.Status != http.StatusOK {
						t.Errorf("%v %v", r, err)
						return
					}
					mu.Lock()
					done++
					mu.Unlock()
				}
			}
		})
	}
	watched := make(chan struct{})
	go func() { all.Wait(); close(watched) }()
	peak := 0
	for over := false; !over; {
		select {
		case <-watched:
			over = true
		case <-time.After(2 * time.Millisecond):
		}
		peak = max(peak, nodes[0].Count("select count(*) from weir.job_lease"))
	}
	if peak > 5 || peak < 3 || most > 5 {
		t.Errorf("it had up to %d jobs in the database and %d in hand, and may have 5", peak, most)
	}
}

func TestCappedWorkerClaimsInReadCommitted(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 3)
	weirtest.Exec(t, d, "select weir.register_worker('w')")
	tx := d.Tx()
	weirtest.Exec(t, tx, "set transaction isolation level repeatable read")
	weirtest.WantSQLState(t, weirtest.TryExec(tx, "select weir.claim(array['q'], 'w')"), "WR010")
	weirtest.Rollback(t, tx)
	tx = d.Tx()
	weirtest.Exec(t, tx, "set transaction isolation level repeatable read")
	if n := claimAs(t, tx, "free", 1); n != 1 {
		t.Errorf("one without a capacity claimed %d", n)
	}
	weirtest.Commit(t, tx)
}

// The cost of checking a worker in a claim must not grow with past leases.
func TestCountReadsNoPastLeases(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"capacity\": 500}')")
	pin := d.Tx() // keeps dead rows from being removed
	weirtest.Exec(t, pin, "set transaction isolation level repeatable read")
	weirtest.Exec(t, pin, "select count(*) from weir.job")
	weirtest.Exec(t, d, "select weir.touch_workers(array['w'])")
	weirtest.Exec(t, d, "update weir.worker_seen set last_seen_at = now() + interval '1 hour'") // the place to start is not looked up, however long this takes
	for range 6 {
		fillQueue(t, d, 500)
		if n := claimAs(t, d, "w", 500); n != 500 {
			t.Fatalf("claimed %d", n)
		}
		weirtest.Exec(t, d, "select count(*) from (select weir.complete_many(array_agg(job_id), array_agg(token)) from weir.job_lease) x")
		weirtest.Tick(t, d)
	}
	read := func() int {
		text := strings.Join(weirtest.Values[string](t, d, "explain (analyze, buffers, costs off, timing off, summary off) select weir.count_leases(array['w'], array[(select capped_at from weir.worker)])"), " ")
		var hits int
		if _, after, ok := strings.Cut(text, "shared hit="); ok {
			if _, err := fmt.Sscan(after, &hits); err != nil {
				t.Fatal(err)
			}
		}
		return hits
	}
	read()
	before := read()
	weirtest.Exec(t, d, "update weir.worker_seen set last_seen_at = now() - interval '1 hour'")
	weirtest.Exec(t, d, "select weir.touch_workers(array['w'])")
	read()
	if after := read(); after*5 > before {
		t.Errorf("counting nothing reads %d pages where it has just been looked up where to start, and %d before", after, before)
	}
}
