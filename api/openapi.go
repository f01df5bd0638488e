package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/api/contract"
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
	c.Components.Headers = answerHeaders()
	c.Servers = []*huma.Server{{URL: "/", Description: "The node that serves this document."}}
	c.Info.Contact = &huma.Contact{Name: "weir", URL: "https://github.com/weirhq/weir"}
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

// showProblems documents the problems of an operation as one answer for all other statuses, with an example of each code. Generators then make
// one type of error, and not one for each status.
func (a *API) showProblems(op *huma.Operation, codes []jobs.Code) {
	slices.SortFunc(codes, func(x, y jobs.Code) int {
		return cmp.Or(cmp.Compare(kindOf(x).status, kindOf(y).status), cmp.Compare(x, y))
	})
	codes = slices.Compact(codes)
	components := a.huma.OpenAPI().Components
	if components.Examples == nil {
		components.Examples = map[string]*huma.Example{}
	}
	examples := map[string]*huma.Example{}
	said := "A problem:"
	for i, code := range codes {
		k := kindOf(code)
		examples[string(code)] = &huma.Example{Ref: "#/components/examples/" + string(code)}
		components.Examples[string(code)] = problemExample(code)
		if i == 0 || kindOf(codes[i-1]).status != k.status {
			said += fmt.Sprintf("\n- %d", k.status)
		}
		said += fmt.Sprintf(" `%s`: %s.", code, k.title)
	}
	op.Responses["default"] = &huma.Response{
		Description: said,
		Headers:     map[string]*huma.Header{"Retry-After": {Ref: "#/components/headers/Retry-After"}},
		Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: a.schemas().Schema(reflect.TypeFor[Problem](), true, ""), Examples: examples},
		},
	}
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Extensions["x-weir-problems"] = codes
}

func problemExample(code jobs.Code) *huma.Example {
	k := kindOf(code)
	example := newProblem(context.Background(), code, k.example)
	example.RequestID = "C5MVKRSCEBTIDGVAPD6UQRTVNZ"
	if code == jobs.InvalidArgument {
		example.Errors = []ProblemError{{"body.priority", "expected number <= 10"}}
	}
	return &huma.Example{Summary: k.title, Value: example}
}

// answerHeaders are described once for all answers.
func answerHeaders() map[string]*huma.Header {
	return map[string]*huma.Header{
		"X-Request-Id": {Description: "The id of the request, which the node's log has too.", Schema: &huma.Schema{Type: huma.TypeString}},
		"Retry-After": {
			Description: "With 429 and 503: how many seconds to wait before trying again.", Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int32"},
		},
	}
}

// refineSchemas adds what huma cannot know: which raw JSON is an object, and that answers may get new fields.
func (a *API) refineSchemas() {
	schemas := a.schemas().Map()
	for _, name := range []string{"NewJob", "Job", "ClaimedJob", "DeadLetter", "DeadLetterHistory", "NewWorkflow", "NewStep", "Workflow", "ExportedJob"} {
		metadata := schemas[name].Properties["metadata"]
		metadata.Type, metadata.AdditionalProperties = huma.TypeObject, true
	}
	for _, name := range []string{"Moment", "WorkflowMoment", "ComparedMoment", "Reason", "Note", "BreakerEvent"} {
		detail := schemas[name].Properties["detail"]
		detail.Type, detail.AdditionalProperties = huma.TypeObject, true
	}
	for _, name := range []string{"Job", "DeadLetter", "DeadLetterHistory", "WorkflowStep", "Dependency", "ExportedJob"} {
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
	for _, name := range []string{"Alert", "AlertMessage"} {
		facts := schemas[name].Properties["facts"]
		facts.Type, facts.AdditionalProperties = huma.TypeObject, true
	}
	schemas["Problem"].Properties["code"].Extensions = map[string]any{"x-extensible-enum": slices.Sorted(maps.Keys(kinds))}
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
	text, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	return contract.Publish(text, version)
}
