//go:build unix

package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestOptionsReachJob(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		parent := w.enqueue(Double{})
		id := w.enqueue(Double{N: 5}, weir.Queue("mail"), weir.Priority(8), weir.In(time.Hour), weir.MaxAttempts(3), weir.Timeout(90*time.Second),
			weir.Retry(weir.RetryPolicy{Strategy: "fixed", BaseSeconds: 9}), weir.Tags("a", "b"), weir.Metadata("from", "test"), weir.Parent(parent),
			weir.ResultTTL(time.Hour), weir.Tenant("acme"), weir.ConcurrencyKey("k"))
		row := weirtest.Value[string](t, w.Node.DB, `select concat_ws(' ', kind, args, queue, priority, state, max_attempts, timeout_seconds, retry ->> 'base_seconds',
			tags, metadata, parent_id = $2, result_ttl_seconds, tenant, concurrency_key, run_at > now() + interval '59 minutes') from weir.jobs where id = $1`, int64(id), int64(parent))
		if want := `double {"N": 5} mail 8 scheduled 3 90 9 {a,b} {"from": "test"} t 3600 acme k t`; row != want {
			t.Errorf("the job is %s, want %s", row, want)
		}
	})
}

func TestUniqueJobIsStoredOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		first, second := w.enqueue(Double{}, weir.Unique("u")), w.enqueue(Double{}, weir.Unique("u"))
		if first != second {
			t.Errorf("there are two jobs, %s and %s", first, second)
		}
		third, fourth := w.enqueue(Double{}, weir.IdempotencyKey("i")), w.enqueue(Double{}, weir.IdempotencyKey("i"))
		if third != fourth || third == first {
			t.Errorf("the jobs are %s and %s", third, fourth)
		}
		batch := []weir.NewJob{weir.New(Double{N: 1}, weir.IdempotencyKey("a")), weir.New(Double{N: 2}, weir.IdempotencyKey("b"))}
		once, err := w.EnqueueMany(t.Context(), batch...)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := w.EnqueueMany(t.Context(), batch...); err != nil || again[0].ID != once[0].ID || again[1].ID != once[1].ID {
			t.Errorf("a batch that is sent again makes %v, and before it made %v: %v", again, once, err)
		}
		done, err := w.Enqueue(t.Context(), Double{}, weir.UniqueFor("t", time.Hour))
		if err != nil || done.Duplicate {
			t.Errorf("%+v, %v", done, err)
		}
		if done, err = w.Enqueue(t.Context(), Double{}, weir.UniqueFor("t", time.Hour)); err != nil || !done.Duplicate && w.Pool == nil {
			t.Errorf("%+v, %v", done, err)
		}
	})
}

func TestBadJobIsRefusedWithItsPlace(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		_, err := w.Enqueue(t.Context(), Double{}, weir.Priority(11))
		var e *weir.Error
		if !errors.As(err, &e) || e.Code != "invalid_argument" || e.Field != "priority" {
			t.Errorf("the error is %#v", err)
		}
		_, err = w.EnqueueMany(t.Context(), weir.New(Double{}), weir.New(Double{}, weir.MaxAttempts(101)))
		if !errors.As(err, &e) || e.Field != "jobs[1].max_attempts" {
			t.Errorf("the error is %#v", err)
		}
		if _, err := w.Enqueue(t.Context(), struct{}{}); err == nil {
			t.Error("args without a kind pass")
		}
		if _, err := w.Enqueue(t.Context(), flakyArgs{}); err == nil {
			t.Error("args that are no JSON pass")
		}
		if n := w.Node.Count("select count(*) from weir.job"); n != 0 {
			t.Errorf("%d jobs are there", n)
		}
	})
}

type flakyArgs struct{ C chan int }

func (flakyArgs) Kind() string { return "no JSON" }

func TestAwaitTellsHowJobFailed(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Handle(worker, func(context.Context, *weir.Job[Double]) (int, error) { return 0, weir.Discard(&refusedError{}) })
		})
		_, err := weir.Call(t.Context(), w.Client, Double{})
		var failed *weir.JobFailedError
		if !errors.As(err, &failed) || failed.State != "dead" || failed.Message != "connection refused" {
			t.Errorf("the error is %#v", err)
		}
		if _, err := w.Job(t.Context(), 999); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("the error is %v", err)
		}
	})
}

// Sum adds the results of two doubles.
type Sum struct {
	A, B weir.Input[int]
}

func (Sum) Kind() string { return "sum" }

func (Sum) Result() int { return 0 }

func sum(_ context.Context, j *weir.Job[Sum]) (int, error) {
	a, err := j.Args.A.Get(j.RawJob)
	if err != nil {
		return 0, err
	}
	b, err := j.Args.B.Get(j.RawJob)
	return a + b, err
}

