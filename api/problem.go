package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/weirhq/weir/jobs"
)

// The codes of problems that are found before the engine is called. The other codes are the engine's.
const (
	malformedJSON        jobs.Code = "malformed_json"
	crossOrigin          jobs.Code = "cross_origin"
	hostNotAllowed       jobs.Code = "host_not_allowed"
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

// statusClientGone is for the log and the metrics; the client never sees it.
const statusClientGone = 499

// kinds is the one table that turns codes into answers. A code keeps its meaning and its status for ever.
var kinds = map[jobs.Code]kind{
	unauthenticated:            {http.StatusUnauthorized, "Authentication required", "send an API key: Authorization: Bearer weir_…"},
	jobs.Forbidden:             {http.StatusForbidden, "Not allowed", "this takes one of the roles [operator admin], which the key does not have"},
	rateLimited:                {http.StatusTooManyRequests, "Too many calls", "the key has used up its calls of this second"},
	jobs.KeyNotFound:           {http.StatusNotFound, "Key not found", `there is no key "3f9a1c0b7d5e2468"`},
	jobs.KeyExists:             {http.StatusConflict, "Key already exists", "there is a key 'billing-service' already"},
	malformedJSON:              {http.StatusBadRequest, "Malformed JSON", "the body is malformed at byte 17"},
	crossOrigin:                {http.StatusForbidden, "Cross-origin request refused", "the request comes from a page of another origin"},
	hostNotAllowed:             {http.StatusMisdirectedRequest, "Host not allowed", "the host of the request is not one of this node"},
	routeNotFound:              {http.StatusNotFound, "Path not found", "there is nothing at this path"},
	jobs.JobNotFound:           {http.StatusNotFound, "Job not found", "there is no job 4711"},
	jobs.QueueNotFound:         {http.StatusNotFound, "Queue not found", `there is no queue "mail"`},
	jobs.WorkerTaken:           {http.StatusConflict, "Worker taken", "worker 'mailer-1' is another's"},
	jobs.WorkerNotFound:        {http.StatusNotFound, "Worker not found", "there is no worker 'mailer-1'"},
	jobs.DeadLetterNotFound:    {http.StatusNotFound, "Dead letter not found", "there is no dead letter 4711"},
	jobs.OperationNotFound:     {http.StatusNotFound, "Operation not found", "there is no operation 7"},
	jobs.WorkflowNotFound:      {http.StatusNotFound, "Workflow not found", "there is no workflow 4711"},
	jobs.BreakerNotFound:       {http.StatusNotFound, "Circuit breaker not found", "there is no breaker 'stripe'"},
	jobs.ScheduleNotFound:      {http.StatusNotFound, "Schedule not found", "schedule 'nightly-report' does not exist"},
	jobs.OperationRunning:      {http.StatusConflict, "The operation has not ended", "operation 7 has not ended"},
	jobs.ResultNotFound:        {http.StatusNotFound, "Result not found", "the result of operation 7 is not kept any more"},
	jobs.WebhookNotFound:       {http.StatusNotFound, "Webhook not found", `there is no webhook "billing"`},
	jobs.PresetNotFound:        {http.StatusNotFound, "Preset not found", `there is no preset "failed_receipts"`},
	jobs.PresetBuiltIn:         {http.StatusConflict, "Preset is built in", "preset 'failed_today' is built in"},
	jobs.PresetExists:          {http.StatusConflict, "Preset already exists", "there is a preset 'failed_receipts' already"},
	jobs.WebhookExists:         {http.StatusConflict, "Webhook already exists", "there is a webhook 'billing' already"},
	jobs.AlertRuleNotFound:     {http.StatusNotFound, "Alert rule not found", "there is no alert rule 'queue-depth'"},
	jobs.AlertRuleExists:       {http.StatusConflict, "Alert rule already exists", "there is an alert rule 'queue-depth' already"},
	jobs.AlertNotFound:         {http.StatusNotFound, "Alert not found", "there is no alert 12"},
	jobs.AlertResolved:         {http.StatusConflict, "The alert has resolved", "alert 12 has resolved"},
	jobs.AlertTargetNotFound:   {http.StatusNotFound, "Alert target not found", "there is no alert target 'oncall'"},
	jobs.AlertTargetExists:     {http.StatusConflict, "Alert target already exists", "there is an alert target 'oncall' already"},
	jobs.AlertTargetInUse:      {http.StatusConflict, "An alert rule names the alert target", "alert rule 'queue-depth' tells the alert target 'oncall'"},
	methodNotAllowed:           {http.StatusMethodNotAllowed, "Method not allowed", "this path takes GET, HEAD"},
	requestTimeout:             {http.StatusRequestTimeout, "Request timed out", "the body did not arrive within 30 s, or stalled for 10 s"},
	jobs.StaleToken:            {http.StatusConflict, "Stale token", "the lease on job 4711 is not held with this token"},
	jobs.JobEnded:              {http.StatusConflict, "The job has ended", "job 4711 has ended: it is completed"},
	jobs.JobNotEditable:        {http.StatusConflict, "The job is running or has ended", "job 4711 is running or has ended"},
	jobs.JobNotRetryable:       {http.StatusConflict, "The job cannot be retried now", "job 4711 neither ended nor waits for a time"},
	jobs.IdempotencyMismatch:   {http.StatusConflict, "The idempotency key was used for another request", "the idempotency key was used for another request"},
	jobs.OperationEnded:        {http.StatusConflict, "The operation has ended", "operation 7 has ended: it is completed"},
	jobs.WorkflowEnded:         {http.StatusConflict, "The workflow has ended or is stopping", "workflow 4711 is over: it is completed"},
	jobs.WorkflowNotFailed:     {http.StatusConflict, "The workflow has no failed steps", "workflow 4711 has no step that failed or was cancelled"},
	jobs.NotAStep:              {http.StatusConflict, "The job is not a step of a workflow", "job 4712 is no step of a workflow"},
	jobs.BreakerInUse:          {http.StatusConflict, "The circuit breaker is in use", "breaker 'stripe' is in use"},
	jobs.BreakerPinned:         {http.StatusConflict, "The circuit breaker is pinned", "breaker 'stripe' is pinned open"},
	jobs.ScheduleExists:        {http.StatusConflict, "Schedule already exists", "there is a schedule 'nightly-report' already"},
	jobs.QueueNotEmpty:         {http.StatusConflict, "The queue still has jobs", "queue 'mail' still has jobs"},
	bodyTooLarge:               {http.StatusRequestEntityTooLarge, "The body is too large", "the body is larger than 10485760 bytes"},
	argsTooLarge:               {http.StatusRequestEntityTooLarge, "The args are too large", "args must be at most 1 MiB, with at most 100 levels and numbers of at most 1000 digits"},
	unsupportedMediaType:       {http.StatusUnsupportedMediaType, "The body must be JSON", "send the body with Content-Type: application/json"},
	jobs.InvalidArgument:       {http.StatusUnprocessableEntity, "Invalid value", "the request is not valid"},
	jobs.QuotaExceeded:         {http.StatusTooManyRequests, "The tenant is at its quota", "tenant 'acme' has used 1000 of its quota max_waiting of 1000, and this takes 1 more"},
	jobs.TenantMismatch:        {http.StatusConflict, "The queue belongs to another tenant", "queue 'mail' takes no jobs of this tenant"},
	jobs.QuotaNotFound:         {http.StatusNotFound, "Quota not found", `tenant "acme" has no quota`},
	jobs.QueueFull:             {http.StatusTooManyRequests, "The queue is full", "queue 'mail' is full: it may hold 1000 available jobs"},
	jobs.TooManyNames:          {http.StatusConflict, "Too many names", "queue 'mail' would be one of more than 10000 that were not created by an operator"},
	clientGone:                 {statusClientGone, "Client closed the request", "the client closed the request"},
	jobs.Internal:              {http.StatusInternalServerError, "Internal error", "internal error"},
	jobs.Unavailable:           {http.StatusServiceUnavailable, "Temporarily unavailable", "the database is not available at the moment"},
	jobs.QueueEncrypted:        {http.StatusConflict, "The queue is encrypted", "queue 'mail' is encrypted, and job.args are not"},
	jobs.EncryptionUnavailable: {http.StatusServiceUnavailable, "No encryption key", "queue 'mail' is encrypted, and this node has no encryption key"},
	jobs.Overloaded:            {http.StatusServiceUnavailable, "Overloaded", "too many requests wait for the database"},
}

// kindOf treats a code that is not in the table as a defect.
func kindOf(code jobs.Code) kind {
	if k, ok := kinds[code]; ok {
		return k
	}
	return kinds[jobs.Internal]
}

// Problem is an RFC 9457 problem document, with a code for programs. It never repeats a value of the request.
type Problem struct {
	Type      string         `json:"type" format:"uri" doc:"urn:weir:problem: followed by the code." example:"urn:weir:problem:stale_token"`
	Title     string         `json:"title" doc:"What the code means, for people. The same for every problem with this code."`
	Status    int            `json:"status" doc:"The HTTP status." example:"409"`
	Detail    string         `json:"detail" doc:"What is wrong with this request, for people."`
	Code      jobs.Code      `json:"code" doc:"What is wrong, for programs. A code never changes its meaning; new codes may be added." example:"stale_token"`
	Hint      string         `json:"hint,omitempty" doc:"How to fix it."`
	RequestID string         `json:"request_id,omitempty" doc:"Identifies the request in weir's log. Also in the header X-Request-Id."`
	Errors    []ProblemError `json:"errors,omitempty" doc:"With invalid_argument: the invalid values, at most twenty."`
	Quota     *jobs.QuotaUse `json:"quota,omitempty" doc:"With quota_exceeded: which quota, and how much of it is used."`

	header http.Header
}

// ProblemError locates an invalid value in a request.
type ProblemError struct {
	Location string `json:"location" doc:"The place of the value: body, path, query or header, followed by the path in it." example:"body.jobs[3].priority"`
	Message  string `json:"message" doc:"What is wrong with the value. Never repeats it."`
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

// write sends a problem without huma.
func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// problemOf turns an error of the engine into an answer. Errors that are not the caller's fault go to the log in full.
// place turns the engine's name of a value into its location in the request.
func problemOf(ctx context.Context, err error, place func(field string) string) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if ctx.Err() != nil {
		return newProblem(ctx, clientGone, "the client closed the request")
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
	if code == jobs.InvalidArgument && isArgs(e.Field) && !errors.Is(err, jobs.ErrForm) {
		code = argsTooLarge // args may be any JSON: only their bytes, levels and digits can be too many
	}
	var errs []ProblemError
	if at := place(e.Field); at != "" {
		errs = []ProblemError{{at, e.Message}}
	}
	p = newProblem(ctx, code, e.Message, errs...)
	if e.Code != jobs.InvalidArgument {
		p.Hint = e.Hint // of an argument, the hint is about SQL
	}
	if e.Quota != nil {
		p.Quota = e.Quota
		p.header.Set("Retry-After", strconv.Itoa(max(int(e.Quota.RetryAfter.Seconds()), 1)))
	}
	return p
}

// isArgs says whether a place is that of the args of a job, and not of a filter.
func isArgs(place string) bool {
	return place == "args" || strings.HasSuffix(place, ".args") && !strings.HasSuffix(place, "filter.args")
}

// init makes huma answer with our problems, write bounds out, match the case of field names, and refuse null for an array.
func init() {
	// A bound is a float64, which %v writes as 3.1536e+07.
	for _, message := range []*string{
		&validation.MsgExpectedMinimumNumber, &validation.MsgExpectedExclusiveMinimumNumber,
		&validation.MsgExpectedMaximumNumber, &validation.MsgExpectedExclusiveMaximumNumber, &validation.MsgExpectedNumberBeMultipleOf,
	} {
		*message = strings.ReplaceAll(*message, "%v", "%.15g")
	}
	huma.NewErrorWithContext = func(c huma.Context, status int, message string, errs ...error) huma.StatusError {
		return refusal(c.Context(), status, message, errs)
	}
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return refusal(context.Background(), status, message, errs)
	}
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
}

// refusal is the problem of a request that huma refuses.
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
		return newProblem(ctx, malformedJSON, "the request needs a JSON body")
	case status == http.StatusRequestTimeout:
		return newProblem(ctx, requestTimeout, fmt.Sprintf("the body did not arrive within %g s, or stalled for %g s", bodyPatience.Seconds(), bodyStall.Seconds()))
	case message == "cannot read request body":
		return newProblem(ctx, malformedJSON, "the body ended too soon")
	}
	callOf(ctx).err = fmt.Errorf("huma: %d %s: %w", status, message, errors.Join(errs...))
	return newProblem(ctx, jobs.Internal, "internal error")
}

// plain rewords messages of huma that speak of Go.
func plain(message string) string {
	if strings.HasPrefix(message, "invalid date/time") {
		return timeMessage
	}
	return message
}
