package frontier

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// pass moves a queue's frontier on: jobs are enqueued, claimed and completed, and the watermark ticks.
func pass(t *testing.T, d *weirtest.Database, queues ...string) {
	t.Helper()
	for range 3 {
		for _, q := range queues {
			weirtest.Exec(t, d, "select weir.enqueue('passing', queue => $1, priority => p) from generate_series(1, 10) p", q)
			weirtest.Complete(t, d, weirtest.Claim(t, d, q, 10)...)
		}
		weirtest.Tick(t, d)
	}
}

// wantFound checks that the claims after the next tick get these jobs and no others.
func wantFound(t *testing.T, d *weirtest.Database, queues string, ids ...int64) {
	t.Helper()
	weirtest.Tick(t, d)
	var got []int64
	for {
		jobs := weirtest.Claim(t, d, queues, 100)
		if len(jobs) == 0 {
			break
		}
		got = append(got, weirtest.IDs(jobs)...)
		weirtest.Complete(t, d, jobs...)
	}
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("the claims got %v, want %v; the frontiers are %s of %s", got, ids,
			weirtest.Value[string](t, d, "select coalesce(string_agg(to_jsonb(f)::text, ' '), 'none') from weir.frontier f"), weirtest.Value[string](t, d, "select to_jsonb(w)::text from weir.watermark w"))
	}
}

func TestLateCommitterIsFound(t *testing.T) {
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
			d := weirtest.New(t)
			weirtest.Exec(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
			weirtest.Exec(t, d, "select weir.enqueue('held back', queue => 'q', max_attempts => 9)")
			weirtest.Exec(t, d, "select weir.claim(array['q'], 'held back')")
			pass(t, d, "q", "other")

			tx := d.Tx()
			for statement := range strings.SplitSeq(sql, "; ") {
				weirtest.Exec(t, tx, statement)
			}
			pass(t, d, "q")
			second := d.Tx() // begins later, commits earlier
			found := weirtest.EnqueueOne(t, second, "q")
			pass(t, d, "q", "other")
			weirtest.Commit(t, second)
			wantFound(t, d, "q,other,new", found)
			pass(t, d, "q", "other")
			weirtest.Commit(t, tx)
			wantFound(t, d, "q,other,new", weirtest.Values[int64](t, d, "select coalesce(job_id, seq) from weir.job_ready")...)
			if n := weirtest.Value[int](t, d, "select count(*) from weir.job_outcome o join weir.job j on j.id = o.job_id where j.kind <> 'passing'"); n < 2 {
				t.Errorf("only %d jobs came through; the case tests nothing", n)
			}
		})
	}
}

// A transaction that waits for a key has drawn its number already.
func TestJobThatWaitedForItsKeyIsFound(t *testing.T) {
	t.Parallel()
	for _, key := range []string{`"unique": {"key": "k"}`, `"idempotency_key": "k"`} {
		d := weirtest.New(t)
		weirtest.Exec(t, d, "select weir.set_queue('q'), weir.set_queue('other')")
		job := `[{"kind": "a", "queue": "q", ` + key + `}]`
		first := d.Tx()
		weirtest.Exec(t, first, "select weir.enqueue_many($1)", job)
		tx := d.Tx()
		second := make(chan int64)
		go func() { second <- weirtest.Value[int64](t, tx, "select weir.enqueue_many($1)", job) }()
		weirtest.Eventually(t, "the second waits for the key", func() bool {
			return weirtest.Value[int](t, d, "select count(*) from pg_locks where not granted and locktype = 'transactionid' and pid in (select pid from pg_stat_activity where datname = current_database())") == 1
		})
		pass(t, d, "q", "other")
		weirtest.Rollback(t, first)
		id := <-second
		pass(t, d, "q", "other")
		weirtest.Commit(t, tx)
		wantFound(t, d, "q,other", id)
	}
}

// A tick reads the sequence and the transactions that write, and then what waits. A transaction that begins in between is
// unknown to it, and another, which drew later, may have committed by then: the frontier stays before both.
func TestTransactionThatBeginsDuringTickIsFound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	weirtest.Exec(t, d, `create or replace function weir.queues_to_look_at(last weir.watermark, now_seq bigint, low bigint) returns int[] language plpgsql as $$
		begin
			perform pg_advisory_xact_lock_shared(1);
			return null;
		end $$`)
	pass(t, d, "q")
	gate, ticker, late := d.Tx(), d.Tx(), d.Tx()
	weirtest.Exec(t, gate, "select pg_advisory_xact_lock(1)")
	ticked := make(chan error, 1)
	go func() { ticked <- weirtest.TryExec(ticker, "select weir.advance_frontier('0 s')") }()
	weirtest.Eventually(t, "the tick waits", func() bool {
		return weirtest.Value[bool](t, d, "select exists (select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database()))")
	})
	first := weirtest.Value[int64](t, late, "select weir.enqueue('late', queue => 'q')")
	second := weirtest.EnqueueOne(t, d, "q")
	weirtest.Rollback(t, gate)
	if err := <-ticked; err != nil {
		t.Fatal(err)
	}
	weirtest.Commit(t, ticker)
	weirtest.Commit(t, late)
	wantFound(t, d, "q", first, second)
}

