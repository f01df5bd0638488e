package events

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestEventsShowLifeOfJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Count(`select weir.enqueue('before')::int`)
	events, _ := s.WatchEvents("event=enqueued,started,failed,completed,dead,cancelled", "")
	s.Count(`select weir.enqueue('k', queue => 'mail', max_attempts => 2, options => '{"retry": {"strategy": "fixed", "base_seconds": 0}}')::int`)
	if got := s.NextEvents(events, 1)[0]; got.Name != "enqueued" || got.Data.Kind != "k" || got.Data.Queue != "mail" || got.Data.JobID != "2" || time.Since(got.Data.At).Abs() > time.Minute {
		t.Errorf("got %+v", got)
	}
	s.Settle()
	s.Count(`select count(*)::int from weir.claim('{mail}', 'w')`)
	if got := s.NextEvents(events, 1)[0]; got.Name != "started" || got.Data.Worker != "w" {
		t.Errorf("got %+v", got)
	}
	s.Count(`select length(weir.fail(job_id, token, '{"message": "out of ink"}')) from weir.job_lease`)
	if got := s.NextEvents(events, 1)[0]; got.Name != "failed" || got.Data.Error.Message != "out of ink" {
		t.Errorf("got %+v", got)
	}
	s.Settle()
	s.Count(`select count(*)::int from weir.claim('{mail}', 'w')`)
	s.NextEvents(events, 1)
	s.Count(`select count(weir.complete(job_id, token))::int from weir.job_lease`)
	if got := s.NextEvents(events, 1)[0]; got.Name != "completed" || got.Data.JobID != "2" {
		t.Errorf("got %+v", got)
	}
}

func TestEventsAreFiltered(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	mail, _ := s.WatchEvents("queue=mail&event=enqueued", "")
	kind, _ := s.WatchEvents("kind=b&event=enqueued", "")
	job, _ := s.WatchEvents("job_id=3", "")
	for _, sql := range []string{`select weir.enqueue('a', queue => 'mail')::int`, `select weir.enqueue('b')::int`, `select weir.enqueue('b', queue => 'mail')::int`} {
		s.Count(sql)
	}
	for filter, c := range map[string]struct {
		events <-chan weirtest.Event
		ids    []string
	}{"queue": {mail, []string{"1", "3"}}, "kind": {kind, []string{"2", "3"}}, "job_id": {job, []string{"3"}}} {
		var ids []string
		for _, ev := range s.NextEvents(c.events, len(c.ids)) {
			ids = append(ids, ev.Data.JobID)
		}
		if !slices.Equal(ids, c.ids) {
			t.Errorf("%s: got %v", filter, ids)
		}
	}
	for _, bad := range []string{"job_id=x", "colour=red", "event="} {
		s.Get("/v1/events?" + bad).Want(http.StatusUnprocessableEntity)
	}
}

