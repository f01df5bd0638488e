package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTReadinessFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	server := weirtest.NewServer(t)
	s := weirtest.StartNodeOn(t, weirtest.Open(t, server.URL("weir")))
	s.Eventually("the node is ready", func() bool { return s.Get("/readyz").Status == http.StatusOK })
	id := s.Enqueue(`{"kind": "k"}`)
	held := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "queues": ["default"], "wait_seconds": 20, "lease_seconds": 300}`).Want(http.StatusOK)).Jobs[0]

	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time no connection is left in the pool
		for _, call := range []struct {
			method, path string
			body         any
		}{
			{http.MethodGet, "/readyz", nil},
			{http.MethodPost, "/v1/jobs", `{"kind": "k"}`},
			{http.MethodPost, "/v1/jobs/batch", `{"jobs": [{"kind": "k"}]}`},
			{http.MethodGet, "/v1/jobs/" + id, nil},
			{http.MethodGet, "/v1/jobs", nil},
			{http.MethodGet, "/v1/queues/default/stats", nil},
			{http.MethodPost, "/v1/claims", `{"worker": "w", "queues": ["default"]}`},
			{http.MethodPost, "/v1/jobs/" + id + "/complete", obj{"token": held.Token}},
			{http.MethodPost, "/v1/jobs/" + id + "/heartbeat", obj{"token": held.Token}},
			{http.MethodPost, "/v1/acks", obj{"acks": []obj{{"id": id, "token": held.Token, "outcome": "complete"}}}},
			{http.MethodPost, "/v1/jobs/" + id + "/cancel", nil},
			{http.MethodPost, "/v1/queues/default/pause", nil},
			{http.MethodPut, "/v1/queues/default", `{}`},
		} {
			r := s.Do(call.method, call.path, call.body)
			r.Problem(http.StatusServiceUnavailable, "unavailable")
			if r.Header.Get("Retry-After") == "" {
				t.Errorf("%v: no Retry-After", r)
			}
			if text := string(r.Body); strings.Contains(text, "127.0.0.1") || strings.Contains(text, "postgres") || strings.Contains(text, "dial") {
				t.Errorf("the answer tells of the inside: %s", text)
			}
		}
		s.Get("/livez").Want(http.StatusOK)
		s.Get("/metrics").Want(http.StatusOK)
		s.Get("/openapi.json").Want(http.StatusOK)
		if r := s.Get("/v1/info").Want(http.StatusOK); strings.Contains(string(r.Body), "database_version") {
			t.Errorf("the version of a database that is away: %v", r)
		}
	}

	weirtest.Restart(t, server)
	s.Eventually("the node is ready again", func() bool { return s.Get("/readyz").Status == http.StatusOK })
	s.Enqueue(`{"kind": "k"}`)
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": held.Token}).Want(http.StatusOK)
	s.ClaimOne("default")
}

func TestRESTANodeOnADatabaseWithoutTheSchemaIsNotReady(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeOn(t, weirtest.Empty(t))
	s.Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	s.Get("/livez").Want(http.StatusOK)
}

func TestRESTANodeThatDrainsTakesNoClaimsAndFinishesTheRest(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	held := s.EnqueueAndClaim("q")
	waiting := s.ParkMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{fmt.Sprintf("empty-%d", i%2)}, "wait_seconds": 60}
	})
	s.Engine.Drain()
	for _, answer := range waiting {
		if got := s.Answer(answer); got == nil || len(got) != 0 {
			t.Errorf("a claim that waited got %+v, want an empty list", got)
		}
	}
	s.Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	s.Get("/livez").Want(http.StatusOK)
	for _, wait := range []int{0, 60} {
		s.Post("/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": wait}).Problem(http.StatusServiceUnavailable, "unavailable")
	}
	s.Enqueue(`{"kind": "k", "queue": "q"}`)
	s.Post("/v1/jobs/"+held.ID+"/heartbeat", obj{"token": held.Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+held.ID+"/complete", obj{"token": held.Token}).Want(http.StatusOK)
	s.Job(held.ID)
}

func TestRESTANodeThatIsToldToEndFinishesItsReplies(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	s, process := weirtest.StartServe(t, database, "WEIR_DRAIN_SECONDS=6")
	held := s.EnqueueAndClaim("q")
	waiting := s.ParkMany(20, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{"empty"}, "wait_seconds": 60}
	})

	// A request that is under way when the signal comes: half of its body is there.
	half, rest := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", half)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	late := make(chan *weirtest.Response, 1)
	go func() {
		r, err := s.SendRequest(request)
		if err != nil {
			t.Errorf("the request under way: %v", err)
		}
		late <- r
	}()
	fmt.Fprint(rest, `{"kind": "late",`)
	s.Eventually("it is under way", func() bool { return s.Metric("weir_http_requests_in_flight") == float64(len(waiting)+2) })

	process.Signal(syscall.SIGTERM)
	for _, answer := range waiting {
		if got := s.Answer(answer); got == nil || len(got) != 0 {
			t.Errorf("a claim that waited got %+v, want an empty list", got)
		}
	}
	// While the node tells load balancers that it ends, what comes is still answered; then connections are refused.
	unready := 0
	s.Eventually("connections are refused", func() bool {
		r, err := s.Send(t.Context(), http.MethodGet, "/readyz", nil)
		if err != nil {
			return true
		}
		r.Problem(http.StatusServiceUnavailable, "unavailable")
		unready++
		if unready == 1 {
			s.Post("/v1/jobs/"+held.ID+"/complete", obj{"token": held.Token}).Want(http.StatusOK)
			s.Post("/v1/claims", `{"worker": "w", "queues": ["q"]}`).Problem(http.StatusServiceUnavailable, "unavailable")
		}
		return false
	})
	if unready == 0 {
		t.Error("the node never said that it is not ready")
	}
	select {
	case <-process.Ended:
		t.Fatalf("it ended with a reply under way:\n%s", process.Output)
	default:
	}
	fmt.Fprint(rest, ` "queue": "q"}`)
	rest.Close()
	if r := <-late; r != nil && r.Status != http.StatusCreated {
		t.Errorf("the request under way: %v", r)
	}
	if status := process.Wait(); status != 0 {
		t.Errorf("it ended with status %d", status)
	}
	if n := s.Count(`select count(*) from weir.jobs where kind = 'late' and state = 'available'`); n != 1 {
		t.Errorf("of the request under way %d jobs are there", n)
	}
	if n := s.Count(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'weir%'`); n != 0 {
		t.Errorf("%d connections to the database are left", n)
	}
	var log []string
	for line := range strings.Lines(process.Output.String()) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("no JSON in the log: %s", line)
		}
		log = append(log, entry.Msg)
	}
	if !slices.Contains(log, "stopped") {
		t.Errorf("the log does not say that it stopped: %q", log)
	}
}
