package dead

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestDeadLetterQueueGetsCopy(t *testing.T) {
	t.Parallel()
	t.Run("SQL", deadLetterQueueGetsCopySQL)
	t.Run("REST", deadLetterQueueGetsCopyREST)
}

func deadLetterQueueGetsCopySQL(t *testing.T) {
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
			weirtest.Exec(t, d, "select weir.enqueue('full', queue => 'graves')") // a full queue does not keep a job from dying
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

func deadLetterQueueGetsCopyREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	q := weirtest.Decode[struct {
		DeadLetterQueue string `json:"dead_letter_queue"`
		Retention       int    `json:"dead_retention_seconds"`
	}](s.Do(http.MethodPut, "/v1/queues/q", obj{"dead_letter_queue": "graves", "dead_retention_seconds": 3600}).Want(http.StatusOK))
	if q.DeadLetterQueue != "graves" || q.Retention != 3600 {
		t.Errorf("the queue is %+v", q)
	}
	id := s.Kill(obj{"kind": "k", "queue": "q", "args": []int{1}})
	s.Get("/v1/dead/"+id).Problem(http.StatusNotFound, "dead_letter_not_found")
	copied := s.ClaimOne("graves")
	var meta struct {
		DeadLetter struct {
			JobID    string `json:"job_id"`
			Queue    string
			Attempts int
		} `json:"dead_letter"`
	}
	if err := json.Unmarshal(copied.Metadata, &meta); err != nil || meta.DeadLetter.JobID != id || meta.DeadLetter.Queue != "q" || meta.DeadLetter.Attempts != 1 || copied.Kind != "k" {
		t.Errorf("the copy is %+v", copied)
	}
	p := s.Do(http.MethodPatch, "/v1/queues/graves", obj{"dead_letter_queue": "q"}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if p.Errors[0].Location != "body.dead_letter_queue" {
		t.Errorf("the place is %+v", p.Errors)
	}
	s.Do(http.MethodPatch, "/v1/queues/q", obj{"dead_letter_queue": ""}).Want(http.StatusOK)
	s.Do(http.MethodPatch, "/v1/queues/graves", obj{"dead_letter_queue": "q"}).Want(http.StatusOK)
}

func TestOnlyDeadJobsAreRouted(t *testing.T) {
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

func TestJobDyingInDeadLetterQueueIsLetterThere(t *testing.T) {
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

func TestDeadLetterQueuesDoNotLoop(t *testing.T) {
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
	weirtest.Exec(t, d, `select weir.set_queue('c', '{"dead_letter_queue": "a"}')`) // now it is no cycle
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
