package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// ScheduleDefinition says which jobs a schedule makes, and when. A zero value stands for the default. The database parses it and reports
// what is wrong with it.
type ScheduleDefinition struct {
	Cron          string       `json:"cron,omitempty" maxLength:"500" doc:"A cron expression: (second) minute hour day-of-month month day-of-week, or @hourly, @daily, @weekly, @monthly, @yearly. Exactly one of cron, every_seconds and at is required." example:"30 2 * * *"`
	EverySeconds  int          `json:"every_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"The interval between slots in seconds of elapsed time, counted from the anchor."`
	Anchor        *time.Time   `json:"anchor,omitempty" doc:"With every_seconds: one of its slots. Defaults to starts_at, or to when the schedule was created."`
	At            *time.Time   `json:"at,omitempty" doc:"The only slot, in the future."`
	Timezone      string       `json:"timezone,omitempty" maxLength:"100" doc:"The time zone of cron: a name of the IANA time zone database. Defaults to UTC." example:"Europe/Berlin"`
	Job           *NewJob      `json:"job,omitempty" doc:"The job that each slot makes; without run_at and parent_id. {{scheduled_at}}, {{scheduled_local}}, {{scheduled_date}}, {{previous_at}}, {{schedule}} and {{run}} in its text are filled in. One of job and workflow is required."`
	Workflow      *NewWorkflow `json:"workflow,omitempty" doc:"The workflow that each slot submits; placeholders are filled in as in a job."`
	JitterSeconds int          `json:"jitter_seconds,omitempty" minimum:"0" maximum:"86400" doc:"Each slot fires up to this much later; the delay of one slot never changes. Less than every_seconds. Defaults to 0."`
	StartsAt      *time.Time   `json:"starts_at,omitempty" doc:"No slot comes before this time."`
	EndsAt        *time.Time   `json:"ends_at,omitempty" doc:"No slot comes at or after this time."`
	MaxRuns       int          `json:"max_runs,omitempty" minimum:"1" maximum:"1000000000" doc:"The schedule finishes after this many slots that made a job. Defaults to no limit."`
	DSTGap        string       `json:"dst_gap,omitempty" enum:"run_after,skip" doc:"Local times skipped by DST. run_after: run at the first moment after the gap. Defaults to run_after, or to skip if cron runs in every hour."`
	DSTOverlap    string       `json:"dst_overlap,omitempty" enum:"once,twice" doc:"Local times that come twice. once: run the first time. Defaults to once, or to twice if cron runs in every hour."`
	Misfire       string       `json:"misfire,omitempty" enum:"skip,latest,all" doc:"Slots that no node fired within a minute: run none, the latest, or all up to misfire_limit. Defaults to latest."`
	MisfireLimit  int          `json:"misfire_limit,omitempty" minimum:"1" maximum:"1000" doc:"With misfire all: how many run at most, the latest ones. Defaults to 100."`
	Overlap       string       `json:"overlap,omitempty" enum:"allow,skip,wait,cancel" doc:"If the run before is still active: run anyway, skip the slot, wait for it, or cancel it. Defaults to allow."`
	Paused        *bool        `json:"paused,omitempty" doc:"Whether it is paused. Replacing a schedule without this field keeps its pause. Defaults to false."`
}

// ScheduleState is what a schedule is at.
type ScheduleState string

// Schedule is a schedule and how far it is.
type Schedule struct {
	Name   string `json:"name" doc:"Its name." example:"nightly-report"`
	Tenant string `json:"tenant,omitempty" doc:"The tenant that it and all its jobs belong to. Names are those of its tenant."`
	ScheduleDefinition
	State      ScheduleState `json:"state" enum:"active,waiting,paused,finished" doc:"waiting: the next slot waits for the end of the run before. finished: no slot is left."`
	NextAt     *time.Time    `json:"next_at,omitempty" doc:"Its next slot."`
	NextLocal  string        `json:"next_local,omitempty" doc:"Its next slot in local time." example:"2026-02-01T02:30:00+01:00"`
	DueAt      *time.Time    `json:"due_at,omitempty" doc:"When it is handled next: the slot plus its jitter, or later while the slot waits or is tried again."`
	LastAt     *time.Time    `json:"last_at,omitempty" doc:"The last slot that made a job."`
	Runs       int           `json:"runs" doc:"Slots that made a job; manual triggers do not count."`
	WaitingFor ID            `json:"waiting_for,omitempty" doc:"The job or workflow that must end before the next slot fires."`
	Tries      int           `json:"tries,omitempty" doc:"How many times the next slot's job was refused."`
	Problem    string        `json:"problem,omitempty" doc:"Why it was refused the last time. It is tried again until the following slot is due, and for an hour at most."`
	PausedAt   *time.Time    `json:"paused_at,omitempty" doc:"When it was paused."`
	CreatedAt  time.Time     `json:"created_at" doc:"When it was created."`
	UpdatedAt  time.Time     `json:"updated_at" doc:"When its definition was last changed."`
}

// ScheduleFilter chooses schedules for a list. A zero value does not restrict it.
type ScheduleFilter struct {
	State  ScheduleState
	Tenant string
}

// Schedules lists up to limit schedules of the caller by tenant and name, starting after one.
func (e *Engine) Schedules(ctx context.Context, f ScheduleFilter, after Ref, limit int) ([]Schedule, error) {
	return e.listSchedules(ctx, db.ListSchedulesParams{
		AfterTenant: after.Tenant, After: after.Name, State: nonZero(string(f.State)), Tenant: nonZero(f.Tenant), MaxSchedules: int32(limit),
	})
}

