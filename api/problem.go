package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// The codes of what goes wrong before the engine is asked. The others are the engine's.
const (
	malformedJSON        jobs.Code = "malformed_json"
	crossOrigin          jobs.Code = "cross_origin"
	routeNotFound        jobs.Code = "not_found"
	methodNotAllowed     jobs.Code = "method_not_allowed"
	requestTimeout       jobs.Code = "request_timeout"
	bodyTooLarge         jobs.Code = "body_too_large"
	argsTooLarge         jobs.Code = "args_too_large"
	unsupportedMediaType jobs.Code = "unsupported_media_type"
	clientGone           jobs.Code = "client_gone"
)

// kind is what all problems of one code have in common.
type kind struct {
	status  int
	title   string
	example string // a detail, for the OpenAPI document
}

// statusClientGone is for the log and the figures: nobody is there to see it.
const statusClientGone = 499

// kinds is the one table that turns codes into answers. A code keeps its meaning and its status for ever.
var kinds = map[jobs.Code]kind{
	malformedJSON:            {http.StatusBadRequest, "The body is not JSON", "the body is malformed at byte 17"},
	crossOrigin:              {http.StatusForbidden, "A page of another origin may not do this", "the request comes from a page of another origin"},
	routeNotFound:            {http.StatusNotFound, "There is nothing at this path", "there is nothing at this path"},
	jobs.JobNotFound:         {http.StatusNotFound, "There is no such job", "there is no job 4711"},
	jobs.QueueNotFound:       {http.StatusNotFound, "There is no such queue", `there is no queue "mail"`},
	jobs.WorkerNotFound:      {http.StatusNotFound, "There is no such worker", "there is no worker 'mailer-1'"},
	jobs.DeadLetterNotFound:  {http.StatusNotFound, "There is no such dead letter", "there is no dead letter 4711"},
	jobs.OperationNotFound:   {http.StatusNotFound, "There is no such operation", "there is no operation 7"},
	jobs.WorkflowNotFound:    {http.StatusNotFound, "There is no such workflow", "there is no workflow 4711"},
	jobs.BreakerNotFound:     {http.StatusNotFound, "There is no such circuit breaker", "there is no breaker 'stripe'"},
	jobs.ScheduleNotFound:    {http.StatusNotFound, "There is no such schedule", "schedule 'nightly-report' does not exist"},
	jobs.OperationRunning:    {http.StatusConflict, "The operation has not ended", "operation 7 has not ended"},
	jobs.ResultNotFound:      {http.StatusNotFound, "There is no such result", "the result of operation 7 is not kept any more"},
	jobs.WebhookNotFound:     {http.StatusNotFound, "There is no such webhook", `there is no webhook "billing"`},
	jobs.WebhookExists:       {http.StatusConflict, "There is a webhook of this name already", "there is a webhook 'billing' already"},
	methodNotAllowed:         {http.StatusMethodNotAllowed, "This path does not take this method", "this path takes GET, HEAD"},
	requestTimeout:           {http.StatusRequestTimeout, "The body came too slowly", "the body did not come within 30 s"},
	jobs.StaleToken:          {http.StatusConflict, "The lease is not held with this token", "the lease on job 4711 is not held with this token"},
	jobs.JobEnded:            {http.StatusConflict, "The job has ended", "job 4711 has ended: it is completed"},
	jobs.JobNotEditable:      {http.StatusConflict, "The job runs or has ended", "job 4711 is running or has ended"},
	jobs.JobNotRetryable:     {http.StatusConflict, "The job neither ended nor waits for a time", "job 4711 neither ended nor waits for a time"},
	jobs.IdempotencyMismatch: {http.StatusConflict, "The idempotency key was used for another request", "the idempotency key was used for another request"},
	jobs.OperationEnded:      {http.StatusConflict, "The operation has ended", "operation 7 has ended: it is completed"},
	jobs.WorkflowEnded:       {http.StatusConflict, "The workflow is over, or is being stopped", "workflow 4711 is over: it is completed"},
	jobs.WorkflowNotFailed:   {http.StatusConflict, "The workflow has nothing to run again", "workflow 4711 has no step that failed or was cancelled"},
	jobs.NotAStep:            {http.StatusConflict, "The job is no step of a workflow", "job 4712 is no step of a workflow"},
	jobs.BreakerInUse:        {http.StatusConflict, "The circuit breaker is in use", "breaker 'stripe' is in use"},
	jobs.BreakerPinned:       {http.StatusConflict, "The circuit breaker is pinned", "breaker 'stripe' is pinned open"},
	jobs.ScheduleExists:      {http.StatusConflict, "There is a schedule of this name already", "there is a schedule 'nightly-report' already"},
	jobs.QueueNotEmpty:       {http.StatusConflict, "The queue still has jobs", "queue 'mail' still has jobs"},
	bodyTooLarge:             {http.StatusRequestEntityTooLarge, "The body is too large", "the body is larger than 10485760 bytes"},
	argsTooLarge:             {http.StatusRequestEntityTooLarge, "The args are too large", "args must be at most 1 MiB"},
	unsupportedMediaType:     {http.StatusUnsupportedMediaType, "The body must be JSON", "send the body with Content-Type: application/json"},
	jobs.InvalidArgument:     {http.StatusUnprocessableEntity, "A value is not what it should be", "the request is not valid"},
	jobs.QueueFull:           {http.StatusTooManyRequests, "The queue is full", "queue 'mail' is full: it may hold 1000 available jobs"},
	clientGone:               {statusClientGone, "The client has gone", "the client has gone"},
	jobs.Internal:            {http.StatusInternalServerError, "Internal error", "internal error"},
	jobs.Unavailable:         {http.StatusServiceUnavailable, "weir cannot do this at the moment", "the database is not available at the moment"},
	jobs.Overloaded:          {http.StatusServiceUnavailable, "weir has too much to do at the moment", "too many requests wait for the database"},
}

