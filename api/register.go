package api

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// documented is what the document says about an operation beside its types.
type documented struct {
	body       any                  // an example of the body
	answer     any                  // an example of the answer
	answerType reflect.Type         // of an answer whose Go type is any; nil: that of the output's body
	bodyType   reflect.Type         // of an input with a Payload; registerBody sets it
	optional   bool                 // the body may be absent
	problems   []jobs.Code          // beside those of every operation
	also       map[int]otherSuccess // by status
	noDatabase bool                 // it works without the database
	waits      bool                 // a call may wait for a minute
}

// otherSuccess is another status of success.
type otherSuccess struct {
	description string
	answer      any
	answerType  reflect.Type // nil: that of the first
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
		if s.answerType != nil {
			op.Responses[strconv.Itoa(status)].Content["application/json"].Schema = a.schemas().Schema(s.answerType, true, "")
		}
	}
	rule := ruleOf(op.OperationID)
	a.rules[op.Method+" "+op.Path] = rule
	codes := append([]jobs.Code{jobs.InvalidArgument, jobs.Internal, hostNotAllowed, crossOrigin}, s.problems...)
	codes = append(codes, rule.secure(&op)...)
	codes = append(codes, jobs.Unavailable) // the database, or the issuer of the caller's access token
	if !s.noDatabase {
		codes = append(codes, jobs.Overloaded, jobs.EncryptionUnavailable) // any call may meet an encrypted queue
	}
	if s.bodyType != nil {
		op.SkipValidateBody = true // decode does it
		reference := a.schemas().Schema(s.bodyType, true, "")
		a.bodies[s.bodyType] = a.schemas().SchemaFromRef(reference.Ref)
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{
			"application/json": {Schema: reference, Example: s.body},
		}}
		codes = append(codes, malformedJSON, requestTimeout, bodyTooLarge, unsupportedMediaType)
	}
	params := a.parametersOf(reflect.TypeFor[I](), s.bodyType)
	a.queries[op.Method+" "+op.Path] = params.query
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
		if say.answerType != nil {
			schema = a.schemas().Schema(say.answerType, true, "")
		}
		op.Responses[strconv.Itoa(other)] = &huma.Response{
			Description: say.description, Content: map[string]*huma.MediaType{"application/json": {Schema: schema, Example: say.answer}},
		}
	}
}