// Producers commit in another order than they began, one of them much later. No stream may miss anything, not even one
// that disconnects and resumes.
func TestEventsMissNothing(t *testing.T) {
	weirtest.Long(t, "it follows many jobs")
	t.Parallel()
	s := weirtest.StartNode(t)
	events, hangUp := s.WatchEvents("event=enqueued", "")
	s.Do(http.MethodPut, "/v1/queues/default", `{}`).Want(http.StatusOK) // or the late transaction would keep the others from making it
	late := s.ExecUncommitted(`select weir.enqueue('late')`)
	const producers, each = 4, 60
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for i := range each {
				_, err := s.DB.Exec(t.Context(), fmt.Sprintf(`begin; select weir.enqueue('k'); select pg_sleep(%f); commit`, float64(i%7)/100))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]int{}
	lastID := ""
	take := func(n int) {
		for _, ev := range s.NextEvents(events, n) {
			seen[ev.Data.JobID]++
			lastID = ev.ID
		}
	}
	for range 3 { // resumed on the same node
		take(20)
		hangUp()
		events, hangUp = s.WatchEvents("event=enqueued", lastID)
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
	if last := s.Count(`select max(id)::int from weir.job where kind = 'k'`); seen["1"] != 1 || seen[fmt.Sprint(last)] == 0 {
		t.Errorf("the late job was told %d times", seen["1"])
	}
}

// Another node knows nothing of what the first one sent; the database does.
func TestEventsResumeOnAnotherNode(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	events, hangUp := s.WatchEvents("event=enqueued", "")
	s.Count(`select weir.enqueue('k')::int`)
	lastID := s.NextEvents(events, 1)[0].ID
	hangUp()
	s.Eventually("nobody listens", func() bool { return s.Metric("weir_event_streams") == 0 })
	time.Sleep(500 * time.Millisecond) // until the node has forgotten
	s.Count(`select count(weir.enqueue('k'))::int from generate_series(1, 50)`)
	events, _ = s.WatchEvents("event=enqueued", lastID)
	told := map[string]bool{}
	for range 51 {
		told[s.NextEvents(events, 1)[0].Data.JobID] = true
		if len(told) == 50 && !told["1"] {
			break
		}
	}
	for id := 2; id <= 51; id++ {
		if !told[fmt.Sprint(id)] {
			t.Errorf("job %d was not told", id)
		}
	}
	// Not even the whole place may be moved: it says how far back the database is read.
	parts := strings.Split(lastID, "-")
	forged := func(part int, text string) string {
		moved := slices.Clone(parts)
		moved[part] = text
		return strings.Join(moved, "-")
	}
	now := fmt.Sprint(time.Now().UnixMicro())
	for _, bad := range []string{
		"17", "x", "1-2-zz-9", "1000000-1-12345678-4", now + "-0-12345678-4", now + "-0-0000000000000000-12345678-4",
		forged(0, now), forged(1, parts[1]+"1"), forged(1, "-5"), forged(2, strings.Repeat("0", 16)), forged(2, ""),
	} {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/events", nil)
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

func TestEventsShowWorkers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	events, _ := s.WatchEvents("event=worker_active,worker_paused,worker_removed", "")
	s.Do(http.MethodPut, "/v1/workers/w-1", `{}`).Want(http.StatusOK)
	first := s.NextEvents(events, 1)
	s.Do(http.MethodPost, "/v1/workers/w-1/pause", ``).Want(http.StatusOK)
	got := append(first, s.NextEvents(events, 1)...)
	s.Do(http.MethodDelete, "/v1/workers/w-1", ``)
	got = append(got, s.NextEvents(events, 1)...)
	if !slices.Equal(weirtest.EventNames(got), []string{"worker_active", "worker_paused", "worker_removed"}) || got[0].Data.Worker != "w-1" {
		t.Errorf("got %+v", got)
	}
}

// However many streams there are, the database is queried as often as for one.
func TestManyStreamsShareOneQuery(t *testing.T) {
	weirtest.Long(t, "it opens 500 streams")
	t.Parallel()
	s := weirtest.StartNode(t)
	const listeners = 500
	streams := make([]<-chan weirtest.Event, listeners)
	for i := range streams {
		streams[i], _ = s.WatchEvents("event=enqueued", "")
	}
	if n := s.Metric("weir_event_streams"); n != listeners {
		t.Errorf("%v streams", n)
	}
	if n := s.Count(`select count(*)::int from pg_stat_activity where datname = current_database() and application_name like 'weir%'`); n > 40 {
		t.Errorf("%d connections", n)
	}
	looks, began := s.MetricOrZero("weir_loop_step_duration_seconds_count", `loop="feed"`), time.Now()
	s.Count(`select weir.enqueue('k')::int`)
	for _, events := range streams {
		if got := s.NextEvents(events, 1)[0]; got.Data.JobID != "1" {
			t.Errorf("got %+v", got)
		}
	}
	if more := s.MetricOrZero("weir_loop_step_duration_seconds_count", `loop="feed"`) - looks; more > 4+5*time.Since(began).Seconds() {
		t.Errorf("%v looks in %s", more, time.Since(began))
	}
}
