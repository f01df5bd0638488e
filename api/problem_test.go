package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

func TestEveryCodeOfTheEngineHasAStatus(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../jobs/error.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`Code = "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(found) < 10 {
		t.Fatalf("found only %d codes in jobs/error.go", len(found))
	}
	for _, m := range found {
		if _, ok := kinds[jobs.Code(m[1])]; !ok {
			t.Errorf("the table has no %s: it would be answered with 500", m[1])
		}
	}
}

func TestEveryProblemIsComplete(t *testing.T) {
	t.Parallel()
	for code, k := range kinds {
		if k.status < 400 || k.status > 599 || k.title == "" || k.example == "" {
			t.Errorf("%s: %+v", code, k)
		}
	}
}

func inBody(field string) string { return (&parameters{hasBody: true}).place(field) }

func TestFieldOfTheEngineIsFoundInTheRequest(t *testing.T) {
	t.Parallel()
	a := describe(Config{})
	for _, c := range []struct {
		input, body reflect.Type
		field, want string
	}{
		{reflect.TypeFor[eventsInput](), nil, "Last-Event-ID", "header.Last-Event-ID"},
		{reflect.TypeFor[getJobInput](), nil, "wait_seconds", "query.wait_seconds"},
		{reflect.TypeFor[workerBodyInput](), reflect.TypeFor[jobs.WorkerSettings](), "name", "path.name"},
		{reflect.TypeFor[workerBodyInput](), reflect.TypeFor[jobs.WorkerSettings](), "queues[1]", "body.queues[1]"},
		{reflect.TypeFor[bodyInput](), reflect.TypeFor[NewSchedule](), "name", "body.name"},
		{reflect.TypeFor[JobPath](), nil, "priority", ""},
		{reflect.TypeFor[JobPath](), nil, "", ""},
	} {
		if got := a.parametersOf(c.input, c.body).place(c.field); got != c.want {
			t.Errorf("%s of %s with body %v: %q, want %q", c.field, c.input, c.body, got, c.want)
		}
	}
}

func TestEngineErrorsBecomeProblems(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err                    error
		status                 int
		code                   jobs.Code
		detail, hint, location string
		retryAfter             string
	}{
		"conflict": {
			err: &jobs.Error{Code: jobs.StaleToken, Message: "stale", Hint: "stop"}, status: 409, code: jobs.StaleToken, detail: "stale", hint: "stop",
		},
		"wrapped": {err: fmt.Errorf("doing: %w", &jobs.Error{Code: jobs.JobNotFound, Message: "no job"}), status: 404, code: jobs.JobNotFound, detail: "no job"},
		"argument": {
			err:    &jobs.Error{Code: jobs.InvalidArgument, Message: "jobs[3].priority must be from 1 to 10", Field: "jobs[3].priority", Hint: "about SQL"},
			status: 422, code: jobs.InvalidArgument, detail: "jobs[3].priority must be from 1 to 10", location: "body.jobs[3].priority",
		},
		"args of one job":  {err: &jobs.Error{Code: jobs.InvalidArgument, Message: "too large", Field: "args"}, status: 413, code: argsTooLarge, detail: "too large", location: "body.args"},
		"args of a batch":  {err: &jobs.Error{Code: jobs.InvalidArgument, Message: "too large", Field: "jobs[0].args"}, status: 413, code: argsTooLarge, detail: "too large", location: "body.jobs[0].args"},
		"unavailable":      {err: &jobs.Error{Code: jobs.Unavailable, Message: "away"}, status: 503, code: jobs.Unavailable, detail: "away", retryAfter: "1"},
		"unknown":          {err: errors.New("dial tcp 10.0.0.7: secret"), status: 500, code: jobs.Internal, detail: "internal error"},
		"an unknown code":  {err: &jobs.Error{Code: "new_code", Message: "secret"}, status: 500, code: jobs.Internal, detail: "internal error"},
		"already one":      {err: newProblem(context.Background(), routeNotFound, "nothing"), status: 404, code: routeNotFound, detail: "nothing"},
		"an internal code": {err: &jobs.Error{Code: jobs.Internal, Message: "secret"}, status: 500, code: jobs.Internal, detail: "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := problemOf(context.Background(), c.err, inBody)
			location := ""
			if len(p.Errors) > 0 {
				location = p.Errors[0].Location
			}
			if p.Status != c.status || p.Code != c.code || p.Detail != c.detail || p.Hint != c.hint || location != c.location || p.header.Get("Retry-After") != c.retryAfter {
				t.Errorf("%+v", p)
			}
			if p.Type != "urn:weir:problem:"+string(p.Code) || p.Title == "" {
				t.Errorf("type %q, title %q", p.Type, p.Title)
			}
		})
	}
}

func TestInternalErrorsAreKeptForTheLog(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("a defect"), &jobs.Error{Code: jobs.Unavailable, Message: "away"}} {
		c := &call{id: "r1"}
		p := problemOf(context.WithValue(context.Background(), callKey{}, c), err, inBody)
		if !errors.Is(c.err, err) || p.RequestID != "r1" {
			t.Errorf("%v: kept %v, request id %q", err, c.err, p.RequestID)
		}
	}
}

func TestClosedRequestIsNotAnError(t *testing.T) {
	t.Parallel()
	c := &call{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), callKey{}, c))
	cancel()
	if p := problemOf(ctx, ctx.Err(), inBody); p.Status != statusClientGone || c.err != nil {
		t.Errorf("%+v, kept %v", p, c.err)
	}
}

func TestRefusalDoesNotRepeatValues(t *testing.T) {
	t.Parallel()
	p := refusal(context.Background(), http.StatusUnprocessableEntity, "validation failed", []error{
		&huma.ErrorDetail{Location: "body.kind", Message: "expected string", Value: "secret"},
	})
	if text := fmt.Sprintf("%+v", *p); strings.Contains(text, "secret") || !strings.Contains(text, "body.kind") {
		t.Error(text)
	}
}

func TestLongProblemsAreCut(t *testing.T) {
	t.Parallel()
	errs := make([]ProblemError, 100)
	for i := range errs {
		errs[i].Location = "body." + strings.Repeat("ü", 5000)
	}
	p := newProblem(context.Background(), jobs.InvalidArgument, "", errs...)
	if len(p.Errors) != maxErrors || len([]rune(p.Errors[0].Location)) != maxLocation+1 {
		t.Errorf("%d errors, a location of %d characters", len(p.Errors), len([]rune(p.Errors[0].Location)))
	}
}
