package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	quick "github.com/goccy/go-json"
)

// Bodies do not go the way that huma has for them, which is to decode each twice, payloads and all. They come to register as a Payload
// and are validated by huma's own validator, against the schema that the OpenAPI document shows, from an outline.

// Payload is the body of an input, as it came. Its bytes are good until the operation returns.
type Payload struct {
	RawBody []byte
}

func (p Payload) payload() []byte { return p.RawBody }

type bodyInput struct {
	Payload
}

// decode reads a body: all that its schema says of it is true then.
func decode[B any](ctx context.Context, a *API, text []byte) (*B, error) {
	body, misfit := unmarshal[B](text)
	var syntax *json.SyntaxError
	if errors.As(misfit, &syntax) {
		return nil, newProblem(ctx, malformedJSON, fmt.Sprintf("the body is malformed at byte %d", syntax.Offset))
	}
	schema := a.bodies[reflect.TypeFor[B]()]
	o := &outline{text: text, schemas: a.schemas()}
	tree := o.value(schema)
	if o.twice {
		return nil, invalidAt(ctx, "body", "names a property twice")
	}
	var found huma.ValidateResult
	place := huma.NewPathBuffer(make([]byte, 0, 128), 0)
	place.Push("body")
	huma.Validate(a.schemas(), schema, place, huma.ModeWriteToServer, tree, &found)
	if len(found.Errors) > 0 {
		return nil, refusal(ctx, http.StatusUnprocessableEntity, "", found.Errors)
	}
	if o.huge != "" {
		return nil, invalidAt(ctx, o.huge, "has a number with an exponent beyond 999")
	}
	if misfit != nil {
		return nil, unread(ctx, misfit)
	}
	return body, nil
}

// unmarshal is json.Unmarshal in a fourth of its time. Both take and refuse the same texts, but only the standard library says well what is wrong.
func unmarshal[B any](text []byte) (*B, error) {
	body := new(B)
	err := quick.Unmarshal(text, body)
	if err != nil {
		body = new(B)
		err = json.Unmarshal(text, body)
	}
	return body, err
}

// decodeApart decodes on a goroutine of its own, which takes the deep stack with it that decoding needs. The one that then waits, perhaps with ten
// thousand others, keeps a small one.
func decodeApart[B any](ctx context.Context, a *API, text []byte) (body *B, err error) {
	crash := make(chan any, 1)
	go func() {
		defer func() { crash <- recover() }()
		body, err = decode[B](ctx, a, text)
	}()
	if c := <-crash; c != nil {
		panic(c)
	}
	return body, err
}

// unread says why a body that is valid has no place in its Go type. What encoding/json says of it might quote the value.
func unread(ctx context.Context, err error) *Problem {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) { // to a schema, 5.0 and 5e0 are integers
		return invalidAt(ctx, "body."+mismatch.Field, "must be a whole number, written without fraction and exponent")
	}
	return invalidAt(ctx, "body", "has an id or token that is too large")
}

// jsonFormat is how answers are written.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		e := quick.NewEncoder(deaf{w})
		e.SetEscapeHTML(false)
		return e.Encode(v)
	},
	Unmarshal: quick.Unmarshal,
}

// deaf is a writer to a client that may have gone. That is no error: the encoder writes once, when everything is encoded.
type deaf struct{ io.Writer }

func (d deaf) Write(b []byte) (int, error) {
	_, _ = d.Writer.Write(b)
	return len(b), nil
}
