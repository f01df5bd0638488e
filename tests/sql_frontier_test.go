package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/embedded"
	"github.com/weirhq/weir/tests/pgtest"
)

// pass lets a queue's frontier move on: jobs come, are claimed and are done, and the watermark ticks.
func pass(t *testing.T, d *database, queues ...string) {
	t.Helper()
	for range 3 {
		for _, q := range queues {
			do(t, d, "select weir.enqueue('passing', queue => $1, priority => p) from generate_series(1, 10) p", q)
			complete(t, d, claim(t, d, q, 10)...)
		}
		tick(t, d)
	}
}

// wantFound checks that the claims after the next tick get these jobs and no others.
func wantFound(t *testing.T, d *database, queues string, ids ...int64) {
	t.Helper()
	tick(t, d)
	var got []int64
	for {
		jobs := claim(t, d, queues, 100)
		if len(jobs) == 0 {
			break
		}
		got = append(got, idsOf(jobs)...)
		complete(t, d, jobs...)
	}
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("the claims got %v, want %v; the frontiers are %s of %s", got, ids,
			ask[string](t, d, "select coalesce(string_agg(to_jsonb(f)::text, ' '), 'none') from weir.frontier f"), ask[string](t, d, "select to_jsonb(w)::text from weir.watermark w"))
	}
}

func TestWhoeverDrawsEarlyAndCommitsLateIsFound(t *testing.T) {
	t.Parallel()
	// Every function that gives a job a place in a queue.
	for name, sql := range map[string]string{
		"enqueue":              "select weir.enqueue('late', queue => 'q')",
		"enqueue with a key":   "select weir.enqueue('late', queue => 'q', unique_key => 'k')",
		"enqueue many":         `select weir.enqueue_many('[{"kind": "a", "queue": "q", "priority": 1}, {"kind": "a", "queue": "q", "priority": 10}, {"kind": "a", "queue": "other"}]')`,
		"enqueue to a new one": "select weir.enqueue('late', queue => 'new')",
		"release":              "select weir.release(job_id, token) from weir.job_lease",
		"snooze":               "select weir.snooze(job_id, token, '0') from weir.job_lease",
		"fail":                 "select weir.fail(job_id, token, null, '0') from weir.job_lease",
		"retry":                "select weir.complete(job_id, token) from weir.job_lease; select weir.retry(job_id) from weir.job_outcome where attempt = 1 and worker = 'held back'",
		"retry of a scheduled": "select weir.snooze(job_id, token, '1 h') from weir.job_lease; select weir.retry(job_id) from weir.job_scheduled",
		"promotion":            "select weir.snooze(job_id, token, '1 us') from weir.job_lease; select weir.promote_due()",
		"expiry":               "update weir.job_lease set expires_at = now() - interval '1 s'; select weir.expire_leases()",
		"edit of the priority": `select weir.release(job_id, token) from weir.job_lease; select weir.edit(coalesce(job_id, seq), '{"priority": 3}') from weir.job_ready`,
		"edit of the time":     `select weir.snooze(job_id, token, '1 h') from weir.job_lease; select weir.edit(job_id, '{"run_at": "2001-01-01T00:00:00Z"}') from weir.job_scheduled`,
		"in a savepoint":       "savepoint s; select weir.enqueue('undone', queue => 'q'); rollback to s; select weir.enqueue('late', queue => 'q')",
		"in a released one":    "savepoint s; select weir.enqueue('late', queue => 'q'); release s",
		"after a claim":        "select * from weir.claim(array['q'], 'w'); select weir.enqueue('late', queue => 'q')",
		"after a claim undone": "savepoint s; select * from weir.claim(array['q'], 'w'); rollback to s; select weir.enqueue('late', queue => 'q')",
		"after a tick":         "select weir.enqueue('late', queue => 'q'); select weir.advance_frontier('0 s'); select weir.enqueue('late', queue => 'other')",
		"after a tick undone":  "select weir.enqueue('late', queue => 'q'); savepoint s; select weir.advance_frontier('0 s'); rollback to s; select weir.enqueue('late', queue => 'other')",
		"between savepoint's":  "savepoint s; select weir.enqueue('undone', queue => 'other'); select pg_sleep(0); rollback to s; select weir.enqueue('late', queue => 'q', priority => 1)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			do(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
			do(t, d, "select weir.enqueue('held back', queue => 'q', max_attempts => 9)")
			do(t, d, "select weir.claim(array['q'], 'held back')")
			pass(t, d, "q", "other")

			tx := d.begin()
			for statement := range strings.SplitSeq(sql, "; ") {
				do(t, tx, statement)
			}
			pass(t, d, "q")
			second := d.begin() // begins later, commits earlier
			found := enqueueOne(t, second, "q")
			pass(t, d, "q", "other")
			commit(t, second)
			wantFound(t, d, "q,other,new", found)
			pass(t, d, "q", "other")
			commit(t, tx)
			wantFound(t, d, "q,other,new", askAll[int64](t, d, "select coalesce(job_id, seq) from weir.job_ready")...)
			if n := ask[int](t, d, "select count(*) from weir.job_outcome o join weir.job j on j.id = o.job_id where j.kind <> 'passing'"); n < 2 {
				t.Errorf("only %d jobs came through; the case tests nothing", n)
			}
		})
	}
}

