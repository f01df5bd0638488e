package openapi

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// operations are those that this version serves.
var operations = []string{
	"delete /v1/dead/{id}", "get /v1/dead", "get /v1/dead/{id}", "get /v1/operations", "get /v1/operations/{id}", "post /v1/dead/purge", "post /v1/dead/redrive", "post /v1/dead/{id}/redrive",
	"post /v1/operations/{id}/cancel",
	"get /v1/schedules", "post /v1/schedules", "get /v1/schedules/{name}", "put /v1/schedules/{name}", "patch /v1/schedules/{name}", "delete /v1/schedules/{name}", "post /v1/schedules/{name}/pause",
	"post /v1/schedules/{name}/resume", "post /v1/schedules/{name}/trigger", "get /v1/schedules/{name}/preview", "post /v1/schedules/preview", "get /v1/schedules/{name}/runs",
	"delete /v1/queues/{name}", "get /livez", "get /readyz", "get /v1/info", "get /v1/jobs", "get /v1/jobs/{id}", "get /v1/jobs/{id}/children", "get /v1/jobs/{id}/timeline", "get /v1/jobs/{id}/logs", "post /v1/jobs/{id}/logs", "get /v1/jobs/{id}/why", "get /v1/queues", "get /v1/queues/{name}", "get /v1/queues/{name}/stats",
	"patch /v1/jobs/{id}", "patch /v1/queues/{name}", "post /v1/acks", "post /v1/claims", "post /v1/jobs", "post /v1/jobs/batch", "post /v1/jobs/dry-run", "post /v1/jobs/{id}/replay", "get /v1/jobs/{id}/compare/{other}", "get /v1/jobs/{id}/similar", "post /v1/jobs/{id}/cancel", "post /v1/jobs/{id}/complete",
	"post /v1/jobs/{id}/fail", "post /v1/jobs/{id}/heartbeat", "post /v1/heartbeats", "post /v1/jobs/{id}/release", "post /v1/jobs/{id}/retry", "post /v1/jobs/{id}/snooze", "post /v1/queues/{name}/pause",
	"post /v1/queues/{name}/purge", "post /v1/queues/{name}/resume", "put /v1/queues/{name}",
	"post /v1/workflows", "get /v1/workflows", "get /v1/workflows/{id}", "get /v1/workflows/{id}/graph", "get /v1/workflows/{id}/steps", "get /v1/workflows/{id}/timeline", "post /v1/workflows/{id}/cancel",
	"post /v1/workflows/{id}/retry", "post /v1/workflows/{id}/fork", "post /v1/workflows/{id}/signals/{name}", "post /v1/workflows/{id}/steps", "post /v1/jobs/{id}/workflow", "get /v1/jobs/{id}/dependencies",
	"post /v1/jobs/bulk", "post /v1/jobs/export", "get /v1/operations/{id}/result",
	"get /v1/webhooks", "post /v1/webhooks", "get /v1/webhooks/{name}", "patch /v1/webhooks/{name}", "delete /v1/webhooks/{name}", "post /v1/webhooks/{name}/rotate", "post /v1/webhooks/{name}/disable",
	"post /v1/webhooks/{name}/enable", "post /v1/webhooks/{name}/test", "get /v1/webhooks/{name}/deliveries",
	"get /v1/workers", "get /v1/workers/{name}", "put /v1/workers/{name}", "patch /v1/workers/{name}", "delete /v1/workers/{name}", "post /v1/workers/{name}/heartbeat",
	"get /v1/queues/{name}/limits", "put /v1/queues/{name}/limits/keys/{key}", "delete /v1/queues/{name}/limits/keys/{key}", "put /v1/queues/{name}/limits/tenants/{tenant}", "delete /v1/queues/{name}/limits/tenants/{tenant}",
	"get /v1/queues/{name}/lines",
	"get /v1/stats", "get /v1/stats/distribution", "get /v1/stats/peaks", "get /v1/stats/retries", "get /v1/stats/tenants", "get /v1/stats/workers", "get /v1/queues/{name}/forecast", "get /v1/stats/schedules", "get /v1/stats/workflows", "get /v1/stats/throughput", "get /v1/stats/wait-times", "get /v1/stats/run-times", "get /v1/stats/failures",
	"get /v1/health", "get /v1/health/summary", "get /v1/breakers", "get /v1/breakers/{name}", "put /v1/breakers/{name}", "patch /v1/breakers/{name}", "delete /v1/breakers/{name}", "post /v1/breakers/{name}/trip", "post /v1/breakers/{name}/reset",
	"post /v1/breakers/{name}/pin", "post /v1/breakers/{name}/report", "get /v1/breakers/{name}/events",
	"post /v1/workers/{name}/pause", "post /v1/workers/{name}/resume", "post /v1/workers/{name}/drain", "get /v1/workers/{name}/jobs", "get /v1/workers/{name}/history",
}

