package weir

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Schedule makes a job, or submits a workflow, at times. Exactly one of Cron, Every and At is set, and one of Job and Workflow.
type Schedule struct {
	// Cron is a cron expression: (second) minute hour day-of-month month day-of-week, or @hourly, @daily, @weekly, @monthly, @yearly.
	Cron string
	// Every is the interval, in whole seconds from 1 s to a year.
	Every time.Duration
	// At is the only time.
	At time.Time
	// Timezone is that of Cron, such as Europe/Berlin. Defaults to UTC.
	Timezone string
	// Job is what to make. {{scheduled_at}} and the other placeholders of docs/schedules.md in its args are filled in.
	Job NewJob
	// Workflow is what to submit.
	Workflow *Workflow
	// Jitter is how much later a slot may fire, in whole seconds. Defaults to 0.
	Jitter time.Duration
	// Overlap says what to do if the run before is still active: allow, skip, wait or cancel. Defaults to allow.
	Overlap string
	// Misfire says what to do about slots that no node fired within a minute: skip, latest or all. Defaults to latest.
	Misfire string
}

func (s *Schedule) text() ([]byte, error) {
	definition := struct {
		Cron          string              `json:"cron,omitempty"`
		EverySeconds  int                 `json:"every_seconds,omitempty"`
		At            *time.Time          `json:"at,omitempty"`
		Timezone      string              `json:"timezone,omitempty"`
		Job           *NewJob             `json:"job,omitempty"`
		Workflow      *workflowDefinition `json:"workflow,omitempty"`
		JitterSeconds int                 `json:"jitter_seconds,omitempty"`
		Overlap       string              `json:"overlap,omitempty"`
		Misfire       string              `json:"misfire,omitempty"`
	}{
		Cron: s.Cron, EverySeconds: wholeSeconds(s.Every), Timezone: s.Timezone, JitterSeconds: wholeSeconds(s.Jitter), Overlap: s.Overlap, Misfire: s.Misfire,
	}
	if !s.At.IsZero() {
		definition.At = &s.At
	}
	if s.Workflow != nil {
		if err := errors.Join(s.Workflow.errs...); err != nil {
			return nil, err
		}
		definition.Workflow = &s.Workflow.definition
	} else {
		if s.Job.err != nil {
			return nil, s.Job.err
		}
		definition.Job = &s.Job
	}
	return json.Marshal(definition)
}

// SetSchedule makes a schedule, or replaces the one of the name. It takes a key or a login with access as an operator. Errors: *[Error].
func (c *Client) SetSchedule(ctx context.Context, name string, s Schedule) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	return c.again(ctx, isAway, func(ctx context.Context) error { return c.t.setSchedule(ctx, name, text) })
}

// DeleteSchedule deletes a schedule; the jobs that it made stay. Errors: [ErrNotFound].
func (c *Client) DeleteSchedule(ctx context.Context, name string) error {
	return c.t.deleteSchedule(ctx, name)
}

// TriggerSchedule makes the job of a schedule now, or submits its workflow, and returns the id. Errors: [ErrNotFound].
func (c *Client) TriggerSchedule(ctx context.Context, name string) (ID, error) {
	return c.t.triggerSchedule(ctx, name)
}
