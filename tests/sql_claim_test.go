package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestPriorityIsStrictAndWithinItFirstComesFirst(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	type place struct {
		id       int64
		priority int
	}
	var want []place
	for range 10 {
		var jobs []string
		var priorities []int
		for range 30 {
			p := 1 + rand.IntN(10)
			priorities = append(priorities, p)
			jobs = append(jobs, fmt.Sprintf(`{"kind": "a", "queue": "q", "priority": %d}`, p))
		}
		for i, id := range weirtest.Enqueue(t, d, jobs...) {
			want = append(want, place{id, priorities[i]})
		}
	}
	slices.SortStableFunc(want, func(a, b place) int { return b.priority - a.priority })
	var got []place
	for n := 1; len(got) < len(want); n = 1 + (n+3)%17 {
		jobs := weirtest.Claim(t, d, "q", n)
		if len(jobs) == 0 {
			t.Fatalf("nothing left after %d of %d", len(got), len(want))
		}
		for _, j := range jobs {
			got = append(got, place{j.ID, j.Priority})
		}
		if n == 5 {
			weirtest.Tick(t, d)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("claimed in the order\n%v\nwant\n%v", got, want)
	}
}

func TestAHigherPriorityComesFirstHoweverLate(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for p := 1; p <= 10; p++ {
		for range 3 {
			weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q', priority => $1)", p)
		}
		weirtest.Tick(t, d)
		if j := weirtest.ClaimOne(t, d, "q"); j.Priority != p {
			t.Errorf("claimed one of priority %d while %d waits", j.Priority, p)
		}
	}
}

func TestAJobThatComesBackIsTheLastOfItsPriority(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	kind := func(name string, more string) string { return `{"kind": "` + name + `", "queue": "q"` + more + `}` }
	weirtest.Enqueue(t, d, kind("released", ""), kind("failed", ""), kind("lost", ""), kind("edited", `, "delay_seconds": 50`), kind("snoozed", ""))
	for _, j := range weirtest.Claim(t, d, "q", 10) {
		switch j.Kind {
		case "released":
			weirtest.Exec(t, d, "select weir.release($1, $2)", j.ID, j.Token)
		case "failed":
			weirtest.Exec(t, d, "select weir.fail($1, $2, null, retry_in => '0')", j.ID, j.Token)
		case "lost":
			weirtest.Exec(t, d, "update weir.job_lease set expires_at = now() - interval '1 s' where job_id = $1", j.ID)
			weirtest.Exec(t, d, "select weir.expire_leases()")
		case "snoozed":
			weirtest.Exec(t, d, "select weir.snooze($1, $2, '0')", j.ID, j.Token)
		}
		weirtest.Enqueue(t, d, kind("after "+j.Kind, ""))
	}
	weirtest.Enqueue(t, d, kind("low", `, "priority": 1`), kind("high", `, "priority": 9`))
	weirtest.Exec(t, d, "select weir.edit((select id from weir.jobs where kind = 'edited'), '{\"run_at\": \"2001-01-01T00:00:00Z\"}')")
	weirtest.Enqueue(t, d, kind("last", ""))
	var got []string
	for range 12 {
		got = append(got, weirtest.ClaimOne(t, d, "q").Kind)
	}
	want := []string{"high", "released", "after released", "failed", "after failed", "lost", "after lost", "snoozed", "after snoozed", "edited", "last", "low"}
	if !slices.Equal(got, want) {
		t.Errorf("claimed\n%q\nwant\n%q", got, want)
	}
}

func TestQueuesShareAClaim(t *testing.T) {
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

func TestNoQueueStarves(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q' || i % 3, priority => 1 + i % 3 * 4) from generate_series(1, 300) i")
	counts := map[string]int{}
	for range 90 {
		counts[weirtest.ClaimOne(t, d, "q0,q1,q2").Queue]++
	}
	for queue, n := range counts { // 30 each; 4 or fewer comes once in thousands of millions of runs
		if n < 5 {
			t.Errorf("of 90 claims of one job, %s got %d", queue, n)
		}
	}
	if len(counts) != 3 {
		t.Errorf("the claims went to %v", counts)
	}
}

func TestAPausedQueueGivesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 3 {
		weirtest.EnqueueOne(t, d, "q")
		weirtest.EnqueueOne(t, d, "other")
	}
	running := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.pause_queue('q')")
	weirtest.EnqueueOne(t, d, "q") // goes on
	for _, j := range weirtest.Claim(t, d, "q,other", 10) {
		if j.Queue != "other" {
			t.Errorf("claimed job %d of the paused queue", j.ID)
		}
	}
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 0 {
		t.Errorf("claimed %v of the paused queue", got)
	}
	weirtest.Exec(t, d, "select weir.complete($1, $2)", running.ID, running.Token)
	weirtest.Exec(t, d, "select weir.resume_queue('q')")
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 3 {
		t.Errorf("claimed %d after the pause, want 3", len(got))
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.pause_queue('unknown')"), "WR011")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.resume_queue('unknown')"), "WR011")
}