// Whoever waits for a key has drawn a number already.
func TestAJobThatWaitedForItsKeyIsFound(t *testing.T) {
	t.Parallel()
	for _, key := range []string{`"unique": {"key": "k"}`, `"idempotency_key": "k"`} {
		d := newDatabase(t)
		do(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
		job := `[{"kind": "a", "queue": "q", ` + key + `}]`
		first := d.begin()
		do(t, first, "select weir.enqueue_many($1)", job)
		tx := d.begin()
		second := make(chan int64)
		go func() { second <- ask[int64](t, tx, "select weir.enqueue_many($1)", job) }()
		eventually(t, "the second waits for the key", func() bool {
			return ask[int](t, d, "select count(*) from pg_locks where not granted and locktype = 'transactionid' and pid in (select pid from pg_stat_activity where datname = current_database())") == 1
		})
		pass(t, d, "q", "other")
		rollback(t, first)
		id := <-second
		pass(t, d, "q", "other")
		commit(t, tx)
		wantFound(t, d, "q,other", id)
	}
}

func TestARolledBackClaimIsFoundBehindTheFrontier(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	ids := []int64{enqueueOne(t, d, "q"), enqueueOne(t, d, "q")}
	tx := d.begin()
	claim(t, tx, "q", 2)
	pass(t, d, "q", "other")
	rollback(t, tx)
	wantFound(t, d, "q,other", ids...)
}

func TestATickThatIsRolledBackOrHeldUpHarmsNothing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, "select weir.set_queue('q')")
	for range 3 {
		late, ticker := d.begin(), d.begin()
		ids := []int64{enqueueOne(t, late, "q")}
		tick(t, ticker)
		ids = append(ids, enqueueOne(t, d, "q"))
		before := tick(t, d) // somebody is at it: it changes nothing
		if after := tick(t, d); after != before {
			t.Errorf("two ticks at a time: from %d to %d", before, after)
		}
		commit(t, late)
		tick(t, ticker)
		rollback(t, ticker)
		wantFound(t, d, "q", ids...)

		late, ticker = d.begin(), d.begin()
		ids = []int64{enqueueOne(t, late, "q")}
		tick(t, ticker)
		commit(t, late)
		ids = append(ids, enqueueOne(t, d, "q"))
		commit(t, ticker)
		wantFound(t, d, "q", ids...)
	}
}

func TestATickInARepeatableReadTransactionHarmsNothing(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			do(t, d, "select weir.set_queue('q')")
			pass(t, d, "q")
			tx := d.begin()
			do(t, tx, "set transaction isolation level "+level)
			do(t, tx, "select from weir.queue") // takes the snapshot
			id := enqueueOne(t, d, "q")
			if err := try(tx, "select weir.advance_frontier('0 s')"); err == nil { // it may be refused
				commit(t, tx)
			} else {
				rollback(t, tx)
			}
			wantFound(t, d, "q", id)
		})
	}
}

