package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// documentVersion is the version of the document, not of weir: it changes when clients would notice.
const documentVersion = "0.1.0"

// The tags, which generators make classes of.
const (
	tagJobs       = "jobs"
	tagWork       = "work"
	tagQueues     = "queues"
	tagWorkers    = "workers"
	tagDead       = "dead letters"
	tagOperations = "operations"
	tagBreakers   = "circuit breakers"
	tagSchedules  = "schedules"
	tagWorkflows  = "workflows"
	tagWebhooks   = "webhooks"
	tagAlerts     = "alerts"
	tagKeys       = "keys"
	tagTenants    = "tenants"
	tagStats      = "statistics"
	tagService    = "service"
)

func humaConfig() huma.Config {
	c := huma.DefaultConfig("weir", documentVersion)
	c.Transformers = []huma.Transformer{redact}
	c.CreateHooks = nil // or every answer would carry $schema
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	c.RejectUnknownQueryParameters = true // a filter with a slip in its name would list everything
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[jobs.ID](), reflect.TypeFor[idSchema]())
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[jobs.Token](), reflect.TypeFor[tokenSchema]())
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[jobs.AnyState](), reflect.TypeFor[anyOfSchema[jobs.State]]())
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[jobs.AnyName](), reflect.TypeFor[anyOfSchema[string]]())
	c.Info.Description = "A job queue whose only dependency is PostgreSQL.\n\n" +
		"Ids and tokens are strings. Times are RFC 3339, in UTC; durations are numbers of seconds. Unknown fields are refused. " +
		"Lists are paged: pass `next_cursor` as `cursor` for the next page, until it is null. A page may be empty without being the last.\n\n" +
		"Errors are RFC 9457 problem documents with a stable `code`. A request can set its own id with `X-Request-Id`."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{bearer: {
		Type: "http", Scheme: "bearer", Description: "An API key (`weir keys create`), or an access token where single sign-on is set up.",
	}}
	c.Info.License = &huma.License{Name: "Apache 2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"}
	c.Tags = []*huma.Tag{
		{Name: tagJobs, Description: "For producers and people: enqueue, inspect and change jobs."},
		{Name: tagWork, Description: "For workers: claim jobs, extend leases, report outcomes."},
		{Name: tagQueues, Description: "Queues: job defaults, pauses, limits and figures."},
		{Name: tagWorkers, Description: "Workers: registration, state, pauses and drains."},
		{Name: tagDead, Description: "Dead jobs: inspect, redrive and purge them."},
		{Name: tagOperations, Description: "Background work on many jobs."},
		{Name: tagBreakers, Description: "Circuit breakers: the health of a dependency, and what happens to its jobs while it fails."},
		{Name: tagSchedules, Description: "Schedules: jobs that recur, in any time zone."},
		{Name: tagWorkflows, Description: "Workflows: graphs of jobs."},
		{Name: tagWebhooks, Description: "Webhooks: events of jobs, posted over HTTPS."},
		{Name: tagAlerts, Description: "Alerts: rules over the numbers and the state, and who is told."},
		{Name: tagKeys, Description: "API keys: who may call, and for what."},
		{Name: tagTenants, Description: "Quotas: how much each tenant may use."},
		{Name: tagStats, Description: "Numbers for dashboards, from roll-ups."},
		{Name: tagService, Description: "The node itself."},
	}
	return c
}

// schemaName gives types of package jobs with one-word names a longer one: in generated clients all names share one space.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[jobs.Edit]():
		return "JobEdit"
	case reflect.TypeFor[jobs.Filter]():
		return "JobFilter"
	case reflect.TypeFor[jobs.Unique]():
		return "UniqueKey"
	case reflect.TypeFor[jobs.BeatResult]():
		return "HeartbeatResult"
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// idSchema stands for jobs.ID, which knows nothing of huma.
type idSchema struct{}

func (idSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: "^[0-9]+$"}
}

// tokenSchema stands for jobs.Token.
type tokenSchema struct{}

func (tokenSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: jobs.TokenPattern}
}

func (a *API) schemas() huma.Registry { return a.huma.OpenAPI().Components.Schemas }

// showProblems documents the problems of an operation: one response per status, shared by all operations with the same codes, with one
// example per code.
func (a *API) showProblems(op *huma.Operation, codes []jobs.Code) {
	byStatus := map[int][]jobs.Code{}
	for _, code := range codes {
		status := kindOf(code).status
		byStatus[status] = append(byStatus[status], code)
	}
	components := a.huma.OpenAPI().Components
	if components.Responses == nil {
		components.Responses = map[string]*huma.Response{}
	}
	for status, codes := range byStatus {
		slices.Sort(codes)
		codes = slices.Compact(codes)
		name := responseName(codes)
		if components.Responses[name] == nil {
			components.Responses[name] = a.problemResponse(codes)
		}
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + name}
	}
}

