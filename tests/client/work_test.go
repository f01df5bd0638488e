//go:build unix

package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestHandlerReturnsResult(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) { weir.Handle(worker, double) })
		got, err := weir.Call(t.Context(), w.Client, Double{N: 21})
		if err != nil || got != 42 {
			t.Errorf("the result is %d, %v", got, err)
		}
	})
}

type tagged struct {
	_     struct{} `weir:"tagged"`
	Order int
}

func TestKindComesFromTag(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		orders := make(chan int, 1)
		w.work(weir.WorkerConfig{Queues: []string{"mail"}}, func(worker *weir.Worker) {
			weir.Register(worker, func(_ context.Context, j *weir.Job[tagged]) error {
				orders <- j.Args.Order
				return nil
			})
		})
		id := w.enqueue(tagged{Order: 7}, weir.Queue("mail"))
		if got := <-orders; got != 7 {
			t.Errorf("the order is %d", got)
		}
		if j := w.until(id, "completed"); j.Kind != "tagged" || j.Queue != "mail" {
			t.Errorf("the job is %+v", j)
		}
	})
}

// flaky is a job that ends in a way of its choice.
type flaky struct{ How string }

func (flaky) Kind() string { return "flaky" }

type refusedError struct{}

func (*refusedError) Error() string { return "connection refused" }

func TestHandlerDecidesHowJobEnds(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		stopped := w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Register(worker, func(_ context.Context, j *weir.Job[flaky]) error {
				switch j.Args.How {
				case "snooze":
					return weir.Snooze(time.Hour)
				case "retry in":
					return fmt.Errorf("wrapped: %w", weir.RetryIn(time.Hour, &refusedError{}))
				case "discard":
					return weir.Discard(&refusedError{})
				case "error":
					return fmt.Errorf("sending: %w", &refusedError{})
				case "panic":
					panic("at the disco")
				}
				return nil
			})
		})
		want := map[string]struct {
			state   string
			attempt int
			kind    string
			message string
		}{
			"nothing":  {"completed", 1, "", ""},
			"snooze":   {"scheduled", 0, "", ""},
			"retry in": {"retryable", 1, "client_test.refusedError", "wrapped: connection refused"},
			"discard":  {"dead", 1, "client_test.refusedError", "connection refused"},
			"error":    {"dead", 1, "client_test.refusedError", "sending: connection refused"},
			"panic":    {"dead", 1, "panic", "at the disco"},
		}
		for how, end := range want {
			attempts := 1
			if end.state == "retryable" || how == "discard" {
				attempts = 5
			}
			id := w.enqueue(flaky{how}, weir.MaxAttempts(attempts))
			j := w.until(id, end.state)
			if j.Attempt != end.attempt {
				t.Errorf("%s: the job has %d attempts, want %d", how, j.Attempt, end.attempt)
			}
			if end.message == "" {
				continue
			}
			if len(j.Errors) != 1 || j.Errors[0].Type != end.kind || j.Errors[0].Message != end.message || (j.Errors[0].Stack != "") != (how == "panic") {
				t.Errorf("%s: the errors are %+v", how, j.Errors)
			}
		}
		if err := stopped(); err != nil {
			t.Error(err)
		}
	})
}

func TestUnknownKindFails(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) { weir.Handle(worker, double) })
		j := w.until(w.enqueue(flaky{}, weir.MaxAttempts(1)), "dead")
		if j.Errors[0].Type != "unknown_kind" {
			t.Errorf("the error is %+v", j.Errors[0])
		}
	})
}

func TestCancelReachesHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		causes := make(chan error, 1)
		w.work(weir.WorkerConfig{Lease: time.Second}, func(worker *weir.Worker) {
			weir.Register(worker, func(ctx context.Context, _ *weir.Job[flaky]) error {
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return ctx.Err()
			})
		})
		id := w.enqueue(flaky{})
		w.until(id, "running")
		w.Node.Post("/v1/jobs/"+id.String()+"/cancel", nil).Want(200)
		if err := <-causes; !errors.Is(err, weir.ErrCancelled) {
			t.Errorf("the cause is %v", err)
		}
		w.until(id, "cancelled")
	})
}

func TestLostLeaseEndsHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		causes, endings := make(chan error, 1), make(chan weir.Ending, 1)
		hooks := weir.Hooks{Ended: func(_ context.Context, _ *weir.RawJob, e weir.Ending) { endings <- e }}
		w.work(weir.WorkerConfig{Lease: time.Second, Hooks: hooks, Name: "w"}, func(worker *weir.Worker) {
			weir.Register(worker, func(ctx context.Context, _ *weir.Job[flaky]) error {
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return nil
			})
		})
		id := w.enqueue(flaky{}, weir.MaxAttempts(1))
		w.until(id, "running")
		w.Node.Exec("update weir.job_lease set token = token + 1000 where job_id = $1", int64(id)) // as if another worker had it
		if err := <-causes; !errors.Is(err, weir.ErrLeaseLost) {
			t.Errorf("the cause is %v", err)
		}
		if e := <-endings; e.Outcome != "lost" || !errors.Is(e.Err, weir.ErrLeaseLost) {
			t.Errorf("the ending is %+v", e)
		}
	})
}

