package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// described is the part of a document that the tests check.
type described struct {
	OpenAPI    string                          `json:"openapi"`
	Tags       []tag                           `json:"tags"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas  map[string]any `json:"schemas"`
		Examples map[string]any `json:"examples"`
	} `json:"components"`
}

type tag struct {
	Name string `json:"name"`
}

type operation struct {
	OperationID string              `json:"operationId"`
	Summary     string              `json:"summary"`
	Description string              `json:"description"`
	Tags        []string            `json:"tags"`
	RequestBody *response           `json:"requestBody"`
	Responses   map[string]response `json:"responses"`
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema   map[string]any `json:"schema"`
		Example  any            `json:"example"`
		Examples map[string]any `json:"examples"`
		Item     map[string]any `json:"x-item-schema"` // of a stream
	} `json:"content"`
}

func documentOf(t *testing.T, version string) (described, string) {
	t.Helper()
	text, err := OpenAPI(version)
	if err != nil {
		t.Fatal(err)
	}
	var d described
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d, string(text)
}

func TestEveryOperationIsDescribed(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.1", "3.0"} {
		d, _ := documentOf(t, version)
		if !strings.HasPrefix(d.OpenAPI, version) {
			t.Errorf("the document of version %s says %s", version, d.OpenAPI)
		}
		ids := map[string]bool{}
		for path, item := range d.Paths {
			for method, op := range item {
				at := version + " " + method + " " + path
				if !regexp.MustCompile(`^[a-z]+([A-Z][a-z]+)+$`).MatchString(op.OperationID) || ids[op.OperationID] {
					t.Errorf("%s: operation id %q", at, op.OperationID)
				}
				ids[op.OperationID] = true
				if op.Summary == "" || op.Description == "" || len(op.Tags) != 1 || !slices.Contains(d.Tags, tag{op.Tags[0]}) {
					t.Errorf("%s: %+v", at, op)
				}
				if op.RequestBody != nil {
					checkContent(t, at+": body", *op.RequestBody)
				}
				succeeds := false
				for status, r := range op.Responses {
					switch {
					case status == "204":
						succeeds = true
					case status[0] == '2':
						succeeds = true
						checkContent(t, at+": "+status, r)
					case status != "default":
						t.Errorf("%s: %s is neither a success nor a problem", at, status)
					}
				}
				problem := op.Responses["default"].Content["application/problem+json"]
				if !succeeds || problem.Schema["$ref"] != "#/components/schemas/Problem" || len(problem.Examples) < 2 {
					t.Errorf("%s: responses %v", at, op.Responses)
				}
			}
		}
		if len(ids) < 20 {
			t.Errorf("%s: only %d operations", version, len(ids))
		}
	}
}

// checkContent checks that a body is JSON or a stream of events with a named schema, or an export, and has an example.
func checkContent(t *testing.T, at string, r response) {
	t.Helper()
	if export, ok := r.Content["application/x-ndjson"]; ok && export.Example != nil {
		return
	}
	for form, content := range r.Content {
		if form == "text/event-stream" && content.Item != nil || form == mermaidType && content.Example != nil {
			continue
		}
		ref, _ := content.Schema["$ref"].(string)
		if form != "application/json" || !strings.HasPrefix(ref, "#/components/schemas/") || content.Example == nil && len(content.Examples) == 0 {
			t.Errorf("%s: %s: %+v", at, form, content)
		}
	}
	if len(r.Content) == 0 {
		t.Errorf("%s: no content", at)
	}
}

func TestReferencesLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.1", "3.0"} {
		d, text := documentOf(t, version)
		used := map[string]bool{}
		for _, m := range regexp.MustCompile(`"#/components/(schemas|examples)/([^"]+)"`).FindAllStringSubmatch(text, -1) {
			used[m[2]] = true
			if _, ok := d.Components.Schemas[m[2]]; m[1] == "schemas" && !ok {
				t.Errorf("%s: there is no schema %s", version, m[2])
			}
			if _, ok := d.Components.Examples[m[2]]; m[1] == "examples" && !ok {
				t.Errorf("%s: there is no example %s", version, m[2])
			}
		}
		for name := range d.Components.Schemas {
			if !used[name] || regexp.MustCompile(`Response$|Input|Output|^Error`).MatchString(name) {
				t.Errorf("%s: schema %s is unused or badly named", version, name)
			}
		}
	}
}

func TestTheDocumentIsPlain(t *testing.T) {
	t.Parallel()
	_, text := documentOf(t, "3.1")
	for _, unwanted := range []string{`$schema`, `\u003c`, `octet-stream`, `"contentEncoding"`} {
		if strings.Contains(text, unwanted) {
			t.Errorf("it contains %s", unwanted)
		}
	}
	_, old := documentOf(t, "3.0")
	if regexp.MustCompile(`"type": \[|"examples": \[|"exclusiveMinimum": [0-9]`).MatchString(old) {
		t.Error("the document for 3.0 uses what came with 3.1")
	}
	if _, again := documentOf(t, "3.1"); again != text {
		t.Error("it is not the same each time")
	}
	if _, err := OpenAPI("2.0"); err == nil {
		t.Error("there is one for 2.0")
	}
}