func (e *Engine) listSchedules(ctx context.Context, params db.ListSchedulesParams) (_ []Schedule, err error) {
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return nil, err
	}
	rows, err := e.reads.ListSchedules(ctx, params)
	if err != nil {
		return nil, fromDB("listing schedules", err)
	}
	schedules := make([]Schedule, len(rows))
	for i, r := range rows {
		s := Schedule{
			Name: r.Name, Tenant: r.Tenant, State: ScheduleState(r.State), NextAt: utc(r.NextAt), NextLocal: r.NextLocal, DueAt: utc(r.DueAt), LastAt: utc(r.LastAt), Runs: int(r.Runs), WaitingFor: ID(r.WaitingFor),
			Tries: int(r.Tries), Problem: r.Problem, PausedAt: utc(r.PausedAt), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
		}
		if err := json.Unmarshal(e.vault.decryptSchedule(ctx, r.Definition), &s.ScheduleDefinition); err != nil {
			return nil, fmt.Errorf("reading schedule %q: %w", r.Name, err)
		}
		s.showBreakers(access.From(ctx))
		paused := r.PausedAt != nil
		s.Paused = &paused
		schedules[i] = s
	}
	return schedules, nil
}

// Schedule returns one. Errors: ScheduleNotFound.
func (e *Engine) Schedule(ctx context.Context, ref Ref) (Schedule, error) {
	ref = ref.of(ctx)
	found, err := e.listSchedules(ctx, db.ListSchedulesParams{Name: &ref.Name, Tenant: &ref.Tenant, MaxSchedules: 1})
	if err != nil {
		return Schedule{}, err
	}
	if len(found) == 0 {
		return Schedule{}, noSchedule(ref)
	}
	return found[0], nil
}

func noSchedule(ref Ref) *Error {
	return &Error{Code: ScheduleNotFound, Message: fmt.Sprintf("schedule %q does not exist", ref.Name)}
}

// SetSchedule makes a schedule, or with replace gives the one of that name another definition. That is the JSON of a ScheduleDefinition; a name in it is
// passed over. Errors: InvalidArgument, QueueNotFound, ScheduleExists.
func (e *Engine) SetSchedule(ctx context.Context, ref Ref, definition json.RawMessage, replace bool) (Schedule, error) {
	err := e.vault.twice(ctx, func() error {
		encrypted, err := e.vault.encryptSchedule(ctx, definition)
		if err != nil {
			return err
		}
		return e.changes.SetSchedule(ctx, db.SetScheduleParams{Name: ref.Name, Definition: encrypted, Replace: replace, Tenant: nonZero(ref.Tenant)})
	})
	if err != nil {
		return Schedule{}, fromDB("setting a schedule", err)
	}
	if p := access.From(ctx); p != nil && p.Tenant != "" {
		ref.Tenant = p.Tenant // whatever the request says
	}
	return e.Schedule(ctx, ref)
}

// EditSchedule changes what a JSON object names of a ScheduleDefinition; null puts back a default. Errors: ScheduleNotFound, InvalidArgument,
// QueueNotFound.
func (e *Engine) EditSchedule(ctx context.Context, ref Ref, changes json.RawMessage) (Schedule, error) {
	err := e.vault.twice(ctx, func() error {
		encrypted, err := e.vault.encryptSchedule(ctx, changes)
		if err != nil {
			return err
		}
		return e.changes.EditSchedule(ctx, db.EditScheduleParams{Name: ref.Name, Changes: encrypted, Tenant: nonZero(ref.Tenant)})
	})
	if err != nil {
		return Schedule{}, fromDB("changing a schedule", err)
	}
	return e.Schedule(ctx, ref)
}

// DeleteSchedule deletes one. The jobs that it made stay. Errors: ScheduleNotFound.
func (e *Engine) DeleteSchedule(ctx context.Context, ref Ref) error {
	return fromDB("deleting a schedule", e.changes.DeleteSchedule(ctx, db.DeleteScheduleParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}))
}

// PauseSchedule keeps one from firing. Errors: ScheduleNotFound.
func (e *Engine) PauseSchedule(ctx context.Context, ref Ref) (Schedule, error) {
	if err := e.changes.PauseSchedule(ctx, db.PauseScheduleParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}); err != nil {
		return Schedule{}, fromDB("pausing a schedule", err)
	}
	return e.Schedule(ctx, ref)
}

// ResumeSchedule ends a pause. Slots of the pause are not made up for. Errors: ScheduleNotFound.
func (e *Engine) ResumeSchedule(ctx context.Context, ref Ref) (Schedule, error) {
	if err := e.changes.ResumeSchedule(ctx, db.ResumeScheduleParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}); err != nil {
		return Schedule{}, fromDB("resuming a schedule", err)
	}
	return e.Schedule(ctx, ref)
}

// TriggerSchedule makes a schedule's job, or submits its workflow, now, whatever its times and policies say. Errors: ScheduleNotFound, QueueFull, QuotaExceeded.
func (e *Engine) TriggerSchedule(ctx context.Context, ref Ref) (ScheduleRun, error) {
	id, err := e.changes.TriggerSchedule(ctx, db.TriggerScheduleParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)})
	if err != nil {
		return ScheduleRun{}, fromDB("triggering a schedule", err)
	}
	runs, err := e.scheduleRuns(ctx, db.ScheduleRunsParams{Name: ref.Name, Tenant: ref.of(ctx).Tenant, Before: endOfTime, MadeID: &id, MaxRuns: 1})
	if err == nil && len(runs) == 0 {
		err = noSchedule(ref)
	}
	if err != nil {
		return ScheduleRun{}, err
	}
	return runs[0], nil
}