func TestALeaseIsRecorded(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 77, "timeout_seconds": 500}')`)
	for _, c := range []struct {
		lease string
		want  int
	}{{"null", 77}, {"5", 5}, {"3600", 500}} {
		id := weirtest.EnqueueOne(t, d, "q")
		before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
		told := weirtest.Value[time.Time](t, d, "select lease_expires_at from weir.claim(array['q'], 'worker 7', 3, "+c.lease+")")
		after := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', worker, attempt, token = job_id) from weir.job_lease where job_id = $1", id); got != "worker 7 1 t" {
			t.Errorf("lease_seconds %s: worker, attempt and token are %s", c.lease, got)
		}
		kept := weirtest.Value[time.Time](t, d, "select lease_expires_at from weir.jobs where id = $1 and state = 'running' and worker = 'worker 7'", id)
		length := time.Duration(c.want) * time.Second
		if !kept.Equal(told) || kept.Before(before.Add(length)) || kept.After(after.Add(length)) {
			t.Errorf("lease_seconds %s: the worker is told %s, the lease ends at %s, want %s after a time from %s to %s", c.lease, told, kept, length, before, after)
		}
		if n := weirtest.Value[int](t, d, "select count(*) from weir.running where job_id = $1 and worker = 'worker 7' and queue = 'q'", id); n != 1 {
			t.Errorf("lease_seconds %s: weir.running has %d rows of it", c.lease, n)
		}
	}
}

func TestManyClaimersNeverGetTheSameJob(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const jobs = 3000
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q' || i % 2, priority => 1 + i % 10) from generate_series(1, $1) i", jobs)
	var mu sync.Mutex
	by := map[int64]int{}
	var wg sync.WaitGroup
	for claimer := range 8 {
		wg.Go(func() {
			for n := 1; ; n = 1 + (n*7+claimer)%50 {
				got, err := weirtest.TryClaim(d, "q0,q1", n)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, j := range got {
					if other, there := by[j.ID]; there {
						t.Errorf("claimers %d and %d got job %d", other, claimer, j.ID)
					}
					by[j.ID] = claimer
				}
				all := len(by) == jobs
				mu.Unlock()
				if all {
					return
				}
				if len(got) == 0 {
					time.Sleep(time.Millisecond) // what is left, another has locked
				}
			}
		})
	}
	wg.Wait()
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_lease where attempt = 1"); n != jobs {
		t.Errorf("%d leases, want %d", n, jobs)
	}
}

func TestAClaimDoesNotWaitForAnother(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 10 {
		weirtest.EnqueueOne(t, d, "q")
	}
	tx := d.Tx()
	first := weirtest.IDs(weirtest.Claim(t, tx, "q", 4))
	second := weirtest.IDs(weirtest.Claim(t, d.ConnectWithLockTimeout(), "q", 100))
	if len(first) != 4 || len(second) != 6 || second[0] < first[3] {
		t.Errorf("beside %v the claim got %v, want the six after them", first, second)
	}
}

func TestARolledBackClaimGivesTheJobsBack(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	var want []int64
	for range 10 {
		want = append(want, weirtest.EnqueueOne(t, d, "q"))
	}
	weirtest.Tick(t, d)
	d.Unchanged("a claim that rolls back", func() {
		tx := d.Tx()
		weirtest.Claim(t, tx, "q", 7)
		weirtest.Tick(t, d)
		weirtest.Rollback(t, tx)
	})
	tx := d.Tx()
	weirtest.Exec(t, tx, "savepoint s")
	weirtest.Claim(t, tx, "q", 3)
	weirtest.Exec(t, tx, "rollback to s")
	got := weirtest.Claim(t, tx, "q", 3)
	weirtest.Commit(t, tx)
	weirtest.Tick(t, d)
	got = append(got, weirtest.Claim(t, d, "q", 100)...)
	if !slices.Equal(weirtest.IDs(got), want) {
		t.Errorf("claimed %v, want %v", weirtest.IDs(got), want)
	}
	for _, j := range got {
		if j.Attempt != 1 {
			t.Errorf("job %d is at attempt %d, want 1", j.ID, j.Attempt)
		}
	}
}