// kindOf takes a code that the table lacks for a defect.
func kindOf(code jobs.Code) kind {
	if k, ok := kinds[code]; ok {
		return k
	}
	return kinds[jobs.Internal]
}

// Problem is the answer to a request that was not done: RFC 9457, with a code for programs. It never holds a value of the request.
type Problem struct {
	Type      string         `json:"type" format:"uri" doc:"urn:weir:problem: and the code." example:"urn:weir:problem:stale_token"`
	Title     string         `json:"title" doc:"What the code means, for people; the same for all problems of a code."`
	Status    int            `json:"status" doc:"The status of the answer." example:"409"`
	Detail    string         `json:"detail" doc:"What is wrong this time, for people."`
	Code      jobs.Code      `json:"code" doc:"What is wrong, for programs. A code keeps its meaning; new ones may come." example:"stale_token"`
	Hint      string         `json:"hint,omitempty" doc:"What may help."`
	RequestID string         `json:"request_id,omitempty" doc:"Names the request in weir's log; it is also in the header X-Request-Id."`
	Errors    []ProblemError `json:"errors,omitempty" doc:"With invalid_argument: which values are wrong, at most twenty of them."`

	header http.Header
}

// ProblemError says where in a request something is wrong.
type ProblemError struct {
	Location string `json:"location" doc:"Where: body, path, query or header, and then the way to the value." example:"body.jobs[3].priority"`
	Message  string `json:"message" doc:"What is wrong there. It does not quote the value."`
}

const (
	maxErrors   = 20  // of a problem
	maxLocation = 200 // characters; the name of an unknown field is the client's, and may be anything
)

func newProblem(ctx context.Context, code jobs.Code, detail string, errs ...ProblemError) *Problem {
	k := kindOf(code)
	p := &Problem{
		Type: "urn:weir:problem:" + string(code), Title: k.title, Status: k.status, Detail: detail, Code: code,
		RequestID: callOf(ctx).id, Errors: errs[:min(len(errs), maxErrors)],
	}
	for i := range p.Errors {
		p.Errors[i].Location = clip(p.Errors[i].Location, maxLocation)
	}
	if k.status == http.StatusServiceUnavailable || k.status == http.StatusTooManyRequests {
		p.header = http.Header{"Retry-After": {"1"}}
	}
	return p
}

