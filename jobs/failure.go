package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/db"
)

// maxFailureClasses bounds the classes of an answer.
const maxFailureClasses = 100

// Failures are the attempts that failed in a window, by class.
type Failures struct {
	FailuresPart
	CountedUntil time.Time     `json:"counted_until" doc:"What failed before this is in the numbers."`
	Previous     *FailuresPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// FailuresPart is the failures of one window.
type FailuresPart struct {
	StatsSpan
	Attempts int64          `json:"attempts" doc:"Attempts that failed, timed out or lost their lease."`
	Classes  []FailureClass `json:"classes" doc:"The hundred most frequent classes."`
	Other    int64          `json:"other" doc:"Attempts of the other classes."`
}

// FailureClass is one class of failures.
type FailureClass struct {
	Kind         string    `json:"kind" doc:"Kind of the jobs."`
	Event        string    `json:"event" enum:"failed,timed_out,lost" doc:"How the attempts ended."`
	Type         string    `json:"type" doc:"The class of the error, its first 100 characters; empty where a worker gave none. (others): the less frequent ones of a minute or an hour." example:"SMTPError"`
	Attempts     int64     `json:"attempts" doc:"How many attempts ended so."`
	FirstSeenAt  time.Time `json:"first_seen_at" doc:"The minute in which the first of them did, within the window."`
	LastSeenAt   time.Time `json:"last_seen_at" doc:"When the last of them did."`
	ExampleJobID ID        `json:"example_job_id" doc:"A job of which the last attempt ended so at that time, unless retention took it."`
}

// Failures returns the attempts that failed, by class. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) Failures(ctx context.Context, q StatsQuery) (Failures, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return Failures{}, err
	}
	f := Failures{CountedUntil: r.CountedUntil}
	if f.FailuresPart, err = e.failuresOf(ctx, r); err != nil || !q.Previous {
		return f, err
	}
	before, err := e.failuresOf(ctx, r.before())
	f.Previous = &before
	return f, err
}

func (e *Engine) failuresOf(ctx context.Context, r statsRead) (FailuresPart, error) {
	part := FailuresPart{StatsSpan: r.StatsSpan, Classes: []FailureClass{}}
	rows, err := e.reads.StatsFailures(ctx, db.StatsFailuresParams{
		Since: r.Since, Until: r.Until, Bounds: r.bounds, Queue: r.queue, Kind: r.kind, Tenant: r.tenant, Most: maxFailureClasses,
	})
	if err != nil {
		return part, statsError("reading failures", err)
	}
	for _, c := range rows {
		part.Attempts, part.Other = c.AttemptsOfAll, part.Other+c.Attempts
		part.Classes = append(part.Classes, FailureClass{
			Kind: c.Kind, Event: c.Event, Type: c.Type, Attempts: c.Attempts, FirstSeenAt: c.FirstAt.UTC(), LastSeenAt: c.LastAt.UTC(), ExampleJobID: ID(c.ExampleJobID),
		})
	}
	part.Other = part.Attempts - part.Other
	return part, nil
}
