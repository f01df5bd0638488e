package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// apiDocument is as much of an OpenAPI document as clients are made of.
type apiDocument struct {
	OpenAPI string
	Info    struct{ Title, Version string }
	Paths   map[string]map[string]apiOperation
	tree    obj // all of it, to follow references
}

type apiOperation struct {
	OperationID string
	RequestBody *struct{ Content map[string]apiContent }
	Responses   map[string]apiResponse
}

type apiResponse struct {
	Ref     string `json:"$ref"`
	Content map[string]apiContent
}

type apiContent struct {
	Schema   obj
	Example  any
	Examples obj
}

func (s *service) document(path string) apiDocument {
	s.t.Helper()
	r := s.get(path).want(http.StatusOK)
	if kind := r.header.Get("Content-Type"); kind != "application/json" {
		s.t.Errorf("%s is %s", path, kind)
	}
	d := readAs[apiDocument](r)
	d.tree = readAs[obj](r)
	return d
}

// follow gives what a reference of the document leads to.
func (d apiDocument) follow(ref string) (any, bool) {
	var at any = d.tree
	for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		object, _ := at.(obj)
		if at = object[step]; at == nil {
			return nil, false
		}
	}
	return at, true
}

func (d apiDocument) response(t *testing.T, r apiResponse) apiResponse {
	t.Helper()
	if r.Ref == "" {
		return r
	}
	tree, ok := d.follow(r.Ref)
	if !ok {
		t.Fatalf("%s leads nowhere", r.Ref)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var found apiResponse
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// servedOperations are those that this version serves.
var servedOperations = []string{
	"delete /v1/dead/{id}", "get /v1/dead", "get /v1/dead/{id}", "get /v1/operations", "get /v1/operations/{id}", "post /v1/dead/purge", "post /v1/dead/redrive", "post /v1/dead/{id}/redrive",
	"post /v1/operations/{id}/cancel",
	"get /v1/schedules", "post /v1/schedules", "get /v1/schedules/{name}", "put /v1/schedules/{name}", "patch /v1/schedules/{name}", "delete /v1/schedules/{name}", "post /v1/schedules/{name}/pause",
	"post /v1/schedules/{name}/resume", "post /v1/schedules/{name}/trigger", "get /v1/schedules/{name}/preview", "post /v1/schedules/preview", "get /v1/schedules/{name}/runs",
	"delete /v1/queues/{name}", "get /livez", "get /readyz", "get /v1/info", "get /v1/jobs", "get /v1/jobs/{id}", "get /v1/jobs/{id}/children", "get /v1/jobs/{id}/timeline", "get /v1/jobs/{id}/why", "get /v1/queues", "get /v1/queues/{name}", "get /v1/queues/{name}/stats",
	"patch /v1/jobs/{id}", "patch /v1/queues/{name}", "post /v1/acks", "post /v1/claims", "post /v1/jobs", "post /v1/jobs/batch", "post /v1/jobs/{id}/cancel", "post /v1/jobs/{id}/complete",
	"post /v1/jobs/{id}/fail", "post /v1/jobs/{id}/heartbeat", "post /v1/jobs/{id}/release", "post /v1/jobs/{id}/retry", "post /v1/jobs/{id}/snooze", "post /v1/queues/{name}/pause",
	"post /v1/queues/{name}/purge", "post /v1/queues/{name}/resume", "put /v1/queues/{name}",
	"post /v1/workflows", "get /v1/workflows", "get /v1/workflows/{id}", "get /v1/workflows/{id}/graph", "get /v1/workflows/{id}/steps", "get /v1/workflows/{id}/timeline", "post /v1/workflows/{id}/cancel",
	"post /v1/workflows/{id}/retry", "post /v1/workflows/{id}/fork", "post /v1/workflows/{id}/signals/{name}", "post /v1/workflows/{id}/steps", "post /v1/jobs/{id}/workflow", "get /v1/jobs/{id}/dependencies",
	"post /v1/jobs/bulk", "post /v1/jobs/export", "get /v1/operations/{id}/result",
	"get /v1/webhooks", "post /v1/webhooks", "get /v1/webhooks/{name}", "patch /v1/webhooks/{name}", "delete /v1/webhooks/{name}", "post /v1/webhooks/{name}/rotate", "post /v1/webhooks/{name}/disable",
	"post /v1/webhooks/{name}/enable", "post /v1/webhooks/{name}/test", "get /v1/webhooks/{name}/deliveries",
	"get /v1/workers", "get /v1/workers/{name}", "put /v1/workers/{name}", "patch /v1/workers/{name}", "delete /v1/workers/{name}", "post /v1/workers/{name}/heartbeat",
	"get /v1/queues/{name}/limits", "put /v1/queues/{name}/limits/keys/{key}", "delete /v1/queues/{name}/limits/keys/{key}", "put /v1/queues/{name}/limits/tenants/{tenant}", "delete /v1/queues/{name}/limits/tenants/{tenant}",
	"get /v1/queues/{name}/lines",
	"get /v1/health", "get /v1/health/summary", "get /v1/breakers", "get /v1/breakers/{name}", "put /v1/breakers/{name}", "patch /v1/breakers/{name}", "delete /v1/breakers/{name}", "post /v1/breakers/{name}/trip", "post /v1/breakers/{name}/reset",
	"post /v1/breakers/{name}/pin", "post /v1/breakers/{name}/report", "get /v1/breakers/{name}/events",
	"post /v1/workers/{name}/pause", "post /v1/workers/{name}/resume", "post /v1/workers/{name}/drain", "get /v1/workers/{name}/jobs", "get /v1/workers/{name}/history",
}

func TestRESTTheDocumentsDescribeEveryOperation(t *testing.T) {
	t.Parallel()
	s := startService(t)
	ids := map[string][]string{}
	for path, version := range map[string]string{"/openapi.json": "3.1.", "/openapi-3.0.json": "3.0."} {
		d := s.document(path)
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
		for _, call := range servedOperations {
			if !slices.Contains(seen, call) {
				t.Errorf("%s: %s is missing", path, call)
			}
		}
		checkReferences(t, d, d.tree)
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

func checkOperation(t *testing.T, d apiDocument, call, method string, op apiOperation) {
	t.Helper()
	if op.RequestBody != nil {
		c, ok := op.RequestBody.Content["application/json"]
		if !ok || c.Example == nil || len(op.RequestBody.Content) != 1 {
			t.Errorf("%s: the body has no example", call)
		} else if err := d.conforms(c.Schema, c.Example); err != nil {
			t.Errorf("%s: the example of the body: %v", call, err)
		}
	}
	good, bad := 0, 0
	for status, r := range op.Responses {
		r = d.response(t, r)
		switch {
		case strings.HasPrefix(status, "2") && len(r.Content) == 0 && status == "204":
			good++
		case strings.HasPrefix(status, "2"):
			good++
			c, ok := r.Content["application/json"]
			if !ok {
				c = r.Content["text/event-stream"]
			}
			if c.Example == nil {
				c = r.Content["application/x-ndjson"]
			}
			if c.Example == nil {
				t.Errorf("%s: the answer %s has no example", call, status)
			} else if err := d.conforms(c.Schema, c.Example); err != nil {
				t.Errorf("%s: the example of the answer %s: %v", call, status, err)
			}
		default:
			bad++
			c := r.Content["application/problem+json"]
			if len(c.Examples) == 0 && c.Example == nil {
				t.Errorf("%s: the problem %s has no example", call, status)
			}
			for name, example := range c.Examples {
				if err := d.conforms(c.Schema, example.(obj)["value"]); err != nil {
					t.Errorf("%s: the example %s: %v", call, name, err)
				}
			}
		}
	}
	if good == 0 || bad == 0 {
		t.Errorf("%s: %d answers and %d problems are described", call, good, bad)
	}
	if _, ok := op.Responses["422"]; !ok {
		t.Errorf("%s: no problem 422", call)
	}
}

func checkReferences(t *testing.T, d apiDocument, at any) {
	t.Helper()
	switch at := at.(type) {
	case obj:
		if ref, ok := at["$ref"].(string); ok {
			if _, ok := d.follow(ref); !ok {
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

// conforms says how a value is not as a schema of the document says, as far as the document uses JSON Schema. It is stricter than that in
// one thing: an object may only have fields that the schema names, or an answer could have some that no client knows of.
func (d apiDocument) conforms(schema obj, value any) error {
	if ref, ok := schema["$ref"].(string); ok {
		found, ok := d.follow(ref)
		if !ok {
			return fmt.Errorf("%s leads nowhere", ref)
		}
		return d.conforms(found.(obj), value)
	}
	if allOf, ok := schema["allOf"].([]any); ok {
		for _, one := range allOf {
			if err := d.conforms(one.(obj), value); err != nil {
				return err
			}
		}
	}
	kinds := schemaKinds(schema)
	if whole := jsonKind(value) == "integer" && slices.Contains(kinds, "number"); len(kinds) > 0 && !whole && !slices.Contains(kinds, jsonKind(value)) {
		return fmt.Errorf("%v is of type %s, want %v", value, jsonKind(value), kinds)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
		return fmt.Errorf("%v is not among %v", value, enum)
	}
	switch value := value.(type) {
	case obj:
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := value[name.(string)]; !ok {
				return fmt.Errorf("%s is missing", name)
			}
		}
		properties, known := schema["properties"].(obj)
		for name, x := range value {
			property, ok := properties[name].(obj)
			if !ok {
				if known && schema["additionalProperties"] != true {
					return fmt.Errorf("%s is not described", name)
				}
				continue
			}
			if err := d.conforms(property, x); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case []any:
		if items, ok := schema["items"].(obj); ok {
			for i, x := range value {
				if err := d.conforms(items, x); err != nil {
					return fmt.Errorf("[%d]: %w", i, err)
				}
			}
		}
	case string:
		if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(value) {
			return fmt.Errorf("%q does not match %s", value, pattern)
		}
		if schema["format"] == "date-time" {
			if at, err := time.Parse(time.RFC3339Nano, value); err != nil || at.Location() != time.UTC {
				return fmt.Errorf("%q is no time in UTC", value)
			}
		}
	case float64:
		if lowest, ok := schema["minimum"].(float64); ok && value < lowest {
			return fmt.Errorf("%v is below %v", value, lowest)
		}
		if highest, ok := schema["maximum"].(float64); ok && value > highest {
			return fmt.Errorf("%v is above %v", value, highest)
		}
	}
	return nil
}

// schemaKinds are the types that a schema allows, in the way of 3.1 or of 3.0.
func schemaKinds(schema obj) []string {
	var kinds []string
	switch kind := schema["type"].(type) {
	case string:
		kinds = append(kinds, kind)
	case []any:
		for _, k := range kind {
			kinds = append(kinds, k.(string))
		}
	}
	if len(kinds) > 0 && schema["nullable"] == true {
		kinds = append(kinds, "null")
	}
	return kinds
}

func jsonKind(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case float64:
		if value == float64(int64(value)) {
			return "integer"
		}
		return "number"
	}
	return "object"
}

// Each operation is called at least once with success; what it answers is what the documents say, and so are the problems.
func TestRESTAnswersAreWhatTheDocumentsSay(t *testing.T) {
	t.Parallel()
	s := startService(t)
	documents := map[string]apiDocument{"3.1": s.document("/openapi.json"), "3.0": s.document("/openapi-3.0.json")}
	called := map[string]bool{}
	check := func(route string, r *reply) *reply {
		t.Helper()
		for version, d := range documents {
			op, ok := d.Paths[strings.SplitN(route, " ", 2)[1]][strings.SplitN(route, " ", 2)[0]]
			if !ok {
				t.Fatalf("OpenAPI %s has no %s", version, route)
			}
			described, ok := op.Responses[fmt.Sprint(r.status)]
			if !ok {
				t.Errorf("OpenAPI %s does not describe %v", version, r)
				continue
			}
			described = d.response(t, described)
			if len(r.body) == 0 && len(described.Content) == 0 {
				continue
			}
			content, ok := described.Content[r.header.Get("Content-Type")]
			if !ok {
				t.Errorf("OpenAPI %s does not describe the type %s of %v", version, r.header.Get("Content-Type"), r)
				continue
			}
			if err := d.conforms(content.Schema, readAs[any](r)); err != nil {
				t.Errorf("OpenAPI %s: %v\n%v", version, r, err)
			}
		}
		if r.status < 300 {
			called[route] = true
		}
		return r
	}
	job := func(id, operation string) string { return strings.TrimSuffix("/v1/jobs/"+id+"/"+operation, "/") }

	check("get /livez", s.get("/livez"))
	check("get /readyz", s.get("/readyz"))
	check("get /v1/info", s.get("/v1/info"))
	check("get /v1/health", s.get("/v1/health"))
	check("get /v1/health/summary", s.get("/v1/health/summary"))
	check("put /v1/queues/{name}", s.do(http.MethodPut, "/v1/queues/q", `{"max_depth": 1000, "retry": {"jitter": false}}`))
	full := obj{
		"kind": "k", "queue": "q", "args": []any{1, nil, obj{"a": "b"}}, "priority": 7, "max_attempts": 2, "timeout_seconds": 100, "retry": obj{"strategy": "fixed", "base_seconds": 3600, "jitter": false},
		"unique": obj{"key": "once"}, "tenant": "acme", "tags": []string{"a", "b"}, "metadata": obj{"x": obj{"y": 1}},
	}
	id := readAs[servedJob](check("post /v1/jobs", s.post("/v1/jobs", full)).want(http.StatusCreated)).ID
	check("post /v1/jobs", s.post("/v1/jobs", full)).want(http.StatusOK)
	check("post /v1/jobs/batch", s.post("/v1/jobs/batch", obj{"jobs": []obj{full, {"kind": "k", "args": 7}, {"kind": "k", "queue": "q", "args": "text"}}})).want(http.StatusCreated)
	check("patch /v1/jobs/{id}", s.do(http.MethodPatch, job(id, ""), `{"priority": 10}`)).want(http.StatusOK)
	s.settle()
	token := readAs[servedClaims](check("post /v1/claims", s.post("/v1/claims", `{"worker": "w", "queues": ["q"]}`)).want(http.StatusOK)).Jobs[0].Token
	check("post /v1/claims", s.post("/v1/claims", `{"worker": "w", "queues": ["empty"]}`)).want(http.StatusOK)
	check("get /v1/jobs/{id}", s.get(job(id, ""))).want(http.StatusOK)
	s.enqueue(obj{"kind": "part", "queue": "parts", "parent_id": id, "result_ttl_seconds": 60})
	check("get /v1/jobs/{id}/children", s.get(job(id, "children"))).want(http.StatusOK)
	check("post /v1/jobs/{id}/heartbeat", s.post(job(id, "heartbeat"), obj{"token": token, "progress": obj{"percent": 33.3, "message": "a third"}})).want(http.StatusOK)
	check("post /v1/jobs/{id}/cancel", s.post(job(id, "cancel"), nil)).want(http.StatusOK)
	check("get /v1/jobs/{id}", s.get(job(id, ""))).want(http.StatusOK)
	check("post /v1/jobs/{id}/fail", s.post(job(id, "fail"), obj{"token": token, "error": obj{"message": "m", "type": "T", "stack": "s"}})).want(http.StatusOK)
	check("post /v1/jobs/{id}/retry", s.post(job(id, "retry"), `{"reset_attempts": true}`)).want(http.StatusOK)
	for _, operation := range []string{"snooze", "release", "complete", "fail", "fail", "fail"} {
		s.enqueue(obj{"kind": "k", "queue": operation, "max_attempts": 2})
		j := s.claimOne(operation)
		body := obj{"token": j.Token}
		switch operation {
		case "snooze":
			body["delay_seconds"] = 3600
		case "complete":
			body["result"] = obj{"any": []int{1}}
		case "fail":
			body["error"] = obj{"message": "m"}
			body["retry_in_seconds"] = []int{0, 3600}[j.Attempt-1]
		}
		route := "post /v1/jobs/{id}/" + operation
		check(route, s.post(job(j.ID, operation), body)).want(http.StatusOK)
		check(route, s.post(job(j.ID, operation), body)).want(http.StatusConflict)
		check("get /v1/jobs/{id}", s.get(job(j.ID, "")))
	}
	j := s.claimOne("q")
	check("post /v1/acks", s.post("/v1/acks", obj{"acks": []obj{
		{"id": j.ID, "token": "99999", "outcome": "complete"}, {"id": j.ID, "token": j.Token, "outcome": "fail", "error": obj{"message": "m"}, "retry_in_seconds": 3600}, {"id": "99999", "token": "1", "outcome": "release"},
	}})).want(http.StatusOK)
	check("get /v1/jobs/{id}/why", s.get(job(j.ID, "why"))).want(http.StatusOK)
	check("get /v1/jobs/{id}/timeline", s.get(job(j.ID, "timeline"))).want(http.StatusOK)
	check("get /v1/jobs/{id}/timeline", s.get(job(j.ID, "timeline?limit=2"))).want(http.StatusOK)
	check("get /v1/jobs", s.get("/v1/jobs?limit=2")).want(http.StatusOK)
	check("get /v1/jobs", s.get("/v1/jobs?limit=1000")).want(http.StatusOK)
	check("get /v1/queues", s.get("/v1/queues?limit=1")).want(http.StatusOK)
	check("get /v1/queues", s.get("/v1/queues")).want(http.StatusOK)
	check("get /v1/queues/{name}", s.get("/v1/queues/q")).want(http.StatusOK)
	check("get /v1/queues/{name}/stats", s.get("/v1/queues/fail/stats")).want(http.StatusOK)
	check("patch /v1/queues/{name}", s.do(http.MethodPatch, "/v1/queues/q", `{"lease_seconds": 9}`)).want(http.StatusOK)
	check("post /v1/queues/{name}/pause", s.post("/v1/queues/q/pause", nil)).want(http.StatusOK)
	check("post /v1/queues/{name}/resume", s.post("/v1/queues/q/resume", nil)).want(http.StatusOK)
	check("post /v1/queues/{name}/purge", s.post("/v1/queues/q/purge", `{"state": "available"}`)).want(http.StatusOK)
	s.do(http.MethodPut, "/v1/queues/unused", `{}`)
	check("delete /v1/queues/{name}", s.do(http.MethodDelete, "/v1/queues/unused", nil)).want(http.StatusNoContent)

	dead := s.kill(obj{"kind": "k", "queue": "dead", "metadata": obj{"x": 1}})
	check("get /v1/dead", s.get("/v1/dead")).want(http.StatusOK)
	check("get /v1/dead/{id}", s.get("/v1/dead/"+dead)).want(http.StatusOK)
	check("get /v1/dead/{id}", s.get("/v1/dead/123456")).want(http.StatusNotFound)
	check("post /v1/dead/redrive", s.post("/v1/dead/redrive", `{"filter": {"queue": "dead"}, "dry_run": true}`)).want(http.StatusOK)
	check("post /v1/dead/redrive", s.post("/v1/dead/redrive", `{"filter": {"queue": "none"}, "rate_per_second": 0.5, "by": "ann"}`)).want(http.StatusAccepted)
	operation := readAs[servedOperation](check("post /v1/dead/purge", s.post("/v1/dead/purge", `{"filter": {"min_attempts": 100}}`)).want(http.StatusAccepted)).ID
	check("get /v1/operations", s.get("/v1/operations?limit=1")).want(http.StatusOK)
	check("get /v1/operations/{id}", s.get("/v1/operations/"+operation)).want(http.StatusOK)
	check("post /v1/operations/{id}/cancel", s.post("/v1/operations/"+operation+"/cancel", nil)).want(http.StatusOK)
	check("post /v1/operations/{id}/cancel", s.post("/v1/operations/"+operation+"/cancel", nil)).want(http.StatusConflict)
	check("post /v1/dead/{id}/redrive", s.post("/v1/dead/"+dead+"/redrive", `{"by": "ann"}`)).want(http.StatusOK)
	j = s.claimOne("dead")
	check("post /v1/jobs/{id}/fail", s.post(job(j.ID, "fail"), obj{"token": j.Token, "retry": false, "error": obj{"message": "m"}})).want(http.StatusOK)
	check("delete /v1/dead/{id}", s.do(http.MethodDelete, "/v1/dead/"+dead, nil)).want(http.StatusNoContent)
	check("delete /v1/dead/{id}", s.do(http.MethodDelete, "/v1/dead/"+dead, nil)).want(http.StatusNotFound)

	check("post /v1/schedules", s.post("/v1/schedules", `{"name": "s", "cron": "30 2 * * *", "timezone": "Europe/Berlin", "job": {"kind": "k", "args": {"at": "{{scheduled_at}}"}}}`)).want(http.StatusCreated)
	check("post /v1/schedules", s.post("/v1/schedules", `{"name": "s", "every_seconds": 60, "job": {"kind": "k"}}`)).want(http.StatusConflict)
	check("post /v1/schedules", s.post("/v1/schedules", `{"name": "t", "cron": "61 * * * *", "job": {"kind": "k"}}`)).want(http.StatusUnprocessableEntity)
	check("put /v1/schedules/{name}", s.do(http.MethodPut, "/v1/schedules/t", `{"every_seconds": 3600, "jitter_seconds": 9, "misfire": "all", "job": {"kind": "k", "tags": ["x"]}}`)).want(http.StatusOK)
	check("patch /v1/schedules/{name}", s.do(http.MethodPatch, "/v1/schedules/t", `{"max_runs": 3, "starts_at": null}`)).want(http.StatusOK)
	check("get /v1/schedules", s.get("/v1/schedules?limit=1")).want(http.StatusOK)
	check("get /v1/schedules/{name}", s.get("/v1/schedules/t")).want(http.StatusOK)
	check("get /v1/schedules/{name}", s.get("/v1/schedules/none")).want(http.StatusNotFound)
	check("get /v1/schedules/{name}/preview", s.get("/v1/schedules/s/preview?from=2026-03-28T00:00:00Z&count=3")).want(http.StatusOK)
	check("post /v1/schedules/preview", s.post("/v1/schedules/preview", `{"cron": "30 2 * * *", "timezone": "Europe/Berlin", "dst_gap": "skip", "from": "2026-03-28T00:00:00Z"}`)).want(http.StatusOK)
	triggered := readAs[struct {
		JobID string `json:"job_id"`
	}](check("post /v1/schedules/{name}/trigger", s.post("/v1/schedules/t/trigger", nil)).want(http.StatusCreated)).JobID
	check("get /v1/jobs/{id}", s.get(job(triggered, ""))).want(http.StatusOK)
	check("get /v1/schedules/{name}/runs", s.get("/v1/schedules/t/runs")).want(http.StatusOK)
	check("post /v1/schedules/{name}/pause", s.post("/v1/schedules/t/pause", nil)).want(http.StatusOK)
	check("post /v1/schedules/{name}/resume", s.post("/v1/schedules/t/resume", nil)).want(http.StatusOK)
	check("delete /v1/schedules/{name}", s.do(http.MethodDelete, "/v1/schedules/t", nil)).want(http.StatusNoContent)

	check("put /v1/workers/{name}", s.do(http.MethodPut, "/v1/workers/w-1", `{"hostname": "h", "capacity": 3, "queues": ["q"], "version": "1", "labels": {"a": "b"}}`)).want(http.StatusOK)
	check("patch /v1/workers/{name}", s.do(http.MethodPatch, "/v1/workers/w-1", `{"capacity": 1}`)).want(http.StatusOK)
	check("get /v1/workers/{name}", s.get("/v1/workers/w-1")).want(http.StatusOK)
	check("get /v1/workers/{name}", s.get("/v1/workers/nobody")).want(http.StatusNotFound)
	check("get /v1/workers", s.get("/v1/workers?limit=1")).want(http.StatusOK)
	check("post /v1/workers/{name}/heartbeat", s.post("/v1/workers/w-1/heartbeat", `{"load": 0.5}`)).want(http.StatusOK)
	for _, verb := range []string{"pause", "drain", "resume"} {
		check("post /v1/workers/{name}/"+verb, s.post("/v1/workers/w-1/"+verb, nil)).want(http.StatusOK)
	}
	s.enqueue(obj{"kind": "k", "queue": "of"})
	check("post /v1/claims", s.post("/v1/claims", `{"worker": "w-1", "queues": ["of"], "limit": 2}`)).want(http.StatusOK)
	check("post /v1/claims", s.post("/v1/claims", `{"worker": "w-1", "queues": ["of"]}`)).want(http.StatusOK)
	check("get /v1/workers/{name}/jobs", s.get("/v1/workers/w-1/jobs")).want(http.StatusOK)
	check("get /v1/workers/{name}/history", s.get("/v1/workers/w-1/history")).want(http.StatusOK)
	check("delete /v1/workers/{name}", s.do(http.MethodDelete, "/v1/workers/w-1", nil)).want(http.StatusOK)

	check("put /v1/queues/{name}", s.do(http.MethodPut, "/v1/queues/governed", `{"limits": {"concurrency": 9, "per_key": 2, "rate": {"per_second": 5}, "key_rate": {"per_second": 0.5, "burst": 2}, "tenants": {"weights": {"a": 2}}}}`)).want(http.StatusOK)
	check("put /v1/queues/{name}/limits/keys/{key}", s.do(http.MethodPut, "/v1/queues/governed/limits/keys/a%2Fb", `{"concurrency": 3, "rate": {"per_second": 7}}`)).want(http.StatusOK)
	check("put /v1/queues/{name}/limits/keys/{key}", s.do(http.MethodPut, "/v1/queues/none/limits/keys/a", `{"concurrency": 3}`)).want(http.StatusNotFound)
	check("put /v1/queues/{name}/limits/tenants/{tenant}", s.do(http.MethodPut, "/v1/queues/governed/limits/tenants/t", `{"weight": 3}`)).want(http.StatusOK)
	check("get /v1/queues/{name}/limits", s.get("/v1/queues/governed/limits?limit=1")).want(http.StatusOK)
	s.enqueue(obj{"kind": "k", "queue": "governed", "concurrency_key": "a/b", "tenant": "t"})
	check("get /v1/queues/{name}/lines", s.get("/v1/queues/governed/lines")).want(http.StatusOK)
	check("get /v1/queues/{name}/lines", s.get("/v1/queues/none/lines")).want(http.StatusNotFound)
	check("delete /v1/queues/{name}/limits/keys/{key}", s.do(http.MethodDelete, "/v1/queues/governed/limits/keys/a%2Fb", nil)).want(http.StatusNoContent)
	check("delete /v1/queues/{name}/limits/tenants/{tenant}", s.do(http.MethodDelete, "/v1/queues/governed/limits/tenants/t", nil)).want(http.StatusNoContent)
	order := obj{"name": "order", "on_failure": "continue", "metadata": obj{"x": 1}, "deadline_seconds": 3600, "steps": []obj{
		{"name": "a", "kind": "k", "queue": "wf", "args": obj{"n": 1}, "compensation": "undo"},
		{"name": "b", "kind": "k", "queue": "wf", "depends_on": []string{"a"}, "needs": "ended"},
		{"name": "s", "wait_for": obj{"signal": "go", "timeout_seconds": 600}},
		{"name": "undo", "kind": "k", "queue": "wf"},
	}}
	wf := func(id, operation string) string { return strings.TrimSuffix("/v1/workflows/"+id+"/"+operation, "/") }
	flow := readAs[servedWorkflow](check("post /v1/workflows", s.post("/v1/workflows", order)).want(http.StatusCreated)).ID
	check("post /v1/workflows", s.post("/v1/workflows", `{"name": "w", "steps": [{"name": "a", "kind": "k", "depends_on": ["a"]}]}`)).want(http.StatusUnprocessableEntity)
	check("post /v1/workflows/{id}/signals/{name}", s.post(wf(flow, "signals/go"), `{"payload": [1]}`)).want(http.StatusOK)
	j = s.claimOne("wf")
	check("post /v1/workflows/{id}/steps", s.post(wf(flow, "steps"), obj{"job_id": j.ID, "token": j.Token, "steps": []obj{{"name": "c", "kind": "k", "queue": "wf", "depends_on": []string{"a"}}}})).want(http.StatusCreated)
	check("post /v1/workflows/{id}/steps", s.post(wf(flow, "steps"), obj{"job_id": j.ID, "token": "99999", "steps": []obj{{"name": "d", "kind": "k"}}})).want(http.StatusConflict)
	check("post /v1/jobs/{id}/complete", s.post(job(j.ID, "complete"), obj{"token": j.Token, "result": 7, "add_steps": []obj{{"name": "e", "kind": "k", "queue": "wf", "depends_on": []string{"a"}}}})).want(http.StatusOK)
	s.settle()
	claimed := check("post /v1/claims", s.post("/v1/claims", `{"worker": "w", "queues": ["wf"], "limit": 1}`)).want(http.StatusOK)
	j = readAs[servedClaims](claimed).Jobs[0]
	check("get /v1/jobs/{id}/dependencies", s.get(job(j.ID, "dependencies"))).want(http.StatusOK)
	check("get /v1/jobs/{id}", s.get(job(j.ID, ""))).want(http.StatusOK)
	check("post /v1/jobs/{id}/workflow", s.post(job(j.ID, "workflow"), obj{"token": j.Token, "workflow": obj{"name": "child", "steps": []obj{{"name": "x", "kind": "k", "queue": "child"}}}})).want(http.StatusCreated)
	check("get /v1/workflows", s.get("/v1/workflows?limit=1")).want(http.StatusOK)
	check("get /v1/workflows/{id}", s.get(wf(flow, ""))).want(http.StatusOK)
	check("get /v1/workflows/{id}", s.get(wf("123456", ""))).want(http.StatusNotFound)
	check("get /v1/workflows/{id}/graph", s.get(wf(flow, "graph"))).want(http.StatusOK)
	check("get /v1/workflows/{id}/steps", s.get(wf(flow, "steps"))).want(http.StatusOK)
	check("get /v1/workflows/{id}/timeline", s.get(wf(flow, "timeline"))).want(http.StatusOK)
	check("post /v1/workflows/{id}/fork", s.post(wf(flow, "fork"), `{"from": ["a"], "by": "ann"}`)).want(http.StatusCreated)
	check("post /v1/workflows/{id}/cancel", s.post(wf(flow, "cancel"), `{"compensate": true}`)).want(http.StatusOK)
	check("post /v1/workflows/{id}/cancel", s.post(wf(flow, "cancel"), nil)).want(http.StatusConflict)
	flow = readAs[servedWorkflow](s.post("/v1/workflows", `{"name": "w", "steps": [{"name": "a", "kind": "k", "queue": "idle"}]}`)).ID
	check("post /v1/workflows/{id}/cancel", s.post(wf(flow, "cancel"), nil)).want(http.StatusOK)
	check("post /v1/workflows/{id}/retry", s.post(wf(flow, "retry"), nil)).want(http.StatusOK)
	check("post /v1/workflows/{id}/retry", s.post(wf(flow, "retry"), nil)).want(http.StatusConflict)

	check("put /v1/breakers/{name}", s.do(http.MethodPut, "/v1/breakers/b", `{"failure_ratio": 0.5, "counts": {"types": ["T"]}, "while_open": {"policy": "complete_default", "result": null, "for_seconds": 10}}`)).want(http.StatusOK)
	check("patch /v1/breakers/{name}", s.do(http.MethodPatch, "/v1/breakers/b", `{"while_open": {"policy": "hold"}}`)).want(http.StatusOK)
	check("patch /v1/breakers/{name}", s.do(http.MethodPatch, "/v1/breakers/none", `{}`)).want(http.StatusNotFound)
	check("post /v1/breakers/{name}/report", s.post("/v1/breakers/b/report", `{"outcome": "failure", "error": {"message": "m", "type": "T"}}`)).want(http.StatusOK)
	check("post /v1/breakers/{name}/trip", s.post("/v1/breakers/b/trip", `{"by": "ann", "reason": "r", "open_seconds": 60}`)).want(http.StatusOK)
	check("get /v1/breakers/{name}", s.get("/v1/breakers/b")).want(http.StatusOK)
	check("delete /v1/breakers/{name}", s.do(http.MethodDelete, "/v1/breakers/b", nil)).want(http.StatusConflict)
	check("post /v1/breakers/{name}/pin", s.post("/v1/breakers/b/pin", `{"state": "closed", "for_seconds": 60}`)).want(http.StatusOK)
	check("post /v1/breakers/{name}/trip", s.post("/v1/breakers/b/trip", nil)).want(http.StatusConflict)
	check("post /v1/breakers/{name}/pin", s.post("/v1/breakers/b/pin", `{"state": "none"}`)).want(http.StatusOK)
	check("post /v1/breakers/{name}/reset", s.post("/v1/breakers/b/reset", nil)).want(http.StatusOK)
	check("get /v1/breakers", s.get("/v1/breakers?limit=1")).want(http.StatusOK)
	check("get /v1/breakers/{name}/events", s.get("/v1/breakers/b/events?limit=2")).want(http.StatusOK)
	check("put /v1/breakers/{name}", s.do(http.MethodPut, "/v1/breakers/unused", `{}`)).want(http.StatusOK)
	check("delete /v1/breakers/{name}", s.do(http.MethodDelete, "/v1/breakers/unused", nil)).want(http.StatusNoContent)
	check("delete /v1/breakers/{name}", s.do(http.MethodDelete, "/v1/breakers/unused", nil)).want(http.StatusNotFound)

	check("post /v1/jobs/bulk", s.post("/v1/jobs/bulk", `{"action": "cancel", "filter": {"queue": "none"}, "dry_run": true}`)).want(http.StatusOK)
	check("post /v1/jobs/bulk", s.post("/v1/jobs/bulk", `{"action": "reprioritise", "filter": {"queue": "none", "parent_id": "7"}, "priority": 3}`)).want(http.StatusAccepted)
	export := readAs[servedOperation](check("post /v1/jobs/export", s.post("/v1/jobs/export", `{"filter": {"queue": "none"}, "format": "csv", "limit": 5}`)).want(http.StatusAccepted)).ID
	check("get /v1/operations/{id}/result", s.get("/v1/operations/"+export+"/result")).want(http.StatusConflict)
	s.eventually("the export is over", func() bool { return s.count("select over::int from weir.work_operation($1::bigint)", export) == 1 })
	if r := s.get("/v1/operations/" + export + "/result").want(http.StatusOK); r.header.Get("Content-Type") == "text/csv; charset=utf-8" {
		called["get /v1/operations/{id}/result"] = true // it is no JSON
	}
	check("post /v1/webhooks", s.post("/v1/webhooks", `{"name": "hook", "url": "https://example.com", "events": ["dead"], "queues": ["q"]}`)).want(http.StatusCreated)
	check("post /v1/webhooks", s.post("/v1/webhooks", `{"name": "hook", "url": "https://example.com", "events": ["dead"]}`)).want(http.StatusConflict)
	check("get /v1/webhooks", s.get("/v1/webhooks?limit=1")).want(http.StatusOK)
	check("get /v1/webhooks/{name}", s.get("/v1/webhooks/hook")).want(http.StatusOK)
	check("get /v1/webhooks/{name}", s.get("/v1/webhooks/none")).want(http.StatusNotFound)
	check("patch /v1/webhooks/{name}", s.do(http.MethodPatch, "/v1/webhooks/hook", `{"kinds": ["k"]}`)).want(http.StatusOK)
	check("post /v1/webhooks/{name}/rotate", s.post("/v1/webhooks/hook/rotate", nil)).want(http.StatusOK)
	check("post /v1/webhooks/{name}/disable", s.post("/v1/webhooks/hook/disable", `{"reason": "r"}`)).want(http.StatusOK)
	check("post /v1/webhooks/{name}/enable", s.post("/v1/webhooks/hook/enable", nil)).want(http.StatusOK)
	check("post /v1/webhooks/{name}/test", s.post("/v1/webhooks/hook/test", nil)).want(http.StatusAccepted)
	check("get /v1/webhooks/{name}/deliveries", s.get("/v1/webhooks/hook/deliveries")).want(http.StatusOK)
	check("delete /v1/webhooks/{name}", s.do(http.MethodDelete, "/v1/webhooks/hook", nil)).want(http.StatusNoContent)

	s.do(http.MethodPut, "/v1/queues/full", `{"max_depth": 1}`)
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": "k", "queue": "full"}`))
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": "k", "queue": "full"}`))
	check("post /v1/jobs/batch", s.post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "full"}]}`))
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": ""}`))
	check("post /v1/jobs", s.post("/v1/jobs", `{`))
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": "k", "args": "`+strings.Repeat("x", 1<<20)+`"}`))
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": "k", "args": "`+strings.Repeat("x", 10<<20)+`"}`))
	check("get /v1/jobs/{id}", s.get("/v1/jobs/123456"))
	check("get /v1/jobs/{id}", s.get("/v1/jobs/x"))
	check("post /v1/jobs/{id}/cancel", s.post("/v1/jobs/123456/cancel", nil))
	check("delete /v1/queues/{name}", s.do(http.MethodDelete, "/v1/queues/full", nil))
	check("get /v1/queues/{name}", s.get("/v1/queues/none"))

	for _, route := range servedOperations {
		if !called[route] {
			t.Errorf("%s was not called with success", route)
		}
	}
}

// Whoever copies an example from the document has a request that is understood.
func TestRESTTheExamplesOfTheDocumentAreUnderstood(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for path, methods := range s.document("/openapi.json").Paths {
		for method, op := range methods {
			if op.RequestBody == nil {
				continue
			}
			path := strings.NewReplacer("{id}", "4711", "{name}", "mail").Replace(path)
			r := s.do(strings.ToUpper(method), path, op.RequestBody.Content["application/json"].Example)
			if r.status != http.StatusOK && r.status != http.StatusCreated && r.status != http.StatusAccepted && r.status != http.StatusNotFound && r.status != http.StatusConflict {
				t.Error(r)
			}
		}
	}
}

func TestRESTNoRouteIsInTheShadowOfAnother(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.post("/v1/jobs/batch", `{"jobs": [{"kind": "k"}]}`).want(http.StatusCreated)
	for _, call := range []string{
		"GET /v1/jobs/batch", "PATCH /v1/jobs/batch", "POST /v1/jobs/batch/cancel", "GET /v1/jobs/batch/complete", "DELETE /v1/jobs/batch", "POST /v1/jobs/cancel", "GET /v1/jobs/jobs",
		"GET /v1/dead/redrive", "GET /v1/dead/purge", "DELETE /v1/dead/redrive", "POST /v1/dead/7", "POST /v1/dead/redrive/redrive", "GET /v1/operations/cancel",
	} {
		method, path, _ := strings.Cut(call, " ")
		var body any
		if method == http.MethodPatch {
			body = `{"priority": 1}`
		}
		if r := s.do(method, path, body); r.status != http.StatusNotFound && r.status != http.StatusMethodNotAllowed && r.status != http.StatusUnprocessableEntity {
			t.Error(r)
		}
	}
	// A queue may be called what a part of a path is called.
	for _, name := range []string{"stats", "pause", "resume", "purge", "batch", "jobs", "queues", "v1", "_", "0"} {
		if id := s.enqueue(obj{"kind": "k", "queue": name}); s.claimOne(name).ID != id {
			t.Errorf("queue %s gives another job", name)
		}
		if q := s.queue(name); q.Name != name || q.Running != 1 {
			t.Errorf("queue %s: %+v", name, q)
		}
		s.get("/v1/queues/" + name + "/stats").want(http.StatusOK)
		s.post("/v1/queues/"+name+"/pause", nil).want(http.StatusOK)
		s.post("/v1/queues/"+name+"/resume", nil).want(http.StatusOK)
		s.post("/v1/queues/"+name+"/purge", `{"state": "available"}`).want(http.StatusOK)
	}
}

func TestRESTTheDocsPageNeedsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := startService(t)
	page := s.get("/docs").want(http.StatusOK) // the client follows to /docs/
	if kind := page.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") {
		t.Errorf("the page is %s", kind)
	}
	parts := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllSubmatch(page.body, -1)
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
		r := s.get("/" + path).want(http.StatusOK)
		if len(r.body) == 0 || strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s is %d bytes of %s", at, len(r.body), r.header.Get("Content-Type"))
		}
		if strings.HasSuffix(at, ".css") {
			for _, loaded := range regexp.MustCompile(`(?:url\(|@import)\s*["']?([^"')]*)`).FindAllSubmatch(r.body, -1) {
				if !bytes.HasPrefix(loaded[1], []byte("data:")) {
					t.Errorf("%s loads %s", at, loaded[1])
				}
			}
		}
	}
	if regexp.MustCompile(`<script>|<script [^>]*>[^<]|https?:`).Match(page.body) {
		t.Errorf("the page has a script or an address in it:\n%s", page.body)
	}
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
		t.Errorf("the browser is not told to load nothing from elsewhere: %q", policy)
	}
	if script := string(s.get("/docs/docs.js").want(http.StatusOK).body); regexp.MustCompile(`https?://|//[a-z]+\.`).MatchString(script) || !strings.Contains(script, "openapi.json") {
		t.Errorf("the script is\n%s", script)
	}
}

