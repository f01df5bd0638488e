//go:build unix

package client_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/client/go/weirotel"
	"github.com/weirhq/weir/tests/weirtest"
)

// The handler runs in the trace in which the job was enqueued.
func TestTraceGoesFromEnqueueToHandler(t *testing.T) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	s := weirtest.StartNode(t)
	w := &way{Client: overREST(t, s, weirotel.Propagate()), T: t, Node: s}
	traces := make(chan trace.TraceID, 2)
	w.work(weir.WorkerConfig{Middleware: []weir.Middleware{weirotel.Tracing()}}, func(worker *weir.Worker) {
		weir.Register(worker, func(ctx context.Context, _ *weir.Job[Double]) error {
			traces <- trace.SpanContextFromContext(ctx).TraceID()
			return nil
		})
	})
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(t.Context(), parent)
	if _, err := w.Enqueue(ctx, Double{}); err != nil {
		t.Fatal(err)
	}
	if got := <-traces; got != parent.TraceID() {
		t.Errorf("the handler is in trace %s", got)
	}
	if _, err := weir.EnqueueTx(ctx, s.DB.Pool, Double{}, weirotel.Inject(ctx)); err != nil {
		t.Fatal(err)
	}
	if got := <-traces; got != parent.TraceID() {
		t.Errorf("the handler of a job that was enqueued in a transaction is in trace %s", got)
	}
}

// lines is a log that several goroutines write.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestAttemptsAreLoggedByHowTheyEnded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := &way{Client: overREST(t, s), T: t, Node: s}
	log := &lines{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.work(weir.WorkerConfig{Middleware: []weir.Middleware{weir.Logging(logger)}}, func(worker *weir.Worker) {
		weir.Register(worker, func(_ context.Context, j *weir.Job[flaky]) error {
			if j.Args.How == "error" {
				return &refusedError{}
			}
			return nil
		})
	})
	w.until(w.enqueue(flaky{}), "completed")
	w.until(w.enqueue(flaky{"error"}, weir.MaxAttempts(2), weir.Retry(weir.RetryPolicy{Strategy: "fixed", BaseSeconds: 0.01})), "dead")
	for _, want := range []string{
		`level=DEBUG msg="a job ran" job=1 kind=flaky queue=default attempt=1`, `level=WARN msg="an attempt failed"`, `level=ERROR msg="the last attempt of a job failed"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
}
