package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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
	tagKeys       = "keys"
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
		{Name: tagKeys, Description: "API keys: who may call, and for what."},
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

// documented is what the document says about an operation beside its types.
type documented struct {
	body       any                  // an example of the body
	answer     any                  // an example of the answer
	bodyType   reflect.Type         // of an input with a Payload; registerBody sets it
	optional   bool                 // the body may be absent
	problems   []jobs.Code          // beside those of every operation
	also       map[int]otherSuccess // by status
	noDatabase bool                 // it works without the database
	waits      bool                 // a call may wait for a minute
}

// otherSuccess is another status of success, with the same type of answer.
type otherSuccess struct {
	description string
	answer      any
}

// registerBody adds an operation that has a body.
func registerBody[I, B, O any, P interface {
	*I
	payload() []byte
}](a *API, op huma.Operation, s documented, handler func(context.Context, *I, *B) (*O, error)) {
	s.bodyType = reflect.TypeFor[B]()
	register(a, op, s, func(ctx context.Context, in *I) (*O, error) {
		text := P(in).payload()
		if s.optional && isNothing(text) {
			return handler(ctx, in, new(B))
		}
		read := decode[B]
		if s.waits {
			read = decodeApart[B]
		}
		body, err := read(ctx, a, text)
		if err != nil {
			return nil, err
		}
		return handler(ctx, in, body)
	})
}

// isNothing says whether an optional body is left out, or null, which some clients send instead.
func isNothing(text []byte) bool {
	return len(text) == 0 || string(bytes.TrimSpace(text)) == "null"
}

// register adds an operation. A handler's errors become problems here.
func register[I, O any](a *API, op huma.Operation, s documented, handler func(context.Context, *I) (*O, error)) {
	op.MaxBodyBytes = a.maxBody + 1 // http.MaxBytesReader is exact and comes first
	op.BodyReadTimeout = bodyStall
	status := op.DefaultStatus
	if status == 0 {
		status = http.StatusOK
	}
	op.Responses = map[string]*huma.Response{strconv.Itoa(status): {Description: http.StatusText(status)}}
	if s.answer != nil {
		op.Responses[strconv.Itoa(status)].Content = map[string]*huma.MediaType{"application/json": {Example: s.answer}}
	}
	rule := ruleOf(op.OperationID)
	a.rules[op.Method+" "+op.Path] = rule
	codes := append([]jobs.Code{jobs.InvalidArgument, jobs.Internal}, s.problems...)
	codes = append(codes, rule.secure(&op)...)
	if !s.noDatabase {
		codes = append(codes, jobs.Unavailable)
	}
	if s.bodyType != nil {
		op.SkipValidateBody = true // decode does it
		reference := a.schemas().Schema(s.bodyType, true, "")
		a.bodies[s.bodyType] = a.schemas().SchemaFromRef(reference.Ref)
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{
			"application/json": {Schema: reference, Example: s.body},
		}}
		codes = append(codes, jobs.Overloaded, malformedJSON, requestTimeout, bodyTooLarge, unsupportedMediaType)
	}
	params := a.parametersOf(reflect.TypeFor[I](), s.bodyType)
	a.times[op.Method+" "+op.Path] = params.times
	_, paged := any(new(I)).(interface{ oneMore() int })
	if paged {
		codes = append(codes, jobs.Overloaded)
	}
	a.showProblems(&op, codes)
	object := pathField(reflect.TypeFor[I]())
	record := recorded(op)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		if path, ok := any(in).(interface {
			missing(context.Context) *Problem
		}); ok {
			if p := path.missing(ctx); p != nil {
				return nil, p
			}
		}
		if paged {
			ctx = jobs.WithPage(ctx)
		}
		if object != nil {
			if err := a.keep(ctx, rule.bound, reflect.ValueOf(in).Elem().FieldByIndex(object).String()); err != nil {
				return nil, problemOf(ctx, err, params.place)
			}
		}
		if record {
			ctx = asCall(ctx, op.OperationID)
		}
		out, err := handler(ctx, in)
		if err != nil {
			return nil, problemOf(ctx, err, params.place)
		}
		return out, nil
	})
	if s.bodyType != nil {
		delete(op.RequestBody.Content, "application/octet-stream") // huma's idea of a RawBody
		op.RequestBody.Required = !s.optional
	}
	for other, say := range s.also {
		schema := op.Responses[strconv.Itoa(status)].Content["application/json"].Schema
		op.Responses[strconv.Itoa(other)] = &huma.Response{
			Description: say.description, Content: map[string]*huma.MediaType{"application/json": {Schema: schema, Example: say.answer}},
		}
	}
}

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
	for _, name := range []string{"Moment", "WorkflowMoment", "Reason", "BreakerEvent"} {
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
	filter := schemas["Operation"].Properties["filter"]
	filter.Type, filter.AdditionalProperties = huma.TypeObject, true
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
