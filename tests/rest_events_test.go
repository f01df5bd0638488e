package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// streamed is one event as it came, and the stream that it came on.
type streamed struct {
	id, name string
	data     struct {
		At                  time.Time
		Event               string
		JobID               string `json:"job_id"`
		Queue               string
		Kind                string
		Worker              string
		Breaker, By, Reason string
		Error               struct{ Message string }
	}
}

// watch opens a stream. Everything that happens from its return on comes through the channel, which is closed when the stream ends.
func (s *service) watch(query, lastID string) (events <-chan streamed, hangUp func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/events?"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	response, err := http.DefaultClient.Do(request) //nolint:bodyclose // the goroutine below closes it
	if err != nil {
		s.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%s %s after %q", response.Status, response.Header.Get("Content-Type"), lastID)
	}
	all := make(chan streamed, 1000) // a stream that nobody reads any more has to end with its test, and 500 of them have to fit in the memory
	go func() {
		defer close(all)
		defer response.Body.Close()
		var ev streamed
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				ev.id = value
			case "event":
				ev.name = value
			case "data":
				if err := json.Unmarshal([]byte(value), &ev.data); err != nil {
					panic(err)
				}
			case "":
				if ev.id != "" {
					select {
					case all <- ev:
					case <-ctx.Done():
						return
					}
				}
				ev = streamed{}
			}
		}
	}()
	return all, cancel
}

// next waits for so many events of jobs.
func (s *service) next(events <-chan streamed, n int) (got []streamed) {
	s.t.Helper()
	for len(got) < n {
		select {
		case ev, open := <-events:
			if !open {
				s.t.Fatalf("the stream ended after %d of %d events: %+v", len(got), n, got)
			}
			got = append(got, ev)
		case <-time.After(servicePatience):
			s.t.Fatalf("%d of %d events came: %+v", len(got), n, got)
		}
	}
	return got
}

func names(events []streamed) (names []string) {
	for _, ev := range events {
		names = append(names, ev.name)
	}
	return names
}

func TestRESTEventsTellOfAJobsLife(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.count(`select weir.enqueue('before')::int`)
	events, _ := s.watch("event=enqueued,started,failed,completed,dead,cancelled", "")
	s.count(`select weir.enqueue('k', queue => 'mail', max_attempts => 2, options => '{"retry": {"strategy": "fixed", "base_seconds": 0}}')::int`)
	if got := s.next(events, 1)[0]; got.name != "enqueued" || got.data.Kind != "k" || got.data.Queue != "mail" || got.data.JobID != "2" || time.Since(got.data.At).Abs() > time.Minute {
		t.Errorf("got %+v", got)
	}
	s.settle()
	s.count(`select count(*)::int from weir.claim('{mail}', 'w')`)
	if got := s.next(events, 1)[0]; got.name != "started" || got.data.Worker != "w" {
		t.Errorf("got %+v", got)
	}
	s.count(`select length(weir.fail(job_id, token, '{"message": "out of ink"}')) from weir.job_lease`)
	if got := s.next(events, 1)[0]; got.name != "failed" || got.data.Error.Message != "out of ink" {
		t.Errorf("got %+v", got)
	}
	s.settle()
	s.count(`select count(*)::int from weir.claim('{mail}', 'w')`)
	s.next(events, 1)
	s.count(`select count(weir.complete(job_id, token))::int from weir.job_lease`)
	if got := s.next(events, 1)[0]; got.name != "completed" || got.data.JobID != "2" {
		t.Errorf("got %+v", got)
	}
}

func TestRESTEventsAreFiltered(t *testing.T) {
	t.Parallel()
	s := startService(t)
	mail, _ := s.watch("queue=mail&event=enqueued", "")
	kind, _ := s.watch("kind=b&event=enqueued", "")
	job, _ := s.watch("job_id=3", "")
	for _, sql := range []string{`select weir.enqueue('a', queue => 'mail')::int`, `select weir.enqueue('b')::int`, `select weir.enqueue('b', queue => 'mail')::int`} {
		s.count(sql)
	}
	for filter, c := range map[string]struct {
		events <-chan streamed
		ids    []string
	}{"queue": {mail, []string{"1", "3"}}, "kind": {kind, []string{"2", "3"}}, "job_id": {job, []string{"3"}}} {
		var ids []string
		for _, ev := range s.next(c.events, len(c.ids)) {
			ids = append(ids, ev.data.JobID)
		}
		if !slices.Equal(ids, c.ids) {
			t.Errorf("%s: got %v", filter, ids)
		}
	}
	for _, bad := range []string{"job_id=x", "colour=red", "event="} {
		s.get("/v1/events?" + bad).want(http.StatusUnprocessableEntity)
	}
}

