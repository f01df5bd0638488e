package api

import (
	"cmp"
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// QueuePath is the path of one queue.
type QueuePath struct {
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The queue's name." example:"mail"`
}

type queueOutput struct {
	Body jobs.Queue
}

// QueuePage is one page of the list of queues.
type QueuePage struct {
	Items      []jobs.Queue `json:"items" doc:"The queues, by name."`
	NextCursor *string      `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type queuePageOutput struct {
	Body QueuePage
}

type queueBodyInput struct {
	QueuePath
	Payload
}

// PurgeRequest says which jobs of a queue to cancel.
type PurgeRequest struct {
	State  jobs.State `json:"state,omitempty" enum:"available,scheduled,retryable,held,waiting" doc:"Cancel the jobs in this state; waiting: in all of these. Defaults to available."`
	DryRun bool       `json:"dry_run,omitempty" doc:"Only count. Defaults to false."`
}

type purgeOutput struct {
	Body jobs.PurgeResult
}

type queueStatsOutput struct {
	Body jobs.QueueStats
}

func (a *API) registerQueues() {
	tags := []string{tagQueues}
	missing := []jobs.Code{jobs.QueueNotFound}
	settings := jobs.QueueSettings{Priority: 7, TimeoutSeconds: 60, Retry: &jobs.RetryPolicy{Strategy: "fixed", BaseSeconds: new(10.0)}}
	set, paused := exampleQueue(), exampleQueue()
	set.Priority, set.TimeoutSeconds, set.Retry = 7, 60, *settings.Retry
	paused.Paused, paused.PausedAt, paused.PauseReason, paused.ResumeAt = true, &exampleTime, "the mail server is down", &exampleLater
	register(a, huma.Operation{
		OperationID: "listQueues", Method: http.MethodGet, Path: "/v1/queues", Tags: tags,
		Summary: "List queues",
		Description: "The queues by name, each with its settings and its job counts. Counting takes about a second for " +
			"ten million waiting jobs.",
	}, documented{answer: QueuePage{Items: []jobs.Queue{exampleQueue()}}}, a.listQueues)
	register(a, huma.Operation{
		OperationID: "getQueue", Method: http.MethodGet, Path: "/v1/queues/{name}", Tags: tags,
		Summary:     "Get a queue",
		Description: "The settings of a queue and its job counts.",
	}, documented{answer: exampleQueue(), problems: missing}, a.getQueue)
	registerBody(a, huma.Operation{
		OperationID: "putQueue", Method: http.MethodPut, Path: "/v1/queues/{name}", Tags: tags,
		Summary: "Set all settings of a queue",
		Description: "Creates the queue if it does not exist. Settings that are not given return to weir's defaults. Jobs " +
			"that are already enqueued keep theirs.",
	}, documented{body: settings, answer: set, problems: []jobs.Code{jobs.QueueNotEmpty, jobs.QueueNotFound}}, a.putQueue)
	registerBody(a, huma.Operation{
		OperationID: "editQueue", Method: http.MethodPatch, Path: "/v1/queues/{name}", Tags: tags,
		Summary:     "Change settings of a queue",
		Description: "Changes the given settings and keeps the others. Jobs that are already enqueued keep theirs.",
	}, documented{body: jobs.QueueSettings{Priority: 7}, answer: set, problems: []jobs.Code{jobs.QueueNotFound, jobs.QueueNotEmpty}}, a.editQueue)
	register(a, huma.Operation{
		OperationID: "deleteQueue", Method: http.MethodDelete, Path: "/v1/queues/{name}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Delete an empty queue",
		Description: "Its settings are deleted with it. The next job that names the queue creates it again.",
	}, documented{problems: []jobs.Code{jobs.QueueNotFound, jobs.QueueNotEmpty}}, a.deleteQueue)
	registerBody(a, huma.Operation{
		OperationID: "pauseQueue", Method: http.MethodPost, Path: "/v1/queues/{name}/pause", Tags: tags,
		Summary: "Pause a queue",
		Description: "Claims take nothing from the queue until it is resumed, or until the given time by the database's " +
			"clock. Running jobs continue, and jobs can be enqueued. On a paused queue, replaces the reason and " +
			"the end.",
	}, documented{body: jobs.Pause{Reason: "the mail server is down", ResumeInSeconds: new(30.0)}, optional: true, answer: paused, problems: missing}, a.pauseQueue)
	register(a, huma.Operation{
		OperationID: "resumeQueue", Method: http.MethodPost, Path: "/v1/queues/{name}/resume", Tags: tags,
		Summary:     "Resume a queue",
		Description: "Ends a pause. Waiting claims get its jobs at once.",
	}, documented{answer: exampleQueue(), problems: missing}, a.resumeQueue)
	registerBody(a, huma.Operation{
		OperationID: "purgeQueue", Method: http.MethodPost, Path: "/v1/queues/{name}/purge", Tags: tags,
		Summary: "Cancel the waiting jobs of a queue",
		Description: "Cancels the available jobs, or those in another waiting state. Running jobs are not touched. " +
			"`dry_run` only counts. Large purges use several transactions.",
	}, documented{body: PurgeRequest{State: jobs.Available}, optional: true, answer: jobs.PurgeResult{Purged: 1200, Matching: 1200}, problems: missing}, a.purgeQueue)
	register(a, huma.Operation{
		OperationID: "getQueueStats", Method: http.MethodGet, Path: "/v1/queues/{name}/stats", Tags: tags,
		Summary: "Get the figures of a queue",
		Description: "Its jobs by state, the jobs that ended in the last 1, 5 and 60 minutes, and the most frequent " +
			"failures of the last day.",
	}, documented{answer: exampleQueueStats(), problems: missing}, a.getQueueStats)
}

func (a *API) listQueues(ctx context.Context, in *Paging) (*queuePageOutput, error) {
	after, err := in.position(ctx, "queues")
	if err != nil {
		return nil, err
	}
	queues, err := a.engine.Queues(ctx, after, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &queuePageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, *in, "queues", queues, func(last jobs.Queue) string { return last.Name })
	return out, nil
}

func (a *API) getQueue(ctx context.Context, in *QueuePath) (*queueOutput, error) {
	return queueAnswer(a.engine.Queue(ctx, in.Name))
}

func (a *API) putQueue(ctx context.Context, in *queueBodyInput, settings *jobs.QueueSettings) (*queueOutput, error) {
	return queueAnswer(a.engine.SetQueue(ctx, in.Name, *settings, true))
}

// editQueue checks first that the queue exists: a typo in the name must not create one.
func (a *API) editQueue(ctx context.Context, in *queueBodyInput, settings *jobs.QueueSettings) (*queueOutput, error) {
	if _, err := a.engine.Queue(ctx, in.Name); err != nil {
		return nil, err
	}
	return queueAnswer(a.engine.SetQueue(ctx, in.Name, *settings, false))
}

func (a *API) deleteQueue(ctx context.Context, in *QueuePath) (*struct{}, error) {
	return nil, a.engine.DeleteQueue(ctx, in.Name)
}

func (a *API) pauseQueue(ctx context.Context, in *queueBodyInput, pause *jobs.Pause) (*queueOutput, error) {
	return queueAnswer(a.engine.PauseQueue(ctx, in.Name, *pause))
}

func (a *API) resumeQueue(ctx context.Context, in *QueuePath) (*queueOutput, error) {
	return queueAnswer(a.engine.ResumeQueue(ctx, in.Name))
}

func (a *API) purgeQueue(ctx context.Context, in *queueBodyInput, b *PurgeRequest) (*purgeOutput, error) {
	purged, err := a.engine.PurgeQueue(ctx, in.Name, cmp.Or(b.State, jobs.Available), b.DryRun)
	if err != nil {
		return nil, err
	}
	return &purgeOutput{Body: purged}, nil
}

func (a *API) getQueueStats(ctx context.Context, in *QueuePath) (*queueStatsOutput, error) {
	stats, err := a.engine.QueueStats(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &queueStatsOutput{Body: stats}, nil
}

func queueAnswer(queue jobs.Queue, err error) (*queueOutput, error) {
	if err != nil {
		return nil, err
	}
	return &queueOutput{Body: queue}, nil
}