func TestJobsCanBeWorkedInEveryIsolationLevel(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			conn := d.connect()
			do(t, conn, "set default_transaction_isolation = '"+level+"'")
			for _, sql := range []string{
				"select weir.complete($1, $2)", "select weir.release($1, $2)", "select weir.snooze($1, $2, '1 us')", "select weir.fail($1, $2, null, '0')",
			} {
				id := enqueueOne(t, conn, "q")
				tick(t, d)
				j := claimOne(t, conn, "q")
				if j.ID != id {
					t.Fatalf("claimed %d, want %d", j.ID, id)
				}
				do(t, conn, "select weir.heartbeat(array[$1::bigint], array[$2::bigint])", j.ID, j.Token)
				do(t, conn, sql, j.ID, j.Token)
				do(t, conn, "select weir.promote_due(), weir.expire_leases()")
				if stateOf(t, conn, id) != "completed" {
					complete(t, conn, claimOne(t, conn, "q"))
				}
			}
		})
	}
}

func TestTicksGoOnWhenTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, "select weir.set_queue('q')")
	tx := d.begin()
	id := enqueueOne(t, tx, "q")
	pass(t, d, "q")
	do(t, d, "update weir.watermark set at = at + interval '1 hour', settled_at = settled_at + interval '1 hour'") // as if the clock had been an hour ahead until now
	commit(t, tx)
	wantFound(t, d, "q", id)
}

// A select from the sequence reads its row without the lock that nextval writes it under, and every 33rd time nextval writes a number
// that is 32 too high first. That was seen in 2 of 10,000 looks on a busy machine, which is too seldom for a test, and loses jobs.
func TestTheWatermarkReadsTheSequenceUnderItsLock(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	source := ask[string](t, d, "select prosrc from pg_proc where oid = 'weir.advance_frontier'::regproc")
	if regexp.MustCompile(`(?i)(from|join)\s+weir\.job_id_seq`).MatchString(source) || !strings.Contains(source, "pg_sequence_last_value('weir.job_id_seq')") {
		t.Error("advance_frontier does not read the sequence by pg_sequence_last_value")
	}
	for range 3 {
		do(t, d, "select nextval('weir.job_id_seq') from generate_series(1, 50)")
		tick(t, d)
		if ahead := ask[int64](t, d, "select seq - pg_sequence_last_value('weir.job_id_seq') from weir.watermark"); ahead != 0 {
			t.Errorf("the watermark is %d ahead of the sequence", ahead)
		}
	}
}

// A claimer may pass the places up to which it has claimed, as long as the tick stays the same.
func TestAHintPassesNothingOnceTheTickHasChanged(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, "select weir.set_queue('q')")
	tx := d.begin()
	id := enqueueOne(t, tx, "q")
	for range 200 {
		enqueueOne(t, d, "q")
	}
	last, at := int64(0), int64(-1)
	for range 200 {
		rows, err := d.Query(t.Context(), "select job_id, token, tick from weir.claim_batch(array['q'], array['w'], array[1], array[30], $1, array_fill($2::bigint, array[10]))", at, last)
		if err != nil {
			t.Fatal(err)
		}
		var j held
		if _, err = pgx.ForEachRow(rows, []any{&j.ID, &j.Token, &at}, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if j.ID <= last {
			t.Fatalf("claimed %d after %d", j.ID, last)
		}
		last = j.ID
		complete(t, d, j)
	}
	commit(t, tx)
	tick(t, d)
	got := askAll[int64](t, d, "select job_id from weir.claim_batch(array['q'], array['w'], array[9], array[30], $1, array_fill($2::bigint, array[10]))", at, last)
	if !slices.Equal(got, []int64{id}) {
		t.Errorf("the claim with a hint of an earlier tick got %v, want %d", got, id)
	}
}

// newServer starts a server of the test's own that takes prepared transactions.
func newServer(t *testing.T) (*database, *embedded.Server) {
	t.Helper()
	s := pgtest.NewServer(t)
	conn, err := pgx.Connect(t.Context(), s.URL("weir"))
	if err != nil {
		t.Fatal(err)
	}
	do(t, conn, "alter system set max_prepared_transactions = 60")
	conn.Close(t.Context())
	return reopen(t, s, s.Stop)
}

