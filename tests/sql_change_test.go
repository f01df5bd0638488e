package tests

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// changes says what a call does to a job in each state: the state that the call answers and the job then is in, or the error.
type changes map[string]string

func (c changes) check(t *testing.T, call string) {
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
	jobs["unknown"] = weirtest.Lease{ID: 1 << 40}
	if got, want := slices.Sorted(maps.Keys(c)), slices.Sorted(maps.Keys(jobs)); !slices.Equal(got, want) {
		t.Fatalf("the table is about %q, want all states: %q", got, want)
	}
	for state, want := range c {
		id := jobs[state].ID
		if strings.HasPrefix(want, "WR") {
			d.Unchanged(call+" of a job that is "+state, func() { weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, id), want) })
			continue
		}
		if got := weirtest.Value[string](t, d, "select weir."+call, id); got != want {
			t.Errorf("%s of a job that is %s answers %q, want %q", call, state, got, want)
		}
		weirtest.WantState(t, d, id, want)
		attempt := 1
		if state == "new" || state == "available" || state == "scheduled" || state == "held" {
			attempt = 0
		} else if strings.Contains(call, "reset") {
			attempt = 0
		}
		if state == "cancelled" { // it was released before
			attempt = 0
		}
		if got := weirtest.Value[int](t, d, "select attempt from weir.jobs where id = $1", id); got != attempt {
			t.Errorf("%s of a job that is %s leaves it at attempt %d, want %d", call, state, got, attempt)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	changes{
		"new": "cancelled", "available": "cancelled", "scheduled": "cancelled", "retryable": "cancelled", "held": "cancelled",
		"running": "running", "completed": "WR003", "cancelled": "WR003", "dead": "WR003", "unknown": "WR002",
	}.check(t, "cancel($1)")
}

func TestRetry(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"retry($1)", "retry($1, reset_attempts => true)"} {
		changes{
			"scheduled": "available", "retryable": "available", "completed": "available", "cancelled": "available", "dead": "available",
			"new": "WR005", "available": "WR005", "held": "WR005", "running": "WR005", "unknown": "WR002",
		}.check(t, call)
	}
}

func TestEdit(t *testing.T) {
	t.Parallel()
	changes{
		"new": "available", "available": "available", "scheduled": "scheduled", "retryable": "retryable", "held": "held",
		"running": "WR004", "completed": "WR004", "cancelled": "WR004", "dead": "WR004", "unknown": "WR002",
	}.check(t, `edit($1, '{"priority": 9, "max_attempts": 50, "timeout_seconds": 77, "tags": ["x"]}')`)
	changes{
		"new": "scheduled", "available": "scheduled", "scheduled": "scheduled", "retryable": "retryable", "held": "held",
		"running": "WR004", "completed": "WR004", "cancelled": "WR004", "dead": "WR004", "unknown": "WR002",
	}.check(t, `edit($1, '{"run_at": "2999-01-01T00:00:00Z"}')`)
	changes{
		"new": "available", "available": "available", "scheduled": "available", "retryable": "available", "held": "held",
		"running": "WR004", "completed": "WR004", "cancelled": "WR004", "dead": "WR004", "unknown": "WR002",
	}.check(t, `edit($1, '{"run_at": "2001-01-01T00:00:00Z"}')`)
}

