package tests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// claimAs claims for a worker and returns how many jobs it got.
func claimAs(t testing.TB, q weirtest.Querier, worker string, n int) int {
	t.Helper()
	return weirtest.Value[int](t, q, "select count(*)::int from weir.claim(array['q'], $1, $2)", worker, n)
}

func fillQueue(t testing.TB, q weirtest.Querier, n int) {
	t.Helper()
	weirtest.Exec(t, q, "select weir.enqueue('a', queue => 'q') from generate_series(1, $1)", n)
}

func refusalOf(t testing.TB, q weirtest.Querier, worker string) string {
	t.Helper()
	return weirtest.Value[string](t, q, "select coalesce(weir.claim_refusal($1), 'none')", worker)
}

func stateOfWorker(t testing.TB, q weirtest.Querier, worker string) string {
	t.Helper()
	return weirtest.Value[string](t, q, "select coalesce((select state || ' ' || running from weir.workers where name = $1), 'unknown')", worker)
}

func TestAClaimMakesAWorkerKnownAndLimitsNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 20)
	if n := claimAs(t, d, "w", 15); n != 15 {
		t.Errorf("claimed %d", n)
	}
	if got := stateOfWorker(t, d, "w"); got != "active 15" {
		t.Errorf("it is %s", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.worker"); n != 0 {
		t.Errorf("%d workers registered", n)
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.job_lease where counted is not null"); n != 0 {
		t.Errorf("%d leases are counted", n)
	}
}

func TestAWorkerGetsNoMoreThanItsCapacity(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 200)
	claimAs(t, d, "w", 4) // before it has a capacity: they count too
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
	// Others are not concerned, in the same statement either; nor does one worker get more by asking in two slots.
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

// Where counting starts is moved on as jobs end, and must never move past a lease that is there.
func TestCountingStartsBeforeEveryLeaseThatCounts(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 200)
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"capacity\": 10}')")
	sign := func() {
		weirtest.Exec(t, d, "update weir.worker_sign set last_seen_at = now() - interval '1 hour'")
		weirtest.Tick(t, d)
		weirtest.Exec(t, d, "select weir.see_workers(array['w'])")
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
	if late := weirtest.Value[bool](t, d, "select counted_from > now() - interval '1 minute' from weir.worker_sign"); !late {
		t.Error("counting starts where it did")
	}
	// A claim of a transaction that is still open is before that place by the time it commits, and counts then.
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
	// Nor is it wrong when the capacity is taken away and given again.
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

func TestManyClaimsAtOnceDoNotExceedACapacity(t *testing.T) {
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
	// How near to 7 it came depends on who was quicker, those that claim or those that complete. Alone, it gets what is left.
	claimAs(t, d, "w", 10)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_lease"); n != 7 {
		t.Errorf("in the end it had %d jobs, and may have 7", n)
	}
}

func tryClaimAs(q weirtest.Querier, worker string, n int) ([]int64, error) {
	rows, err := q.Query(context.Background(), "select job_id from weir.claim(array['q'], $1, $2)", worker, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

func TestAPausedOrDrainingWorkerGetsNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 50)
	claimAs(t, d, "w", 2)
	for _, c := range []struct{ call, state, refusal string }{
		{"pause_worker", "paused 2", "paused"},
		{"pause_worker", "paused 2", "paused"},
		{"drain_worker", "draining 2", "draining"},
		{"resume_worker", "active 2", "none"},
		{"drain_worker", "draining 2", "draining"},
		{"pause_worker", "draining 2", "draining"},
		{"resume_worker", "active 2", "none"},
		{"resume_worker", "active 2", "none"},
	} {
		weirtest.Exec(t, d, "select weir."+c.call+"('w')")
		if state, why := stateOfWorker(t, d, "w"), refusalOf(t, d, "w"); state != c.state || why != c.refusal {
			t.Errorf("after %s it is %s and refused as %s, want %s and %s", c.call, state, why, c.state, c.refusal)
		}
		if beat := weirtest.Value[string](t, d, "select state from weir.worker_heartbeat('w')"); beat+" 2" != c.state {
			t.Errorf("after %s the worker learns %s", c.call, beat)
		}
		if c.refusal != "none" {
			if n := claimAs(t, d, "w", 5); n != 0 {
				t.Errorf("after %s it claimed %d", c.call, n)
			}
		}
		got, err := tryClaimAs(d, "other", 1)
		if err != nil || len(got) != 1 {
			t.Errorf("after %s another one claimed %v, %v", c.call, got, err)
		}
	}
	if n := claimAs(t, d, "w", 5); n != 5 {
		t.Errorf("in the end it claimed %d", n)
	}
	// A drained worker is done when it has nothing more.
	weirtest.Exec(t, d, "select weir.drain_worker('w')")
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease where worker = 'w'")
	if got := stateOfWorker(t, d, "w"); got != "draining 0" {
		t.Errorf("it is %s", got)
	}
	// To register again changes neither.
	weirtest.Exec(t, d, "select weir.register_worker('w')")
	if got := stateOfWorker(t, d, "w"); got != "draining 0" {
		t.Errorf("registered again it is %s", got)
	}
}

func TestARemovedWorkersJobsGoBackAtOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 10)
	jobs := weirtest.Claim(t, d, "q", 5)
	mine := weirtest.Values[int64](t, d, "select job_id from weir.claim(array['q'], 'other', 2)")
	weirtest.Complete(t, d, jobs[0])
	weirtest.Exec(t, d, "select weir.cancel($1)", jobs[1].ID)
	tx := d.Tx() // it is just completing one
	jobs[4].Call(t, tx, "complete($1, $2)")
	if n := weirtest.Value[int](t, d.ConnectWithLockTimeout(), "select weir.remove_worker('worker')"); n != 3 {
		t.Errorf("%d jobs went back, want 3", n)
	}
	weirtest.Commit(t, tx)
	weirtest.WantState(t, d, jobs[1].ID, "cancelled")
	weirtest.WantState(t, d, jobs[4].ID, "completed")
	for _, j := range jobs[2:4] {
		weirtest.WantState(t, d, j.ID, "available")
		if n := weirtest.Value[int](t, d, "select attempt from weir.jobs where id = $1", j.ID); n != 0 {
			t.Errorf("job %d lost %d attempts", j.ID, n)
		}
		if why := weirtest.Value[string](t, d, "select kind || ' ' || (detail ->> 'reason') || ' ' || worker from weir.job_event where job_id = $1", j.ID); why != "released worker_removed worker" {
			t.Errorf("the event of job %d says %q", j.ID, why)
		}
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", j.ID, j.Token), "WR001")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.snooze($1, $2, '1 s')", j.ID, j.Token), "WR001")
	}
	for _, id := range mine {
		weirtest.WantState(t, d, id, "running")
	}
	if got := stateOfWorker(t, d, "worker"); got != "unknown" {
		t.Errorf("it is still %s", got)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.remove_worker('worker')"), "WR015")
	if again := weirtest.Claim(t, d, "q", 1); len(again) != 1 || stateOfWorker(t, d, "worker") != "active 1" {
		t.Error("it did not come back by its next claim")
	}
}

func TestAWorkerIsLostAfterThirtySecondsOfSilence(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 3)
	silence := func(seconds int) {
		weirtest.Exec(t, d, "update weir.worker_sign set last_seen_at = clock_timestamp() - make_interval(secs => $1)", seconds)
		weirtest.Exec(t, d, "update weir.job_lease set leased_at = clock_timestamp() - make_interval(secs => $1), expires_at = clock_timestamp() - make_interval(secs => $1 - lease_seconds)", seconds)
	}
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.register_worker('worker')")
	weirtest.Eventually(t, "it is looked at within a second after 28", func() bool {
		began := time.Now()
		silence(28)
		got := stateOfWorker(t, d, "worker")
		if time.Since(began) > time.Second {
			return false
		}
		if got != "active 1" {
			t.Errorf("after 28 s it is %s", got)
		}
		return true
	})
	for what, sign := range map[string]func(){
		"a claim":             func() { claimAs(t, d, "worker", 1) },
		"its heartbeat":       func() { weirtest.Exec(t, d, "select weir.worker_heartbeat('worker', 0.5)") },
		"a job's heartbeat":   func() { j.Call(t, d, "heartbeat(array[$1::bigint], array[$2::bigint])") },
		"its registering":     func() { weirtest.Exec(t, d, "select weir.register_worker('worker')") },
		"a sign through REST": func() { weirtest.Exec(t, d, "select weir.see_workers(array['worker'], array[3])") },
	} {
		silence(31)
		if got := stateOfWorker(t, d, "worker"); !strings.HasPrefix(got, "lost") {
			t.Errorf("after 31 s it is %s", got)
		}
		if sign(); !strings.HasPrefix(stateOfWorker(t, d, "worker"), "active") {
			t.Errorf("%s is no sign of life", what)
		}
	}
	weirtest.Exec(t, d, "select weir.pause_worker('worker')")
	silence(31)
	if got := stateOfWorker(t, d, "worker"); !strings.HasPrefix(got, "lost") {
		t.Errorf("a paused one that is silent is %s", got)
	}
	if load := weirtest.Value[float64](t, d, "select load from weir.workers"); load != 0.5 {
		t.Errorf("its load is %g", load)
	}
	// In the end it is forgotten, but not what people decided, nor one that has jobs.
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	weirtest.Exec(t, d, "select weir.see_workers(array['idle', 'old'])")
	weirtest.Exec(t, d, "update weir.worker_sign set last_seen_at = now() - interval '8 days' where name <> 'idle'")
	if n := weirtest.Value[int](t, d, "select weir.sweep_workers()"); n != 1 {
		t.Errorf("%d were forgotten", n)
	}
	if left := weirtest.Values[string](t, d, "select name from weir.workers order by name"); !slices.Equal(left, []string{"idle", "worker"}) {
		t.Errorf("left are %q", left)
	}
}