// Producers commit in another order than they began, one of them much later; nothing may be missed, by whoever hangs up and resumes neither.
func TestRESTEventsMissNothing(t *testing.T) {
	t.Parallel()
	s := startService(t)
	events, hangUp := s.watch("event=enqueued", "")
	s.do(http.MethodPut, "/v1/queues/default", `{}`).want(http.StatusOK) // or the late one would keep the others from making it
	late := s.begin(`select weir.enqueue('late')`)
	const producers, each = 4, 60
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for i := range each {
				_, err := s.pool.Exec(t.Context(), fmt.Sprintf(`begin; select weir.enqueue('k'); select pg_sleep(%f); commit`, float64(i%7)/100))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]int{}
	lastID := ""
	take := func(n int) {
		for _, ev := range s.next(events, n) {
			seen[ev.data.JobID]++
			lastID = ev.id
		}
	}
	for range 3 { // resumed on the same node
		take(20)
		hangUp()
		events, hangUp = s.watch("event=enqueued", lastID)
	}
	wg.Wait()
	late()
	want := producers*each + 1
	for len(seen) < want {
		take(1)
	}
	again := 0
	for _, n := range seen {
		again += n - 1
	}
	t.Logf("%d of %d events were told again", again, want)
	if last := s.count(`select max(id)::int from weir.job where kind = 'k'`); seen["1"] != 1 || seen[fmt.Sprint(last)] == 0 {
		t.Errorf("the late job was told %d times", seen["1"])
	}
}

// Another node knows nothing of what the first has told; the database does.
func TestRESTEventsResumeOnAnotherNode(t *testing.T) {
	t.Parallel()
	s := startService(t)
	events, hangUp := s.watch("event=enqueued", "")
	s.count(`select weir.enqueue('k')::int`)
	lastID := s.next(events, 1)[0].id
	hangUp()
	s.eventually("nobody listens", func() bool { return s.metric("weir_event_streams") == 0 })
	time.Sleep(500 * time.Millisecond) // until the node has forgotten
	s.count(`select count(weir.enqueue('k'))::int from generate_series(1, 50)`)
	events, _ = s.watch("event=enqueued", lastID)
	told := map[string]bool{}
	for range 51 {
		told[s.next(events, 1)[0].data.JobID] = true
		if len(told) == 50 && !told["1"] {
			break
		}
	}
	for id := 2; id <= 51; id++ {
		if !told[fmt.Sprint(id)] {
			t.Errorf("job %d was not told", id)
		}
	}
	for _, bad := range []string{"17", "x", "1-2-zz-9", "1000000-1-12345678-4"} {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/events", nil)
		request.Header.Set("Last-Event-ID", bad)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %s", bad, response.Status)
		}
	}
}

func TestRESTEventsTellOfWorkers(t *testing.T) {
	t.Parallel()
	s := startService(t)
	events, _ := s.watch("event=worker_active,worker_paused,worker_removed", "")
	s.do(http.MethodPut, "/v1/workers/w-1", `{}`).want(http.StatusOK)
	first := s.next(events, 1)
	s.do(http.MethodPost, "/v1/workers/w-1/pause", ``).want(http.StatusOK)
	got := append(first, s.next(events, 1)...)
	s.do(http.MethodDelete, "/v1/workers/w-1", ``)
	got = append(got, s.next(events, 1)...)
	if !slices.Equal(names(got), []string{"worker_active", "worker_paused", "worker_removed"}) || got[0].data.Worker != "w-1" {
		t.Errorf("got %+v", got)
	}
}

// However many listen, the database is asked as often as for one.
func TestRESTManyEventStreamsCostOneLook(t *testing.T) {
	t.Parallel()
	s := startService(t)
	const listeners = 500
	streams := make([]<-chan streamed, listeners)
	for i := range streams {
		streams[i], _ = s.watch("event=enqueued", "")
	}
	if n := s.metric("weir_event_streams"); n != listeners {
		t.Errorf("%v streams", n)
	}
	if n := s.count(`select count(*)::int from pg_stat_activity where datname = current_database() and application_name like 'weir%'`); n > 40 {
		t.Errorf("%d connections", n)
	}
	looks, began := s.metric("weir_loop_step_duration_seconds_count", `loop="feed"`), time.Now()
	s.count(`select weir.enqueue('k')::int`)
	for _, events := range streams {
		if got := s.next(events, 1)[0]; got.data.JobID != "1" {
			t.Errorf("got %+v", got)
		}
	}
	if more := s.metric("weir_loop_step_duration_seconds_count", `loop="feed"`) - looks; more > 4+5*time.Since(began).Seconds() {
		t.Errorf("%v looks in %s", more, time.Since(began))
	}
}
