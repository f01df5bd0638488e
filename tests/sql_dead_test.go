package tests

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// die makes a job and lets it die.
func die(t *testing.T, d *weirtest.Database, job string) int64 {
	t.Helper()
	id := weirtest.Enqueue(t, d, job)[0]
	weirtest.Exec(t, d, `select weir.fail(c.job_id, c.token, '{"message": "no", "type": "T", "stack": "s"}', retry => false)
		from weir.queue q, weir.claim(array[q.name], 'worker', 100) c where q.id = (select queue_id from weir.jobs where id = $1)`, id)
	return id
}

func TestADeadLetterSaysWhatDiedAndWhy(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := die(t, d, `{"kind": "a", "queue": "q", "args": {"n": 1}, "tenant": "acme", "tags": ["x"]}`)
	got := weirtest.Value[string](t, d, `select concat_ws(' ', job_id = $1, queue, kind, tenant, tags, attempt, error_type, error_message, worker, args, redrives, kept_until - died_at) from weir.dead_letters`, id)
	if want := `t q a acme {x} 1 T no worker {"n": 1} 0 30 days`; got != want && got != strings.Replace(want, "30 days", "720:00:00", 1) {
		t.Errorf("the letter is\n%s\nwant\n%s", got, want)
	}
}

func TestARedriveKeepsTheIDAndWhoDidIt(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := die(t, d, `{"kind": "a", "queue": "q", "max_attempts": 1}`)
	if said := weirtest.Value[string](t, d, "select weir.redrive($1, by => 'ann')", id); said != "available" {
		t.Errorf("redrive says %q", said)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, attempt, redrives, redriven_by, error) from weir.jobs where id = $1", id); got != "available 0 1 ann" {
		t.Errorf("the job is %q", got)
	}
	d.Unchanged("a second redrive", func() { weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.redrive($1)", id), "WR014") })

	j := weirtest.ClaimOne(t, d, "q")
	if j.ID != id || j.Attempt != 1 {
		t.Fatalf("claimed %+v, want job %d at its first attempt", j, id)
	}
	j.Call(t, d, `fail($1, $2, '{"message": "again"}')`) // its only attempt
	weirtest.Exec(t, d, "select weir.redrive($1, keep_attempts => true)", id)
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, attempt, redrives, coalesce(redriven_by, 'nobody'), jsonb_array_length(errors)) from weir.jobs where id = $1", id); got != "available 1 2 nobody 2" {
		t.Errorf("after the second redrive it is %q", got)
	}
	j = weirtest.ClaimOne(t, d, "q")
	j.Call(t, d, "complete($1, $2)")
	events := weirtest.Values[string](t, d, "select concat_ws(' ', event, cause, attempt, detail ->> 'by') from weir.timeline($1)", id)
	want := []string{
		"enqueued 0", "available enqueued 0", "started 1", "failed 1", "dead failed 1", "redriven 1 ann", "available redriven 0", "started 1", "failed 1", "dead failed 1",
		"redriven 1", "available redriven 1", "started 2", "completed 2",
	}
	if !slices.Equal(events, want) {
		t.Errorf("its timeline is\n%q\nwant\n%q", events, want)
	}
}

func TestWhoeverRedrivesALetterFirstHasIt(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for round := range 10 {
		id := die(t, d, fmt.Sprintf(`{"kind": "a", "queue": "q%d"}`, round))
		calls := []string{"select weir.redrive($1)", "select weir.redrive($1, keep_attempts => true)", "select weir.retry($1)", "select weir.purge_dead($1)"}
		var took atomic.Int32
		var all sync.WaitGroup
		for _, call := range calls {
			all.Go(func() {
				if err := weirtest.TryExec(d, call, id); err == nil {
					took.Add(1)
				} else if !weirtest.HasSQLState(err, "WR014") && !weirtest.HasSQLState(err, "WR005") {
					t.Errorf("%s: %v", call, err)
				}
			})
		}
		all.Wait()
		// A retry may follow a purge, which leaves the job dead; nothing else follows anything.
		purged := weirtest.Value[bool](t, d, "select exists (select from weir.job_event where job_id = $1 and kind = 'purged')", id)
		if n := took.Load(); n != 1 && (!purged || n != 2) {
			t.Errorf("%d calls had the letter", n)
		}
	}
}

