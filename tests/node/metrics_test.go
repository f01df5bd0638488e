package node

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMetricsFollowPrometheusConventions(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	j := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusConflict)
	s.Enqueue(`{"kind": "k", "queue": "waiting"}`)
	s.Claim(1, "q")
	for i := range 50 {
		s.Get(fmt.Sprintf("/v1/nothing/%d", i))
		s.Get(fmt.Sprintf("/v1/jobs/%d", 1000+i))
		s.Do(fmt.Sprintf("METHOD%d", i), "/v1/jobs", nil)
	}
	s.Eventually("the node listens, and has looked after the frontier", func() bool {
		return s.Metric("weir_listener_up") == 1 && s.MetricOrZero("weir_loop_step_duration_seconds_count", `loop="frontier"`) > 0
	})
	r := s.Get("/metrics").Want(http.StatusOK)
	if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("the metrics are %s", kind)
	}
	problems, err := promlint.New(bytes.NewReader(r.Body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	series, names := 0, map[string]bool{}
	for line := range strings.Lines(string(r.Body)) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names[strings.Fields(name)[0]] = true
		} else if strings.HasPrefix(line, "weir_http_requests_total") {
			series++
		}
	}
	for name := range names {
		if !strings.HasPrefix(name, "weir_") {
			t.Errorf("%s is not ours", name)
		}
	}
	if len(names) < 20 {
		t.Errorf("got %d metrics, want at least 20", len(names))
	}
	if series == 0 || series > 20 {
		t.Errorf("150 paths and methods make %d series of requests, want 1 to 20", series)
	}
	for name, labels := range map[string][]string{
		"weir_jobs_enqueued_total": nil, "weir_jobs_claimed_total": nil, "weir_listener_up": nil, "weir_claims_waiting": nil, "weir_db_pool_connections": {`pool="calls"`}, "weir_queue_jobs": {`queue="waiting"`, `state="available"`},
		"weir_http_requests_total": {`route="/v1/jobs/{id}/complete"`, `status="409"`}, "weir_acks_total": {`outcome="complete"`, `status="stale_token"`}, "weir_loop_step_duration_seconds_count": {`loop="frontier"`},
	} {
		if name != "weir_claims_waiting" && s.Metric(name, labels...) == 0 {
			t.Errorf("%s%v is 0", name, labels)
		}
	}
}

func TestNodeDescribesItself(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Eventually("the node listens", func() bool { return s.Metric("weir_listener_up") == 1 })
	info := weirtest.Decode[struct {
		Version, Node   string
		GoVersion       string    `json:"go_version"`
		DatabaseVersion string    `json:"database_version"`
		StartedAt       time.Time `json:"started_at"`
	}](s.Get("/v1/info").Want(http.StatusOK))
	var version string
	if err := s.DB.QueryRow(t.Context(), `show server_version`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	if info.Version == "" || info.Node == "" || !strings.HasPrefix(info.GoVersion, "go1.") || !strings.HasPrefix(version, info.DatabaseVersion) || info.DatabaseVersion == "" ||
		info.StartedAt.IsZero() || time.Since(info.StartedAt) > time.Hour {
		t.Errorf("%+v; PostgreSQL is %s", info, version)
	}
	if r := s.Get("/livez").Want(http.StatusOK); !weirtest.SameJSON(t, r.Body, []byte(`{"status": "ok"}`)) {
		t.Error(r)
	}
	if r := s.Get("/readyz").Want(http.StatusOK); !weirtest.SameJSON(t, r.Body, []byte(`{"status": "ok", "components": [
		{"name": "database", "status": "ok"}, {"name": "listener", "status": "ok"}, {"name": "loops", "status": "ok"}]}`)) {
		t.Error(r)
	}
	// HEAD is GET without the body, for probes.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK || len(body) != 0 {
		t.Errorf("HEAD /livez: %s, %d bytes", answer.Status, len(body))
	}
}
