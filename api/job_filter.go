package api

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// JobQuery is a filter of jobs in a query.
type JobQuery struct {
	Preset         string            `query:"preset" maxLength:"128" doc:"The fields of this preset, as of now, beside those that are given, which replace them." example:"failed_today"`
	State          []jobs.State      `query:"state" maxItems:"20" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"Only jobs in one of these states."`
	Queue          []string          `query:"queue" maxItems:"20" maxLength:"128" doc:"Only jobs of one of these queues."`
	Kind           []string          `query:"kind" maxItems:"20" maxLength:"200" doc:"Only jobs of one of these kinds."`
	Tag            []string          `query:"tag" maxItems:"20" maxLength:"200" doc:"Only jobs with one of these tags."`
	Tenant         string            `query:"tenant" maxLength:"200" doc:"Only jobs of this tenant."`
	Worker         string            `query:"worker" maxLength:"200" doc:"Only jobs that this worker holds or held last."`
	ErrorType      string            `query:"error_type" maxLength:"200" doc:"Only jobs with an attempt that failed with exactly this class of error."`
	Error          string            `query:"error" maxLength:"200" doc:"Only jobs with an attempt whose error has these words in its class and message, in the syntax of q."`
	Args           string            `query:"args" maxLength:"4096" doc:"Only jobs whose args contain this JSON object. args.customer.id=42 is short for args={\"customer\":{\"id\":42}}; a value that is no JSON number, true, false, null or quoted string is a text."`
	Text           string            `query:"q" maxLength:"200" doc:"Only jobs with these words in their kind, args and tags, or in the class and message of one of their errors. Case does not matter. All words must be there; \"words in quotes\" follow each other; or means either; -word must not be there."`
	ParentID       string            `query:"parent_id" pattern:"^[0-9]+$" maxLength:"30" doc:"Only children of this job."`
	WorkflowID     string            `query:"workflow_id" pattern:"^[0-9]+$" maxLength:"30" doc:"Only steps of this workflow."`
	Priority       int               `query:"priority" minimum:"1" maximum:"10" doc:"Only jobs of this priority."`
	MinPriority    int               `query:"min_priority" minimum:"1" maximum:"10" doc:"Only jobs of this priority or a higher one."`
	MaxPriority    int               `query:"max_priority" minimum:"1" maximum:"10" doc:"Only jobs of this priority or a lower one."`
	MinAttempts    int               `query:"min_attempts" minimum:"1" maximum:"100" doc:"Only jobs with at least this many attempts."`
	MaxAttempts    Optional[int]     `query:"max_attempts" minimum:"0" maximum:"100" doc:"Only jobs with at most this many attempts; 0: that never ran."`
	HasError       Optional[bool]    `query:"has_error" doc:"Only jobs with a failed attempt (true), or without one (false)."`
	MinRun         Optional[float64] `query:"min_run_seconds" minimum:"0" maximum:"315360000" doc:"Only jobs whose last attempt took at least this many seconds, or has run that long."`
	MaxRun         Optional[float64] `query:"max_run_seconds" minimum:"0" maximum:"315360000" doc:"Only jobs whose last attempt took at most this many seconds, or has run no longer."`
	MinWait        Optional[float64] `query:"min_wait_seconds" minimum:"0" maximum:"315360000" doc:"Only jobs that were available for at least this many seconds before their last start; those not started, until now."`
	MaxWait        Optional[float64] `query:"max_wait_seconds" minimum:"0" maximum:"315360000" doc:"Only jobs that were available for at most this many seconds before their last start; those not started, until now."`
	CreatedAfter   time.Time         `query:"created_after" doc:"Only jobs enqueued at or after this time."`
	CreatedBefore  time.Time         `query:"created_before" doc:"Only jobs enqueued before this time."`
	StartedAfter   time.Time         `query:"started_after" doc:"Only running and ended jobs whose last attempt began at or after this time."`
	StartedBefore  time.Time         `query:"started_before" doc:"Only running and ended jobs whose last attempt began before this time."`
	FinishedAfter  time.Time         `query:"finished_after" doc:"Only jobs that ended at or after this time."`
	FinishedBefore time.Time         `query:"finished_before" doc:"Only jobs that ended before this time."`
}

