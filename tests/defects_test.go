package tests

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/pgtest"
)

// What the service before this one got wrong, each shown not to be so here.

// There, a path such as /jobs/batch led to the operation of /jobs/{id}.
func TestNoRouteIsShadowedByAnother(t *testing.T) {
	t.Parallel()
	s := startService(t)
	var routes [][]string
	for path, methods := range s.document("/openapi.json").Paths {
		for method := range methods {
			called := regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(path, "1")
			if path == "/v1/events" {
				called += "?job_id=x" // or its answer would not end
			}
			s.do(strings.ToUpper(method), called, nil)
			routes = append(routes, []string{`route="` + path + `"`, `method="` + strings.ToUpper(method) + `"`})
		}
	}
	scraped := s.get("/metrics").want(http.StatusOK)
	for _, labels := range routes { // each was called once, so whoever got the call of another has two
		if n := s.metricIn(scraped, "weir_http_requests_total", labels...); n != 1 {
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
	startServiceOn(t, pgtest.Empty(t).URL).get("/readyz").problem(http.StatusServiceUnavailable, "unavailable")
	startServiceOn(t, "postgres://nobody@127.0.0.1:1/none").get("/readyz").problem(http.StatusServiceUnavailable, "unavailable")
	s := startService(t)
	s.get("/readyz").want(http.StatusOK)
	s.engine.Drain()
	s.get("/readyz").problem(http.StatusServiceUnavailable, "unavailable")
}

// There, nothing ever moved a job to the dead letters.
func TestAJobWhoseAttemptsAreUsedUpIsADeadLetter(t *testing.T) {
	t.Parallel()
	s := startService(t)
	failed := s.enqueue(`{"kind": "k", "queue": "failed", "max_attempts": 2, "retry": {"strategy": "fixed", "base_seconds": 0}}`)
	for range 2 {
		j := s.claimOne("failed")
		s.post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}}).want(http.StatusOK)
	}
	hopeless := s.enqueue(`{"kind": "k", "queue": "hopeless"}`)
	s.post("/v1/jobs/"+hopeless+"/fail", obj{"token": s.claimOne("hopeless").Token, "retry": false, "error": obj{"message": "no"}}).want(http.StatusOK)
	lost := s.enqueue(`{"kind": "k", "queue": "lost", "max_attempts": 1}`)
	s.post("/v1/claims", `{"worker": "dies", "queues": ["lost"], "lease_seconds": 1, "wait_seconds": 20}`).want(http.StatusOK)
	slow := s.enqueue(`{"kind": "k", "queue": "slow", "max_attempts": 1, "timeout_seconds": 1}`)
	s.claimOne("slow")
	want := []string{failed, hopeless, lost, slow}
	s.eventually("all are dead letters", func() bool {
		var got []string
		for _, letter := range readAs[servedPage[servedJob]](s.get("/v1/dead").want(http.StatusOK)).Items {
			got = append(got, letter.ID)
		}
		slices.SortFunc(got, byServedID)
		return slices.Equal(got, want)
	})
	for _, id := range want {
		if j := s.job(id); j.State != "dead" || len(j.Errors) == 0 || s.queue(j.Queue).Dead != 1 {
			t.Errorf("the dead letter is %+v", j)
		}
		s.post("/v1/dead/"+id+"/redrive", nil).want(http.StatusOK)
		if j := s.claimOne(s.job(id).Queue); j.ID != id {
			t.Errorf("claimed job %s, want the redriven %s", j.ID, id)
		}
	}
}

// There, 10 came first in one place and 1 in another.
func TestPriorityTenComesFirstEverywhere(t *testing.T) {
	t.Parallel()
	s := startService(t)
	d := &database{Pool: s.pool, t: t}
	orders := map[string]func(queue string) []int{
		"a claim over REST": func(queue string) []int {
			var got []int
			for _, j := range s.claimAs("w", 10, queue) {
				got = append(got, s.job(j.ID).Priority)
			}
			return got
		},
		"claims one by one": func(queue string) []int {
			var got []int
			for range 10 {
				got = append(got, s.job(s.claimOne(queue).ID).Priority)
			}
			return got
		},
		"a claim in SQL": func(queue string) []int {
			return askAll[int](t, d, "select priority from weir.claim(array[$1], 'w', 10)", queue)
		},
		"who is ahead": func(queue string) []int {
			return askAll[int](t, d, `select j.priority from weir.jobs j cross join lateral (select coalesce(max((w.detail ->> 'ahead')::int), 0) as ahead from weir.why(j.id) w) w
				where j.queue = $1 order by w.ahead`, queue)
		},
	}
	for name, order := range orders {
		queue := strings.ReplaceAll(name, " ", "-")
		for _, p := range []int{3, 9, 1, 10, 5, 2, 8, 6, 4, 7} {
			s.enqueue(obj{"kind": "k", "queue": queue, "priority": p})
		}
		s.settle()
		if got := order(queue); !slices.Equal(got, []int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}) {
			t.Errorf("%s: %v", name, got)
		}
	}

	// The same number means the same when it comes from elsewhere: the queue's default, an edit, the filter of a list, a retry.
	s.do(http.MethodPut, "/v1/queues/default-10", `{"priority": 10}`).want(http.StatusOK)
	first := s.enqueue(`{"kind": "k", "queue": "default-10"}`)
	second := s.enqueue(`{"kind": "k", "queue": "default-10", "priority": 9}`)
	third := s.enqueue(`{"kind": "k", "queue": "default-10", "priority": 1}`)
	s.do(http.MethodPatch, "/v1/jobs/"+third, `{"priority": 10}`).want(http.StatusOK)
	if page := readAs[servedPage[servedJob]](s.get("/v1/jobs?queue=default-10&priority=10").want(http.StatusOK)); len(page.Items) != 2 || page.Items[0].ID != third || page.Items[1].ID != first {
		t.Errorf("those of priority 10 are %+v", page.Items)
	}
	s.settle()
	for i, want := range []string{first, third, second} {
		j := s.claimOne("default-10")
		if j.ID != want {
			t.Errorf("claim %d gives job %s, want %s", i, j.ID, want)
		}
		if i == 0 {
			s.post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}, "retry_in_seconds": 600}).want(http.StatusOK)
		}
	}
	later := s.enqueue(`{"kind": "k", "queue": "default-10", "priority": 9, "run_at": "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`)
	for _, id := range []string{later, first} {
		s.post(fmt.Sprintf("/v1/jobs/%s/retry", id), nil).want(http.StatusOK)
	}
	s.settle()
	if j := s.claimOne("default-10"); j.ID != first {
		t.Errorf("of two that were run again, job %s comes first, want %s of priority 10", j.ID, first)
	}
}
