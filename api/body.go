package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/weirhq/weir/jobs"
)

// Huma would decode each body twice, payloads included. So bodies come to register as a Payload, and huma's validator checks them
// against the schema of the OpenAPI document by way of a bodyTree.

// Payload is the body of an input, as it came. Its bytes are good until the operation returns.
type Payload struct {
	RawBody []byte
}

func (p Payload) payload() []byte { return p.RawBody }

type bodyInput struct {
	Payload
}

// jsonOptions leave to bodyTree what depends on the place in the body: payloads may repeat names.
var jsonOptions = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// decode reads a body. Afterwards all that its schema says of it is true.
func decode[B any](ctx context.Context, a *API, text []byte) (*B, error) {
	body, problems, err := decodeWithProblems[B](ctx, a, text)
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, refuse(ctx, problems)
	}
	return body, nil
}

// decodeWithProblems is decode for an operation that accepts the rest of a body in which some payloads cannot be stored. It returns those.
func decodeWithProblems[B any](ctx context.Context, a *API, text []byte) (*B, []bodyProblem, error) {
	if p := malformed(ctx, text); p != nil {
		return nil, nil, p
	}
	schema := a.bodies[reflect.TypeFor[B]()]
	b := &bodyTree{text: text, schemas: a.schemas()}
	tree := b.value(schema, 0)
	var found huma.ValidateResult
	place := huma.NewPathBuffer(make([]byte, 0, 128), 0)
	place.Push("body")
	huma.Validate(a.schemas(), schema, place, huma.ModeWriteToServer, tree, &found)
	if len(found.Errors) > 0 {
		return nil, nil, refusal(ctx, http.StatusUnprocessableEntity, "", found.Errors)
	}
	for _, p := range b.problems {
		if !p.ofPayload {
			return nil, nil, refuse(ctx, b.problems)
		}
	}
	body := new(B)
	if err := json.Unmarshal(text, body, jsonOptions); err != nil {
		return nil, nil, misfit(ctx, err)
	}
	return body, b.problems, nil
}

// malformed says where a text stops being JSON, or is nil.
func malformed(ctx context.Context, text []byte) *Problem {
	in := jsontext.NewDecoder(bytes.NewBuffer(text), jsonOptions)
	_, err := in.ReadValue() // in one go, which is faster than SkipValue
	if err == nil {
		if _, more := in.ReadToken(); more == nil || errors.As(more, new(*jsontext.SyntacticError)) {
			return newProblem(ctx, malformedJSON, fmt.Sprintf("the body is malformed at byte %d: more follows its value", in.InputOffset()))
		}
		if i := invalidUTF8(text); i >= 0 {
			return newProblem(ctx, malformedJSON, fmt.Sprintf("the body is malformed at byte %d: it is not UTF-8", i))
		}
		return nil
	}
	at := int64(len(text))
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if syntax.Err != nil && syntax.Err.Error() == "exceeded max depth" { // ten thousand levels
			return invalidAt(ctx, "body", "is nested too deeply: a payload may have 100 levels")
		}
		at = syntax.ByteOffset
	}
	return newProblem(ctx, malformedJSON, fmt.Sprintf("the body is malformed at byte %d", at))
}

func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for i := 0; ; {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
}

// refuse makes one problem of what a bodyTree found.
func refuse(ctx context.Context, problems []bodyProblem) *Problem {
	code, detail := jobs.InvalidArgument, "the request is not valid"
	var errs []ProblemError
	for _, p := range problems {
		if p.tooLarge && isArgs(p.Location) {
			code, detail = argsTooLarge, strings.TrimPrefix(p.Location, "body.")+" "+p.Message
		}
		errs = append(errs, p.ProblemError)
	}
	return newProblem(ctx, code, detail, errs...)
}

// decodeApart decodes on a goroutine of its own, which takes the deep stack with it that decoding needs. The one that then waits, perhaps with ten
// thousand others, keeps a small one.
func decodeApart[B any](ctx context.Context, a *API, text []byte) (body *B, err error) {
	crash := make(chan error, 1)
	go func() {
		defer func() {
			c := recover()
			if c == nil {
				crash <- nil
				return
			}
			crash <- &crashed{cause: c, stack: debug.Stack()}
		}()
		body, err = decode[B](ctx, a, text)
	}()
	if c := <-crash; c != nil {
		panic(c)
	}
	return body, err
}

// misfit says why a body that is valid has no place in its Go type. The decoder's own message might quote the value.
func misfit(ctx context.Context, err error) *Problem {
	var mismatch *json.SemanticError
	if !errors.As(err, &mismatch) {
		return invalidAt(ctx, "body", "cannot be read")
	}
	place := placeOf(mismatch.JSONPointer)
	if mismatch.JSONKind == jsontext.KindNumber { // to a schema, 5.0 and 5e0 are integers
		return invalidAt(ctx, place, "must be a whole number, written without fraction and exponent")
	}
	return invalidAt(ctx, place, "is too large to be an id or token")
}

// placeOf turns /acks/1/token into body.acks[1].token. No member that a Go type knows is named by a number.
func placeOf(pointer jsontext.Pointer) string {
	place := "body"
	for name := range pointer.Tokens() {
		if strings.Trim(name, "0123456789") == "" {
			place += "[" + name + "]"
		} else {
			place += "." + name
		}
	}
	return place
}
