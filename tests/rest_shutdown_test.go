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

	"github.com/weirhq/weir/tests/pgtest"
)

func TestRESTReadinessFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	s := startServiceOn(t, server.URL("weir"))
	s.eventually("the node is ready", func() bool { return s.get("/readyz").status == http.StatusOK })
	id := s.enqueue(`{"kind": "k"}`)
	held := readAs[servedClaims](s.post("/v1/claims", `{"worker": "w", "queues": ["default"], "wait_seconds": 20, "lease_seconds": 300}`).want(http.StatusOK)).Jobs[0]

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
			r := s.do(call.method, call.path, call.body)
			r.problem(http.StatusServiceUnavailable, "unavailable")
			if r.header.Get("Retry-After") == "" {
				t.Errorf("%v: no Retry-After", r)
			}
			if text := string(r.body); strings.Contains(text, "127.0.0.1") || strings.Contains(text, "postgres") || strings.Contains(text, "dial") {
				t.Errorf("the answer tells of the inside: %s", text)
			}
		}
		s.get("/livez").want(http.StatusOK)
		s.get("/metrics").want(http.StatusOK)
		s.get("/openapi.json").want(http.StatusOK)
		if r := s.get("/v1/info").want(http.StatusOK); strings.Contains(string(r.body), "database_version") {
			t.Errorf("the version of a database that is away: %v", r)
		}
	}

	pgtest.Restart(t, server)
	s.eventually("the node is ready again", func() bool { return s.get("/readyz").status == http.StatusOK })
	s.enqueue(`{"kind": "k"}`)
	s.post("/v1/jobs/"+id+"/complete", obj{"token": held.Token}).want(http.StatusOK)
	s.claimOne("default")
}

func TestRESTANodeOnADatabaseWithoutTheSchemaIsNotReady(t *testing.T) {
	t.Parallel()
	s := startServiceOn(t, pgtest.Empty(t).URL)
	s.get("/readyz").problem(http.StatusServiceUnavailable, "unavailable")
	s.get("/livez").want(http.StatusOK)
}

func TestRESTANodeThatDrainsTakesNoClaimsAndFinishesTheRest(t *testing.T) {
	t.Parallel()
	s := startService(t)
	held := s.leased("q")
	waiting := s.parkedMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{fmt.Sprintf("empty-%d", i%2)}, "wait_seconds": 60}
	})
	s.engine.Drain()
	for _, answer := range waiting {
		if got := s.answerOf(answer); got == nil || len(got) != 0 {
			t.Errorf("a claim that waited got %+v, want an empty list", got)
		}
	}
	s.get("/readyz").problem(http.StatusServiceUnavailable, "unavailable")
	s.get("/livez").want(http.StatusOK)
	for _, wait := range []int{0, 60} {
		s.post("/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": wait}).problem(http.StatusServiceUnavailable, "unavailable")
	}
	s.enqueue(`{"kind": "k", "queue": "q"}`)
	s.post("/v1/jobs/"+held.ID+"/heartbeat", obj{"token": held.Token}).want(http.StatusOK)
	s.post("/v1/jobs/"+held.ID+"/complete", obj{"token": held.Token}).want(http.StatusOK)
	s.job(held.ID)
}

func TestRESTANodeThatIsToldToEndFinishesItsReplies(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	s, process := startNode(t, database.URL, "WEIR_DRAIN_SECONDS=6")
	s.pool = database.Pool()
	held := s.leased("q")
	waiting := s.parkedMany(20, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{"empty"}, "wait_seconds": 60}
	})

	// A request that is under way when the signal comes: half of its body is there.
	half, rest := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/jobs", half)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	late := make(chan *reply, 1)
	go func() {
		r, err := s.ask(request)
		if err != nil {
			t.Errorf("the request under way: %v", err)
		}
		late <- r
	}()
	fmt.Fprint(rest, `{"kind": "late",`)
	s.eventually("it is under way", func() bool { return s.metric("weir_http_requests_in_flight") == float64(len(waiting)+2) })

	process.signal(syscall.SIGTERM)
	for _, answer := range waiting {
		if got := s.answerOf(answer); got == nil || len(got) != 0 {
			t.Errorf("a claim that waited got %+v, want an empty list", got)
		}
	}
	// While the node tells load balancers that it ends, what comes is still answered; then connections are refused.
	unready := 0
	s.eventually("connections are refused", func() bool {
		r, err := s.send(t.Context(), http.MethodGet, "/readyz", nil)
		if err != nil {
			return true
		}
		r.problem(http.StatusServiceUnavailable, "unavailable")
		unready++
		if unready == 1 {
			s.post("/v1/jobs/"+held.ID+"/complete", obj{"token": held.Token}).want(http.StatusOK)
			s.post("/v1/claims", `{"worker": "w", "queues": ["q"]}`).problem(http.StatusServiceUnavailable, "unavailable")
		}
		return false
	})
	if unready == 0 {
		t.Error("the node never said that it is not ready")
	}
	select {
	case <-process.ended:
		t.Fatalf("it ended with a reply under way:\n%s", process.output)
	default:
	}
	fmt.Fprint(rest, ` "queue": "q"}`)
	rest.Close()
	if r := <-late; r != nil && r.status != http.StatusCreated {
		t.Errorf("the request under way: %v", r)
	}
	if status := process.wait(); status != 0 {
		t.Errorf("it ended with status %d", status)
	}
	if n := s.count(`select count(*) from weir.jobs where kind = 'late' and state = 'available'`); n != 1 {
		t.Errorf("of the request under way %d jobs are there", n)
	}
	if n := s.count(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'weir%'`); n != 0 {
		t.Errorf("%d connections to the database are left", n)
	}
	var log []string
	for line := range strings.Lines(process.output.String()) {
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