// responseName makes JobNotFoundProblem of job_not_found, and joins several by Or.
func responseName(codes []jobs.Code) string {
	var names []string
	for _, code := range codes {
		name := ""
		for word := range strings.SplitSeq(string(code), "_") {
			name += strings.ToUpper(word[:1]) + word[1:]
		}
		names = append(names, name)
	}
	return strings.Join(names, "Or") + "Problem"
}

func (a *API) problemResponse(codes []jobs.Code) *huma.Response {
	examples := map[string]*huma.Example{}
	var titles []string
	for _, code := range codes {
		k := kindOf(code)
		example := newProblem(context.Background(), code, k.example)
		example.RequestID = "C5MVKRSCEBTIDGVAPD6UQRTVNZ"
		if code == jobs.InvalidArgument {
			example.Errors = []ProblemError{{"body.priority", "expected number <= 10"}}
		}
		examples[string(code)] = &huma.Example{Summary: k.title, Value: example}
		titles = append(titles, fmt.Sprintf("`%s`: %s.", code, k.title))
	}
	response := &huma.Response{
		Description: strings.Join(titles, " "),
		Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: a.schemas().Schema(reflect.TypeFor[Problem](), true, ""), Examples: examples},
		},
	}
	if newProblem(context.Background(), codes[0], "").header.Get("Retry-After") != "" {
		response.Headers = map[string]*huma.Header{
			"Retry-After": {Description: "Seconds to wait before trying again.", Schema: &huma.Schema{Type: huma.TypeInteger}},
		}
	}
	return response
}

// refineSchemas adds what huma cannot know: which raw JSON is an object, and that answers may get new fields.
func (a *API) refineSchemas() {
	schemas := a.schemas().Map()
	for _, name := range []string{"NewJob", "Job", "ClaimedJob", "DeadLetter", "DeadLetterHistory", "NewWorkflow", "NewStep", "Workflow"} {
		metadata := schemas[name].Properties["metadata"]
		metadata.Type, metadata.AdditionalProperties = huma.TypeObject, true
	}
	for _, name := range []string{"Moment", "WorkflowMoment", "ComparedMoment", "Reason", "Note", "BreakerEvent"} {
		detail := schemas[name].Properties["detail"]
		detail.Type, detail.AdditionalProperties = huma.TypeObject, true
	}
	for _, name := range []string{"Job", "DeadLetter", "DeadLetterHistory", "WorkflowStep", "Dependency"} {
		failure := schemas[name].Properties["error"]
		failure.Type, failure.AdditionalProperties = huma.TypeObject, true
		failure.Properties = map[string]*huma.Schema{
			"message": {Type: huma.TypeString, Description: "What went wrong."},
			"type":    {Type: huma.TypeString, Description: "The class of the error."},
			"stack":   {Type: huma.TypeString, Description: "Where it happened."},
		}
	}
	for _, name := range []string{"NewLogLine", "LogLine"} {
		fields := schemas[name].Properties["fields"]
		fields.Type, fields.AdditionalProperties = huma.TypeObject, true
	}
	facts := schemas["Alert"].Properties["facts"]
	facts.Type, facts.AdditionalProperties = huma.TypeObject, true
	args := schemas["JobFilter"].Properties["args"]
	args.Type, args.AdditionalProperties = huma.TypeObject, true
	for _, name := range []string{"Operation", "Preset", "NewPreset", "PresetDefinition"} {
		filter := schemas[name].Properties["filter"]
		filter.Type, filter.AdditionalProperties = huma.TypeObject, true
	}
	closed := a.inputSchemas()
	for name, schema := range schemas {
		schema.PrecomputeMessages()
		if !slices.Contains(closed, name) {
			schema.AdditionalProperties = nil
		}
	}
}

// inputSchemas names the schemas that bodies use.
func (a *API) inputSchemas() []string {
	var names []string
	var visit func(s *huma.Schema)
	visit = func(s *huma.Schema) {
		if s == nil {
			return
		}
		if s.Ref != "" {
			name := s.Ref[len("#/components/schemas/"):]
			if !slices.Contains(names, name) {
				names = append(names, name)
				visit(a.schemas().SchemaFromRef(s.Ref))
			}
			return
		}
		visit(s.Items)
		for _, p := range s.Properties {
			visit(p)
		}
	}
	for _, item := range a.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put, item.Patch} {
			if op != nil && op.RequestBody != nil {
				visit(op.RequestBody.Content["application/json"].Schema)
			}
		}
	}
	return names
}

// OpenAPI is the document that a node serves, in version 3.1 or 3.0 of OpenAPI.
func OpenAPI(version string) ([]byte, error) {
	return describe(Config{}).document(version)
}

func (a *API) document(version string) ([]byte, error) {
	var text []byte
	var err error
	switch version {
	case "3.1":
		text, err = a.huma.OpenAPI().MarshalJSON()
	case "3.0":
		text, err = a.huma.OpenAPI().Downgrade()
	default:
		return nil, fmt.Errorf("there is a document for OpenAPI 3.1 and 3.0, and none for %q", version)
	}
	if err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	// Once more through a tree: indented and without HTML's escapes it can be read, and compared line by line.
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(tree); err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}
