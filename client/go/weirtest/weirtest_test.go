//go:build unix

package weirtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/client/go/weirtest"
)

type sendReceipt struct{ Order int }

func (sendReceipt) Kind() string { return "send_receipt" }

type archive struct{ Order int }

func (archive) Kind() string { return "archive" }

// worker sends receipts, which fails the first time, and enqueues what follows.
func worker(c *weir.Client, sent *[]int) *weir.Worker {
	w := weir.NewWorker(c, weir.WorkerConfig{Concurrency: 1})
	weir.Register(w, func(ctx context.Context, j *weir.Job[sendReceipt]) error {
		if j.Attempt == 1 {
			return weir.RetryIn(time.Hour, errors.New("connection refused"))
		}
		*sent = append(*sent, j.Args.Order)
		_, err := c.Enqueue(ctx, archive{j.Args.Order})
		return err
	})
	weir.Register(w, func(context.Context, *weir.Job[archive]) error { return nil })
	return w
}

func states[A any](w *weirtest.Weir) (states []string) {
	for _, j := range weirtest.Enqueued[A](w) {
		states = append(states, j.State)
	}
	return states
}

func TestWorkAndAdvance(t *testing.T) {
	t.Parallel()
	w := weirtest.Start(t)
	for name, c := range map[string]*weir.Client{"SQL": w.Client, "REST": w.HTTP()} {
		t.Run(name, func(t *testing.T) {
			var sent []int
			crew := worker(c, &sent)
			if _, err := c.Enqueue(t.Context(), sendReceipt{42}); err != nil {
				t.Fatal(err)
			}
			w.Work(crew)
			jobs := weirtest.Enqueued[sendReceipt](w)
			if last := jobs[len(jobs)-1]; last.State != "retryable" || last.Args.Order != 42 || len(sent) > 0 {
				t.Fatalf("after the first attempt the job is %+v", last)
			}
			w.Advance(59 * time.Minute)
			w.Work(crew)
			if len(sent) > 0 {
				t.Fatal("it is tried again before its time")
			}
			w.Advance(2 * time.Minute)
			w.Work(crew)
			if got := states[archive](w); len(sent) != 1 || len(got) == 0 || got[len(got)-1] != "completed" {
				t.Errorf("sent %v, archived %v", sent, got)
			}
		})
	}
}

func TestAdvanceFiresEachSlot(t *testing.T) {
	t.Parallel()
	w := weirtest.Start(t)
	err := w.SetSchedule(t.Context(), "nightly", weir.Schedule{Cron: "30 2 * * *", Job: weir.New(archive{Order: 1})})
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(72 * time.Hour)
	if got := states[archive](w); len(got) != 3 {
		t.Errorf("three nights made the jobs %v", got)
	}
}

func TestLoginMayDoWhatItIsGranted(t *testing.T) {
	t.Parallel()
	w := weirtest.Start(t)
	producer := weir.SQL(w.Login("shop", "producer"))
	t.Cleanup(producer.Close)
	if _, err := producer.Enqueue(t.Context(), archive{}); err != nil {
		t.Error(err)
	}
	var e *weir.Error
	if err := weir.NewWorker(producer, weir.WorkerConfig{}).Run(t.Context()); !errors.As(err, &e) || e.Code != "forbidden" {
		t.Errorf("the error is %v", err)
	}
}