func TestResultsFlowThroughWorkflow(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		approvals := make(chan string, 1)
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Handle(worker, double)
			weir.Handle(worker, sum)
			weir.Register(worker, func(_ context.Context, j *weir.Job[flaky]) error {
				by, err := weir.Dependency[string](j.RawJob, "approval")
				approvals <- by
				return err
			})
		})
		flow := weir.NewWorkflow("sums", weir.Deadline(time.Hour), weir.WorkflowMetadata("by", "test"))
		a := weir.AddStep(flow, "a", Double{N: 1})
		b := weir.AddStep(flow, "b", Double{N: 2}, weir.After(a), weir.Priority(9))
		s := weir.AddStep(flow, "sum", Sum{A: a.Result(), B: b.Result()})
		approval := weir.AddSignal[string](flow, "approval", "approved", time.Hour, weir.After(s))
		weir.AddTask(flow, "report", flaky{}, weir.After(approval))
		id, err := w.Submit(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		var summed int64
		w.Node.Eventually("the sum is there", func() bool {
			return w.Node.DB.QueryRow(t.Context(), "select id from weir.jobs where workflow_id = $1 and step = 'sum' and state = 'completed'", int64(id)).Scan(&summed) == nil
		})
		if got, err := weir.Await[int](t.Context(), w.Client, weir.ID(summed)); err != nil || got != 6 {
			t.Errorf("the sum is %d, %v", got, err)
		}
		operator := overREST(t, w.Node) // a login that enqueues and works may not
		if err := operator.Signal(t.Context(), id, "approved", "ann"); err != nil {
			t.Fatal(err)
		}
		if by := <-approvals; by != "ann" {
			t.Errorf("%q approved", by)
		}
		w.Node.Eventually("the workflow is completed", func() bool {
			f, err := operator.Workflow(t.Context(), id)
			return err == nil && f.State == "completed" && f.Completed == 5
		})
	})
}

func TestBadWorkflowIsRefused(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		twice := weir.NewWorkflow("twice")
		weir.AddTask(twice, "a", flaky{})
		weir.AddTask(twice, "a", flaky{})
		if _, err := w.Submit(t.Context(), twice); err == nil {
			t.Error("a step of the same name passes")
		}
		wrong := weir.NewWorkflow("wrong")
		weir.AddTask(wrong, "a", flaky{}, weir.MaxAttempts(1000))
		var e *weir.Error
		if _, err := w.Submit(t.Context(), wrong); !errors.As(err, &e) || e.Field != "steps[0].max_attempts" {
			t.Errorf("the error is %#v", err)
		}
	})
}

// ownerWays runs a test over REST, and over SQL as weir's owner.
func ownerWays(t *testing.T, test func(*testing.T, *way)) {
	t.Run("REST", func(t *testing.T) {
		t.Parallel()
		s := weirtest.StartNode(t)
		test(t, &way{Client: overREST(t, s), T: t, Node: s})
	})
	t.Run("SQL", func(t *testing.T) {
		t.Parallel()
		s := weirtest.StartNode(t)
		test(t, &way{Client: overSQL(t, s.DB.Pool), T: t, Node: s, Pool: s.DB.Pool})
	})
}

func TestScheduleMakesJobs(t *testing.T) {
	ownerWays(t, func(t *testing.T, w *way) {
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) { weir.Handle(worker, double) })
		err := w.SetSchedule(t.Context(), "nightly", weir.Schedule{Cron: "30 2 * * *", Timezone: "Europe/Berlin", Job: weir.New(Double{N: 4}), Overlap: "skip"})
		if err != nil {
			t.Fatal(err)
		}
		id, err := w.TriggerSchedule(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := weir.Await[int](t.Context(), w.Client, id); err != nil || got != 8 {
			t.Errorf("the result is %d, %v", got, err)
		}
		if err := w.SetSchedule(t.Context(), "often", weir.Schedule{Every: time.Second, Job: weir.New(Double{N: 4}, weir.Tags("often"))}); err != nil {
			t.Fatal(err)
		}
		w.Node.Eventually("the schedule has fired", func() bool {
			return w.Node.Count("select count(*) from weir.jobs where 'often' = any (tags) and state = 'completed'") > 0
		})
		if err := w.DeleteSchedule(t.Context(), "often"); err != nil {
			t.Error(err)
		}
		if err := w.DeleteSchedule(t.Context(), "often"); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("the error is %v", err)
		}
		var e *weir.Error
		if err := w.SetSchedule(t.Context(), "bad", weir.Schedule{Cron: "soon", Job: weir.New(Double{})}); !errors.As(err, &e) || e.Code != "invalid_argument" {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestJobIsCancelled(t *testing.T) {
	ownerWays(t, func(t *testing.T, w *way) {
		id := w.enqueue(Double{})
		if err := w.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if s, err := w.Wait(t.Context(), id); err != nil || s.State != "cancelled" {
			t.Errorf("the job is %+v, %v", s, err)
		}
		if err := w.Cancel(t.Context(), 999); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestEventsComeAsTheyHappen(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := &way{Client: overREST(t, s), T: t, Node: s}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := make(chan weir.Event)
	go func() {
		for e, err := range w.Events(ctx, weir.EventFilter{Queue: "mail", Events: []string{"enqueued", "completed"}}) {
			if err != nil {
				t.Error(err)
				return
			}
			events <- e
		}
		close(events)
	}()
	w.work(weir.WorkerConfig{Queues: []string{"mail", "other"}}, func(worker *weir.Worker) { weir.Handle(worker, double) })
	w.enqueue(Double{}, weir.Queue("other"))
	var id weir.ID
	var e weir.Event
	s.Eventually("the listener listens", func() bool {
		id = w.enqueue(Double{}, weir.Queue("mail"))
		select {
		case e = <-events:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	for e.JobID != id || e.Event != "completed" {
		if e.Queue != "mail" {
			t.Errorf("an event of queue %s", e.Queue)
		}
		e = <-events
	}
	cancel()
	for range events { //nolint:revive // until it is closed
	}
}
