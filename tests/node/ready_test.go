package node

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestReadinessFollowsDatabase(t *testing.T) {
	weirtest.Long(t, "it restarts PostgreSQL")
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

func TestNodeWithoutSchemaIsNotReady(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeOn(t, weirtest.Empty(t))
	s.Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	s.Get("/livez").Want(http.StatusOK)
}

// The service before this one answered 200 whatever the database did.
func TestNodeThatIsNotReadySaysSo(t *testing.T) {
	t.Parallel()
	weirtest.StartNodeOn(t, weirtest.Empty(t)).Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	weirtest.StartNodeOn(t, weirtest.Open(t, "postgres://noone@127.0.0.1:1/none")).Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	s := weirtest.StartNode(t)
	s.Get("/readyz").Want(http.StatusOK)
	s.Engine.Drain()
	s.Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
}
