package openapi

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestNoRouteShadowsAnother(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k"}]}`).Want(http.StatusCreated)
	for _, call := range []string{
		"GET /v1/jobs/batch", "PATCH /v1/jobs/batch", "POST /v1/jobs/batch/cancel", "GET /v1/jobs/batch/complete", "DELETE /v1/jobs/batch", "POST /v1/jobs/cancel", "GET /v1/jobs/jobs",
		"GET /v1/dead/redrive", "GET /v1/dead/purge", "DELETE /v1/dead/redrive", "POST /v1/dead/7", "POST /v1/dead/redrive/redrive", "GET /v1/operations/cancel",
	} {
		method, path, _ := strings.Cut(call, " ")
		var body any
		if method == http.MethodPatch {
			body = `{"priority": 1}`
		}
		if r := s.Do(method, path, body); r.Status != http.StatusNotFound && r.Status != http.StatusMethodNotAllowed && r.Status != http.StatusUnprocessableEntity {
			t.Error(r)
		}
	}
	// A queue may have the name of a part of a path.
	for _, name := range []string{"stats", "pause", "resume", "purge", "batch", "jobs", "queues", "v1", "_", "0"} {
		if id := s.Enqueue(obj{"kind": "k", "queue": name}); s.ClaimOne(name).ID != id {
			t.Errorf("queue %s gives another job", name)
		}
		if q := s.Queue(name); q.Name != name || q.Running != 1 {
			t.Errorf("queue %s: %+v", name, q)
		}
		s.Get("/v1/queues/" + name + "/stats").Want(http.StatusOK)
		s.Post("/v1/queues/"+name+"/pause", nil).Want(http.StatusOK)
		s.Post("/v1/queues/"+name+"/resume", nil).Want(http.StatusOK)
		s.Post("/v1/queues/"+name+"/purge", `{"state": "available"}`).Want(http.StatusOK)
	}
}

// In the service before this one, a path such as /jobs/batch led to the operation of /jobs/{id}.
func TestEachCallReachesItsRoute(t *testing.T) {
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
	for _, labels := range routes { // each was called once, so a route that got the call of another counts two
		if n := s.MetricIn(scraped, "weir_http_requests_total", labels...); n != 1 {
			t.Errorf("%v was led to %v times", labels, n)
		}
	}
	if len(routes) < 30 {
		t.Errorf("the document has only %d operations", len(routes))
	}
}

func TestDocsPageLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	page := s.Get("/docs").Want(http.StatusOK) // the client follows to /docs/
	if kind := page.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") {
		t.Errorf("the page is %s", kind)
	}
	parts := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllSubmatch(page.Body, -1)
	if len(parts) < 3 {
		t.Errorf("the page loads %q", parts)
	}
	for _, part := range parts {
		at := string(part[1])
		if strings.Contains(at, "//") {
			t.Errorf("the page loads %s", at)
			continue
		}
		path, fromRoot := strings.CutPrefix(at, "../")
		if !fromRoot {
			path = "docs/" + at
		}
		r := s.Get("/" + path).Want(http.StatusOK)
		if len(r.Body) == 0 || strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s is %d bytes of %s", at, len(r.Body), r.Header.Get("Content-Type"))
		}
		if strings.HasSuffix(at, ".css") {
			for _, loaded := range regexp.MustCompile(`(?:url\(|@import)\s*["']?([^"')]*)`).FindAllSubmatch(r.Body, -1) {
				if !bytes.HasPrefix(loaded[1], []byte("data:")) {
					t.Errorf("%s loads %s", at, loaded[1])
				}
			}
		}
	}
	if regexp.MustCompile(`<script>|<script [^>]*>[^<]|https?:`).Match(page.Body) {
		t.Errorf("the page has a script or an address in it:\n%s", page.Body)
	}
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
		t.Errorf("the browser is not told to load nothing from elsewhere: %q", policy)
	}
	if script := string(s.Get("/docs/docs.js").Want(http.StatusOK).Body); regexp.MustCompile(`https?://|//[a-z]+\.`).MatchString(script) || !strings.Contains(script, "openapi.json") {
		t.Errorf("the script is\n%s", script)
	}
}
