package api

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirhq/weir/jobs"
)

// These tests use a whole API whose engine has no database, so that a request that reaches the engine crashes. Only the test of crashes
// wants that.

func newTestAPI(t *testing.T, log io.Writer) *API {
	t.Helper()
	a, err := New(Config{
		Engine: &jobs.Engine{}, Logger: slog.New(slog.NewJSONHandler(log, nil)), Registry: prometheus.NewRegistry(), MaxBodyBytes: 1000, AllowedHosts: []string{"example.com"}, // httptest's
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ask sends a request as JSON and reads the answer, which must be a problem.
func ask(t *testing.T, a *API, method, target, body string, header ...string) (*httptest.ResponseRecorder, Problem) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	var p Problem
	if w.Header().Get("Content-Type") != "application/problem+json" || json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Status != w.Code {
		t.Fatalf("%s %s: %d %s: %s", method, target, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-Id") {
		t.Errorf("%s %s: request id %q in the problem, %q in the header", method, target, p.RequestID, w.Header().Get("X-Request-Id"))
	}
	return w, p
}

func TestBadRequestsAreRefused(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, io.Discard)
	const secret = "secretvalue" // in values only: the names of unknown fields come back
	for name, c := range map[string]struct {
		method, target, body string
		header               []string
		code                 jobs.Code
		location             string
	}{
		"no such route":          {method: "GET", target: "/v1/nothing/" + secret, code: routeNotFound},
		"not this method":        {method: "DELETE", target: "/v1/jobs", code: methodNotAllowed},
		"form":                   {method: "POST", target: "/v1/jobs", body: secret, header: []string{"Content-Type", "application/x-www-form-urlencoded"}, code: unsupportedMediaType},
		"no type":                {method: "POST", target: "/v1/jobs", body: secret, header: []string{"Content-Type", ""}, code: unsupportedMediaType},
		"other origin":           {method: "POST", target: "/v1/queues/mail/pause", header: []string{"Sec-Fetch-Site", "cross-site"}, code: crossOrigin},
		"no body":                {method: "POST", target: "/v1/claims", code: malformedJSON},
		"half a body":            {method: "POST", target: "/v1/claims", body: `{"worker": "` + secret, code: malformedJSON},
		"half a job":             {method: "POST", target: "/v1/jobs", body: `{"kind": "` + secret, code: malformedJSON},
		"half a batch":           {method: "POST", target: "/v1/jobs/batch", body: `{"jobs": [{"kind": "` + secret, code: malformedJSON},
		"half an ack":            {method: "POST", target: "/v1/acks", body: `{"acks": [{"id": "` + secret, code: malformedJSON},
		"more than a body":       {method: "POST", target: "/v1/acks", body: `{"acks": []} "` + secret + `"`, code: malformedJSON},
		"a body that is large":   {method: "POST", target: "/v1/jobs", body: `{"kind": "` + strings.Repeat(secret, 100) + `"}`, code: bodyTooLarge},
		"unknown field":          {method: "POST", target: "/v1/jobs", body: `{"kind": "a", "brake": "` + secret + `"}`, code: jobs.InvalidArgument, location: "body.brake"},
		"field of another case":  {method: "POST", target: "/v1/jobs", body: `{"kind": "a", "Queue": "` + secret + `"}`, code: jobs.InvalidArgument, location: "body.Queue"},
		"missing field":          {method: "POST", target: "/v1/jobs", body: `{"args": "` + secret + `"}`, code: jobs.InvalidArgument, location: "body"},
		"wrong type":             {method: "POST", target: "/v1/jobs", body: `{"kind": "a", "priority": "` + secret + `"}`, code: jobs.InvalidArgument, location: "body.priority"},
		"out of range":           {method: "POST", target: "/v1/jobs", body: `{"kind": "a", "priority": 0}`, code: jobs.InvalidArgument, location: "body.priority"},
		"out of all range":       {method: "POST", target: "/v1/claims", body: `{"worker": "a", "queues": ["a"], "limit": 1e999}`, code: jobs.InvalidArgument, location: "body.limit"},
		"a whole number's form":  {method: "POST", target: "/v1/jobs", body: `{"kind": "a", "priority": 5.0}`, code: jobs.InvalidArgument, location: "body.priority"},
		"no object":              {method: "POST", target: "/v1/jobs", body: `["` + secret + `"]`, code: jobs.InvalidArgument, location: "body"},
		"a batch without jobs":   {method: "POST", target: "/v1/jobs/batch", body: `{}`, code: jobs.InvalidArgument, location: "body"},
		"a batch with more":      {method: "POST", target: "/v1/jobs/batch", body: `{"jobs": [], "more": "` + secret + `"}`, code: jobs.InvalidArgument, location: "body.more"},
		"an ack's unknown field": {method: "POST", target: "/v1/acks", body: `{"acks": [{"id": "1", "token": "1", "outcome": "release", "more": "` + secret + `"}]}`, code: jobs.InvalidArgument, location: "body.acks[0].more"},
		"an ack's number":        {method: "POST", target: "/v1/acks", body: `{"acks": [{"id": "1", "token": 815474711, "outcome": "release"}]}`, code: jobs.InvalidArgument, location: "body.acks[0].token"},
		"no acks":                {method: "POST", target: "/v1/acks", body: `{}`, code: jobs.InvalidArgument, location: "body"},
		"an ack of another case": {method: "POST", target: "/v1/acks", body: `{"acks": [{"id": "1", "token": "1", "outcome": "complete", "Result": "` + secret + `"}]}`, code: jobs.InvalidArgument, location: "body.acks[0].Result"},
		"an error of nothing":    {method: "POST", target: "/v1/acks", body: `{"acks": [{"id": "1", "token": "1", "outcome": "fail", "error": {}}]}`, code: jobs.InvalidArgument, location: "body.acks[0].error"},
		"job 0":                  {method: "POST", target: "/v1/jobs/0/complete", body: `{"token": "1"}`, code: jobs.JobNotFound},
		"a token of letters":     {method: "POST", target: "/v1/jobs/1/complete", body: `{"token": "` + secret + `"}`, code: jobs.InvalidArgument, location: "body.token"},
		"a token too large":      {method: "POST", target: "/v1/jobs/1/release", body: `{"token": "81547471181547471181547471"}`, code: jobs.InvalidArgument, location: "body.token"},
		"an edit of nothing":     {method: "PATCH", target: "/v1/jobs/1", body: `{}`, code: jobs.InvalidArgument, location: "body"},
		"an id of letters":       {method: "GET", target: "/v1/jobs/" + secret, code: jobs.InvalidArgument, location: "path.id"},
		"a queue's bad name":     {method: "GET", target: "/v1/queues/a%20" + secret, code: jobs.InvalidArgument, location: "path.name"},
		"unknown parameter":      {method: "GET", target: "/v1/jobs?stat=" + secret, code: jobs.InvalidArgument, location: "query.stat"},
		"unknown state":          {method: "GET", target: "/v1/jobs?state=" + secret, code: jobs.InvalidArgument, location: "query.state[0]"},
		"empty parameter":        {method: "GET", target: "/v1/jobs?queue=", code: jobs.InvalidArgument, location: "query.queue"},
		"parameter given twice":  {method: "GET", target: "/v1/jobs?worker=a&worker=" + secret, code: jobs.InvalidArgument, location: "query.worker"},
		"malformed query":        {method: "GET", target: "/v1/jobs?state=dead;" + secret, code: jobs.InvalidArgument, location: "query"},
		"limit too large":        {method: "GET", target: "/v1/queues?limit=1001", code: jobs.InvalidArgument, location: "query.limit"},
		"no cursor":              {method: "GET", target: "/v1/jobs?cursor=" + secret, code: jobs.InvalidArgument, location: "query.cursor"},
		"another list's cursor":  {method: "GET", target: "/v1/jobs?cursor=" + *cursorTo("queues", "1"), code: jobs.InvalidArgument, location: "query.cursor"},
		"no time":                {method: "GET", target: "/v1/jobs?created_after=" + secret, code: jobs.InvalidArgument, location: "query.created_after"},
		"neither true nor false": {method: "GET", target: "/v1/jobs?has_error=" + secret, code: jobs.InvalidArgument, location: "query.has_error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p := ask(t, a, c.method, c.target, c.body, c.header...)
			if p.Code != c.code || p.Status != kinds[c.code].status {
				t.Errorf("%d %s: %s", p.Status, p.Code, w.Body)
			}
			if c.location != "" && (len(p.Errors) == 0 || p.Errors[0].Location != c.location) {
				t.Errorf("not at %s: %s", c.location, w.Body)
			}
			for _, value := range []string{secret, "81547471"} {
				if strings.Contains(w.Body.String(), value) {
					t.Errorf("the problem quotes a value: %s", w.Body)
				}
			}
		})
	}
}

func TestBodyOfUnknownLengthIsBounded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newTestAPI(t, io.Discard))
	defer server.Close()
	body := struct{ io.Reader }{strings.NewReader(`{"kind": "` + strings.Repeat("a", 2000) + `"}`)} // not a type of which net/http knows the length
	response, err := http.Post(server.URL+"/v1/jobs", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(text), "1000 bytes") {
		t.Errorf("%s: %s", response.Status, text)
	}
}