func TestRESTMetricsKeepToTheConventionsOfPrometheus(t *testing.T) {
	t.Parallel()
	s := startService(t)
	j := s.leased("q")
	s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).want(http.StatusOK)
	s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).want(http.StatusConflict)
	s.enqueue(`{"kind": "k", "queue": "waiting"}`)
	s.claim(1, "q")
	for i := range 50 {
		s.get(fmt.Sprintf("/v1/nothing/%d", i))
		s.get(fmt.Sprintf("/v1/jobs/%d", 1000+i))
		s.do(fmt.Sprintf("METHOD%d", i), "/v1/jobs", nil)
	}
	s.eventually("the node listens, and has looked after the frontier", func() bool {
		return s.metric("weir_listener_up") == 1 && s.metric("weir_loop_step_duration_seconds_count", `loop="frontier"`) > 0
	})
	r := s.get("/metrics").want(http.StatusOK)
	if kind := r.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("the metrics are %s", kind)
	}
	problems, err := promlint.New(bytes.NewReader(r.body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	series, names := 0, map[string]bool{}
	for line := range strings.Lines(string(r.body)) {
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
	if series > 20 {
		t.Errorf("150 paths and methods make %d series of requests", series)
	}
	for name, labels := range map[string][]string{
		"weir_jobs_enqueued_total": nil, "weir_jobs_claimed_total": nil, "weir_listener_up": nil, "weir_claims_waiting": nil, "weir_db_pool_connections": {`pool="calls"`}, "weir_queue_jobs": {`queue="waiting"`, `state="available"`},
		"weir_http_requests_total": {`route="/v1/jobs/{id}/complete"`, `status="409"`}, "weir_acks_total": {`outcome="complete"`, `status="stale_token"`}, "weir_loop_step_duration_seconds_count": {`loop="frontier"`},
	} {
		if name != "weir_claims_waiting" && s.metric(name, labels...) == 0 {
			t.Errorf("%s%v is 0", name, labels)
		}
	}
}

func TestRESTANodeSaysWhatItIs(t *testing.T) {
	t.Parallel()
	s := startService(t)
	info := readAs[struct {
		Version, Node   string
		GoVersion       string    `json:"go_version"`
		DatabaseVersion string    `json:"database_version"`
		StartedAt       time.Time `json:"started_at"`
	}](s.get("/v1/info").want(http.StatusOK))
	var version string
	if err := s.pool.QueryRow(t.Context(), `show server_version`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	if info.Version == "" || info.Node == "" || !strings.HasPrefix(info.GoVersion, "go1.") || !strings.HasPrefix(version, info.DatabaseVersion) || info.DatabaseVersion == "" ||
		info.StartedAt.IsZero() || time.Since(info.StartedAt) > time.Hour {
		t.Errorf("%+v; PostgreSQL is %s", info, version)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if r := s.get(path).want(http.StatusOK); !sameJSON(t, r.body, []byte(`{"status": "ok"}`)) {
			t.Error(r)
		}
	}
	// HEAD is GET without its body, for those who probe.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.url+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK || len(body) != 0 {
		t.Errorf("HEAD /livez: %s, %d bytes", answer.Status, len(body))
	}
}
