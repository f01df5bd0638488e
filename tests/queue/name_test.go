package queue

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// setting sets a setting of the database.
func setting(t *testing.T, d *weirtest.Database, name string, value int) {
	t.Helper()
	weirtest.Exec(t, d, fmt.Sprintf("alter database %s set weir.%s = %d", d.Config().ConnConfig.Database, name, value))
}

func TestNamesThatJobsBringAreBounded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	setting(t, s.DB, "max_implicit_queues", 2)
	setting(t, s.DB, "max_implicit_breakers", 1)
	job := func(queue, breaker string) obj {
		if breaker == "" {
			return obj{"kind": "k", "queue": queue}
		}
		return obj{"kind": "k", "queue": queue, "breaker": breaker}
	}
	refused := func(what string, p weirtest.ProblemBody, place string) {
		t.Helper()
		if len(p.Errors) != 1 || p.Errors[0].Location != place || p.Hint == "" {
			t.Errorf("%s: %+v", what, p)
		}
	}
	s.Do(http.MethodPut, "/v1/queues/declared", `{}`).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/breakers/declared", `{}`).Want(http.StatusOK)
	s.EnqueueAll([]obj{job("a", "x"), job("b", "declared"), job("declared", "")})

	refused("a queue", s.Post("/v1/jobs", job("c", "")).Problem(http.StatusConflict, "too_many_names"), "body.queue")
	refused("a breaker", s.Post("/v1/jobs", job("a", "y")).Problem(http.StatusConflict, "too_many_names"), "body.breaker")
	refused("a batch", s.Post("/v1/jobs/batch", obj{"jobs": []obj{job("a", ""), job("c", "")}}).Problem(http.StatusConflict, "too_many_names"), "body.jobs[1].queue")
	workflow := obj{"name": "w", "steps": []obj{{"name": "s", "kind": "k", "queue": "c"}}}
	s.Post("/v1/workflows", workflow).Problem(http.StatusConflict, "too_many_names")
	tx := s.DB.Tx()
	weirtest.Exec(t, tx, "set local weir.max_implicit_queues = 1000000") // no session raises it
	if err := weirtest.TryExec(tx, "select weir.enqueue('k', queue => 'c')"); !weirtest.HasSQLState(err, "WR016") {
		t.Errorf("over SQL: %v", err)
	}
	weirtest.Rollback(t, tx)

	// Of calls that are committed together only the one that needs the name is refused.
	var calls sync.WaitGroup
	statuses := make([]int, 40)
	for i := range statuses {
		calls.Go(func() {
			queue := "a"
			if i%10 == 0 {
				queue = fmt.Sprint("new", i)
			}
			statuses[i] = s.Post("/v1/jobs", job(queue, "")).Status
		})
	}
	calls.Wait()
	for i, status := range statuses {
		if want := map[bool]int{true: http.StatusConflict, false: http.StatusCreated}[i%10 == 0]; status != want {
			t.Errorf("call %d: %d, want %d", i, status, want)
		}
	}

	// An operator's queue is not counted, and makes room for no other.
	s.Do(http.MethodPut, "/v1/queues/c", `{}`).Want(http.StatusOK)
	s.Enqueue(job("c", ""))
	s.Do(http.MethodPut, "/v1/queues/a", `{}`).Want(http.StatusOK)
	s.Enqueue(job("d", "")) // a is an operator's now
	s.Post("/v1/jobs", job("e", "")).Problem(http.StatusConflict, "too_many_names")

	setting(t, s.DB, "max_implicit_queues", 0)
	p := s.Post("/v1/jobs", job("typo", "")).Problem(http.StatusConflict, "too_many_names")
	if !strings.Contains(p.Detail, "jobs create none") {
		t.Errorf("where jobs create no queues: %q", p.Detail)
	}
	s.Enqueue(job("b", ""))
	if n := s.Count(`select count(*)::int from weir.queue where name in ('typo', 'e') or name like 'new%'`); n != 0 {
		t.Errorf("%d queues were made", n)
	}
}

func TestWorkersAreBounded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	setting(t, s.DB, "max_workers", 2)
	for _, name := range []string{"a", "b"} {
		s.Do(http.MethodPut, "/v1/workers/"+name, `{}`).Want(http.StatusOK)
	}
	s.Do(http.MethodPut, "/v1/workers/c", `{}`).Problem(http.StatusConflict, "too_many_names")
	s.Do(http.MethodPut, "/v1/workers/a", `{"version": "2"}`).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "q"})
	claimed := weirtest.Values[string](t, s.DB, "select job_id::text from weir.claim('{q}', 'stranger', 1)")
	if len(claimed) != 1 {
		t.Errorf("a worker without a record got %d jobs", len(claimed))
	}
	if names := weirtest.Values[string](t, s.DB, "select name from weir.worker_seen order by name"); strings.Join(names, " ") != "a b" {
		t.Errorf("recorded: %v", names)
	}
}

