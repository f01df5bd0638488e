package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
)

// jobFilter selects jobs.
type jobFilter struct {
	Preset         string    `json:"preset,omitempty" complete:"preset" help:"Those of this preset. Other filters replace its own of the same name." placeholder:"NAME"`
	State          []string  `complete:"job_state" json:"state,omitempty" help:"Only in this state; several flags: in one of these." placeholder:"STATE"`
	Queue          []string  `json:"queue,omitempty" help:"Only of this queue, or of one of these." placeholder:"NAME"`
	Kind           []string  `json:"kind,omitempty" help:"Only of this kind, or of one of these." placeholder:"KIND"`
	Tag            []string  `json:"tag,omitempty" help:"Only with this tag, or with one of these." placeholder:"TAG"`
	Tenant         string    `json:"tenant,omitempty" help:"Only of this tenant." placeholder:"TENANT"`
	Worker         string    `json:"worker,omitempty" help:"Only those that this worker has or had last." placeholder:"NAME"`
	Parent         id        `json:"parent_id,omitempty" help:"Only those that belong to this job." placeholder:"ID"`
	Workflow       id        `json:"workflow_id,omitempty" help:"Only steps of this workflow." placeholder:"ID"`
	Text           string    `json:"q,omitempty" name:"text" help:"Only with these words in kind, args and tags, or in an error: words, \"phrases\", or, -word." placeholder:"WORDS"`
	Error          string    `json:"error,omitempty" help:"Only with these words in the class and message of an error." placeholder:"WORDS"`
	ErrorType      string    `json:"error_type,omitempty" help:"Only with an error of exactly this class." placeholder:"CLASS"`
	Args           []string  `json:"-" sep:"none" help:"Only with this value at this path in the args, as in customer.id=42." placeholder:"PATH=VALUE"`
	Priority       *int      `json:"priority,omitempty" help:"Only of this priority." placeholder:"N"`
	MinPriority    *int      `json:"min_priority,omitempty" help:"Only of this priority or a higher one." placeholder:"N"`
	MaxPriority    *int      `json:"max_priority,omitempty" help:"Only of this priority or a lower one." placeholder:"N"`
	MinAttempts    *int      `json:"min_attempts,omitempty" help:"Only with this many attempts or more." placeholder:"N"`
	MaxAttempts    *int      `json:"max_attempts,omitempty" help:"Only with this many attempts or fewer." placeholder:"N"`
	HasError       *bool     `json:"has_error,omitempty" help:"Only with a failed attempt; --has-error=false: without one."`
	MinRun         *float64  `json:"min_run_seconds,omitempty" name:"min-run-seconds" help:"Only those whose last attempt took this long or longer, or has run that long." placeholder:"N"`
	MaxRun         *float64  `json:"max_run_seconds,omitempty" name:"max-run-seconds" help:"Only those whose last attempt took no longer than this." placeholder:"N"`
	MinWait        *float64  `json:"min_wait_seconds,omitempty" name:"min-wait-seconds" help:"Only those that waited this long or longer for their last start." placeholder:"N"`
	MaxWait        *float64  `json:"max_wait_seconds,omitempty" name:"max-wait-seconds" help:"Only those that waited no longer than this." placeholder:"N"`
	CreatedAfter   time.Time `json:"created_after,omitzero" help:"Only those enqueued at this time or later, in RFC 3339." placeholder:"TIME"`
	CreatedBefore  time.Time `json:"created_before,omitzero" help:"Only those enqueued before this time." placeholder:"TIME"`
	StartedAfter   time.Time `json:"started_after,omitzero" help:"Only those started last at this time or later." placeholder:"TIME"`
	StartedBefore  time.Time `json:"started_before,omitzero" help:"Only those started last before this time." placeholder:"TIME"`
	FinishedAfter  time.Time `json:"finished_after,omitzero" help:"Only those that ended at this time or later." placeholder:"TIME"`
	FinishedBefore time.Time `json:"finished_before,omitzero" help:"Only those that ended before this time." placeholder:"TIME"`
}

// filter adds the filter to a call's query.
func (f jobFilter) filter(call rest.Call) (rest.Call, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return call, fmt.Errorf("encoding a filter: %w", err)
	}
	fields := map[string]any{}
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber()
	if err := numbers.Decode(&fields); err != nil {
		return call, fmt.Errorf("encoding a filter: %w", err)
	}
	for name, value := range fields {
		values, isList := value.([]any)
		if !isList {
			values = []any{value}
		}
		for _, v := range values {
			call = call.With(name, fmt.Sprint(v))
		}
	}
	for _, pair := range f.Args {
		path, value, found := strings.Cut(pair, "=")
		if !found || path == "" || value == "" {
			return call, Usagef("%q is not a path and its value: give path=value, as in customer.id=42", pair)
		}
		call = call.With("args."+path, value)
	}
	return call, nil
}

type searchJobs struct {
	jobFilter
	Sort   string   `help:"The order: id (the oldest first), finished_at, run_seconds, wait_seconds, attempt or priority, with a minus from the highest." default:"-id" placeholder:"ORDER"`
	Facets bool     `help:"Count them by state, queue, kind and class of error, in place of a list."`
	Facet  []string `help:"Count them by this: state, queue, kind, error_type, tenant, worker, tag or priority." enum:"state,queue,kind,error_type,tenant,worker,tag,priority" placeholder:"NAME"`
	Limit  limit    `help:"List at most this many." default:"50" placeholder:"N"`
	watchFlags
	answerFlags
}

// Run lists the newest jobs that match, watches them, or counts them.
func (c *searchJobs) Run(ctx context.Context, s *Session) error {
	if c.Facets || len(c.Facet) > 0 {
		if c.Watch {
			return Usagef("--watch lists jobs, and --facets counts them: give one of the two")
		}
		return c.showFacets(ctx, s)
	}
	call, err := c.filter(rest.Get("/v1/jobs"))
	if err != nil {
		return err
	}
	return watchOrList(ctx, s, c.answerFlags, c.watchFlags, call.With("sort", c.Sort), int(c.Limit), "There are no such jobs.", jobTable)
}
