package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// WorkerPath is the path of one worker.
type WorkerPath struct {
	Name string `path:"name" minLength:"1" maxLength:"200" doc:"The worker's name." example:"mailer-1"`
}

// WorkerWindow is the window of a worker's figures.
type WorkerWindow struct {
	WindowSeconds float64 `query:"window_seconds" minimum:"1" maximum:"2592000" default:"3600" doc:"The window of stats, in seconds. A longer window takes longer: every attempt in it is read, about a million per second."`
}

type workerInput struct {
	WorkerPath
	WorkerWindow
}

type workersInput struct {
	Paging
	State         jobs.WorkerState `query:"state" enum:"active,paused,draining,lost" doc:"Only workers in this state."`
	Queue         string           `query:"queue" maxLength:"128" doc:"Only workers registered for this queue."`
	Hostname      string           `query:"hostname" maxLength:"255" doc:"Only workers on this host."`
	WindowSeconds float64          `query:"window_seconds" minimum:"1" maximum:"2592000" doc:"The window of stats, in seconds. Defaults to none: no stats."`
}

type workerBodyInput struct {
	WorkerPath
	Payload
}

type workerPageInput struct {
	WorkerPath
	Paging
}

type workerOutput struct {
	Body jobs.Worker
}

// WorkerPage is one page of the list of workers.
type WorkerPage struct {
	Items      []jobs.Worker `json:"items" doc:"The workers, by name."`
	NextCursor *string       `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type workerPageOutput struct {
	Body WorkerPage
}

// WorkerBeatRequest is a heartbeat of a worker.
type WorkerBeatRequest struct {
	Load *float64 `json:"load,omitempty" minimum:"0" maximum:"1000000" doc:"How busy the worker is, in a unit of its own. Defaults to the last value." example:"0.75"`
}

type workerBeatOutput struct {
	Body jobs.WorkerBeat
}

type workerRemovalOutput struct {
	Body jobs.WorkerRemoval
}

// AttemptPage is one page of a worker's history.
type AttemptPage struct {
	Items      []jobs.Attempt `json:"items" doc:"The attempts, latest end first."`
	NextCursor *string        `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type attemptPageOutput struct {
	Body AttemptPage
}

func (a *API) registerWorkers() {
	tags := []string{tagWorkers}
	missing := []jobs.Code{jobs.WorkerNotFound}
	settings := jobs.WorkerSettings{Hostname: new("mail-a"), Capacity: new(10), Queues: &[]string{"mail"}, Version: new("1.4.2"), Labels: &map[string]string{"zone": "eu-1"}}
	plain, listed, paused, draining := exampleWorker(), exampleWorker(), exampleWorker(), exampleWorker()
	plain.Stats = nil
	listed.Stats = nil
	paused.Stats, paused.State, paused.PausedAt = nil, jobs.WorkerPaused, &exampleLater
	draining.Stats, draining.State, draining.DrainingAt = nil, jobs.WorkerDraining, &exampleLater
	running := exampleJob()
	running.State, running.Attempt, running.Worker, running.StartedAt, running.LeaseExpiresAt = jobs.Running, 1, "mailer-1", &exampleTime, &exampleLater
	register(a, huma.Operation{
		OperationID: "listWorkers", Method: http.MethodGet, Path: "/v1/workers", Tags: tags,
		Summary:     "List workers",
		Description: "Workers that have registered or claimed, by name, with their states and job counts.",
	}, documented{answer: WorkerPage{Items: []jobs.Worker{listed}}}, a.listWorkers)
	register(a, huma.Operation{
		OperationID: "getWorker", Method: http.MethodGet, Path: "/v1/workers/{name}", Tags: tags,
		Summary:     "Get a worker",
		Description: "A worker, its job count, and its figures for the last hour or another window.",
	}, documented{answer: exampleWorker(), problems: missing}, a.getWorker)
	registerBody(a, huma.Operation{
		OperationID: "registerWorker", Method: http.MethodPut, Path: "/v1/workers/{name}", Tags: tags,
		Summary: "Register a worker",
		Description: "Stores what the worker says about itself and how many jobs it may hold at once. Registration is " +
			"optional: a claim registers an unknown worker, without a limit. Fields that are not given return to " +
			"their defaults. A pause or drain stays until the worker is resumed. The record belongs to the caller's " +
			"key: others, but operators, get `worker_taken`, and claim nothing under its name.",
	}, documented{body: settings, answer: plain, problems: []jobs.Code{jobs.WorkerTaken, jobs.QueueNotFound, jobs.TooManyNames}}, a.registerWorker)
	registerBody(a, huma.Operation{
		OperationID: "editWorker", Method: http.MethodPatch, Path: "/v1/workers/{name}", Tags: tags,
		Summary:     "Change a worker",
		Description: "Changes the given fields and keeps the others. A smaller capacity takes no job back.",
	}, documented{body: jobs.WorkerSettings{Capacity: new(10)}, answer: plain, problems: []jobs.Code{jobs.WorkerNotFound, jobs.QueueNotFound, jobs.TooManyNames}}, a.editWorker)
	register(a, huma.Operation{
		OperationID: "removeWorker", Method: http.MethodDelete, Path: "/v1/workers/{name}", Tags: tags,
		Summary: "Remove a worker",
		Description: "Its jobs return to their queues at once without losing an attempt, and its tokens become stale. A " +
			"job that it is completing at that moment still completes. Another claim registers it again: to stop " +
			"a live worker from getting jobs, pause or drain it.",
	}, documented{answer: jobs.WorkerRemoval{Released: 3}, problems: missing}, a.removeWorker)
	registerBody(a, huma.Operation{
		OperationID: "heartbeatWorker", Method: http.MethodPost, Path: "/v1/workers/{name}/heartbeat", Tags: tags,
		Summary: "Send a worker heartbeat",
		Description: "A worker without a heartbeat for 30 s is shown as lost; its claims and the heartbeats of its jobs " +
			"count too. The answer says whether the worker is paused or draining. This extends no lease: use the " +
			"heartbeats of jobs for that.",
	}, documented{body: WorkerBeatRequest{Load: new(0.75)}, optional: true, answer: jobs.WorkerBeat{State: jobs.WorkerActive, Capacity: new(10), Registered: true}, problems: missing}, a.heartbeatWorker)
	register(a, huma.Operation{
		OperationID: "pauseWorker", Method: http.MethodPost, Path: "/v1/workers/{name}/pause", Tags: tags,
		Summary:     "Pause a worker",
		Description: "Its claims get no jobs. Its running jobs continue.",
	}, documented{answer: paused, problems: missing}, a.pauseWorker)
	register(a, huma.Operation{
		OperationID: "resumeWorker", Method: http.MethodPost, Path: "/v1/workers/{name}/resume", Tags: tags,
		Summary:     "Resume a worker",
		Description: "Ends a pause or a drain. Its waiting claims get jobs at once.",
	}, documented{answer: plain, problems: missing}, a.resumeWorker)
	register(a, huma.Operation{
		OperationID: "drainWorker", Method: http.MethodPost, Path: "/v1/workers/{name}/drain", Tags: tags,
		Summary: "Drain a worker",
		Description: "Its claims get no more jobs, so that it finishes what it has and ends. It is done when it is " +
			"draining and `running` is 0.",
	}, documented{answer: draining, problems: missing}, a.drainWorker)
	register(a, huma.Operation{
		OperationID: "listWorkerJobs", Method: http.MethodGet, Path: "/v1/workers/{name}/jobs", Tags: tags,
		Summary:     "List a worker's running jobs",
		Description: "The jobs that it holds now, newest first.",
	}, documented{answer: JobPage{Items: []jobs.Job{running}}, problems: missing}, a.listWorkerJobs)
	register(a, huma.Operation{
		OperationID: "listWorkerHistory", Method: http.MethodGet, Path: "/v1/workers/{name}/history", Tags: tags,
		Summary: "List a worker's past attempts",
		Description: "Its ended attempts, the latest first, as far back as jobs are kept. The search goes by time: if the " +
			"worker did little among many others, it is slow and ends its page early, so a page may be empty " +
			"although more pages follow.",
	}, documented{answer: AttemptPage{Items: []jobs.Attempt{exampleAttempt()}}, problems: missing}, a.listWorkerHistory)
}

func (a *API) listWorkers(ctx context.Context, in *workersInput) (*workerPageOutput, error) {
	after, err := in.position(ctx, "workers")
	if err != nil {
		return nil, err
	}
	filter := jobs.WorkerFilter{State: in.State, Queue: in.Queue, Hostname: in.Hostname, Window: seconds(in.WindowSeconds)}
	workers, err := a.engine.Workers(ctx, filter, after, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &workerPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "workers", workers, func(last jobs.Worker) string { return last.Name })
	return out, nil
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func (a *API) getWorker(ctx context.Context, in *workerInput) (*workerOutput, error) {
	return workerAnswer(a.engine.Worker(ctx, in.Name, seconds(in.WindowSeconds)))
}

func (a *API) registerWorker(ctx context.Context, in *workerBodyInput, settings *jobs.WorkerSettings) (*workerOutput, error) {
	return workerAnswer(a.engine.RegisterWorker(ctx, in.Name, *settings))
}

func (a *API) editWorker(ctx context.Context, in *workerBodyInput, changes *jobs.WorkerSettings) (*workerOutput, error) {
	return workerAnswer(a.engine.EditWorker(ctx, in.Name, *changes))
}

func (a *API) removeWorker(ctx context.Context, in *WorkerPath) (*workerRemovalOutput, error) {
	removal, err := a.engine.RemoveWorker(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &workerRemovalOutput{Body: removal}, nil
}

func (a *API) heartbeatWorker(ctx context.Context, in *workerBodyInput, b *WorkerBeatRequest) (*workerBeatOutput, error) {
	beat, err := a.engine.WorkerHeartbeat(ctx, in.Name, b.Load)
	if err != nil {
		return nil, err
	}
	return &workerBeatOutput{Body: beat}, nil
}

func (a *API) pauseWorker(ctx context.Context, in *WorkerPath) (*workerOutput, error) {
	return workerAnswer(a.engine.PauseWorker(ctx, in.Name))
}

func (a *API) resumeWorker(ctx context.Context, in *WorkerPath) (*workerOutput, error) {
	return workerAnswer(a.engine.ResumeWorker(ctx, in.Name))
}

func (a *API) drainWorker(ctx context.Context, in *WorkerPath) (*workerOutput, error) {
	return workerAnswer(a.engine.DrainWorker(ctx, in.Name))
}

func workerAnswer(worker jobs.Worker, err error) (*workerOutput, error) {
	if err != nil {
		return nil, err
	}
	return &workerOutput{Body: worker}, nil
}

func (a *API) listWorkerJobs(ctx context.Context, in *workerPageInput) (*jobPageOutput, error) {
	before, err := in.before(ctx, "worker-jobs")
	if err != nil {
		return nil, err
	}
	page, err := a.engine.WorkerJobs(ctx, in.Name, before, in.Limit)
	return jobPageAnswer("worker-jobs", page, err)
}

func (a *API) listWorkerHistory(ctx context.Context, in *workerPageInput) (*attemptPageOutput, error) {
	after, err := in.position(ctx, "history")
	if err != nil {
		return nil, err
	}
	var from *jobs.AttemptPlace
	if after != "" {
		micros, id, _ := strings.Cut(after, ":")
		ended, err := strconv.ParseInt(micros, 10, 64)
		from = &jobs.AttemptPlace{EndedAt: time.UnixMicro(ended)}
		if err != nil || from.JobID.UnmarshalText([]byte(id)) != nil {
			return nil, badCursor(ctx)
		}
	}
	page, err := a.engine.WorkerHistory(ctx, in.Name, from, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &attemptPageOutput{Body: AttemptPage{Items: page.Items}}
	if page.Next != nil {
		out.Body.NextCursor = cursorTo("history", strconv.FormatInt(page.Next.EndedAt.UnixMicro(), 10)+":"+page.Next.JobID.String())
	}
	return out, nil
}