type jobsInput struct {
	JobQuery
	Sort string `query:"sort" default:"-id" enum:"-id,id,-finished_at,finished_at,-run_seconds,run_seconds,-wait_seconds,wait_seconds,-attempt,attempt,-priority,priority" doc:"The order, with a minus from the highest. id has the oldest first. Any other sorts the newest 10,000 matches, or as many as are found in two seconds; sorted_of says how many."`
	Paging
}

// filter is what the query asks for.
func (in *JobQuery) filter(ctx context.Context) (jobs.Filter, error) {
	if in.ParentID != "" && idOf(in.ParentID) == 0 {
		return jobs.Filter{}, invalidAt(ctx, "query.parent_id", "must be the id of a job")
	}
	if in.WorkflowID != "" && idOf(in.WorkflowID) == 0 {
		return jobs.Filter{}, invalidAt(ctx, "query.workflow_id", "must be the id of a workflow")
	}
	if in.Args != "" && !json.Valid([]byte(in.Args)) {
		return jobs.Filter{}, invalidAt(ctx, "query.args", "must be a JSON object")
	}
	for name, number := range map[string]float64{
		"min_run_seconds": in.MinRun.Value, "max_run_seconds": in.MaxRun.Value, "min_wait_seconds": in.MinWait.Value, "max_wait_seconds": in.MaxWait.Value,
	} {
		if math.IsNaN(number) { // it is within no bounds, and not beyond them either
			return jobs.Filter{}, invalidAt(ctx, "query."+name, "must be a number")
		}
	}
	return jobs.Filter{
		Preset: in.Preset, State: in.State, Queue: in.Queue, Kind: in.Kind, Tag: in.Tag, Tenant: in.Tenant, Worker: in.Worker,
		ErrorType: in.ErrorType, Error: in.Error, Args: json.RawMessage(in.Args), Text: in.Text,
		Parent: idOf(in.ParentID), Workflow: idOf(in.WorkflowID),
		Priority: in.Priority, MinPriority: in.MinPriority, MaxPriority: in.MaxPriority,
		MinAttempts: in.MinAttempts, MaxAttempts: in.MaxAttempts.pointer(), HasError: in.HasError.pointer(),
		MinRun: in.MinRun.pointer(), MaxRun: in.MaxRun.pointer(), MinWait: in.MinWait.pointer(), MaxWait: in.MaxWait.pointer(),
		CreatedAfter: timeOrNil(in.CreatedAfter), CreatedBefore: timeOrNil(in.CreatedBefore),
		StartedAfter: timeOrNil(in.StartedAfter), StartedBefore: timeOrNil(in.StartedBefore),
		FinishedAfter: timeOrNil(in.FinishedAfter), FinishedBefore: timeOrNil(in.FinishedBefore),
	}, nil
}

// anyOfSchema stands for jobs.AnyOf.
type anyOfSchema[T ~string] struct{}

func (anyOfSchema[T]) Schema(huma.Registry) *huma.Schema {
	one := func() *huma.Schema {
		s := &huma.Schema{Type: huma.TypeString, MinLength: new(1), MaxLength: new(200)}
		if _, isState := any(T("")).(jobs.State); isState {
			s.MinLength, s.MaxLength = nil, nil
			for _, state := range jobs.States {
				s.Enum = append(s.Enum, string(state))
			}
		}
		return s
	}
	return &huma.Schema{OneOf: []*huma.Schema{one(), {Type: huma.TypeArray, Items: one(), MinItems: new(1), MaxItems: new(20)}}}
}