func TestRolledBackClaimIsFoundBehindFrontier(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	ids := []int64{weirtest.EnqueueOne(t, d, "q"), weirtest.EnqueueOne(t, d, "q")}
	tx := d.Tx()
	weirtest.Claim(t, tx, "q", 2)
	pass(t, d, "q", "other")
	weirtest.Rollback(t, tx)
	wantFound(t, d, "q,other", ids...)
}

// A claimer may skip the places up to which it has claimed, as long as the tick stays the same.
func TestHintIsIgnoredAfterNextTick(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	tx := d.Tx()
	id := weirtest.EnqueueOne(t, tx, "q")
	for range 200 {
		weirtest.EnqueueOne(t, d, "q")
	}
	last, at := int64(0), int64(-1)
	for range 200 {
		rows, err := d.Query(t.Context(), "select job_id, token, tick from weir.claim_batch(array['q'], array['w'], array[1], array[30], $1, array_fill($2::bigint, array[10]))", at, last)
		if err != nil {
			t.Fatal(err)
		}
		var j weirtest.Lease
		if _, err = pgx.ForEachRow(rows, []any{&j.ID, &j.Token, &at}, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if j.ID <= last {
			t.Fatalf("claimed %d after %d", j.ID, last)
		}
		last = j.ID
		weirtest.Complete(t, d, j)
	}
	weirtest.Commit(t, tx)
	weirtest.Tick(t, d)
	got := weirtest.Values[int64](t, d, "select job_id from weir.claim_batch(array['q'], array['w'], array[9], array[30], $1, array_fill($2::bigint, array[10]))", at, last)
	if !slices.Equal(got, []int64{id}) {
		t.Errorf("the claim with a hint of an earlier tick got %v, want %d", got, id)
	}
}

// The place noted for a writing transaction must stay its own, whatever other transactions begin and end.
func TestLateTransactionKeepsPlaceThroughManyTicks(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	ticker := d.Connect()
	late := d.Tx()
	weirtest.EnqueueOne(t, late, "q")
	name := weirtest.Value[string](t, late, "select pg_backend_pid() || ':' || virtualtransaction from pg_locks where pid = pg_backend_pid() and locktype = 'virtualxid'")
	var others []pgx.Tx
	for tick := range 40 { // the plans change with the number of writers, and after the first few ticks
		for range []int{4, 1}[tick%2] {
			tx := d.Tx()
			weirtest.EnqueueOne(t, tx, "q")
			others = append(others, tx)
		}
		weirtest.Exec(t, ticker, "select weir.advance_frontier('0 s')")
		seq := weirtest.Value[int64](t, d, "select h.seq from weir.watermark w, unnest(w.holders, w.holder_seqs) h(name, seq) where h.name = $1", name)
		if seq != 0 {
			t.Fatalf("after tick %d the transaction that drew 1 is said to have drawn only above %d", tick, seq)
		}
		for _, tx := range others {
			weirtest.Commit(t, tx)
		}
		others = nil
	}
}

// While few jobs come and go, a node seldom advances the watermark; a late committer is found nevertheless, with no job
// after it to cause a look.
func TestQuietNodeFindsLateCommitter(t *testing.T) {
	weirtest.Long(t, "it has five rounds of two seconds")
	t.Parallel()
	s := weirtest.StartNode(t)
	d := s.DB
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	for range 5 {
		tx, err := s.DB.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		late := weirtest.EnqueueOne(t, tx, "q")
		for range 15 { // so that the frontier moves on and leaves the late one behind
			weirtest.EnqueueOne(t, d, "q")
			weirtest.Complete(t, d, weirtest.Claim(t, d, "q", 10)...)
			time.Sleep(100 * time.Millisecond)
		}
		weirtest.Commit(t, tx)
		weirtest.Eventually(t, "the late job is claimed", func() bool {
			jobs := weirtest.Claim(t, d, "q", 1)
			weirtest.Complete(t, d, jobs...)
			return len(jobs) == 1 && jobs[0].ID == late
		})
	}
}