func TestAttemptsAreCounted(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.Value[int64](t, d, "select weir.enqueue('a', queue => 'q', max_attempts => 50)")
	expire := func() {
		weirtest.Exec(t, d, "update weir.job_lease set expires_at = now() - interval '1 s'")
		if n := weirtest.Value[int](t, d, "select expired from weir.expire_leases()"); n != 1 {
			t.Fatalf("%d leases expired, want 1", n)
		}
	}
	attempt := 1
	for i, c := range []struct {
		calls []string
		costs int
	}{
		{[]string{"release($1, $2)"}, 0},
		{[]string{"fail($1, $2, null, '0')"}, 1},
		{[]string{"snooze($1, $2, '0')"}, 0},
		{[]string{"fail($1, $2, null, '1 hour')", "retry($1)"}, 1},
		{nil, 1}, // the lease runs out
		{[]string{"snooze($1, $2, '1 hour')", "retry($1)"}, 0},
		{[]string{"complete($1, $2)", "retry($1)"}, 1},
		{[]string{"fail($1, $2, null, retry => false)", "retry($1)"}, 1},
		{[]string{"release($1, $2)"}, 0},
		{[]string{"release($1, $2)", `edit($1, '{"priority": 7}')`}, 0},
		{[]string{"release($1, $2)", "cancel($1)", "retry($1)"}, 0},
	} {
		j := weirtest.ClaimOne(t, d, "q")
		if j.ID != id || j.Attempt != attempt {
			t.Errorf("claim %d: job %d at attempt %d, want %d at %d", i, j.ID, j.Attempt, id, attempt)
		}
		if got := weirtest.Value[int](t, d, "select attempt from weir.jobs where id = $1", id); got != attempt {
			t.Errorf("claim %d: weir.jobs says attempt %d, want %d", i, got, attempt)
		}
		for _, call := range c.calls {
			j.Call(t, d, call)
		}
		if c.calls == nil {
			expire()
		}
		attempt += c.costs
	}
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Complete(t, d, j)
	weirtest.Exec(t, d, "select weir.retry($1, reset_attempts => true)", id)
	if j := weirtest.ClaimOne(t, d, "q"); j.Attempt != 1 {
		t.Errorf("after a reset the attempt is %d, want 1", j.Attempt)
	}
}

func TestABadClaimIsRefused(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	for sql, field := range map[string]string{
		"array[]::text[], 'w'":                   "queues",
		"null, 'w'":                              "queues",
		"array_fill('q'::text, array[101]), 'w'": "queues",
		"array['q'], ''":                         "worker",
		"array['q'], null":                       "worker",
		"array['q'], repeat('x', 201)":           "worker",
		"array['q'], 'w', 0":                     "max_jobs",
		"array['q'], 'w', -1":                    "max_jobs",
		"array['q'], 'w', 10001":                 "max_jobs",
		"array['q'], 'w', null":                  "max_jobs",
		"array['q'], 'w', 1, 0":                  "lease_seconds",
		"array['q'], 'w', 1, 3601":               "lease_seconds",
	} {
		d.Unchanged(sql, func() {
			if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select * from weir.claim("+sql+")"), "WR010"); refusal.ColumnName != field {
				t.Errorf("%s: the place is %q, want %q", sql, refusal.ColumnName, field)
			}
		})
	}
	if got := weirtest.Claim(t, d, strings.Repeat("q,", 99)+"q", 10000); len(got) != 1 {
		t.Errorf("the largest claim got %d jobs, want 1", len(got))
	}
}

func TestAClaimBearsAQueueThatAppearsMeanwhile(t *testing.T) {
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

func TestABatchClaimServesEachWorkerItsNumber(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 12)")
	tx := d.Tx()
	weirtest.Exec(t, tx, "create temporary table given on commit drop as select row_number() over () as n, * from weir.claim_batch(array['q'], array['a', 'b', 'c'], array[2, 7, 9], array[10, null, 60])")
	got := weirtest.Values[string](t, tx, `select concat_ws(' ', g.slot, g.job_id - (select min(id) from weir.job), g.token = g.job_id, round(extract(epoch from g.lease_expires_at - l.leased_at)))
		from given g join weir.job_lease l on l.job_id = g.job_id order by g.n`)
	weirtest.Commit(t, tx)
	var want []string
	for i := range 12 {
		slot, lease := 1, 10
		if i >= 2 {
			slot, lease = 2, 30
		}
		if i >= 9 {
			slot, lease = 3, 60
		}
		want = append(want, fmt.Sprintf("%d %d t %d", slot, i, lease))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if workers := weirtest.Value[string](t, d, "select string_agg(worker || n, ' ' order by worker) from (select worker, count(*) as n from weir.job_lease group by 1) x"); workers != "a2 b7 c3" {
		t.Errorf("the workers have %s", workers)
	}
}