// TestIdleNamesExpire makes names old, and lets all but one that is in use go.
func TestIdleNamesExpire(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('declared'), weir.set_breaker('declared')")
	for _, queue := range []string{"idle", "raced", "ready", "later", "held", "running", "young", "paused"} {
		weirtest.Exec(t, d, "select weir.enqueue('k', queue => $1, options => jsonb_build_object('breaker', 'of-' || $1))", queue)
	}
	weirtest.Exec(t, d, "select weir.claim(array[n], 'w', 1) from unnest('{idle,raced,later,young,paused}'::text[]) n")
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	weirtest.Exec(t, d, "select weir.claim('{running}', 'w', 1)")
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'later', run_at => now() + interval '1 year')")
	weirtest.Exec(t, d, "select weir.pause_queue('paused')")
	weirtest.Exec(t, d, "insert into weir.queue (name) values ('empty')")
	age := func() {
		weirtest.Exec(t, d, "update weir.queue set created_at = now() - interval '8 days' where name <> 'young'")
		weirtest.Exec(t, d, "update weir.breaker set created_at = now() - interval '8 days', changed_at = now() - interval '8 days' where name <> 'of-young'")
		weirtest.Exec(t, d, "delete from weir.breaker_sample")
	}
	live := func(table string) string {
		return strings.Join(weirtest.Values[string](t, d, "select name from weir."+table+" where deleted_at is null order by name"), " ")
	}
	age()
	tx := d.Tx()
	weirtest.Exec(t, tx, "select weir.enqueue('k', queue => 'raced')")
	weirtest.Exec(t, d, "select weir.expire_names()")
	if got, want := live("queue"), "declared held later paused ready running young"; got != want {
		t.Errorf("queues: %q, want %q", got, want)
	}
	if got, want := live("breaker"), "declared of-young"; got != want {
		t.Errorf("breakers: %q, want %q", got, want)
	}
	weirtest.Commit(t, tx)
	if got := weirtest.Values[string](t, d, "select job_id::text from weir.claim('{raced}', 'w', 1)"); len(got) != 1 {
		t.Errorf("of a queue that expired while a job came, %d jobs were claimed", len(got))
	}
	weirtest.Exec(t, d, "select weir.expire_names()")
	if got := live("queue"); !strings.Contains(got, "raced") {
		t.Errorf("a queue with a job is not shown again: %q", got)
	}

	// Hidden two days ago: the row of one whose jobs are gone is removed. That of another stays, for its jobs.
	weirtest.Exec(t, d, "update weir.queue set deleted_at = now() - interval '2 days' where name = 'empty'")
	weirtest.Eventually(t, "the row of an empty queue is removed", func() bool {
		weirtest.Exec(t, d, "select weir.expire_names()") // not while a transaction runs that may have read the row
		return weirtest.Value[int](t, d, "select count(*) from weir.queue where name = 'empty'") == 0
	})
	if rows := weirtest.Values[string](t, d, "select name from weir.queue where name in ('empty', 'idle')"); len(rows) != 1 || rows[0] != "idle" {
		t.Errorf("of two hidden queues, there are rows of %v", rows)
	}
	id := weirtest.Value[int](t, d, "select id from weir.queue where name = 'idle'")
	weirtest.Exec(t, d, "update weir.queue set deleted_at = now() where name = 'ready'")
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'ready')")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.claim('{ready}', 'w', 10)"); n != 2 {
		t.Errorf("%d jobs of a queue that came back, want 2", n)
	}
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'idle', options => '{\"breaker\": \"of-idle\"}')")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.claim('{idle}', 'w', 10)"); n != 1 {
		t.Errorf("%d jobs of a queue that expired and came back, want 1", n)
	}
	if again := weirtest.Value[int](t, d, "select id from weir.queue where name = 'idle' and deleted_at is null"); again != id {
		t.Errorf("a queue that came back has the id %d, had %d", again, id)
	}
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'empty')")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.claim('{empty}', 'w', 10)"); n != 1 {
		t.Errorf("%d jobs of a queue that was removed and came back, want 1", n)
	}
}

// TestAQueueIsNotRemovedUnderATransactionThatReadIt: a transaction that began before the queue was hidden enqueues long
// afterwards, and its job is found.
func TestAQueueIsNotRemovedUnderATransactionThatReadIt(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "insert into weir.queue (name) values ('old')")
	tx := d.Tx()
	weirtest.Exec(t, tx, "set transaction isolation level repeatable read")
	weirtest.Value[int](t, tx, "select count(*) from weir.queue")
	weirtest.Exec(t, d, "update weir.queue set deleted_at = now() - interval '2 days'")
	for range 3 {
		weirtest.Exec(t, d, "select weir.expire_names()")
	}
	weirtest.Exec(t, tx, "select weir.enqueue('k', queue => 'old')")
	weirtest.Commit(t, tx)
	if got := weirtest.Values[int](t, d, "select job_id from weir.claim('{old}', 'w', 1)"); len(got) != 1 {
		t.Errorf("%d jobs were claimed, want the one that the old transaction enqueued", len(got))
	}
}

func TestMetricsHaveABoundedNumberOfQueues(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	weirtest.Exec(t, s.DB, "select weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'k', 'queue', 'q' || n, 'breaker', 'b' || n)) from generate_series(1, 700) n))")
	weirtest.Exec(t, s.DB, "select weir.enqueue('k', queue => 'q699') from generate_series(1, 5)")
	scraped := s.Get("/metrics").Want(http.StatusOK)
	text := string(scraped.Body)
	if n := strings.Count(text, `weir_queue_jobs{queue="`); n != 501*6 {
		t.Errorf("%d samples of queues, want 501 with 6 each", n)
	}
	if n := strings.Count(text, `weir_breaker_held_jobs{`); n != 501 {
		t.Errorf("%d samples of breakers, want 501", n)
	}
	if busy := s.MetricIn(scraped, "weir_queue_jobs", `queue="q699"`, `state="available"`); busy != 6 {
		t.Errorf("the busiest queue has %v jobs", busy)
	}
	if sum := s.MetricIn(scraped, "weir_queue_jobs", `state="available"`); sum != 705 {
		t.Errorf("all queues have %v jobs, want 705", sum)
	}
	if sum := s.MetricIn(scraped, "weir_breaker_state"); sum != 700 {
		t.Errorf("%v breakers, want 700", sum)
	}
}
