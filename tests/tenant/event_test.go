package tenant

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestEventsAreOfTheCallersJobs listens while things happen, and then resumes from the beginning.
func TestEventsAreOfTheCallersJobs(t *testing.T) {
	eachBinding(t, func(t *testing.T, s *weirtest.Node, a, b side) {
		live, hangUp := a.WatchEvents("", "")
		defer hangUp()
		first := a.Enqueue(obj{"kind": "first", "queue": a.queue})
		start := a.NextEvents(live, 1)[0]
		if start.Data.JobID != first {
			t.Fatalf("the first event is %+v", start)
		}
		b.Enqueue(obj{"kind": "secret", "queue": b.queue})
		s.Enqueue(obj{"kind": "secret", "queue": "of_admin"})
		b.Submit(nil, obj{"name": "secret", "kind": "secret", "queue": b.queue})
		s.Do(http.MethodPut, "/v1/breakers/secret", obj{}).Want(http.StatusOK)
		s.Post("/v1/breakers/secret/trip", obj{}).Want(http.StatusOK)
		b.Enqueue(obj{"kind": "last", "queue": b.queue})
		last := a.Submit(nil, obj{"name": "mine", "kind": "k", "queue": a.queue})
		a.Post("/v1/workflows/"+last+"/cancel", nil).Want(http.StatusOK)
		end := a.Enqueue(obj{"kind": "end", "queue": a.queue})
		for what, events := range map[string]<-chan weirtest.Event{"live": live, "resumed": replayed(a.Node, start.ID)} {
			var seen []string
			for {
				e := a.NextEvents(events, 1)[0]
				if e.Data.JobID == first {
					continue
				}
				seen = append(seen, e.Name)
				if (e.Data.Queue != a.queue && e.Data.Queue != "") || e.Data.Kind == "secret" || e.Data.Kind == "last" || e.Data.Breaker != "" {
					t.Errorf("%s: another's event %+v", what, e)
				}
				if e.Data.JobID == end {
					break
				}
			}
			if got := slices.Contains(seen, "workflow_submitted"); got != (a.queue == "shared") {
				t.Errorf("%s: the events are %v", what, seen)
			}
		}
	})
}

// replayed resumes on a node that has not seen the events.
func replayed(s *weirtest.Node, from string) <-chan weirtest.Event {
	parts := strings.Split(from, "-")
	events, _ := s.WatchEvents("", strings.Join(parts[:3], "-")+"-00000000-1") // the feed of no node has this tag
	return events
}