func TestAPurgedLetterLeavesTheJobDead(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := die(t, d, `{"kind": "a", "queue": "q"}`)
	weirtest.Exec(t, d, "select weir.purge_dead($1, by => 'bob')", id)
	if got := weirtest.Value[string](t, d, `select concat_ws(' ', state, error ->> 'message', (select count(*) from weir.dead_letters), (select detail ->> 'by' from weir.job_event where job_id = id and kind = 'purged'))
		from weir.jobs where id = $1`, id); got != "dead no 0 bob" {
		t.Errorf("the job is %q", got)
	}
	for _, call := range []string{"purge_dead($1)", "redrive($1)"} {
		d.Unchanged(call, func() { weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, id), "WR014") })
	}
	events := weirtest.Values[string](t, d, "select event from weir.timeline($1) offset 3", id)
	if want := []string{"failed", "dead", "purged"}; !slices.Equal(events, want) {
		t.Errorf("its timeline ends %q, want %q", events, want)
	}
	weirtest.WantState(t, d, id, "dead")
	weirtest.Exec(t, d, "select weir.retry($1)", id)
	weirtest.WantState(t, d, id, "available")
}

func TestWhoDidItIsAShortText(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := die(t, d, `{"kind": "a", "queue": "q"}`)
	for _, call := range []string{"redrive($1, by => '')", "redrive($1, by => repeat('x', 201))", "purge_dead($1, by => '')"} {
		d.Unchanged(call, func() {
			if r := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, id), "WR010"); r.ColumnName != "by" {
				t.Errorf("%s: the place is %q", call, r.ColumnName)
			}
		})
	}
}

func TestADeadLetterQueueGetsACopy(t *testing.T) {
	t.Parallel()
	for end, calls := range map[string][]string{
		"failed":    {`select weir.fail(job_id, token, '{"message": "no", "stack": "long"}') from weir.job_lease`},
		"gave up":   {`select weir.fail(job_id, token, '{"message": "no"}', retry => false) from weir.job_lease`},
		"timed out": {"update weir.job_lease set leased_at = now() - interval '8 days', expires_at = now()", "select weir.expire_leases()"},
		"lost":      {"update weir.job_lease set expires_at = now()", "select weir.expire_leases()"},
	} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			weirtest.Exec(t, d, `select weir.set_queue('q', '{"dead_letter_queue": "graves", "max_attempts": 1}'), weir.set_queue('graves', '{"timeout_seconds": 77, "max_attempts": 9, "max_depth": 1}')`)
			weirtest.Exec(t, d, "select weir.enqueue('full', queue => 'graves')") // its bound does not keep a job from dying
			id := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "args": [1], "priority": 8, "tenant": "acme", "tags": ["x", "y"], "metadata": {"m": 1}, "unique": {"key": "k"}}`)[0]
			weirtest.ClaimOne(t, d, "q")
			for _, call := range calls {
				weirtest.Exec(t, d, call)
			}
			weirtest.WantState(t, d, id, "dead")
			if n := weirtest.Value[int](t, d, "select count(*) from weir.job_dead"); n != 0 {
				t.Errorf("there are %d dead letters, want none", n)
			}
			got := weirtest.Value[string](t, d, `select concat_ws(' ', kind, args, priority, tenant, tags, metadata -> 'm', (metadata -> 'dead_letter') - 'error', metadata -> 'dead_letter' -> 'error' ? 'message',
				metadata -> 'dead_letter' -> 'error' ? 'stack', timeout_seconds, max_attempts, state, unique_key is null) from weir.jobs where queue = 'graves' and kind = 'a'`)
			if want := fmt.Sprintf(`a [1] 8 acme {x,y} 1 {"queue": "q", "job_id": "%d", "attempts": 1} t f 77 9 available t`, id); got != want {
				t.Errorf("the copy is\n%s\nwant\n%s", got, want)
			}
			routed := weirtest.Value[string](t, d, "select detail ->> 'queue' || ' ' || (detail ->> 'job_id' = (select id::text from weir.jobs where queue = 'graves' and kind = 'a')) from weir.timeline($1) where event = 'routed'", id)
			if routed != "graves true" {
				t.Errorf("the timeline says %q", routed)
			}
			weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.redrive($1)", id), "WR014")
			if j := weirtest.ClaimOne(t, d, "graves"); j.Kind != "a" {
				t.Errorf("claimed %+v, want the copy, whose priority is higher", j)
			}
		})
	}
}

func TestWhatDoesNotDieIsNotRouted(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"dead_letter_queue": "graves"}')`)
	for _, call := range []string{`fail($1, $2, '{"message": "no"}', '1 hour')`, "release($1, $2)", "snooze($1, $2, '1 hour')", "complete($1, $2)"} {
		weirtest.EnqueueOne(t, d, "q")
		weirtest.ClaimOne(t, d, "q").Call(t, d, call)
	}
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.cancel($1)", j.ID)
	j.Call(t, d, `fail($1, $2, '{"message": "no"}', retry => false)`)
	weirtest.WantState(t, d, j.ID, "cancelled")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where queue = 'graves'"); n != 0 {
		t.Errorf("%d jobs were routed", n)
	}
}