// A claim in an application's long transaction keeps nobody waiting: not others of its name, not people.
func TestAClaimInALongTransactionIsInNobodysWay(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 30)
	tx, other := d.Tx(), d.ConnectWithLockTimeout()
	claimAs(t, tx, "new", 1) // inserts its sign of life
	for _, sql := range []string{
		"select * from weir.claim(array['q'], 'new', 1)", "select weir.see_workers(array['new', 'x'])", "select weir.register_worker('new', '{\"capacity\": 9}')",
		"select weir.worker_heartbeat('new', 1)", "select weir.pause_worker('new')", "select weir.drain_worker('new')", "select weir.resume_worker('new')",
	} {
		if err := weirtest.TryExec(other, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	weirtest.Commit(t, tx)
	weirtest.Exec(t, d, "update weir.worker_sign set last_seen_at = now() - interval '1 minute'")
	tx = d.Tx()
	claimAs(t, tx, "new", 1) // updates it
	for _, sql := range []string{
		"select * from weir.claim(array['q'], 'new', 1)", "select weir.see_workers(array['new', 'x'])", "select weir.register_worker('new')", "select weir.edit_worker('new', '{\"capacity\": 5}')",
		"select weir.worker_heartbeat('new', 1)", "select weir.pause_worker('new')", "select weir.resume_worker('new')", "select weir.drain_worker('new')", "select weir.sweep_workers()", "select weir.remove_worker('new')",
	} {
		if err := weirtest.TryExec(other, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestWhatAWorkerDidIsCountedFromWhatEnded(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 8)
	jobs := weirtest.Claim(t, d, "q", 6)
	weirtest.Exec(t, d, "select weir.claim(array['q'], 'other', 1)")
	weirtest.Exec(t, d, "update weir.job_lease set leased_at = leased_at - interval '1000 s'") // so long that the seconds that this test takes do not count
	weirtest.Complete(t, d, jobs[0], jobs[1])
	jobs[2].Call(t, d, "fail($1, $2, '{\"message\": \"no\"}')")
	jobs[3].Call(t, d, "fail($1, $2, '{\"message\": \"never\"}', retry => false)")
	jobs[4].Call(t, d, "release($1, $2)")
	if got := weirtest.Value[string](t, d, "select format('%s %s %s', completed, failed, round(extract(epoch from busy) / 100)) from weir.worker_stats() where worker = 'worker'"); got != "2 2 60" {
		t.Errorf("it did %s; want 2 completed, 2 failed, 60 times 100 s", got)
	}
	if got := weirtest.Value[string](t, d, "select format('%s %s %s', completed, failed, round(extract(epoch from busy) / 100)) from weir.worker_stats('500 s', 'worker')"); got != "2 2 30" {
		t.Errorf("in the last 500 s it did %s; want 2 completed, 2 failed, 30 times 100 s", got)
	}
	if names := weirtest.Values[string](t, d, "select worker from weir.worker_stats() order by 1"); !slices.Equal(names, []string{"other", "worker"}) {
		t.Errorf("figures are of %q", names)
	}
	want := []string{"released", "failed never", "failed no", "completed", "completed"}
	history := "select outcome || coalesce(' ' || error, '') from weir.worker_history('worker', now() - interval '1 h'"
	if got := weirtest.Values[string](t, d, history+")"); !slices.Equal(got, want) {
		t.Errorf("its history is %q, want %q", got, want)
	}
	var paged []string
	rows := "select ended_at, job_id, outcome || coalesce(' ' || error, '') from weir.worker_history('worker', now() - interval '1 h', $1, $2, 2)"
	type row struct {
		At  time.Time
		Job int64
		Was string
	}
	before, job := time.Now().Add(time.Hour), new(int64)
	*job = 1 << 62
	for range 4 {
		r, err := d.Query(t.Context(), rows, before, job)
		if err != nil {
			t.Fatal(err)
		}
		page, err := pgx.CollectRows(r, pgx.RowToStructByPos[row])
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page {
			paged = append(paged, p.Was)
			before, *job = p.At, p.Job
		}
	}
	if !slices.Equal(paged, want) {
		t.Errorf("page by page it is %q, want %q", paged, want)
	}
}

func TestBadWordsAboutAWorkerAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"capacity\": 4, \"hostname\": \"h\", \"queues\": [\"a\"], \"labels\": {\"x\": \"y\"}, \"version\": \"1\"}')")
	d.Unchanged("bad input", func() {
		for settings, field := range map[string]string{
			`{"capacity": 10001}`: "capacity", `{"capacity": -1}`: "capacity", `{"capacity": 1.5}`: "capacity", `{"capacity": "4"}`: "capacity",
			`{"hostname": 1}`: "hostname", `{"version": {}}`: "version", `{"hostname": "` + strings.Repeat("x", 256) + `"}`: "hostname",
			`{"queues": "a"}`: "queues", `{"queues": ["a b"]}`: "queues", `{"queues": [1]}`: "queues",
			`{"labels": []}`: "labels", `{"labels": {"a": 1}}`: "labels", `{"labels": {"a": "` + strings.Repeat("x", 9000) + `"}}`: "labels",
			`{"capactiy": 1}`: "capactiy", `[]`: "settings",
		} {
			for _, call := range []string{"register_worker", "edit_worker"} {
				if e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call+"('w', $1)", settings), "WR010"); e.ColumnName != field {
					t.Errorf("%s of %.60s: the field is %q, want %q", call, settings, e.ColumnName, field)
				}
			}
		}
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.register_worker('')"), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.register_worker(null)"), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.register_worker(repeat('x', 201))"), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.worker_heartbeat('w', -1)"), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.worker_heartbeat('w', 'NaN')"), "WR010")
		for _, call := range []string{"edit_worker($1, '{}')", "worker_heartbeat($1)", "pause_worker($1)", "drain_worker($1)", "resume_worker($1)", "remove_worker($1)"} {
			weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, "nobody"), "WR015")
		}
	})
	told := func() string {
		return weirtest.Value[string](t, d, "select concat_ws(' ', hostname, version, queues, labels, coalesce(capacity, 0)) from weir.workers where name = 'w'")
	}
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"version\": \"2\"}')")
	if got := told(); got != `h 2 {a} {"x": "y"} 4` {
		t.Errorf("changed, it is %s", got)
	}
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"version\": \"3\"}')")
	if got := told(); got != `3 {} {} 10` {
		t.Errorf("registered anew, it is %s", got)
	}
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"capacity\": 0}')")
	if got := told(); got != `3 {} {} 0` {
		t.Errorf("without a limit it is %s", got)
	}
}

func TestACappedWorkerClaimsInReadCommitted(t *testing.T) {
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

// What looking at a worker costs a claim must not grow with what was there before.
func TestCountingReadsNoLeasesOfThePast(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"capacity\": 500}')")
	pin := d.Tx() // keeps dead rows from being removed
	weirtest.Exec(t, pin, "set transaction isolation level repeatable read")
	weirtest.Exec(t, pin, "select count(*) from weir.job")
	weirtest.Exec(t, d, "select weir.see_workers(array['w'])")
	weirtest.Exec(t, d, "update weir.worker_sign set last_seen_at = now() + interval '1 hour'") // however long this takes, where to start is not looked up
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
	weirtest.Exec(t, d, "update weir.worker_sign set last_seen_at = now() - interval '1 hour'")
	weirtest.Exec(t, d, "select weir.see_workers(array['w'])")
	read()
	if after := read(); after*5 > before {
		t.Errorf("counting nothing reads %d pages where it has just been looked up where to start, and %d before", after, before)
	}
}
