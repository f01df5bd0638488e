package health

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/embedded"
	"github.com/weirhq/weir/tests/weirtest"
)

// standbyOf stops a server and returns a hot standby made of its data.
func standbyOf(t *testing.T, server *embedded.Server) *embedded.Server {
	t.Helper()
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	return weirtest.Standby(t, server)
}

func TestNodeOnStandbyIsNotReadyUntilThePromotion(t *testing.T) {
	weirtest.Long(t, "it starts two servers")
	t.Parallel()
	server := weirtest.NewServer(t)
	weirtest.EnqueueOne(t, weirtest.Open(t, server.URL("weir")), "default")
	standby := standbyOf(t, server)
	s, serve := weirtest.StartServeUnready(t, weirtest.Open(t, standby.URL("weir")))
	notReady := func() {
		t.Helper()
		if p := s.Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable"); !strings.Contains(p.Detail, "standby") {
			t.Errorf("/readyz says %q", p.Detail)
		}
	}
	notReady()
	s.Get("/livez").Want(http.StatusOK)
	for _, call := range []struct{ path, body string }{
		{"/v1/jobs", `{"kind": "k"}`},
		{"/v1/jobs/batch", `{"jobs": [{"kind": "k"}]}`},
		{"/v1/claims", `{"worker": "w", "queues": ["default"]}`},
		{"/v1/acks", `{"acks": [{"id": "1", "token": "1", "outcome": "complete"}]}`},
		{"/v1/workflows", `{"name": "w", "steps": [{"name": "s", "kind": "k"}]}`},
	} {
		r := s.Post(call.path, call.body)
		if p := r.Problem(http.StatusServiceUnavailable, "unavailable"); !strings.Contains(p.Detail+p.Hint, "standby") || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s says %v", call.path, r)
		}
	}
	if c := ownComponent(s, "database"); c.Status != "failing" || !strings.Contains(c.Message, "standby") {
		t.Errorf("/v1/health says %+v", c)
	}
	s.Get("/v1/jobs").Want(http.StatusOK) // a standby can be read
	notReady()

	weirtest.Exec(t, weirtest.Open(t, standby.URL("weir")), "select pg_promote()")
	s.Eventually("the node is ready after the promotion", func() bool { return s.Get("/readyz").Status == http.StatusOK })
	s.Enqueue(`{"kind": "k"}`)
	s.ClaimOne("default")
	s.ClaimOne("default")
	if status := serve.Stop(); status != 0 {
		t.Errorf("weir serve ends with %d", status)
	}
}

func TestStandbyCannotBeMigrated(t *testing.T) {
	weirtest.Long(t, "it starts two servers")
	t.Parallel()
	server := weirtest.NewServer(t)
	weirtest.Exec(t, weirtest.Open(t, server.URL("postgres")), "create database empty template template0")
	standby := standbyOf(t, server)
	for _, c := range []struct{ database, command, says string }{
		{"empty", "serve", "does not have weir's schema"},
		{"empty", "serve --migrate", "standby"},
		{"empty", "migrate up", "standby"},
	} {
		settings := []string{"WEIR_DATABASE_URL=" + standby.URL(c.database), "WEIR_ADDR=127.0.0.1:0"}
		weirtest.RunCLI(t, settings, "", strings.Fields(c.command)...).Says(1, c.says)
	}
	settings := []string{"WEIR_DATABASE_URL=" + standby.URL("weir")}
	weirtest.RunCLI(t, settings, "", "migrate", "up").Says(0) // there is nothing to do
}