func TestAJobThatDiesInADeadLetterQueueIsALetterThere(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('a', '{"dead_letter_queue": "b", "max_attempts": 1}'), weir.set_queue('b', '{"dead_letter_queue": "c", "max_attempts": 1}'), weir.set_queue('c', '{"max_attempts": 1}')`)
	weirtest.EnqueueOne(t, d, "a")
	for _, queue := range []string{"a", "b", "c"} {
		weirtest.ClaimOne(t, d, queue).Call(t, d, `fail($1, $2, '{"message": "no"}')`)
	}
	if got := weirtest.Values[string](t, d, "select queue from weir.dead_letters"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("there are letters in %q, want one in c", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs"); n != 3 {
		t.Errorf("there are %d jobs, want one a queue", n)
	}
}

func TestDeadLetterQueuesDoNotGoRound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('a', '{"dead_letter_queue": "b"}'), weir.set_queue('b', '{"dead_letter_queue": "c"}')`)
	for queue, settings := range map[string]string{
		"c": `{"dead_letter_queue": "a"}`, "b": `{"dead_letter_queue": "a"}`, "a": `{"dead_letter_queue": "a"}`, "new": `{"dead_letter_queue": "new"}`,
		"x": `{"dead_letter_queue": ".no"}`, "y": `{"dead_letter_queue": 5}`,
	} {
		d.Unchanged(queue+" "+settings, func() {
			if r := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.set_queue($1, $2)", queue, settings), "WR010"); r.ColumnName != "dead_letter_queue" {
				t.Errorf("%s %s: the place is %q", queue, settings, r.ColumnName)
			}
		})
	}
	weirtest.Exec(t, d, `select weir.set_queue('b', '{"dead_letter_queue": ""}')`)
	weirtest.Exec(t, d, `select weir.set_queue('c', '{"dead_letter_queue": "a"}')`) // now it is no circle
	weirtest.Exec(t, d, `select weir.set_queue('a', '{}', replace => true)`)
	if got := weirtest.Values[string](t, d, "select q.name || '>' || x.name from weir.queue q join weir.queue x on x.id = q.dead_letter_queue_id order by 1"); !slices.Equal(got, []string{"c>a"}) {
		t.Errorf("routes are %q", got)
	}

	// Two at once.
	one, other := d.Tx(), d.Tx()
	weirtest.Exec(t, one, `select weir.set_queue('m', '{"dead_letter_queue": "n"}')`)
	refusal := make(chan error, 1)
	go func() { refusal <- weirtest.TryExec(other, `select weir.set_queue('n', '{"dead_letter_queue": "m"}')`) }()
	weirtest.Eventually(t, "the second waits", func() bool {
		return weirtest.Value[int](t, d, "select count(*) from pg_locks l join pg_stat_activity a using (pid) where a.datname = current_database() and not l.granted") == 1
	})
	weirtest.Commit(t, one)
	weirtest.WantSQLState(t, <-refusal, "WR010")
}