// The job comes to the same worker again, while its first handler still runs.
func TestJobClaimedAgainEndsItsFirstHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		causes, runs := make(chan error, 1), atomic.Int32{}
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Register(worker, func(ctx context.Context, _ *weir.Job[flaky]) error {
				if runs.Add(1) == 1 {
					<-ctx.Done()
					causes <- context.Cause(ctx)
					return nil
				}
				err := <-causes
				if !errors.Is(err, weir.ErrLeaseLost) {
					t.Errorf("the cause is %v", err)
				}
				return nil
			})
		})
		id := w.enqueue(flaky{})
		w.until(id, "running")
		w.Node.Exec("select weir.release(job_id, token) from weir.job_lease where job_id = $1", int64(id))
		w.until(id, "completed")
	})
}

func TestTimeoutEndsHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Register(worker, func(ctx context.Context, _ *weir.Job[flaky]) error {
				<-ctx.Done()
				return context.Cause(ctx)
			})
		})
		j := w.until(w.enqueue(flaky{}, weir.Timeout(time.Second), weir.MaxAttempts(1)), "dead")
		if j.Errors[0].Type != "timeout" {
			t.Errorf("the error is %+v", j.Errors[0])
		}
	})
}

func TestProgressAndLogsAreSent(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		goOn := make(chan struct{})
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Register(worker, func(_ context.Context, j *weir.Job[flaky]) error {
				j.Progress(40, "rendered")
				j.Log().With("page", 3).WithGroup("g").Warn("odd colours", "n", 1)
				<-goOn
				j.Log().Info("done")
				return nil
			})
		})
		id := w.enqueue(flaky{})
		w.Node.Eventually("the job shows its progress and its log", func() bool {
			j := w.Node.Job(id.String())
			return j.Progress != nil && j.Progress.Percent == 40 && w.Node.Count("select count(*) from weir.job_logs where job_id = $1", int64(id)) == 1
		})
		close(goOn)
		w.until(id, "completed")
		lines := weirtest.Values[string](t, w.Node.DB, "select concat_ws(' ', level, message, fields) from weir.job_logs where job_id = $1 order by number", int64(id))
		if len(lines) != 2 || lines[0] != `warn odd colours {"g.n": 1, "page": 3}` || lines[1] != "info done" {
			t.Errorf("the log is %q", lines)
		}
	})
}

func TestWorkerRunsNoMoreAtOnceThanItMay(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		var kind, queue, all, most atomic.Int64
		enter := func(n *atomic.Int64, limit int64, what string) {
			if now := n.Add(1); now > limit {
				t.Errorf("%d %s run at once", now, what)
			}
		}
		w.work(weir.WorkerConfig{Concurrency: 6, Queues: []string{"default"}, QueueConcurrency: map[string]int{"narrow": 2}}, func(worker *weir.Worker) {
			weir.Register(worker, func(_ context.Context, j *weir.Job[flaky]) error {
				if j.Queue == "narrow" {
					enter(&queue, 2, "jobs of the narrow queue")
					defer queue.Add(-1)
				} else {
					enter(&all, 6, "jobs of the queue")
					defer all.Add(-1)
				}
				most.Store(max(most.Load(), all.Load()))
				time.Sleep(2 * time.Millisecond)
				return nil
			})
			weir.Handle(worker, func(ctx context.Context, j *weir.Job[Double]) (int, error) {
				enter(&all, 6, "jobs of the queue")
				enter(&kind, 1, "jobs of the kind")
				defer all.Add(-1)
				defer kind.Add(-1)
				time.Sleep(2 * time.Millisecond)
				return double(ctx, j)
			}, weir.Concurrency(1))
		})
		var jobs []weir.NewJob
		for i := range 60 {
			jobs = append(jobs, weir.New(flaky{}), weir.New(flaky{}, weir.Queue("narrow")))
			if i%3 == 0 {
				jobs = append(jobs, weir.New(Double{N: i}))
			}
		}
		if _, err := w.EnqueueMany(t.Context(), jobs...); err != nil {
			t.Fatal(err)
		}
		w.Node.Eventually("all jobs are completed", func() bool {
			return w.Node.Count("select count(*) from weir.jobs where state = 'completed'") == len(jobs)
		})
		if most.Load() < 2 {
			t.Error("no two jobs ran at once")
		}
	})
}

func TestMiddlewareAndHooksSeeJobs(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		steps := make(chan string, 10)
		around := func(name string) weir.Middleware {
			return func(next weir.HandlerFunc) weir.HandlerFunc {
				return func(ctx context.Context, j *weir.RawJob) error {
					steps <- name + " before"
					err := next(ctx, j)
					steps <- name + " after"
					return err
				}
			}
		}
		w.work(weir.WorkerConfig{
			Middleware: []weir.Middleware{around("outer"), around("inner")},
			Hooks: weir.Hooks{
				Started: func(_ context.Context, j *weir.RawJob) { steps <- "started " + j.Kind },
				Ended:   func(_ context.Context, j *weir.RawJob, e weir.Ending) { steps <- "ended " + e.Outcome },
			},
		}, func(worker *weir.Worker) { weir.Handle(worker, double) })
		w.until(w.enqueue(Double{}), "completed")
		for _, want := range []string{"started double", "outer before", "inner before", "inner after", "outer after", "ended complete"} {
			if got := <-steps; got != want {
				t.Errorf("%q came, want %q", got, want)
			}
		}
	})
}
