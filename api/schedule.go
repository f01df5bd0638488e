package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// SchedulePath is the path of one schedule.
type SchedulePath struct {
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The schedule's name." example:"nightly-report"`
}

type scheduleOutput struct {
	Body jobs.Schedule
}

// SchedulePage is one page of the list of schedules.
type SchedulePage struct {
	Items      []jobs.Schedule `json:"items" doc:"The schedules, by name."`
	NextCursor *string         `json:"next_cursor" doc:"The cursor of the next page; null: this is the last."`
}

type schedulePageOutput struct {
	Body SchedulePage
}

type schedulesInput struct {
	State jobs.ScheduleState `query:"state" enum:"active,waiting,paused,finished" doc:"Only schedules in this state."`
	Paging
}

type scheduleBodyInput struct {
	SchedulePath
	Payload
}

// NewSchedule is a schedule to be made.
type NewSchedule struct {
	Name string `json:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"Its name."`
	jobs.ScheduleDefinition
}

// ScheduleChanges is what is to be changed of a definition; null puts back a default. A new cron, every_seconds or at takes the place of the one before, and
// a job or workflow likewise.
type ScheduleChanges struct {
	Cron          *string           `json:"cron,omitempty" maxLength:"500" doc:"A cron expression."`
	EverySeconds  *int              `json:"every_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"Slots so many seconds apart."`
	Anchor        *time.Time        `json:"anchor,omitempty" doc:"With every_seconds: one of its slots."`
	At            *time.Time        `json:"at,omitempty" doc:"One slot, then."`
	Timezone      *string           `json:"timezone,omitempty" nullable:"true" maxLength:"100" doc:"The zone whose clocks cron goes by."`
	Job           *jobs.NewJob      `json:"job,omitempty" doc:"The job that each slot makes, whole."`
	Workflow      *jobs.NewWorkflow `json:"workflow,omitempty" doc:"The workflow that each slot submits, whole."`
	JitterSeconds *int              `json:"jitter_seconds,omitempty" nullable:"true" minimum:"0" maximum:"86400" doc:"Each slot fires up to so much later."`
	StartsAt      *time.Time        `json:"starts_at,omitempty" nullable:"true" doc:"No slot before."`
	EndsAt        *time.Time        `json:"ends_at,omitempty" nullable:"true" doc:"No slot then or later."`
	MaxRuns       *int              `json:"max_runs,omitempty" nullable:"true" minimum:"1" maximum:"1000000000" doc:"Finished after so many slots that made a job."`
	DSTGap        *string           `json:"dst_gap,omitempty" nullable:"true" enum:"run_after,skip" doc:"Of a time that the clocks leave out."`
	DSTOverlap    *string           `json:"dst_overlap,omitempty" nullable:"true" enum:"once,twice" doc:"Of a time that the clocks show twice."`
	Misfire       *string           `json:"misfire,omitempty" nullable:"true" enum:"skip,latest,all" doc:"Of slots that nobody fired within a minute."`
	MisfireLimit  *int              `json:"misfire_limit,omitempty" nullable:"true" minimum:"1" maximum:"1000" doc:"With misfire all: only so many."`
	Overlap       *string           `json:"overlap,omitempty" nullable:"true" enum:"allow,skip,wait,cancel" doc:"While the job of a run before has not ended."`
	Paused        *bool             `json:"paused,omitempty" doc:"Whether it is paused."`
}

// SchedulePreview is a definition that is not saved, which needs no job, and how much of it to show.
type SchedulePreview struct {
	jobs.ScheduleDefinition
	Name  string     `json:"name,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The name that it is to have; only jitter depends on it."`
	From  *time.Time `json:"from,omitempty" doc:"Show slots from then on. Defaults to now."`
	Count int        `json:"count,omitempty" minimum:"1" maximum:"1000" doc:"Show so many slots that fire. Defaults to 20."`
}

type previewInput struct {
	SchedulePath
	From  time.Time `query:"from" doc:"Show slots from then on. Defaults to the next slot."`
	Count int       `query:"count" minimum:"1" maximum:"1000" default:"20" doc:"Show so many slots that fire."`
}

// ScheduleSlots are slots that are to come.
type ScheduleSlots struct {
	Items []jobs.ScheduleSlot `json:"items" doc:"The slots, the next first; fewer where there are no more."`
}

type slotsOutput struct {
	Body ScheduleSlots
}

type runsInput struct {
	SchedulePath
	Outcome jobs.SlotOutcome `query:"outcome" enum:"enqueued,duplicate,skipped,missed,refused" doc:"Only slots with this outcome."`
	Paging
}

// ScheduleRunPage is one page of the list of what became of slots.
type ScheduleRunPage struct {
	Items      []jobs.ScheduleRun `json:"items" doc:"The slots that were dealt with, the latest first."`
	NextCursor *string            `json:"next_cursor" doc:"The cursor of the next page; null: this is the last."`
}

