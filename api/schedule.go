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
	Owner
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The schedule's name." example:"nightly-report"`
}

func (p SchedulePath) ref() jobs.Ref { return jobs.Ref{Tenant: p.Tenant, Name: p.Name} }

type scheduleOutput struct {
	Body jobs.Schedule
}

// SchedulePage is one page of the list of schedules.
type SchedulePage struct {
	Items      []jobs.Schedule `json:"items" doc:"The schedules, by tenant and name."`
	NextCursor *string         `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type schedulePageOutput struct {
	Body SchedulePage
}

type schedulesInput struct {
	State  jobs.ScheduleState `query:"state" enum:"active,waiting,paused,finished" doc:"Only schedules in this state."`
	Tenant string             `query:"tenant" maxLength:"200" doc:"Only schedules of this tenant." example:"acme"`
	Paging
}

type scheduleBodyInput struct {
	SchedulePath
	Payload
}

// NewSchedule is a schedule to create.
type NewSchedule struct {
	Name string `json:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"Its name."`
	jobs.ScheduleDefinition
}

// ScheduleChanges are changes to a definition; null restores a default. A new cron, every_seconds or at replaces the old one, as does a job or
// workflow.
type ScheduleChanges struct {
	Cron          *string           `json:"cron,omitempty" maxLength:"500" doc:"A cron expression."`
	EverySeconds  *int              `json:"every_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"Seconds between slots."`
	Anchor        *time.Time        `json:"anchor,omitempty" doc:"With every_seconds: one of its slots."`
	At            *time.Time        `json:"at,omitempty" doc:"The one slot."`
	Timezone      *string           `json:"timezone,omitempty" nullable:"true" maxLength:"100" doc:"The time zone of cron."`
	Job           *jobs.NewJob      `json:"job,omitempty" doc:"The job that each slot creates, replaced as a whole."`
	Workflow      *jobs.NewWorkflow `json:"workflow,omitempty" doc:"The workflow that each slot submits, replaced as a whole."`
	JitterSeconds *int              `json:"jitter_seconds,omitempty" nullable:"true" minimum:"0" maximum:"86400" doc:"Maximum random delay of each slot."`
	StartsAt      *time.Time        `json:"starts_at,omitempty" nullable:"true" doc:"No slot before this time."`
	EndsAt        *time.Time        `json:"ends_at,omitempty" nullable:"true" doc:"No slot at or after this time."`
	MaxRuns       *int              `json:"max_runs,omitempty" nullable:"true" minimum:"1" maximum:"1000000000" doc:"Number of jobs after which the schedule is finished."`
	DSTGap        *string           `json:"dst_gap,omitempty" nullable:"true" enum:"run_after,skip" doc:"Local times skipped by DST."`
	DSTOverlap    *string           `json:"dst_overlap,omitempty" nullable:"true" enum:"once,twice" doc:"Local times repeated by DST."`
	Misfire       *string           `json:"misfire,omitempty" nullable:"true" enum:"skip,latest,all" doc:"Slots that did not fire within a minute."`
	MisfireLimit  *int              `json:"misfire_limit,omitempty" nullable:"true" minimum:"1" maximum:"1000" doc:"With misfire all: the maximum number of late slots."`
	Overlap       *string           `json:"overlap,omitempty" nullable:"true" enum:"allow,skip,wait,cancel" doc:"When the job of an earlier run has not ended."`
	Paused        *bool             `json:"paused,omitempty" doc:"Whether it is paused."`
}

// SchedulePreview is a definition that is not saved, which needs no job, and how much of it to show.
type SchedulePreview struct {
	jobs.ScheduleDefinition
	Name  string     `json:"name,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The name of the schedule; only jitter depends on it."`
	From  *time.Time `json:"from,omitempty" doc:"Show slots from this time on. Defaults to now."`
	Count int        `json:"count,omitempty" minimum:"1" maximum:"1000" doc:"Number of firing slots to show. Defaults to 20."`
}

type previewInput struct {
	SchedulePath
	From  time.Time `query:"from" doc:"Show slots from this time on. Defaults to the next slot."`
	Count int       `query:"count" minimum:"1" maximum:"1000" default:"20" doc:"Number of firing slots to show."`
}