// reopen ends a server in one way or another and starts it again.
func reopen(t *testing.T, s *embedded.Server, end func() error) (*database, *embedded.Server) {
	t.Helper()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	s = pgtest.Restart(t, s)
	config, err := pgxpool.ParseConfig(s.URL("weir"))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 60
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &database{Pool: pool, t: t, url: s.URL("weir")}, s
}

func TestAPreparedTransactionIsFoundWhenItCommits(t *testing.T) {
	t.Parallel()
	d, s := newServer(t)
	do(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
	prepare := func(name string) int64 {
		tx := d.begin()
		id := enqueueOne(t, tx, "q")
		tick(t, d)
		do(t, tx, "prepare transaction '"+name+"'")
		rollback(t, tx)
		return id
	}
	first, second, third := prepare("first"), prepare("second"), prepare("third")
	pass(t, d, "q", "other")
	do(t, d, "commit prepared 'first'")
	wantFound(t, d, "q,other", first)
	pass(t, d, "q", "other")

	d.Close()
	d, s = reopen(t, s, s.Kill)
	do(t, d, "commit prepared 'second'") // before any tick
	wantFound(t, d, "q,other", second)
	pass(t, d, "q", "other")
	d.Close()
	d, _ = reopen(t, s, s.Stop)
	pass(t, d, "q", "other")
	do(t, d, "commit prepared 'third'")
	wantFound(t, d, "q,other", third)
	d.checkPlaces()
}

// Virtual transaction ids begin anew with the server: another transaction may get the one that a prepared one had.
func TestAPreparedTransactionIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	d, s := newServer(t)
	do(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
	d.Close()
	d, s = reopen(t, s, s.Stop)

	const vxid = "select virtualtransaction from pg_locks where pid = pg_backend_pid() and locktype = 'virtualxid'"
	first := d.connect()
	tx, err := first.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := ask[string](t, tx, vxid)
	id := enqueueOne(t, tx, "q")
	do(t, tx, "prepare transaction 'p'")
	pass(t, d, "q")
	first.Close(t.Context())
	d.Close()
	d, _ = reopen(t, s, s.Kill)

	var other pgx.Tx
	eventually(t, "another transaction has the same name as the prepared one had", func() bool {
		for range 40 { // sessions, each of which has its own part of the numbers
			conn := d.connect()
			for range 20 {
				tx, err := conn.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if ask[string](t, tx, vxid) == name {
					other = tx
					return true
				}
				tx.Rollback(t.Context())
			}
		}
		t.Skipf("no session came by the number %s", name)
		return false
	})
	found := enqueueOne(t, other, "other")
	tick(t, d)
	commit(t, other)
	wantFound(t, d, "q,other", found)
	pass(t, d, "q", "other")
	do(t, d, "commit prepared 'p'")
	wantFound(t, d, "q,other", id)
}

func TestNoCommittedJobIsEverMissed(t *testing.T) {
	t.Parallel()
	d, _ := newServer(t)
	r := &frontierRun{d: d, t: t, committed: map[int64]time.Time{}, undone: map[int64]bool{}, done: map[int64]time.Time{}, passed: time.Now()}
	for _, q := range frontierQueues {
		do(t, d, "select weir.set_queue($1, '{\"max_attempts\": 100}')", q)
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

	pin := d.begin() // holds back the xmin horizon: nothing that dies can be vacuumed
	do(t, pin, "set transaction isolation level repeatable read")
	do(t, pin, "select pg_current_xact_id()")

	start(running, &others, 5, r.work)
	start(running, &others, 1, r.workWithHint)
	start(running, &others, 2, r.tick)
	start(running, &others, 2, r.promote)
	start(running, &others, 1, r.disturb)
	// The end of a transaction makes the frontiers look back to its beginning, and so find what others missed. Therefore many at
	// once are followed by few at a time: what is missed then stays so.
	producing, stop := context.WithTimeout(context.Background(), 4*time.Second)
	defer stop()
	start(producing, &producers, 7, r.produce)
	producers.Wait()
	r.calm.Store(true)
	producing, stop = context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	start(producing, &producers, 2, r.produceCalmly)
	producers.Wait()
	lastCommit := time.Now()
	for !r.allDone() && time.Since(r.lastProgress()) < servicePatience {
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d jobs committed, %d undone; all done %s after the last commit; the longest way from commit to done took %s", len(r.committed), len(r.undone), r.lastProgress().Sub(lastCommit), r.longest())
	end()
	others.Wait()
	rollback(t, pin)

	for id := range r.committed {
		if r.done[id].IsZero() {
			t.Errorf("job %d was missed: %s", id, ask[string](t, d, `select jsonb_build_object('state', j.state, 'created', j.created_at, 'ready', to_jsonb(r), 'frontier', f.positions, 'watermark', to_jsonb(w))::text
				from weir.watermark w, weir.jobs j left join weir.job_ready r on coalesce(r.job_id, r.seq) = j.id left join weir.frontier f on f.queue_id = j.queue_id where j.id = $1`, id))
		}
	}
	for id := range r.done {
		if r.committed[id].IsZero() {
			t.Errorf("job %d was done and never committed", id)
		}
	}
	if n := ask[int](t, d, "select (select count(*) from weir.job_ready) + (select count(*) from weir.job_lease) + (select count(*) from weir.job_scheduled)"); n != 0 && !t.Failed() {
		t.Errorf("%d jobs are left somewhere", n)
	}
	if len(r.committed) < 100 || len(r.undone) < 20 {
		t.Errorf("%d jobs were committed and %d undone: too few to show anything", len(r.committed), len(r.undone))
	}
	d.checkPlaces()
}

var frontierQueues = []string{"f0", "f1", "f2", "f3"}

// frontierRun is what the goroutines of TestNoCommittedJobIsEverMissed have in common.
type frontierRun struct {
	d *database
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

// ended notes what became of the jobs of a producer's transaction.
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

func upTo(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}

// jobs is the text of some jobs for random queues and priorities.
func (r *frontierRun) jobs(rng *rand.Rand, n int, more string) string {
	var list []string
	for range n {
		list = append(list, fmt.Sprintf(`{"kind": "a", "queue": "%s", "priority": %d%s}`, frontierQueues[rng.IntN(4)], 1+rng.IntN(10), more))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// some enqueues a few jobs in one of several ways and returns those that are new.
func (r *frontierRun) some(q asker, rng *rand.Rand) []int64 {
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
	return askAll[int64](r.t, q, "select job_id from weir.enqueue_batch($1) where not duplicate", r.jobs(rng, n, more))
}

// produce enqueues in short and long transactions, of which some roll back and some are prepared first.
func (r *frontierRun) produce(ctx context.Context, rng *rand.Rand) {
	bg := context.Background()
	conn := r.d.connect()
	for ctx.Err() == nil {
		time.Sleep(upTo(rng, 30*time.Millisecond))
		if rng.IntN(3) == 0 {
			r.ended(r.some(conn, rng), true)
			continue
		}
		pause := []time.Duration{2 * time.Millisecond, 30 * time.Millisecond, 800 * time.Millisecond}[rng.IntN(3)]
		tx, err := conn.Begin(bg)
		if err != nil {
			r.t.Error(err)
			return
		}
		var ids []int64
		for range 1 + rng.IntN(4) {
			switch rng.IntN(4) {
			case 0: // undone, and again
				do(r.t, tx, "savepoint s")
				r.ended(r.some(tx, rng), false)
				time.Sleep(upTo(rng, pause))
				do(r.t, tx, "rollback to s")
				time.Sleep(upTo(rng, pause))
			case 1:
				do(r.t, tx, "savepoint s")
				ids = append(ids, r.some(tx, rng)...)
				do(r.t, tx, "release s")
			default:
				ids = append(ids, r.some(tx, rng)...)
			}
			time.Sleep(upTo(rng, pause))
		}
		commits := rng.IntN(4) != 0
		end := map[bool]string{true: "commit", false: "rollback"}[commits]
		if rng.IntN(4) == 0 {
			r.mu.Lock()
			r.prepared++
			name := fmt.Sprintf("p%d", r.prepared)
			r.mu.Unlock()
			do(r.t, tx, "prepare transaction '"+name+"'")
			tx.Rollback(bg)
			time.Sleep(upTo(rng, 3*pause))
			if rng.IntN(2) == 0 {
				do(r.t, conn, end+" prepared '"+name+"'")
			} else {
				do(r.t, r.d, end+" prepared '"+name+"'")
			}
		} else if commits {
			commit(r.t, tx)
		} else {
			rollback(r.t, tx)
		}
		r.ended(ids, commits)
	}
}

// produceCalmly enqueues single jobs in short transactions.
func (r *frontierRun) produceCalmly(ctx context.Context, rng *rand.Rand) {
	conn := r.d.connect()
	for ctx.Err() == nil {
		time.Sleep(upTo(rng, 40*time.Millisecond))
		tx, err := conn.Begin(context.Background())
		if err != nil {
			r.t.Error(err)
			return
		}
		ids := []int64{enqueueOne(r.t, tx, frontierQueues[rng.IntN(4)])}
		if rng.IntN(2) == 0 {
			time.Sleep(upTo(rng, 40*time.Millisecond))
			ids = append(ids, enqueueOne(r.t, tx, frontierQueues[rng.IntN(4)]))
		}
		commit(r.t, tx)
		r.ended(ids, true)
	}
}

// work claims, alone or in transactions that sometimes roll back, and says different things of what it gets.
func (r *frontierRun) work(ctx context.Context, rng *rand.Rand) {
	conn := r.d.connect()
	for ctx.Err() == nil {
		if r.calm.Load() {
			time.Sleep(upTo(rng, 200*time.Millisecond))
			jobs := claim(r.t, conn, strings.Join(frontierQueues, ","), 20)
			complete(r.t, conn, jobs...)
			r.completed(idsOf(jobs))
			continue
		}
		queues := slices.Clone(frontierQueues)
		rng.Shuffle(4, func(i, j int) { queues[i], queues[j] = queues[j], queues[i] })
		var ended []int64
		err := pgx.BeginFunc(context.Background(), conn, func(tx pgx.Tx) error {
			jobs, err := tryClaim(tx, strings.Join(queues[:1+rng.IntN(4)], ","), 1+rng.IntN(30))
			if err != nil {
				return err
			}
			for _, j := range jobs {
				switch rng.IntN(20) {
				case 0:
					j.call(r.t, tx, "release($1, $2)")
				case 1:
					j.call(r.t, tx, "snooze($1, $2, '0')")
				case 2:
					j.call(r.t, tx, "snooze($1, $2, '30 ms')")
				case 3:
					j.call(r.t, tx, "fail($1, $2, null, '0')")
				case 4:
					j.call(r.t, tx, "fail($1, $2, null, '20 ms')")
				default:
					ended = append(ended, j.ID)
					j.call(r.t, tx, "complete($1, $2)")
				}
			}
			if rng.IntN(4) == 0 {
				time.Sleep(upTo(rng, 100*time.Millisecond))
			}
			if rng.IntN(5) == 0 {
				return errUndone
			}
			return nil
		})
		switch {
		case err == nil:
			r.completed(ended)
		case !errors.Is(err, errUndone):
			r.t.Error(err)
			return
		}
		time.Sleep(upTo(rng, 10*time.Millisecond))
	}
}

var errUndone = errors.New("the transaction is rolled back on purpose")

// workWithHint claims as a node of the service does, from where it came to.
func (r *frontierRun) workWithHint(ctx context.Context, rng *rand.Rand) {
	conn := r.d.connect()
	hint, at := make([]int64, 40), int64(-1)
	for ctx.Err() == nil {
		rows, err := conn.Query(context.Background(), "select job_id, token, priority, array_position($1, queue), tick from weir.claim_batch($1, array['a', 'b'], array[5, 10], array[30, 30], $2, $3)", frontierQueues, at, hint)
		if err != nil {
			r.t.Error(err)
			return
		}
		var jobs []held
		var j held
		var queue int
		var tick int64
		_, err = pgx.ForEachRow(rows, []any{&j.ID, &j.Token, &j.Priority, &queue, &tick}, func() error {
			jobs = append(jobs, j)
			if tick != at {
				at = tick
				clear(hint)
			}
			i := (queue-1)*10 + j.Priority - 1
			hint[i] = max(hint[i], j.Token-128)
			return nil
		})
		if err != nil {
			r.t.Error(err)
			return
		}
		if len(jobs) < 15 {
			at = -1
		}
		complete(r.t, conn, jobs...)
		r.completed(idsOf(jobs))
		if r.calm.Load() {
			time.Sleep(upTo(rng, 200*time.Millisecond))
		}
		time.Sleep(upTo(rng, 20*time.Millisecond))
	}
}

// tick ticks, sometimes slowly and sometimes in vain.
func (r *frontierRun) tick(ctx context.Context, rng *rand.Rand) {
	conn := r.d.connect()
	for ctx.Err() == nil {
		time.Sleep(upTo(rng, 15*time.Millisecond))
		if rng.IntN(10) > 0 {
			tick(r.t, conn)
			continue
		}
		tx, err := conn.Begin(context.Background())
		if err != nil {
			r.t.Error(err)
			return
		}
		tick(r.t, tx)
		time.Sleep(upTo(rng, 50*time.Millisecond))
		if rng.IntN(2) == 0 {
			rollback(r.t, tx)
		} else {
			commit(r.t, tx)
		}
	}
}

// promote makes delayed jobs available; each look begins where the last one ended.
func (r *frontierRun) promote(ctx context.Context, rng *rand.Rand) {
	conn := r.d.connect()
	var p promoter
	for ctx.Err() == nil {
		p.look(r.t, conn)
		time.Sleep(upTo(rng, 30*time.Millisecond))
	}
}

// disturb does what else may happen to the tables.
func (r *frontierRun) disturb(ctx context.Context, rng *rand.Rand) {
	conn := r.d.connect()
	do(r.t, conn, "set lock_timeout = '20ms'")
	rolls := 0 // at most as many as there are partitions ahead: an open transaction does not come to know of new ones
	for ctx.Err() == nil && !r.calm.Load() {
		var err error
		switch rng.IntN(6) {
		case 0: // moves all locks from the sessions' own lists to the common one
			_ = try(conn, "lock table weir.job_ready in share mode") // fails outside of a transaction, after the lock
			err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return try(tx, "lock table weir.job_ready in share mode") })
		case 1:
			after := "1 h"
			if rolls < 2 && rng.IntN(4) == 0 {
				rolls++
				after = "0 s"
			}
			err = try(conn, "select weir.keep_partitions($1::interval)", after)
		case 2: // a cancel that is undone
			err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				err := try(tx, "select weir.cancel(id) from weir.jobs where state in ('available', 'scheduled') limit 1")
				time.Sleep(upTo(rng, 30*time.Millisecond))
				return errors.Join(err, errUndone)
			})
		case 3:
			err = try(conn, `select weir.edit(id, jsonb_build_object('priority', 1 + id % 10)) from weir.jobs where state = 'available' limit 1`)
		case 4:
			err = try(conn, "vacuum weir.job_ready")
		case 5:
			err = try(conn, "analyze weir.job_ready")
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, errUndone) && !hasCode(err, "55P03") && !hasCode(err, "WR004") && !hasCode(err, "WR003") && !hasCode(err, "40P01") {
			r.t.Error(err)
		}
		time.Sleep(upTo(rng, 20*time.Millisecond))
	}
}

// What is noted of a transaction that writes must stay its own, whoever comes and goes beside it.
func TestALateTransactionKeepsItsPlaceThroughManyTicks(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, "select weir.set_queue('q')")
	ticker := d.connect()
	late := d.begin()
	enqueueOne(t, late, "q")
	name := ask[string](t, late, "select pg_backend_pid() || ':' || virtualtransaction from pg_locks where pid = pg_backend_pid() and locktype = 'virtualxid'")
	var others []pgx.Tx
	for tick := range 40 { // the plans change with the number of those who write, and after the first few ticks
		for range []int{4, 1}[tick%2] {
			tx := d.begin()
			enqueueOne(t, tx, "q")
			others = append(others, tx)
		}
		do(t, ticker, "select weir.advance_frontier('0 s')")
		seq := ask[int64](t, d, "select h.seq from weir.watermark w, unnest(w.holders, w.holder_seqs) h(name, seq) where h.name = $1", name)
		if seq != 0 {
			t.Fatalf("after tick %d the transaction that drew 1 is said to have drawn only above %d", tick, seq)
		}
		for _, tx := range others {
			commit(t, tx)
		}
		others = nil
	}
}
