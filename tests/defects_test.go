package tests

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// What the service before this one got wrong, each shown not to be so here.

// There, a path such as /jobs/batch led to the operation of /jobs/{id}.
func TestNoRouteIsShadowedByAnother(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var routes [][]string
	for path, methods := range s.Document("/openapi.json").Paths {
		for method := range methods {
			called := regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(path, "1")
			if path == "/v1/events" {
				called += "?job_id=x" // or its answer would not end
			}
			s.Do(strings.ToUpper(method), called, nil)
			routes = append(routes, []string{`route="` + path + `"`, `method="` + strings.ToUpper(method) + `"`})
		}
	}
	scraped := s.Get("/metrics").Want(http.StatusOK)
	for _, labels := range routes { // each was called once, so whoever got the call of another has two
		if n := s.MetricIn(scraped, "weir_http_requests_total", labels...); n != 1 {
			t.Errorf("%v was led to %v times", labels, n)
		}
	}
	if len(routes) < 30 {
		t.Errorf("the document has only %d operations", len(routes))
	}
}

// There, readiness answered 200 whatever the database did.
func TestANodeThatIsNotReadySaysSo(t *testing.T) {
	t.Parallel()
	weirtest.StartNodeOn(t, weirtest.Empty(t)).Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	weirtest.StartNodeOn(t, weirtest.Open(t, "postgres://nobody@127.0.0.1:1/none")).Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	s := weirtest.StartNode(t)
	s.Get("/readyz").Want(http.StatusOK)
	s.Engine.Drain()
	s.Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
}

// There, nothing ever moved a job to the dead letters.
func TestAJobWhoseAttemptsAreUsedUpIsADeadLetter(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	failed := s.Enqueue(`{"kind": "k", "queue": "failed", "max_attempts": 2, "retry": {"strategy": "fixed", "base_seconds": 0}}`)
	for range 2 {
		j := s.ClaimOne("failed")
		s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}}).Want(http.StatusOK)
	}
	hopeless := s.Enqueue(`{"kind": "k", "queue": "hopeless"}`)
	s.Post("/v1/jobs/"+hopeless+"/fail", obj{"token": s.ClaimOne("hopeless").Token, "retry": false, "error": obj{"message": "no"}}).Want(http.StatusOK)
	lost := s.Enqueue(`{"kind": "k", "queue": "lost", "max_attempts": 1}`)
	s.Post("/v1/claims", `{"worker": "dies", "queues": ["lost"], "lease_seconds": 1, "wait_seconds": 20}`).Want(http.StatusOK)
	slow := s.Enqueue(`{"kind": "k", "queue": "slow", "max_attempts": 1, "timeout_seconds": 1}`)
	s.ClaimOne("slow")
	want := []string{failed, hopeless, lost, slow}
	s.Eventually("all are dead letters", func() bool {
		var got []string
		for _, letter := range weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/dead").Want(http.StatusOK)).Items {
			got = append(got, letter.ID)
		}
		slices.SortFunc(got, weirtest.CompareIDs)
		return slices.Equal(got, want)
	})
	for _, id := range want {
		if j := s.Job(id); j.State != "dead" || len(j.Errors) == 0 || s.Queue(j.Queue).Dead != 1 {
			t.Errorf("the dead letter is %+v", j)
		}
		s.Post("/v1/dead/"+id+"/redrive", nil).Want(http.StatusOK)
		if j := s.ClaimOne(s.Job(id).Queue); j.ID != id {
			t.Errorf("claimed job %s, want the redriven %s", j.ID, id)
		}
	}
}

// There, 10 came first in one place and 1 in another.
func TestPriorityTenComesFirstEverywhere(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	d := s.DB
	orders := map[string]func(queue string) []int{
		"a claim over REST": func(queue string) []int {
			var got []int
			for _, j := range s.ClaimAs("w", 10, queue) {
				got = append(got, s.Job(j.ID).Priority)
			}
			return got
		},
		"claims one by one": func(queue string) []int {
			var got []int
			for range 10 {
				got = append(got, s.Job(s.ClaimOne(queue).ID).Priority)
			}
			return got
		},
		"a claim in SQL": func(queue string) []int {
			return weirtest.Values[int](t, d, "select priority from weir.claim(array[$1], 'w', 10)", queue)
		},
		"who is ahead": func(queue string) []int {
			return weirtest.Values[int](t, d, `select j.priority from weir.jobs j cross join lateral (select coalesce(max((w.detail ->> 'ahead')::int), 0) as ahead from weir.why(j.id) w) w
				where j.queue = $1 order by w.ahead`, queue)
		},
	}
	for name, order := range orders {
		queue := strings.ReplaceAll(name, " ", "-")
		for _, p := range []int{3, 9, 1, 10, 5, 2, 8, 6, 4, 7} {
			s.Enqueue(obj{"kind": "k", "queue": queue, "priority": p})
		}
		s.Settle()
		if got := order(queue); !slices.Equal(got, []int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}) {
			t.Errorf("%s: %v", name, got)
		}
	}

	// The same number means the same when it comes from elsewhere: the queue's default, an edit, the filter of a list, a retry.
	s.Do(http.MethodPut, "/v1/queues/default-10", `{"priority": 10}`).Want(http.StatusOK)
	first := s.Enqueue(`{"kind": "k", "queue": "default-10"}`)
	second := s.Enqueue(`{"kind": "k", "queue": "default-10", "priority": 9}`)
	third := s.Enqueue(`{"kind": "k", "queue": "default-10", "priority": 1}`)
	s.Do(http.MethodPatch, "/v1/jobs/"+third, `{"priority": 10}`).Want(http.StatusOK)
	if page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?queue=default-10&priority=10").Want(http.StatusOK)); len(page.Items) != 2 || page.Items[0].ID != third || page.Items[1].ID != first {
		t.Errorf("those of priority 10 are %+v", page.Items)
	}
	s.Settle()
	for i, want := range []string{first, third, second} {
		j := s.ClaimOne("default-10")
		if j.ID != want {
			t.Errorf("claim %d gives job %s, want %s", i, j.ID, want)
		}
		if i == 0 {
			s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}, "retry_in_seconds": 600}).Want(http.StatusOK)
		}
	}
	later := s.Enqueue(`{"kind": "k", "queue": "default-10", "priority": 9, "run_at": "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`)
	for _, id := range []string{later, first} {
		s.Post(fmt.Sprintf("/v1/jobs/%s/retry", id), nil).Want(http.StatusOK)
	}
	s.Settle()
	if j := s.ClaimOne("default-10"); j.ID != first {
		t.Errorf("of two that were run again, job %s comes first, want %s of priority 10", j.ID, first)
	}
}