// ScheduleSlots are upcoming slots.
type ScheduleSlots struct {
	Items []jobs.ScheduleSlot `json:"items" doc:"The slots, next first; fewer if there are no more."`
}

type slotsOutput struct {
	Body ScheduleSlots
}

type runsInput struct {
	SchedulePath
	Outcome jobs.SlotOutcome `query:"outcome" enum:"enqueued,duplicate,skipped,missed,refused" doc:"Only slots with this outcome."`
	Paging
}

// ScheduleRunPage is one page of the runs of a schedule.
type ScheduleRunPage struct {
	Items      []jobs.ScheduleRun `json:"items" doc:"The slots, latest first."`
	NextCursor *string            `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
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
	found, err := a.engine.Schedules(ctx, jobs.ScheduleFilter{State: in.State, Tenant: in.Tenant}, refOf(after), in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &schedulePageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "schedules", found, func(last jobs.Schedule) string {
		return place(jobs.Ref{Tenant: last.Tenant, Name: last.Name})
	})
	return out, nil
}

// Definitions are passed on as they came, because an absent field has a meaning too.

func (a *API) createSchedule(ctx context.Context, in *ownedBodyInput, body *NewSchedule) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.SetSchedule(ctx, jobs.Ref{Tenant: in.Tenant, Name: body.Name}, in.RawBody, false))
}

func (a *API) putSchedule(ctx context.Context, in *scheduleBodyInput, _ *jobs.ScheduleDefinition) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.SetSchedule(ctx, in.ref(), in.RawBody, true))
}

func (a *API) editSchedule(ctx context.Context, in *scheduleBodyInput, _ *ScheduleChanges) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.EditSchedule(ctx, in.ref(), in.RawBody))
}

func (a *API) getSchedule(ctx context.Context, in *SchedulePath) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.Schedule(ctx, in.ref()))
}

func (a *API) deleteSchedule(ctx context.Context, in *SchedulePath) (*struct{}, error) {
	return nil, a.engine.DeleteSchedule(ctx, in.ref())
}

func (a *API) pauseSchedule(ctx context.Context, in *SchedulePath) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.PauseSchedule(ctx, in.ref()))
}

func (a *API) resumeSchedule(ctx context.Context, in *SchedulePath) (*scheduleOutput, error) {
	return scheduleAnswer(a.engine.ResumeSchedule(ctx, in.ref()))
}

func (a *API) triggerSchedule(ctx context.Context, in *SchedulePath) (*runOutput, error) {
	run, err := a.engine.TriggerSchedule(ctx, in.ref())
	if err != nil {
		return nil, err
	}
	return &runOutput{Body: run}, nil
}

func (a *API) previewSchedule(ctx context.Context, in *previewInput) (*slotsOutput, error) {
	return slotsAnswer(a.engine.PreviewSchedule(ctx, in.ref(), timeOrNil(in.From), in.Count))
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
	runs, err := a.engine.ScheduleRuns(ctx, in.ref(), in.Outcome, from, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &runPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "runs", runs, func(last jobs.ScheduleRun) string {
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
	wrong := []jobs.Code{jobs.ScheduleNotFound, jobs.QueueNotFound, argsTooLarge}
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
		Summary:     "List schedules",
		Description: "The schedules by tenant and name, each with its next slot.",
	}, documented{answer: SchedulePage{Items: []jobs.Schedule{schedule}}}, a.listSchedules)
	registerBody(a, huma.Operation{
		OperationID: "createSchedule", Method: http.MethodPost, Path: "/v1/schedules", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary:     "Create a schedule",
		Description: "From now on each slot creates one job, whatever the number of nodes. Past slots do not fire.",
	}, documented{body: NewSchedule{Name: schedule.Name, ScheduleDefinition: definition}, answer: schedule, problems: []jobs.Code{jobs.ScheduleExists, jobs.QueueNotFound, argsTooLarge}}, a.createSchedule)
	register(a, huma.Operation{
		OperationID: "getSchedule", Method: http.MethodGet, Path: "/v1/schedules/{name}", Tags: tags,
		Summary:     "Get a schedule",
		Description: "Its definition, its next slot, and what is holding it back.",
	}, documented{answer: schedule, problems: missing}, a.getSchedule)
	registerBody(a, huma.Operation{
		OperationID: "putSchedule", Method: http.MethodPut, Path: "/v1/schedules/{name}", Tags: tags,
		Summary: "Set the whole definition of a schedule",
		Description: "Creates the schedule if it does not exist. Fields that are not given return to their defaults, " +
			"except a pause and the anchor of an interval. Takes effect at once; no slot fires twice.",
	}, documented{body: definition, answer: schedule, problems: []jobs.Code{jobs.ScheduleExists, jobs.QueueNotFound, argsTooLarge}}, a.putSchedule)
	registerBody(a, huma.Operation{
		OperationID: "editSchedule", Method: http.MethodPatch, Path: "/v1/schedules/{name}", Tags: tags,
		Summary: "Change a schedule",
		Description: "Changes the given fields and keeps the others; null restores a default. Takes effect at once; no " +
			"slot fires twice.",
	}, documented{body: ScheduleChanges{Cron: new("0 3 * * *")}, answer: schedule, problems: wrong}, a.editSchedule)
	register(a, huma.Operation{
		OperationID: "deleteSchedule", Method: http.MethodDelete, Path: "/v1/schedules/{name}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Delete a schedule",
		Description: "The jobs that it created stay.",
	}, documented{problems: missing}, a.deleteSchedule)
	register(a, huma.Operation{
		OperationID: "pauseSchedule", Method: http.MethodPost, Path: "/v1/schedules/{name}/pause", Tags: tags,
		Summary:     "Pause a schedule",
		Description: "No slot fires until the schedule is resumed.",
	}, documented{answer: paused, problems: missing}, a.pauseSchedule)
	register(a, huma.Operation{
		OperationID: "resumeSchedule", Method: http.MethodPost, Path: "/v1/schedules/{name}/resume", Tags: tags,
		Summary:     "Resume a schedule",
		Description: "Slots fire again from now on; those during the pause do not.",
	}, documented{answer: schedule, problems: missing}, a.resumeSchedule)
	register(a, huma.Operation{
		OperationID: "triggerSchedule", Method: http.MethodPost, Path: "/v1/schedules/{name}/trigger", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Trigger a schedule now",
		Description: "Creates its job, or submits its workflow, at once, even if the schedule is paused or finished or " +
			"its last run is still active. Its slots are not affected.",
	}, documented{answer: triggered, problems: []jobs.Code{jobs.ScheduleNotFound, jobs.TooManyNames, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch}}, a.triggerSchedule)
	register(a, huma.Operation{
		OperationID: "previewSchedule", Method: http.MethodGet, Path: "/v1/schedules/{name}/preview", Tags: tags,
		Summary:     "Preview a schedule",
		Description: "Its next slots in UTC and in local time, with a note where daylight saving time moves or skips one.",
	}, documented{answer: slots, problems: missing}, a.previewSchedule)
	registerBody(a, huma.Operation{
		OperationID: "previewDefinition", Method: http.MethodPost, Path: "/v1/schedules/preview", Tags: tags,
		Summary:     "Preview an unsaved schedule",
		Description: "The same for a definition that is not saved. It needs no job.",
	}, documented{
		body:   SchedulePreview{ScheduleDefinition: jobs.ScheduleDefinition{Cron: "30 2 * * *", Timezone: "Europe/Berlin"}, From: &exampleTime, Count: 3},
		answer: slots,
	}, a.previewDefinition)
	register(a, huma.Operation{
		OperationID: "listScheduleRuns", Method: http.MethodGet, Path: "/v1/schedules/{name}/runs", Tags: tags,
		Summary: "List a schedule's runs",
		Description: "The slots of the last week, latest first, with the state of the job that each created, and older " +
			"slots whose jobs still exist.",
	}, documented{answer: ScheduleRunPage{Items: []jobs.ScheduleRun{run}}, problems: missing}, a.listScheduleRuns)
}