func TestIDsAreStringsAndPayloadsAreJSON(t *testing.T) {
	t.Parallel()
	schemas := describe(Config{}).schemas().Map()
	for _, place := range []string{"Job.id", "ClaimedJob.id", "Ack.id", "AckResult.id", "QueueFailure.last_job_id"} {
		name, field, _ := strings.Cut(place, ".")
		if s := schemas[name].Properties[field]; s.Type != huma.TypeString || s.Pattern != "^[0-9]+$" {
			t.Errorf("%s: %+v", place, s)
		}
	}
	for _, name := range []string{"ClaimedJob", "Ack", "CompleteRequest"} {
		if s := schemas[name].Properties["token"]; s.Type != huma.TypeString || s.Pattern != jobs.TokenPattern {
			t.Errorf("%s.token: %+v", name, s)
		}
	}
	if s := schemas["EnqueuedJobs"].Properties["ids"].Items; s.Type != huma.TypeString || s.Pattern != "^[0-9]+$" {
		t.Errorf("EnqueuedJobs.ids: %+v", s)
	}
	for place, typ := range map[string]string{
		"NewJob.args": "", "Job.args": "", "Job.result": "", "ClaimedJob.args": "", "CompleteRequest.result": "", "Ack.result": "",
		"NewJob.metadata": huma.TypeObject, "Job.metadata": huma.TypeObject, "ClaimedJob.metadata": huma.TypeObject, "Job.error": huma.TypeObject,
	} {
		name, field, _ := strings.Cut(place, ".")
		if s := schemas[name].Properties[field]; s.Type != typ || s.ContentEncoding != "" {
			t.Errorf("%s: %+v", place, s)
		}
	}
}

func TestExamplesPassTheirSchemas(t *testing.T) {
	t.Parallel()
	a := describe(Config{})
	d, _ := documentOf(t, "3.1")
	check := func(at string, r response) {
		for _, content := range r.Content {
			examples := []any{content.Example}
			for _, e := range content.Examples {
				if ref, ok := e.(map[string]any)["$ref"].(string); ok {
					e = d.Components.Examples[ref[len("#/components/examples/"):]]
				}
				examples = append(examples, e.(map[string]any)["value"])
			}
			for _, example := range examples {
				if example == nil {
					continue
				}
				ref, named := content.Schema["$ref"].(string)
				if !named {
					continue // plain text
				}
				var found huma.ValidateResult
				schema := &huma.Schema{Ref: ref}
				huma.Validate(a.schemas(), schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, example, &found)
				for _, err := range found.Errors {
					t.Errorf("%s: %v", at, err)
				}
			}
		}
	}
	for path, item := range d.Paths {
		for method, op := range item {
			if op.RequestBody != nil {
				check(method+" "+path+" body", *op.RequestBody)
			}
			for status, r := range op.Responses {
				check(method+" "+path+" "+status, r)
			}
		}
	}
}

func TestAnswersMayGetNewFieldsAndBodiesNot(t *testing.T) {
	t.Parallel()
	schemas := describe(Config{}).schemas().Map()
	for name, closed := range map[string]bool{"NewJob": true, "Ack": true, "Failure": true, "RetryPolicy": true, "Job": false, "JobPage": false, "Queue": false, "Problem": false} {
		if s := schemas[name]; (s.AdditionalProperties == false) != closed {
			t.Errorf("%s: additionalProperties %v", name, s.AdditionalProperties)
		}
	}
}

func TestDocsAreServedFromHere(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, io.Discard)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	if w := get("/docs"); w.Code/100 != 3 || w.Header().Get("Location") != "/docs/" {
		t.Errorf("/docs: %d %s", w.Code, w.Header().Get("Location"))
	}
	page := get("/docs/")
	if page.Code != http.StatusOK || !strings.Contains(page.Header().Get("Content-Security-Policy"), "script-src 'self'") {
		t.Fatalf("/docs/: %d %v", page.Code, page.Header())
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.Body.String(), -1) {
		if w := get("/docs/" + m[1]); !strings.HasPrefix(m[1], "../") && w.Code != http.StatusOK {
			t.Errorf("%s: %d", m[1], w.Code)
		}
	}
	for path, version := range map[string]string{"/openapi.json": "3.1", "/openapi-3.0.json": "3.0"} {
		want, err := OpenAPI(version)
		if err != nil {
			t.Fatal(err)
		}
		if w := get(path); w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" || !bytes.Equal(w.Body.Bytes(), want) {
			t.Errorf("%s: %d, and not what OpenAPI gives", path, w.Code)
		}
	}
}