func TestAnEditChangesWhatItNames(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const facts = "select concat_ws(' ', priority, max_attempts, timeout_seconds, tags, args, metadata, run_at at time zone 'utc') from weir.jobs where id = $1"
	id := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "args": 1, "metadata": {"x": 1}, "tags": ["old"], "run_at": "2999-01-01T00:00:00Z"}`)[0]
	for _, c := range []struct{ change, want string }{
		{`{"priority": 10}`, `10 5 300 {old} 1 {"x": 1} 2999-01-01 00:00:00`},
		{`{"max_attempts": 7.0, "timeout_seconds": 60}`, `10 7 60 {old} 1 {"x": 1} 2999-01-01 00:00:00`},
		{`{"tags": ["new", "ä"]}`, `10 7 60 {new,ä} 1 {"x": 1} 2999-01-01 00:00:00`},
		{`{"run_at": "2998-01-01T00:00:00Z", "tags": []}`, `10 7 60 {} 1 {"x": 1} 2998-01-01 00:00:00`},
		{`{"priority": null, "run_at": null}`, `10 7 60 {} 1 {"x": 1} 2998-01-01 00:00:00`},
	} {
		weirtest.Exec(t, d, "select weir.edit($1, $2)", id, c.change)
		if got := weirtest.Value[string](t, d, facts, id); got != c.want {
			t.Errorf("after %s it is\n%s\nwant\n%s", c.change, got, c.want)
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_event where job_id = $1 and kind = 'edited'", id); n != 5 {
		t.Errorf("%d edits are on record, want 5", n)
	}
	weirtest.Exec(t, d, "select weir.retry($1)", id)
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', priority, max_attempts, timeout_seconds, tags) from weir.claim(array['q'], 'w')"); got != "10 7 60 {}" {
		t.Errorf("the worker gets %s, want 10 7 60 {}", got)
	}
	for change, field := range map[string]string{
		`5`: "changes", `[]`: "changes", `{}`: "changes", `null`: "changes", `{"kind": "b"}`: "kind", `{"args": {}}`: "args", `{"queue": "b"}`: "queue", `{"priority": 0}`: "priority", `{"priority": "x"}`: "priority",
		`{"max_attempts": 101}`: "max_attempts", `{"timeout_seconds": 0}`: "timeout_seconds", `{"run_at": "soon"}`: "run_at", `{"run_at": 5}`: "run_at", `{"tags": 5}`: "tags", `{"tags": [5]}`: "tags",
	} {
		other := weirtest.EnqueueOne(t, d, "other")
		d.Unchanged(change, func() {
			if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.edit($1, $2)", other, change), "WR010"); refusal.ColumnName != field {
				t.Errorf("%s: the place is %q, want %q", change, refusal.ColumnName, field)
			}
		})
	}
}

func TestACancelledJobIsNeverClaimed(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
	for _, state := range []string{"new", "available", "scheduled", "retryable", "held"} {
		weirtest.Exec(t, d, "select weir.cancel($1)", jobs[state].ID)
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, finished_at is not null, started_at is null) from weir.jobs where id = $1", jobs[state].ID); got != "cancelled t t" {
			t.Errorf("the one that was %s is %q", state, got)
		}
	}
	weirtest.Exec(t, d, "select weir.promote_due()")
	if got := weirtest.Claim(t, d, "new,available,scheduled,retryable,held", 100); len(got) != 0 {
		t.Errorf("claimed %v", got)
	}
}

func TestARunningJobIsAskedToStopOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	weirtest.ClaimOne(t, d, "q")
	for range 2 {
		if said := weirtest.Value[string](t, d, "select weir.cancel($1)", id); said != "running" {
			t.Errorf("cancel says %q", said)
		}
	}
	asked := weirtest.Values[time.Time](t, d, "select cancel_requested_at from weir.jobs where id = $1 and state = 'running'", id)
	first := weirtest.Value[time.Time](t, d, "select min(at) from weir.job_event where job_id = $1 and kind = 'cancel_requested'", id)
	if len(asked) != 1 || asked[0].After(first) {
		t.Errorf("it was asked to stop at %v, want the time of the first cancel, before %s", asked, first)
	}
}

func TestARetryTakesTheJobOutOfTheDeadLetters(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	j.Call(t, d, `fail($1, $2, '{"message": "why"}', retry => false)`)
	weirtest.Exec(t, d, "select weir.retry($1)", id)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_dead"); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', kind, detail ->> 'state', detail -> 'error' ->> 'message') from weir.job_event where job_id = $1 order by at desc limit 1", id); got != "retried dead why" {
		t.Errorf("the last event is %q", got)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, error, errors -> 0 ->> 'message') from weir.jobs where id = $1", id); got != "available why" {
		t.Errorf("the job is %q, want available, without an error of its own, and with the one of its first attempt", got)
	}
}

func TestPurgeCancelsWhatIsAvailable(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 25 {
		weirtest.EnqueueOne(t, d, "q")
	}
	weirtest.EnqueueOne(t, d, "other")
	running := weirtest.ClaimOne(t, d, "q")
	later := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "delay_seconds": 100}`)[0]
	locked := d.Tx()
	weirtest.Claim(t, locked, "q", 1)
	for _, want := range []int{10, 10, 3, 0} {
		if got := weirtest.Value[int](t, d, "select weir.purge_queue('q', 10)"); got != want {
			t.Errorf("purged %d, want %d", got, want)
		}
	}
	weirtest.Rollback(t, locked)
	weirtest.WantState(t, d, running.ID, "running")
	weirtest.WantState(t, d, later, "scheduled")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where state = 'cancelled' and queue = 'q'"); n != 23 {
		t.Errorf("%d are cancelled, want 23", n)
	}
	if n := weirtest.Value[int](t, d, "select available from weir.queue_depth where queue = 'other'"); n != 1 {
		t.Errorf("%d are available in the other queue", n)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.purge_queue('unknown')"), "WR011")
}

func TestAQueueIsDeletedOnlyWithoutJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
	for state := range jobs {
		if state == "completed" || state == "cancelled" || state == "dead" {
			weirtest.Exec(t, d, "select weir.delete_queue($1)", state)
			continue
		}
		d.Unchanged("deleting a queue with a job that is "+state, func() { weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.delete_queue($1)", state), "WR012") })
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.delete_queue('completed')"), "WR011")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.pause_queue('completed')"), "WR011")
	weirtest.WantState(t, d, jobs["completed"].ID, "completed")
	if queues := weirtest.Values[string](t, d, "select queue from weir.queue_depth order by 1"); slices.Contains(queues, "dead") || !slices.Contains(queues, "held") {
		t.Errorf("the queues are %q", queues)
	}

	weirtest.Exec(t, d, `select weir.set_queue('brief', '{"priority": 9, "max_depth": 5, "retention_seconds": 60}')`)
	weirtest.Exec(t, d, "select weir.pause_queue('brief')")
	weirtest.Exec(t, d, "select weir.delete_queue('brief')")
	if j := weirtest.Claim(t, d, "brief", 1); len(j) != 0 {
		t.Errorf("claimed %v", j)
	}
	id := weirtest.EnqueueOne(t, d, "brief") // brings it back, with the settings of a new one
	if j := weirtest.ClaimOne(t, d, "brief"); j.ID != id || j.Priority != 5 {
		t.Errorf("claimed %+v, want job %d of priority 5", j, id)
	}
}