// invalidAt is the problem of one value.
func invalidAt(ctx context.Context, location, message string) *Problem {
	return newProblem(ctx, jobs.InvalidArgument, "the request is not valid", ProblemError{location, message})
}

func clip(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

func (p *Problem) Error() string { return fmt.Sprintf("%s: %s", p.Code, p.Detail) }

// GetStatus is what huma asks of an error that it answers with, as are GetHeaders and ContentType.
func (p *Problem) GetStatus() int { return p.Status }

func (p *Problem) GetHeaders() http.Header { return p.header }

func (p *Problem) ContentType(string) string { return "application/problem+json" }

// write answers with a problem where huma does not.
func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// problemOf turns an error of the engine into an answer. What is not the caller's doing is left for the log in full.
// place turns the engine's name of a value into its location in the request.
func problemOf(ctx context.Context, err error, place func(field string) string) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if ctx.Err() != nil {
		return newProblem(ctx, clientGone, "the client has gone")
	}
	var e *jobs.Error
	if !errors.As(err, &e) || kindOf(e.Code).status == http.StatusInternalServerError {
		callOf(ctx).err = err
		return newProblem(ctx, jobs.Internal, "internal error")
	}
	if kindOf(e.Code).status >= 500 {
		callOf(ctx).err = err
	}
	code := e.Code
	if code == jobs.InvalidArgument && isArgs(e.Field) {
		code = argsTooLarge // args may be any JSON: their size is all that can be wrong with them
	}
	var errs []ProblemError
	if at := place(e.Field); at != "" {
		errs = []ProblemError{{at, e.Message}}
	}
	p = newProblem(ctx, code, e.Message, errs...)
	if e.Code != jobs.InvalidArgument {
		p.Hint = e.Hint // of an argument, the hint is about SQL
	}
	return p
}

// isArgs says whether a place is that of the args of a job.
func isArgs(place string) bool { return place == "args" || strings.HasSuffix(place, ".args") }

// init has huma answer with our problems, and be exact: the case of a field's name counts, and an array is not null.
func init() {
	huma.NewErrorWithContext = func(c huma.Context, status int, message string, errs ...error) huma.StatusError {
		return refusal(c.Context(), status, message, errs)
	}
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return refusal(context.Background(), status, message, errs)
	}
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
}

// refusal is the problem of a request that huma does not let through to an operation.
func refusal(ctx context.Context, status int, message string, errs []error) *Problem {
	var tooLarge *http.MaxBytesError
	var p *Problem
	var places []ProblemError
	for _, err := range errs {
		var detail *huma.ErrorDetail
		switch {
		case errors.As(err, &tooLarge):
			return newProblem(ctx, bodyTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit))
		case errors.As(err, &p):
			return p
		case errors.As(err, &detail): // its Value stays out
			places = append(places, ProblemError{detail.Location, plain(detail.Message)})
		}
	}
	switch {
	case status == http.StatusUnprocessableEntity:
		return newProblem(ctx, jobs.InvalidArgument, "the request is not valid", places...)
	case status == http.StatusBadRequest:
		return newProblem(ctx, malformedJSON, "the request needs a body, and that must be JSON")
	case status == http.StatusRequestTimeout:
		return newProblem(ctx, requestTimeout, fmt.Sprintf("the body did not come within %g s", bodyPatience.Seconds()))
	case message == "cannot read request body":
		return newProblem(ctx, malformedJSON, "the body ended too soon")
	}
	callOf(ctx).err = fmt.Errorf("huma: %d %s: %w", status, message, errors.Join(errs...))
	return newProblem(ctx, jobs.Internal, "internal error")
}

// plain puts in plain words what huma says in Go's.
func plain(message string) string {
	if strings.HasPrefix(message, "invalid date/time") {
		return timeMessage
	}
	return message
}
