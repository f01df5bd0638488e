package events

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// failMany makes n jobs fail once, each with an error as large as errors can be.
func failMany(s *weirtest.Node, n int) {
	s.T.Helper()
	for range n / 500 {
		s.Exec(`select weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'k', 'queue', 'failing', 'max_attempts', 1)) from generate_series(1, 500)))`)
		weirtest.Settle(s.T, s.DB)
		s.Exec(`select weir.fail_many(array_agg(c.job_id), array_agg(c.token),
			array_agg(jsonb_build_object('message', repeat('m', 8000), 'stack', repeat('s', 16000)))) from weir.claim('{failing}', 'w', 500) c`)
	}
	if got := s.Count(`select count(*)::int from weir.job_outcome where state = 'dead'`); got != n {
		s.T.Fatalf("%d jobs are dead, want %d", got, n)
	}
}

// resume opens a stream after an event, and leaves it to the caller to read it.
func resume(s *weirtest.Node, query, lastID string) *http.Response {
	s.T.Helper()
	ctx, cancel := context.WithCancel(s.T.Context())
	s.T.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/events?"+query, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	request.Header.Set("Last-Event-ID", lastID)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.T.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		s.T.Fatalf("resuming: %s", response.Status)
	}
	return response
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Not parallel: it measures the memory of this process.
func TestResumingClientsThatDoNotReadCostLittleMemory(t *testing.T) {
	weirtest.Long(t, "many clients fill their buffers")
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as little garbage as by default: it counts too
	s := weirtest.StartNode(t)
	events, hangUp := s.WatchEvents("event=enqueued", "")
	s.Enqueue(weirtest.Object{"kind": "first"})
	lastID := s.NextEvents(events, 1)[0].ID
	hangUp()
	s.Eventually("there are no listeners", func() bool { return s.Metric("weir_event_streams") == 0 })
	const failures, clients = 1000, 6
	failMany(s, failures)

	before := heap()
	streams := make([]*http.Response, clients)
	for i := range streams {
		streams[i] = resume(s, "event=failed,dead", lastID) //nolint:bodyclose // the next line closes it
		defer streams[i].Body.Close()
	}
	most := 0
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(50 * time.Millisecond) {
		most = max(most, heap()-before)
	}
	t.Logf("%d clients that resume before %d events of 24 KB each cost %.1f MB", clients, failures, float64(most)/1e6)
	const each = 8 << 20 // all events at once would be 24 MB
	if most > clients*each {
		t.Errorf("%d clients cost %.1f MB, want at most %.1f each", clients, float64(most)/1e6, each/1e6)
	}
	var readers sync.WaitGroup
	for i, stream := range streams { // together: a node gives up on a client that does not read for long
		readers.Go(func() {
			if got := count(t, stream, failures); got != failures {
				t.Errorf("client %d got %d of %d events", i, got, failures)
			}
		})
	}
	readers.Wait()
}

// count reads a stream until it has seen `want` different jobs die, and returns how many it has seen.
func count(t *testing.T, stream *http.Response, want int) int {
	t.Helper()
	timer := time.AfterFunc(weirtest.Patience, func() { stream.Body.Close() })
	defer timer.Stop()
	seen := map[string]bool{}
	lines := bufio.NewScanner(stream.Body)
	lines.Buffer(nil, 1<<20)
	for len(seen) < want && lines.Scan() {
		if _, rest, found := strings.Cut(lines.Text(), `"event":"dead","job_id":"`); found {
			id, _, _ := strings.Cut(rest, `"`)
			seen[id] = true
		}
	}
	return len(seen)
}

func TestReplayIsFilteredAndInOrder(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	events, hangUp := s.WatchEvents("event=enqueued", "")
	s.Enqueue(weirtest.Object{"kind": "first"})
	lastID := s.NextEvents(events, 1)[0].ID
	hangUp()
	s.Eventually("there are no listeners", func() bool { return s.Metric("weir_event_streams") == 0 })
	// More events of one moment than a page holds, among others that do not pass.
	s.Exec(`select weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'k', 'queue', case when i % 2 = 0 then 'even' else 'odd' end)) from generate_series(1, 4000) i))`)
	wanted := s.Enqueue(weirtest.Object{"kind": "last", "queue": "even"})
	weirtest.Settle(t, s.DB)

	events, _ = s.WatchEvents("queue=even", lastID)
	seen, last := map[string]bool{}, time.Time{}
	for len(seen) < 2001 {
		ev := s.NextEvents(events, 1)[0]
		if ev.Data.Queue != "even" || ev.Data.At.Before(last) {
			t.Fatalf("got %+v after an event of %s", ev, last)
		}
		seen[ev.Data.JobID], last = true, ev.Data.At
	}
	if !seen[wanted] {
		t.Error("the last job is missing")
	}

	events, _ = s.WatchEvents(fmt.Sprintf("job_id=%s", wanted), lastID)
	if ev := s.NextEvents(events, 1)[0]; ev.Data.JobID != wanted || ev.Name != "enqueued" {
		t.Errorf("of one job: got %+v", ev)
	}
	select {
	case ev := <-events:
		t.Errorf("another event came: %+v", ev)
	case <-time.After(time.Second):
	}
}

// A client that breaks off in the middle of a replay goes on from there, not from its beginning.
func TestReplayGoesOnWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	events, hangUp := s.WatchEvents("event=enqueued", "")
	s.Enqueue(weirtest.Object{"kind": "first"})
	lastID := s.NextEvents(events, 1)[0].ID
	hangUp()
	s.Eventually("there are no listeners", func() bool { return s.Metric("weir_event_streams") == 0 })
	ids := map[string]bool{}
	for range 30 {
		for _, id := range s.EnqueueAll([]weirtest.Object{{"kind": "k"}, {"kind": "k"}}) {
			ids[id] = true
		}
	}
	weirtest.Settle(t, s.DB)
	events, hangUp = s.WatchEvents("event=enqueued", lastID)
	half := s.NextEvents(events, 30)
	hangUp()
	for _, ev := range half {
		delete(ids, ev.Data.JobID)
	}
	events, _ = s.WatchEvents("event=enqueued", half[29].ID)
	repeated := 0
	for len(ids) > 0 {
		ev := s.NextEvents(events, 1)[0]
		if !ids[ev.Data.JobID] {
			repeated++
		}
		delete(ids, ev.Data.JobID)
	}
	if repeated > 10 {
		t.Errorf("%d events came again", repeated)
	}
}