func TestDocumentsDescribeEveryOperation(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := map[string][]string{}
	for path, version := range map[string]string{"/openapi.json": "3.1.", "/openapi-3.0.json": "3.0."} {
		d := s.Document(path)
		if !strings.HasPrefix(d.OpenAPI, version) || d.Info.Title == "" || d.Info.Version == "" {
			t.Errorf("%s: OpenAPI %s of %+v", path, d.OpenAPI, d.Info)
		}
		var seen []string
		for route, methods := range d.Paths {
			for method, op := range methods {
				call := method + " " + route
				seen = append(seen, call)
				ids[path] = append(ids[path], call+" "+op.OperationID)
				checkOperation(t, d, path+": "+call, method, op)
			}
		}
		for _, call := range operations {
			if !slices.Contains(seen, call) {
				t.Errorf("%s: %s is missing", path, call)
			}
		}
		checkReferences(t, d, d.Tree)
	}
	for _, list := range ids {
		slices.Sort(list)
	}
	if !slices.Equal(ids["/openapi.json"], ids["/openapi-3.0.json"]) {
		t.Error("the two documents describe different operations")
	}
	names := map[string]bool{}
	for _, call := range ids["/openapi.json"] {
		id := call[strings.LastIndex(call, " ")+1:]
		if names[id] || !regexp.MustCompile(`^[a-z][a-zA-Z]+$`).MatchString(id) {
			t.Errorf("the operation id of %s is no name of its own", call)
		}
		names[id] = true
	}
}

func checkOperation(t *testing.T, d weirtest.Document, call, method string, op weirtest.DocumentOperation) {
	t.Helper()
	if op.RequestBody != nil {
		c, ok := op.RequestBody.Content["application/json"]
		if !ok || c.Example == nil || len(op.RequestBody.Content) != 1 {
			t.Errorf("%s: the body has no example", call)
		} else if err := d.Conforms(c.Schema, c.Example); err != nil {
			t.Errorf("%s: the example of the body: %v", call, err)
		}
	}
	good, bad := 0, 0
	for status, r := range op.Responses {
		r = d.Response(t, r)
		switch {
		case strings.HasPrefix(status, "2") && len(r.Content) == 0 && status == "204":
			good++
		case strings.HasPrefix(status, "2"):
			good++
			c, ok := r.Content["application/json"]
			if !ok {
				c = r.Content["text/event-stream"]
			}
			for _, example := range c.Examples {
				c.Example = d.Value(example)
			}
			if c.Example == nil {
				c = r.Content["application/x-ndjson"]
			}
			if c.Example == nil {
				t.Errorf("%s: the answer %s has no example", call, status)
			} else if err := d.Conforms(c.Schema, c.Example); err != nil {
				t.Errorf("%s: the example of the answer %s: %v", call, status, err)
			}
		default:
			bad++
			c := r.Content["application/problem+json"]
			if len(c.Examples) == 0 && c.Example == nil {
				t.Errorf("%s: the problem %s has no example", call, status)
			}
			for name, example := range c.Examples {
				if err := d.Conforms(c.Schema, d.Value(example)); err != nil {
					t.Errorf("%s: the example %s: %v", call, name, err)
				}
			}
		}
	}
	if good == 0 || bad == 0 {
		t.Errorf("%s: %d answers and %d problems are described", call, good, bad)
	}
	if !slices.Contains(op.Problems, "invalid_argument") {
		t.Errorf("%s: no problem invalid_argument", call)
	}
}

func checkReferences(t *testing.T, d weirtest.Document, at any) {
	t.Helper()
	switch at := at.(type) {
	case obj:
		if ref, ok := at["$ref"].(string); ok {
			if _, ok := d.Follow(ref); !ok {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, x := range at {
			checkReferences(t, d, x)
		}
	case []any:
		for _, x := range at {
			checkReferences(t, d, x)
		}
	}
}

// An example copied from the document is a valid request.
func TestExamplesOfDocumentAreAccepted(t *testing.T) {
	weirtest.Long(t, "it sends every example of the document")
	t.Parallel()
	s := weirtest.StartNode(t)
	// what examples of rules name
	s.Post("/v1/alert-targets", obj{"name": "oncall", "kind": "slack", "url": "https://hooks.slack.com/services/T0/B0/x"}).Want(http.StatusCreated)
	tried := 0
	for path, methods := range s.Document("/openapi.json").Paths {
		for method, op := range methods {
			if op.RequestBody == nil {
				continue
			}
			tried++
			path := strings.NewReplacer("{id}", "4711", "{name}", "mail").Replace(path)
			r := s.Do(strings.ToUpper(method), path, op.RequestBody.Content["application/json"].Example)
			if r.Status != http.StatusOK && r.Status != http.StatusCreated && r.Status != http.StatusAccepted && r.Status != http.StatusNotFound && r.Status != http.StatusConflict {
				t.Error(r)
			}
		}
	}
	if tried < 30 {
		t.Errorf("tried %d examples, want at least 30", tried)
	}
}
