package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/weirhq/weir/db"
)

// ScheduleSlot is a future slot.
type ScheduleSlot struct {
	UTC     *time.Time `json:"utc,omitempty" doc:"The slot; absent where it is skipped."`
	Local   string     `json:"local" doc:"The slot in local time; for a skipped slot, the local time that does not exist." example:"2026-03-29T03:00:00+02:00"`
	FiresAt *time.Time `json:"fires_at,omitempty" doc:"When it fires: the slot plus its jitter."`
	Skipped bool       `json:"skipped,omitempty" doc:"It does not fire; the note says why."`
	Note    string     `json:"note,omitempty" doc:"Why it is moved or skipped, or that its local time comes twice." example:"moved: DST skips 2026-03-29 02:30:00"`
}

// SlotOutcome is what a slot did.
type SlotOutcome string

// ScheduleRun is a slot that was handled.
type ScheduleRun struct {
	Slot            time.Time   `json:"slot" doc:"The time of the slot, or of the manual trigger."`
	Manual          bool        `json:"manual,omitempty" doc:"It was triggered by hand."`
	Outcome         SlotOutcome `json:"outcome" enum:"enqueued,duplicate,skipped,missed,refused" doc:"enqueued: it made a job or a workflow. duplicate: its job's unique key was taken. skipped: the run before was active. missed: no node fired it in time. refused: its job or workflow could not be enqueued."`
	JobID           ID          `json:"job_id,omitempty" doc:"The job that it made, or for a duplicate the job that has the key."`
	JobState        State       `json:"job_state,omitempty" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"State of that job; absent once it is gone."`
	WorkflowID      ID          `json:"workflow_id,omitempty" doc:"The workflow that it submitted."`
	FiredAt         time.Time   `json:"fired_at" doc:"When it was handled."`
	LatenessSeconds float64     `json:"lateness_seconds" doc:"How long after the slot and its jitter it fired."`
	UntilAt         *time.Time  `json:"until_at,omitempty" doc:"Of missed slots: this stands for all of them before this time."`
	Detail          string      `json:"detail,omitempty" doc:"Why it made no job, or what else it did."`
}

// SlotPosition is a place in the list of runs: after this one. The zero value is before the newest.
type SlotPosition struct {
	Slot   time.Time
	Manual bool
}

// PreviewSchedule lists the next slots of a schedule, up to 1000 that fire, from a time (nil: from its next slot). Errors: ScheduleNotFound.
func (e *Engine) PreviewSchedule(ctx context.Context, ref Ref, from *time.Time, count int) ([]ScheduleSlot, error) {
	ref = ref.of(ctx)
	if _, err := e.Schedule(ctx, ref); err != nil {
		return nil, err
	}
	rows, err := e.reads.PreviewSchedule(ctx, db.PreviewScheduleParams{Name: ref.Name, Tenant: nonZero(ref.Tenant), Count: int32(count), Since: from})
	return slotsFromRows(rows, fromDB("previewing a schedule", err))
}

// PreviewDefinition does the same for a definition that is not saved. Jitter depends on the name. Errors: InvalidArgument.
func (e *Engine) PreviewDefinition(ctx context.Context, name string, definition json.RawMessage, from *time.Time, count int) ([]ScheduleSlot, error) {
	if name == "" {
		name = "_"
	}
	rows, err := e.reads.PreviewDefinition(ctx, db.PreviewDefinitionParams{Definition: definition, Count: int32(count), Since: from, Name: name})
	same := make([]db.PreviewScheduleRow, len(rows))
	for i, r := range rows {
		same[i] = db.PreviewScheduleRow(r)
	}
	return slotsFromRows(same, fromDB("previewing a definition", err))
}

func slotsFromRows(rows []db.PreviewScheduleRow, err error) ([]ScheduleSlot, error) {
	if err != nil {
		return nil, err
	}
	slots := make([]ScheduleSlot, len(rows))
	for i, r := range rows {
		slots[i] = ScheduleSlot{Local: r.Local, FiresAt: utc(r.DueAt), Skipped: r.Skipped, Note: r.Note}
		if !r.Skipped {
			slots[i].UTC = utc(&r.SlotAt)
		}
	}
	return slots, nil
}

// ScheduleRuns lists up to limit handled slots of a schedule, the latest first, from a position; with an outcome only those.
// Errors: ScheduleNotFound.
func (e *Engine) ScheduleRuns(ctx context.Context, ref Ref, outcome SlotOutcome, from SlotPosition, limit int) ([]ScheduleRun, error) {
	if from.Slot.IsZero() {
		from.Slot = endOfTime
	}
	runs, err := e.scheduleRuns(ctx, db.ScheduleRunsParams{
		Name: ref.Name, Tenant: ref.of(ctx).Tenant, Before: from.Slot, BeforeManual: from.Manual, Outcome: nonZero(string(outcome)), MaxRuns: int32(limit),
	})
	if err == nil && len(runs) == 0 {
		_, err = e.Schedule(ctx, ref)
	}
	return runs, err
}

// endOfTime is after every slot.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

func (e *Engine) scheduleRuns(ctx context.Context, params db.ScheduleRunsParams) (_ []ScheduleRun, err error) {
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return nil, err
	}
	rows, err := e.reads.ScheduleRuns(ctx, params)
	if err != nil {
		return nil, fromDB("listing runs", err)
	}
	runs := make([]ScheduleRun, len(rows))
	for i, r := range rows {
		runs[i] = ScheduleRun{
			Slot: r.Slot.UTC(), Manual: r.Manual, Outcome: SlotOutcome(r.Outcome), JobID: ID(r.JobID), JobState: State(r.JobState), WorkflowID: ID(r.WorkflowID), FiredAt: r.FiredAt.UTC(),
			LatenessSeconds: r.FiredAt.Sub(r.DueAt).Seconds(), UntilAt: utc(r.UntilAt), Detail: r.Detail,
		}
	}
	return runs, nil
}

const (
	fireBatch = 200 // schedules that one step handles

	// fireAtMost is the longest wait between two queries for what is due; fireAtLeast the shortest, while another node has it locked.
	fireAtMost  = 200 * time.Millisecond
	fireAtLeast = 20 * time.Millisecond
)

// fireStep fires the schedules that are due.
type fireStep struct {
	e    *Engine
	look *lookback
}

func (s *fireStep) step(ctx context.Context) (time.Duration, error) {
	row, err := s.e.loops.FireDue(ctx, db.FireDueParams{MaxSchedules: fireBatch, After: s.look.from()})
	if err != nil {
		return 0, fromDB("firing schedules", err)
	}
	s.look.set(row.LookedUntil)
	for _, late := range row.Lateness {
		s.e.metrics.lateness.Observe(late)
	}
	if row.Handled == fireBatch {
		return 0, nil
	}
	return min(max(seconds(row.NextInSeconds), fireAtLeast), s.e.due.rest(fireAtMost)), nil
}
