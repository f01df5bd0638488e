//go:build unix

package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

// next is a follow-up job, or a step that was added.
type next struct{ N int }

func (next) Kind() string { return "next" }

// follow has a worker run one handler of flaky in the queue default, and waits for the job to be in a state.
func (w *way) follow(state string, work func(context.Context, *weir.Job[flaky]) error, opts ...weir.Option) weirtest.Job {
	w.T.Helper()
	w.work(weir.WorkerConfig{}, func(worker *weir.Worker) { weir.Register(worker, work) })
	return w.until(w.enqueue(flaky{}, opts...), state)
}

func (w *way) countNext() int {
	return weirtest.Value[int](w.T, w.Node.DB, "select count(*)::int from weir.jobs where kind = 'next'")
}

func TestHandlersEnqueueFollowUpJobs(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		j := w.follow("completed", func(_ context.Context, j *weir.Job[flaky]) error {
			if err := j.Enqueue(weir.New(next{1}, weir.Queue("later")), weir.New(next{2}, weir.Queue("later"))); err != nil {
				return err
			}
			return errors.Join(j.Enqueue(weir.New(next{3}, weir.Queue("later"))), j.SetResult("done"))
		}, weir.Tenant("acme"))
		if string(j.Result) != `"done"` {
			t.Errorf("the result is %s", j.Result)
		}
		got := weirtest.Values[string](t, w.Node.DB, "select format('%s %s %s', args ->> 'N', tenant, parent_id = $1) from weir.jobs where kind = 'next' order by id", j.ID)
		if want := "1 acme t, 2 acme t, 3 acme t"; strings.Join(got, ", ") != want {
			t.Errorf("the follow-up jobs are %q, want %s", got, want)
		}
	})
}

func TestFollowUpJobsOfHandlersThatDoNotCompleteAreNotStored(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		j := w.follow("dead", func(_ context.Context, j *weir.Job[flaky]) error {
			return errors.Join(j.Enqueue(weir.New(next{1})), errors.New("no"))
		}, weir.MaxAttempts(1))
		if n := w.countNext(); n != 0 {
			t.Errorf("%d follow-up jobs of job %s are stored", n, j.ID)
		}
	})
}

func TestFollowUpJobsOfLostLeasesAreNotStored(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		ended := make(chan string, 10)
		hooks := weir.Hooks{Ended: func(_ context.Context, _ *weir.RawJob, e weir.Ending) { ended <- e.Outcome }}
		w.work(weir.WorkerConfig{Hooks: hooks}, func(worker *weir.Worker) {
			weir.Register(worker, func(_ context.Context, j *weir.Job[flaky]) error {
				if j.Attempt == 1 {
					weirtest.Exec(t, w.Node.DB, "update weir.job_lease set expires_at = clock_timestamp() where job_id = $1", int64(j.ID))
					weirtest.Eventually(t, "the lease is taken back", func() bool {
						return weirtest.Value[bool](t, w.Node.DB, "select exists (select from weir.job_event where job_id = $1 and kind = 'lost')", int64(j.ID))
					})
				}
				return j.Enqueue(weir.New(next{j.Attempt}, weir.Queue("later")))
			})
		})
		w.until(w.enqueue(flaky{}), "completed")
		outcomes := []string{<-ended, <-ended}
		if fmt.Sprint(outcomes) != "[lost complete]" && fmt.Sprint(outcomes) != "[complete lost]" {
			t.Errorf("the attempts ended as %q", outcomes)
		}
		if got := weirtest.Values[string](t, w.Node.DB, "select args ->> 'N' from weir.jobs where kind = 'next'"); fmt.Sprint(got) != "[2]" {
			t.Errorf("the follow-up jobs are of the attempts %q", got)
		}
	})
}

func TestRefusedFollowUpJobsFailTheAttempt(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		j := w.follow("dead", func(_ context.Context, j *weir.Job[flaky]) error {
			if err := j.Enqueue(weir.New(next{1}, weir.IdempotencyKey("k"))); err == nil {
				return weir.Snooze(0)
			}
			return j.Enqueue(weir.New(next{1}), weir.New(next{2}, weir.Priority(11)))
		}, weir.MaxAttempts(1))
		if !strings.Contains(string(j.Error), "follow_up") || !strings.Contains(string(j.Error), "priority") || w.countNext() != 0 {
			t.Errorf("the job failed with %s, and %d follow-up jobs are stored", j.Error, w.countNext())
		}
	})
}

func TestHandlersAddSteps(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Register(worker, func(_ context.Context, j *weir.Job[flaky]) error {
				more := weir.NewWorkflow("more")
				a := weir.AddTask(more, "a", next{1}, weir.After(weir.Existing[int](more, "list")))
				weir.AddTask(more, "b", next{2}, weir.After(a))
				return j.AddSteps(more)
			})
			weir.Register(worker, func(context.Context, *weir.Job[next]) error { return nil })
		})
		flow := weir.NewWorkflow("flow")
		weir.AddTask(flow, "list", flaky{})
		id, err := w.Submit(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		weirtest.Eventually(t, "the workflow completes", func() bool {
			return weirtest.Value[bool](t, w.Node.DB, "select state = 'completed' and steps = 3 from weir.workflows where id = $1", int64(id))
		})
	})
}

// What a handler collected is stored by a completion in its own transaction too.
func TestCompleteTxStoresFollowUpJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := &way{T: t, Node: s, Pool: loginPool(t, s.DB)}
	w.Client = overSQL(t, w.Pool)
	w.follow("completed", func(ctx context.Context, j *weir.Job[flaky]) error {
		if err := j.Enqueue(weir.New(next{j.Attempt}, weir.Queue("later"))); err != nil {
			return err
		}
		tx, err := w.Pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }()
		if err := j.CompleteTx(ctx, tx, nil); err != nil || j.Attempt == 1 {
			return errors.Join(err, weir.RetryIn(0, pgx.ErrTxClosed))
		}
		return tx.Commit(ctx)
	})
	if got := weirtest.Values[string](t, s.DB, "select args ->> 'N' from weir.jobs where kind = 'next'"); fmt.Sprint(got) != "[2]" {
		t.Errorf("the follow-up jobs are of the attempts %q", got)
	}
}

func TestHandlersCancelTheirJobs(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		ended := make(chan string, 1)
		hooks := weir.Hooks{Ended: func(_ context.Context, _ *weir.RawJob, e weir.Ending) { ended <- e.Outcome }}
		w.work(weir.WorkerConfig{Hooks: hooks}, func(worker *weir.Worker) {
			weir.Register(worker, func(context.Context, *weir.Job[flaky]) error { return weir.Cancel(errors.New("paid already")) })
		})
		j := w.until(w.enqueue(flaky{}, weir.MaxAttempts(1)), "cancelled")
		if !strings.Contains(string(j.Error), "paid already") || len(j.Errors) != 0 {
			t.Errorf("the job is %+v", j)
		}
		if outcome := <-ended; outcome != "cancel" {
			t.Errorf("the hook is told %s", outcome)
		}
	})
}