type runOutput struct {
	Body jobs.ScheduleRun
}

type runPageOutput struct {
	Body ScheduleRunPage
}

func (a *API) listSchedules(ctx context.Context, in *schedulesInput) (*schedulePageOutput, error) {
	after, err := in.position(ctx, "schedules")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.Schedules(ctx, jobs.ScheduleFilter{State: in.State}, after, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &schedulePageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(in.Paging, "schedules", found, func(last jobs.Schedule) string { return last.Name })
	return out, nil
}

// The definitions go on as they came: what is not said counts too.

func (a *API) createSchedule(ctx context.Context, in *bodyInput, body *NewSchedule) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.SetSchedule(ctx, body.Name, in.RawBody, false))
}

func (a *API) putSchedule(ctx context.Context, in *scheduleBodyInput, _ *jobs.ScheduleDefinition) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.SetSchedule(ctx, in.Name, in.RawBody, true))
}

func (a *API) editSchedule(ctx context.Context, in *scheduleBodyInput, _ *ScheduleChanges) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.EditSchedule(ctx, in.Name, in.RawBody))
}

func (a *API) getSchedule(ctx context.Context, in *SchedulePath) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.Schedule(ctx, in.Name))
}

func (a *API) deleteSchedule(ctx context.Context, in *SchedulePath) (*struct{}, error) {
	return nil, a.engine.DeleteSchedule(ctx, in.Name)
}

func (a *API) pauseSchedule(ctx context.Context, in *SchedulePath) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.PauseSchedule(ctx, in.Name))
}

func (a *API) resumeSchedule(ctx context.Context, in *SchedulePath) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.ResumeSchedule(ctx, in.Name))
}

