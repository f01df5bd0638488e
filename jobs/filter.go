package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// AnyOf is a value of a filter that may be one string or several, any of which matches. An empty one does not restrict it.
type AnyOf[T ~string] []T

type (
	// AnyState is any of some states.
	AnyState = AnyOf[State]
	// AnyName is any of some names.
	AnyName = AnyOf[string]
)

// MarshalJSON writes a single string without an array.
func (a AnyOf[T]) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]T(a))
}

// UnmarshalJSON reads a string or an array of strings.
func (a *AnyOf[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		return json.Unmarshal(text, (*[]T)(a))
	}
	*a = make([]T, 1)
	return json.Unmarshal(text, &(*a)[0])
}

// Filter chooses jobs. A zero value does not restrict it.
type Filter struct {
	Preset         string          `json:"preset,omitempty" minLength:"1" maxLength:"128" doc:"The fields of this preset, as of now, beside those that are given, which replace them."`
	State          AnyState        `json:"state,omitempty" doc:"Only jobs in this state, or in one of these."`
	Queue          AnyName         `json:"queue,omitempty" doc:"Only jobs of this queue, or of one of these."`
	Kind           AnyName         `json:"kind,omitempty" doc:"Only jobs of this kind, or of one of these."`
	Tag            AnyName         `json:"tag,omitempty" doc:"Only jobs with this tag, or with one of these."`
	Tenant         string          `json:"tenant,omitempty" minLength:"1" maxLength:"200" doc:"Only jobs of this tenant."`
	Worker         string          `json:"worker,omitempty" minLength:"1" maxLength:"200" doc:"Only jobs that this worker has or had last."`
	ErrorType      string          `json:"error_type,omitempty" minLength:"1" maxLength:"200" doc:"Only jobs with an attempt that failed with exactly this class of error."`
	Error          string          `json:"error,omitempty" minLength:"1" maxLength:"200" doc:"Only jobs with an attempt whose error has these words in its class and message, in the syntax of q."`
	Args           json.RawMessage `json:"args,omitempty" doc:"Only jobs whose args contain this object, at most 4 KiB as text."`
	Text           string          `json:"q,omitempty" minLength:"1" maxLength:"200" doc:"Only jobs with these words in their kind, args and tags, or in the class and message of one of their errors. Case does not matter. All words must be there; \"words in quotes\" follow each other; or means either; -word must not be there."`
	Parent         ID              `json:"parent_id,omitempty" pattern:"^[0-9]*[1-9][0-9]*$" doc:"Only jobs that belong to this one."`
	Workflow       ID              `json:"workflow_id,omitempty" pattern:"^[0-9]*[1-9][0-9]*$" doc:"Only steps of this workflow."`
	Priority       int             `json:"priority,omitempty" minimum:"1" maximum:"10" doc:"Only jobs of this priority."`
	MinPriority    int             `json:"min_priority,omitempty" minimum:"1" maximum:"10" doc:"Only jobs of this priority or a higher one."`
	MaxPriority    int             `json:"max_priority,omitempty" minimum:"1" maximum:"10" doc:"Only jobs of this priority or a lower one."`
	MinAttempts    int             `json:"min_attempts,omitempty" minimum:"1" maximum:"100" doc:"Only jobs with at least this many attempts."`
	MaxAttempts    *int            `json:"max_attempts,omitempty" minimum:"0" maximum:"100" doc:"Only jobs with at most this many attempts; 0: that never ran."`
	HasError       *bool           `json:"has_error,omitempty" doc:"Only jobs with a failed attempt (true), or without one (false)."`
	MinRun         *float64        `json:"min_run_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"Only jobs whose last attempt took at least this many seconds, or has run that long."`
	MaxRun         *float64        `json:"max_run_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"Only jobs whose last attempt took at most this many seconds, or has run no longer."`
	MinWait        *float64        `json:"min_wait_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"Only jobs that were available for at least this many seconds before their last start; those not started, until now."`
	MaxWait        *float64        `json:"max_wait_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"Only jobs that were available for at most this many seconds before their last start; those not started, until now."`
	CreatedAfter   *time.Time      `json:"created_after,omitempty" doc:"Only jobs enqueued then or later."`
	CreatedBefore  *time.Time      `json:"created_before,omitempty" doc:"Only jobs enqueued earlier."`
	StartedAfter   *time.Time      `json:"started_after,omitempty" doc:"Only running and ended jobs whose last attempt began then or later."`
	StartedBefore  *time.Time      `json:"started_before,omitempty" doc:"Only running and ended jobs whose last attempt began earlier."`
	FinishedAfter  *time.Time      `json:"finished_after,omitempty" doc:"Only jobs that ended then or later."`
	FinishedBefore *time.Time      `json:"finished_before,omitempty" doc:"Only jobs that ended earlier."`
}

// encode writes a filter as SQL takes it, with the bounds of the caller: PostgreSQL knows fewer offsets from UTC than RFC 3339.
func (f Filter) encode(ctx context.Context) (json.RawMessage, error) {
	for _, inside := range []struct {
		field string
		looks bool
	}{{"q", f.Text != ""}, {"error", f.Error != ""}, {"args", len(f.Args) > 0}} {
		if err := checkSearch(ctx, inside.field, inside.looks); err != nil {
			return nil, err
		}
	}
	for _, at := range []**time.Time{&f.CreatedAfter, &f.CreatedBefore, &f.StartedAfter, &f.StartedBefore, &f.FinishedAfter, &f.FinishedBefore} {
		*at = utc(*at)
	}
	text, err := json.Marshal(struct {
		Filter
		Bounds *bounds `json:"bounds,omitempty"`
	}{f, boundsOf(ctx)})
	if err != nil {
		return nil, fmt.Errorf("encoding a filter: %w", err)
	}
	return text, nil
}

// skipsEncrypted says whether the filter looks into values that are encrypted, which it cannot see.
func (f Filter) skipsEncrypted(ctx context.Context, v *vault) bool {
	return (f.Text != "" || f.Error != "" || len(f.Args) > 0) && v.skips(ctx, f.Queue)
}
