//go:build unix

package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

// gated is a handler that runs until its gate opens, whatever its context says.
func gated(started chan<- weir.ID, gate <-chan struct{}) func(context.Context, *weir.Job[flaky]) error {
	return func(_ context.Context, j *weir.Job[flaky]) error {
		started <- j.ID
		<-gate
		return nil
	}
}

func TestStoppedWorkerFinishesWhatRuns(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		started, gate := make(chan weir.ID, 1), make(chan struct{})
		stop := w.work(weir.WorkerConfig{Concurrency: 1}, func(worker *weir.Worker) { weir.Register(worker, gated(started, gate)) })
		id := w.enqueue(flaky{})
		<-started
		ended := make(chan error, 1)
		go func() { ended <- stop() }()
		later := w.enqueue(flaky{})
		close(gate)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w.until(id, "completed")
		if j := w.Node.Job(later.String()); j.State != "available" || j.Attempt != 0 {
			t.Errorf("a job that had not begun is %s with %d attempts", j.State, j.Attempt)
		}
	})
}

func TestStoppedWorkerGivesBackWhatDoesNotFinish(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		causes, started := make(chan error, 1), make(chan struct{})
		stop := w.work(weir.WorkerConfig{Grace: time.Millisecond}, func(worker *weir.Worker) {
			weir.Register(worker, func(ctx context.Context, _ *weir.Job[flaky]) error {
				close(started)
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return ctx.Err()
			})
		})
		id := w.enqueue(flaky{}, weir.MaxAttempts(1))
		<-started
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := <-causes; !errors.Is(err, weir.ErrShutdown) {
			t.Errorf("the cause is %v", err)
		}
		if j := w.Node.Job(id.String()); j.State != "available" || j.Attempt != 0 {
			t.Errorf("the job is %s with %d attempts", j.State, j.Attempt)
		}
	})
}

func TestStoppedWorkerLeavesHandlerThatDoesNotReturn(t *testing.T) {
	bothWays(t, func(t *testing.T, w *way) {
		started, gate := make(chan weir.ID, 1), make(chan struct{})
		defer close(gate)
		worker := weir.NewWorker(w.Client, weir.WorkerConfig{Grace: time.Millisecond})
		weir.Register(worker, gated(started, gate))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(ctx) }()
		id := w.enqueue(flaky{})
		<-started
		cancel()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "1 handlers did not return") {
			t.Errorf("the error is %v", err)
		}
		if j := w.Node.Job(id.String()); j.State != "available" || j.Attempt != 0 {
			t.Errorf("the job is %s with %d attempts", j.State, j.Attempt)
		}
	})
}

func TestWorkerThatIsRefusedEnds(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	mailer := weirtest.Login(t, s.DB, "mailer", "'worker', queues => '{mail}'")
	for code, c := range map[string]*weir.Client{"invalid_argument": overREST(t, s), "queue_not_found": overSQL(t, mailer.Pool)} {
		worker := weir.NewWorker(c, weir.WorkerConfig{Queues: []string{"no name"}})
		var e *weir.Error
		if err := worker.Run(t.Context()); !errors.As(err, &e) || e.Code != code {
			t.Errorf("the error is %v, want %s", err, code)
		}
	}
}
