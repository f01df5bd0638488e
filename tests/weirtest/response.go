//go:build unix

package weirtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// RefusedAt checks that the call was refused for one field, with a message that contains these words.
func (r *Response) RefusedAt(field, words string) {
	r.t.Helper()
	p := r.Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if len(p.Errors) != 1 || p.Errors[0].Location != field || !strings.Contains(p.Errors[0].Message, words) {
		r.t.Errorf("%s: %+v; want it at %s, with %q", r.Request, p.Errors, field, words)
	}
}

// Object is a JSON object.
type Object = map[string]any

// Response is a node's answer.
type Response struct {
	t       *testing.T
	Request string
	Status  int
	Header  http.Header
	Body    []byte
}

// Decode decodes an answer. Fields that T names must have the right type; others are ignored.
func Decode[T any](r *Response) T {
	r.t.Helper()
	var x T
	if err := json.Unmarshal(r.Body, &x); err != nil {
		r.t.Fatalf("%v\n%v", r, err)
	}
	return x
}

// ProblemBody is an RFC 9457 problem.
type ProblemBody struct {
	Type, Title, Detail, Code, Hint string
	Status                          int
	RequestID                       string `json:"request_id"`
	Errors                          []struct{ Location, Message string }
}

// Page is one page of a list.
type Page[T any] struct {
	Items      []T
	NextCursor *string `json:"next_cursor"`
}

func (r *Response) String() string {
	return fmt.Sprintf("%s: %d %.2000s", r.Request, r.Status, r.Body)
}

// Want fails the test unless the answer has this status.
func (r *Response) Want(status int) *Response {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("%v\nwant %d", r, status)
	}
	return r
}

// Problem fails the test unless the answer is a problem with this status and code.
func (r *Response) Problem(status int, code string) ProblemBody {
	r.t.Helper()
	if kind := r.Header.Get("Content-Type"); r.Status != status || kind != "application/problem+json" {
		r.t.Fatalf("%v\nContent-Type %s; want a problem with status %d and code %s", r, kind, status, code)
	}
	p := Decode[ProblemBody](r)
	if p.Code != code || p.Status != status || p.Title == "" || p.Detail == "" || p.Type == "" || p.RequestID != r.Header.Get("X-Request-Id") {
		r.t.Fatalf("%v\nwant a whole problem with code %s", r, code)
	}
	return p
}