func TestDeadLettersGoWhenTheirTimeIsOver(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('short', '{"dead_retention_seconds": 3600}')`)
	for range 5 {
		die(t, d, `{"kind": "a", "queue": "short"}`)
		die(t, d, `{"kind": "a", "queue": "long"}`)
	}
	if n := weirtest.Value[int](t, d, "select weir.sweep_dead()"); n != 0 {
		t.Errorf("swept %d letters that died just now", n)
	}
	weirtest.Exec(t, d, "update weir.job_dead set died_at = now() - interval '2 hours'")
	for _, want := range []int{3, 2, 0} {
		if n := weirtest.Value[int](t, d, "select weir.sweep_dead(3)"); n != want {
			t.Errorf("swept %d letters, want %d", n, want)
		}
	}
	if got := weirtest.Value[string](t, d, "select string_agg(distinct queue, ' ') || count(*) from weir.dead_letters"); got != "long5" {
		t.Errorf("left are %q", got)
	}
	weirtest.Exec(t, d, "update weir.job_dead set died_at = now() - interval '31 days'")
	if n := weirtest.Value[int](t, d, "select weir.sweep_dead()"); n != 5 {
		t.Errorf("swept %d letters of 31 days, want 5", n)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_event where kind = 'purged' and detail ->> 'by' = 'retention'"); n != 10 {
		t.Errorf("%d events tell of it, want 10", n)
	}
}

func TestEachFilterOfDeadLettersChoosesIts(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, job := range []string{
		`{"kind": "k1", "queue": "q", "tenant": "t1", "tags": ["a"], "args": "Needle"}`, `{"kind": "k2", "queue": "q", "tenant": "t2", "tags": ["a", "b"]}`, `{"kind": "k2", "queue": "r"}`,
	} {
		die(t, d, job)
	}
	weirtest.Exec(t, d, "update weir.job_dead set died_at = make_timestamptz(2020, 1, 1 + (job_id % 3)::int, 0, 0, 0, 'UTC')")
	times := weirtest.Values[time.Time](t, d, "select died_at from weir.job_dead order by 1")
	for filter, want := range map[string]int{
		`{}`: 3, `{"queue": "q"}`: 2, `{"queue": "none"}`: 0, `{"kind": "k2"}`: 2, `{"kind": "k2", "queue": "q"}`: 1, `{"tenant": "t1"}`: 1, `{"tag": "a"}`: 2, `{"tag": "b"}`: 1, `{"error_type": "T"}`: 3,
		`{"error_type": "U"}`: 0, `{"q": "needle"}`: 1, `{"q": "K2"}`: 2, `{"min_attempts": 1}`: 3, `{"min_attempts": 2}`: 0, `{"queue": null, "kind": null}`: 3,
		`{"died_after": "` + times[1].Format(time.RFC3339Nano) + `"}`: 2, `{"died_before": "` + times[1].Format(time.RFC3339Nano) + `"}`: 1,
	} {
		if n := weirtest.Value[int](t, d, "select weir.count_dead($1)", filter); n != want {
			t.Errorf("%s: %d letters, want %d", filter, n, want)
		}
	}
	for filter, field := range map[string]string{
		`[]`: "filter", `null`: "filter", `{"state": "dead"}`: "filter.state", `{"kind": 5}`: "filter.kind", `{"kind": ""}`: "filter.kind", `{"min_attempts": 0}`: "filter.min_attempts", `{"died_after": "soon"}`: "filter.died_after",
	} {
		for _, call := range []string{"count_dead($1)", "start_operation('purge_dead', $1)"} {
			d.Unchanged(call+filter, func() {
				if r := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, filter), "WR010"); r.ColumnName != field {
					t.Errorf("%s of %s: the place is %q, want %q", call, filter, r.ColumnName, field)
				}
			})
		}
	}
}
