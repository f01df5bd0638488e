//go:build unix

package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

// readerOverSQL is a client of a login that reads, enqueues and works.
func readerOverSQL(t *testing.T, s *weirtest.Node) *way {
	l := weirtest.Login(t, s.DB, "reader", "'reader'", "'producer'", "'worker'")
	return &way{Client: overSQL(t, l.Pool), T: t, Node: s, Pool: l.Pool}
}

func TestEventsOverSQLComeOnceAndResume(t *testing.T) {
	t.Parallel()
	w := readerOverSQL(t, weirtest.StartNode(t))
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan weir.Event, 100)
	go func() {
		for e, err := range w.Events(ctx, weir.EventFilter{Queue: "mail", Events: []string{"enqueued", "completed"}}) {
			if err != nil {
				t.Error(err)
			}
			events <- e
		}
		close(events)
	}()
	w.work(weir.WorkerConfig{Queues: []string{"mail", "other"}}, func(worker *weir.Worker) { weir.Handle(worker, double) })
	var first weir.Event
	w.Node.Eventually("the listener listens", func() bool {
		w.enqueue(Double{}, weir.Queue("mail"))
		select {
		case first = <-events:
			return true
		default:
			return false
		}
	})
	w.enqueue(Double{}, weir.Queue("other"))
	last := w.enqueue(Double{}, weir.Queue("mail"))
	seen := map[string]weir.Event{first.Event + first.JobID.String(): first}
	for e := range events {
		key := e.Event + e.JobID.String()
		if _, twice := seen[key]; twice || e.Queue != "mail" || e.At.IsZero() {
			t.Errorf("%s comes twice (%t), or is wrong: %+v", key, twice, e)
		}
		if seen[key] = e; e.JobID == last && e.Event == "completed" {
			break
		}
	}
	cancel()
	enqueued := seen["enqueued"+last.String()]
	for e, err := range w.Events(t.Context(), weir.EventFilter{JobID: last, After: enqueued.Position}) {
		if err != nil || e.Event == "enqueued" {
			t.Fatalf("after the enqueue of the job comes %+v, %v", e, err)
		}
		if e.Event == "completed" {
			break
		}
	}
}

func TestEventsOverSQLGoOnAfterABreak(t *testing.T) {
	t.Parallel()
	w := readerOverSQL(t, weirtest.StartNode(t))
	events := make(chan weir.Event, 100)
	go func() {
		for e, err := range w.Events(t.Context(), weir.EventFilter{Queue: "q", Events: []string{"enqueued"}}) {
			if err != nil {
				t.Error(err)
				return
			}
			events <- e
		}
	}()
	next := func() (e weir.Event) {
		w.Node.Eventually("an event comes", func() bool {
			select {
			case e = <-events:
				return true
			default:
				return false
			}
		})
		return e
	}
	w.Node.Eventually("the listener listens", func() bool {
		w.enqueue(flaky{}, weir.Queue("q"))
		return len(events) > 0
	})
	last := w.enqueue(flaky{}, weir.Queue("q"))
	for next().JobID != last {
	}
	weirtest.Exec(t, w.Node.DB, "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", w.Pool.Config().ConnConfig.User)
	missed := weirtest.Value[string](t, w.Node.DB, "select weir.enqueue('flaky', queue => 'q')::text")
	if e := next(); e.JobID.String() != missed {
		t.Errorf("after a break comes job %s, want %s", e.JobID, missed)
	}
}

func TestEventsOverSQLSayWhatTheyRefuse(t *testing.T) {
	t.Parallel()
	w := readerOverSQL(t, weirtest.StartNode(t))
	for _, f := range []weir.EventFilter{{After: "x"}, {Events: []string{"worker_lost"}}} {
		var last error
		for _, err := range w.Events(t.Context(), f) {
			last = err
		}
		var refused *weir.Error
		if !errors.As(last, &refused) || refused.Code != "invalid_argument" {
			t.Errorf("%s ends with %v", fmt.Sprint(f), last)
		}
	}
}