func TestMethodNotAllowedNamesAllowedMethods(t *testing.T) {
	t.Parallel()
	w, _ := ask(t, newTestAPI(t, io.Discard), "PUT", "/v1/jobs/1", "")
	if w.Header().Get("Allow") != "GET, HEAD, PATCH" {
		t.Errorf("Allow: %q", w.Header().Get("Allow"))
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, io.Discard)
	for given, kept := range map[string]bool{
		"": false, "0af7651916cd43dd-8448": true, "a b": false, `a"b`: false, "a\tb": false, "ü": false, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
	} {
		w, _ := ask(t, a, "GET", "/nothing", "", "X-Request-Id", given)
		if got := w.Header().Get("X-Request-Id"); (got == given) != kept || got == "" {
			t.Errorf("%q became %q", given, got)
		}
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := newTestAPI(t, &log)
	w, p := ask(t, a, "GET", "/v1/jobs/1?", "", "X-Request-Id", "r1")
	if p.Code != jobs.Internal || strings.Contains(w.Body.String(), "nil pointer") {
		t.Errorf("%s", w.Body)
	}
	var line struct {
		Level, Error, Path string
		RequestID          string `json:"request_id"`
		Status             int
	}
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, log.String())
	}
	if line.Level != "WARN" || line.RequestID != "r1" || line.Status != 500 || line.Path != "/v1/jobs/1" ||
		!strings.Contains(line.Error, "nil pointer") || !strings.Contains(line.Error, "getJob") {
		t.Errorf("%s", log.String())
	}
}

func TestMetricsAreByRoute(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, io.Discard)
	ask(t, a, "GET", "/v1/jobs/abc", "")
	ask(t, a, "GET", "/v1/jobs/def", "")
	ask(t, a, "POST", "/v1/jobs", "{", "Content-Type", "text/plain")
	ask(t, a, "BREW", "/coffee/1", "")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`weir_http_requests_total{method="GET",route="/v1/jobs/{id}",status="422"} 2`,
		`weir_http_requests_total{method="POST",route="/v1/jobs",status="415"} 1`,
		`weir_http_requests_total{method="other",route="none",status="404"} 1`,
		`weir_http_request_duration_seconds_count{method="GET",route="/v1/jobs/{id}"} 2`,
		`weir_http_requests_in_flight 1`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("there is no line %s in\n%s", line, w.Body)
		}
	}
}

func TestLivezAnswersWithoutDatabase(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newTestAPI(t, io.Discard).ServeHTTP(w, httptest.NewRequest("GET", "/livez", nil))
	if w.Code != http.StatusOK || w.Body.String() != `{"status":"ok"}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