func TestACancelAndAClaimNeverBothGetAJob(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const jobs = 200
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, $1)", jobs)
	ids := weirtest.Values[int64](t, d, "select id from weir.jobs order by id")
	weirtest.Exec(t, d, "select weir.release(job_id, token) from weir.claim(array['q'], 'w', 100)") // half of them have come back

	var mu sync.Mutex
	claimed, answers := map[int64]bool{}, map[int64]string{}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				got := weirtest.Claim(t, d, "q", 2)
				mu.Lock()
				for _, j := range got {
					claimed[j.ID] = true
				}
				all := len(answers) == jobs
				mu.Unlock()
				if len(got) == 0 && all {
					return
				}
			}
		})
	}
	order := rand.Perm(jobs)
	for i := range 2 {
		wg.Go(func() {
			for n := i; n < jobs; n += 2 {
				id := ids[order[n]]
				said := weirtest.Value[string](t, d, "select weir.cancel($1)", id)
				mu.Lock()
				answers[id] = said
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	counts := map[string]int{}
	for _, id := range ids {
		counts[answers[id]]++
		if want := map[bool]string{true: "running", false: "cancelled"}[claimed[id]]; answers[id] != want {
			t.Errorf("job %d was claimed: %t, and its cancel said %q", id, claimed[id], answers[id])
		}
		if want := map[bool]string{true: "running", false: "cancelled"}[claimed[id]]; weirtest.State(t, d, id) != want {
			t.Errorf("job %d is %s, want %s", id, weirtest.State(t, d, id), want)
		}
	}
	t.Logf("%v", counts)
}

// Everything at once to a few jobs. No call may fail but with what the contract names, and no job may get lost or doubled.
func TestAStormOfChangesLeavesEachJobInOnePlace(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 1, "max_attempts": 3, "retry": {"base_seconds": 0.05}}')`)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q', unique_key => 'k' || i) from generate_series(1, 30) i")
	ids := weirtest.Values[int64](t, d, "select id from weir.jobs order by id")
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	var wg sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for i := range 8 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			conn := d.Connect()
			var mine []weirtest.Lease
			for time.Now().Before(end) {
				id := ids[rng.IntN(len(ids))]
				token := int64(0)
				if len(mine) > 0 && rng.IntN(2) == 0 {
					j := mine[rng.IntN(len(mine))]
					id, token = j.ID, j.Token
				}
				calls := []string{
					"cancel($1)", "retry($1)", "retry($1, true)", "redrive($1)", "redrive($1, 'me', true)", "purge_dead($1)", "sweep_dead()", fmt.Sprintf(`edit($1, '{"priority": %d}')`, 1+rng.IntN(10)), `edit($1, '{"run_at": "2001-01-01T00:00:00Z"}')`,
					"expire_leases()", "promote_due()", "advance_frontier('0 s')", "enqueue('b', queue => 'q', unique_key => 'k' || $1::bigint)", "purge_queue('q', 1)",
					"complete($1, $2)", "fail($1, $2, null)", "fail($1, $2, null, '0')", "fail($1, $2, null, retry => false)", "snooze($1, $2, '20 ms')", "release($1, $2)",
					"heartbeat(array[$1::bigint], array[$2::bigint])", "complete_many($3, $4)", "fail_many($3, $4, array_fill(null::jsonb, array[cardinality($3::bigint[])]))", "release_many($3, $4)", "snooze_many($3, $4, array_fill('10 ms'::interval, array[cardinality($3::bigint[])]))",
				}
				call := calls[rng.IntN(len(calls))]
				var err error
				switch {
				case rng.IntN(3) == 0:
					mine, err = weirtest.TryClaim(conn, "q", 1+rng.IntN(5))
				case strings.Contains(call, "$3"): // many
					shuffled := slices.Clone(mine)
					rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
					call = strings.NewReplacer("$3", "$1", "$4", "$2").Replace(call)
					err = weirtest.TryExec(conn, "select weir."+call, weirtest.IDs(shuffled), weirtest.Tokens(shuffled))
				default:
					err = weirtest.TryExec(conn, "select weir."+call, []any{id, token}[:strings.Count(call, "$")]...)
				}
				if err != nil && !weirtest.HasSQLState(err, "WR001") && !weirtest.HasSQLState(err, "WR003") && !weirtest.HasSQLState(err, "WR004") && !weirtest.HasSQLState(err, "WR005") && !weirtest.HasSQLState(err, "WR014") {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
	wg.Wait()
}