func (a *API) triggerSchedule(ctx context.Context, in *SchedulePath) (*runOutput, error) {
	run, err := a.engine.TriggerSchedule(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &runOutput{Body: run}, nil
}

func (a *API) previewSchedule(ctx context.Context, in *previewInput) (*slotsOutput, error) {
	return slotsAnswer(a.engine.PreviewSchedule(ctx, in.Name, timeOrNil(in.From), in.Count))
}

func (a *API) previewDefinition(ctx context.Context, in *bodyInput, body *SchedulePreview) (*slotsOutput, error) {
	if body.Count == 0 {
		body.Count = 20
	}
	return slotsAnswer(a.engine.PreviewDefinition(ctx, body.Name, in.RawBody, body.From, body.Count))
}

func (a *API) listScheduleRuns(ctx context.Context, in *runsInput) (*runPageOutput, error) {
	after, err := in.position(ctx, "runs")
	if err != nil {
		return nil, err
	}
	var from jobs.SlotPosition
	if after != "" {
		slot, manual, _ := strings.Cut(after, ",")
		micros, err := strconv.ParseInt(slot, 10, 64)
		if err != nil {
			return nil, badCursor(ctx)
		}
		from = jobs.SlotPosition{Slot: time.UnixMicro(micros), Manual: manual == "true"}
	}
	runs, err := a.engine.ScheduleRuns(ctx, in.Name, in.Outcome, from, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &runPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(in.Paging, "runs", runs, func(last jobs.ScheduleRun) string {
		return fmt.Sprintf("%d,%t", last.Slot.UnixMicro(), last.Manual)
	})
	return out, nil
}

func scheduleAnswer(schedule jobs.Schedule, err error) (*scheduleOutput, error) {
	if err != nil {
		return nil, err
	}
	return &scheduleOutput{Body: schedule}, nil
}

func slotsAnswer(slots []jobs.ScheduleSlot, err error) (*slotsOutput, error) {
	if err != nil {
		return nil, err
	}
	return &slotsOutput{Body: ScheduleSlots{Items: slots}}, nil
}

func (a *API) registerSchedules() {
	tags := []string{tagSchedules}
	missing := []jobs.Code{jobs.ScheduleNotFound}
	wrong := []jobs.Code{jobs.ScheduleNotFound, argsTooLarge}
	schedule, paused := exampleSchedule(), exampleSchedule()
	paused.State, paused.PausedAt, paused.Paused, paused.NextAt, paused.NextLocal, paused.DueAt = "paused", &exampleTime, new(true), nil, "", nil
	definition := schedule.ScheduleDefinition
	definition.Misfire, definition.Overlap, definition.Paused = "", "skip", nil
	run := exampleScheduleRun()
	triggered := run
	triggered.Manual, triggered.JobState, triggered.LatenessSeconds, triggered.FiredAt = true, jobs.Available, 0, exampleTime
	slots := ScheduleSlots{Items: exampleSlots()}
	register(a, huma.Operation{
		OperationID: "listSchedules", Method: http.MethodGet, Path: "/v1/schedules", Tags: tags,
		Summary: "List schedules", Description: "The schedules by name, each with its next slot.",
	}, documented{answer: SchedulePage{Items: []jobs.Schedule{schedule}}}, a.listSchedules)
	registerBody(a, huma.Operation{
		OperationID: "createSchedule", Method: http.MethodPost, Path: "/v1/schedules", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Make a schedule", Description: "From now on each of its slots makes a job, once, whatever the number of nodes. Slots up to now are none of it.",
	}, documented{body: NewSchedule{Name: schedule.Name, ScheduleDefinition: definition}, answer: schedule, problems: []jobs.Code{jobs.ScheduleExists, argsTooLarge}}, a.createSchedule)
	register(a, huma.Operation{
		OperationID: "getSchedule", Method: http.MethodGet, Path: "/v1/schedules/{name}", Tags: tags,
		Summary: "Look at a schedule", Description: "Its definition, its next slot, and what keeps it.",
	}, documented{answer: schedule, problems: missing}, a.getSchedule)
	registerBody(a, huma.Operation{
		OperationID: "putSchedule", Method: http.MethodPut, Path: "/v1/schedules/{name}", Tags: tags,
		Summary:     "Set the whole definition of a schedule",
		Description: "Makes the schedule where there is none. What is not said goes back to its default, but for a pause, and the anchor of an interval. It takes effect at once, and no slot fires twice for it.",
	}, documented{body: definition, answer: schedule, problems: []jobs.Code{argsTooLarge}}, a.putSchedule)
	registerBody(a, huma.Operation{
		OperationID: "editSchedule", Method: http.MethodPatch, Path: "/v1/schedules/{name}", Tags: tags,
		Summary:     "Change a schedule",
		Description: "Changes what is named, and leaves the rest; null puts back a default. It takes effect at once, and no slot fires twice for it.",
	}, documented{body: ScheduleChanges{Cron: new("0 3 * * *")}, answer: schedule, problems: wrong}, a.editSchedule)
	register(a, huma.Operation{
		OperationID: "deleteSchedule", Method: http.MethodDelete, Path: "/v1/schedules/{name}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a schedule", Description: "The jobs that it made stay as they are.",
	}, documented{problems: missing}, a.deleteSchedule)
	register(a, huma.Operation{
		OperationID: "pauseSchedule", Method: http.MethodPost, Path: "/v1/schedules/{name}/pause", Tags: tags,
		Summary: "Pause a schedule", Description: "It fires nothing until it is resumed.",
	}, documented{answer: paused, problems: missing}, a.pauseSchedule)
	register(a, huma.Operation{
		OperationID: "resumeSchedule", Method: http.MethodPost, Path: "/v1/schedules/{name}/resume", Tags: tags,
		Summary: "Resume a schedule", Description: "Its slots fire again from now on; those of the pause do not.",
	}, documented{answer: schedule, problems: missing}, a.resumeSchedule)
	register(a, huma.Operation{
		OperationID: "triggerSchedule", Method: http.MethodPost, Path: "/v1/schedules/{name}/trigger", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary:     "Run a schedule now",
		Description: "Makes its job, or submits its workflow, at once, even if it is paused or finished or its last run is active. Its slots go on as if nothing had been.",
	}, documented{answer: triggered, problems: []jobs.Code{jobs.ScheduleNotFound, jobs.QueueFull}}, a.triggerSchedule)
	register(a, huma.Operation{
		OperationID: "previewSchedule", Method: http.MethodGet, Path: "/v1/schedules/{name}/preview", Tags: tags,
		Summary: "See when a schedule fires", Description: "Its next slots, by UTC and by the clocks of its zone, with a note where one is moved or skipped because these are put forward or back.",
	}, documented{answer: slots, problems: missing}, a.previewSchedule)
	registerBody(a, huma.Operation{
		OperationID: "previewDefinition", Method: http.MethodPost, Path: "/v1/schedules/preview", Tags: tags,
		Summary: "See when a schedule would fire", Description: "The same for a definition that is not saved. It needs no job.",
	}, documented{
		body:   SchedulePreview{ScheduleDefinition: jobs.ScheduleDefinition{Cron: "30 2 * * *", Timezone: "Europe/Berlin"}, From: &exampleTime, Count: 3},
		answer: slots,
	}, a.previewDefinition)
	register(a, huma.Operation{
		OperationID: "listScheduleRuns", Method: http.MethodGet, Path: "/v1/schedules/{name}/runs", Tags: tags,
		Summary: "See what a schedule did", Description: "The slots that were dealt with in the last week, the latest first, with the state of the job that each made; and older ones whose jobs are still there.",
	}, documented{answer: ScheduleRunPage{Items: []jobs.ScheduleRun{run}}, problems: missing}, a.listScheduleRuns)
}
