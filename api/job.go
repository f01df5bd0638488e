package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// JobPath is the path of one job. It is a string for huma, which would take a jobs.ID for a number.
type JobPath struct {
	ID string `path:"id" pattern:"^[0-9]+$" maxLength:"30" doc:"The job's id." example:"4711"`
}

func (p JobPath) id() jobs.ID { return idOf(p.ID) }

func (p JobPath) missing(ctx context.Context) *Problem {
	return missing(ctx, p.ID, jobs.JobNotFound, "job")
}

// idOf reads an id. One that is too large becomes the largest, which nothing has.
func idOf(digits string) jobs.ID {
	n, _ := strconv.ParseInt(digits, 10, 64)
	return jobs.ID(n)
}

type getJobInput struct {
	JobPath
	WaitSeconds float64 `query:"wait_seconds" minimum:"0" maximum:"60" doc:"How long to wait for the job to end. Defaults to 0."`
}

type jobOutput struct {
	Body jobs.Job
}

// JobPage is one page of a list of jobs.
type JobPage struct {
	Items      []jobs.Job `json:"items" doc:"The jobs, newest first unless sort says otherwise."`
	NextCursor *string    `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
	// Only a search that ran out of time sets this.
	SearchedBackTo   *time.Time `json:"searched_back_to,omitempty" doc:"Present if the search ended at its time limit, before the page was full: jobs enqueued before this time (with sort=id: at this time or later) have not been searched yet. The next page goes on from there."`
	SortedOf         *int       `json:"sorted_of,omitempty" doc:"Present with sort, but not by id: how many jobs are sorted. With searched_back_to, older ones may match that are not among them."`
	EncryptedSkipped bool       `json:"encrypted_not_searched,omitempty" doc:"Present with q if queues that it could be in are encrypted: their args and the texts of their errors were not searched."`
}

type jobPageOutput struct {
	Body JobPage
}

type childrenInput struct {
	JobPath
	Paging
}

type jobBodyInput struct {
	JobPath
	Payload
}

// RetryRequest says how to retry a job.
type RetryRequest struct {
	ResetAttempts bool `json:"reset_attempts,omitempty" doc:"Reset the attempts to 0. Defaults to false."`
}

func (a *API) registerJobs() {
	cancelled, retried, edited := exampleJob(), exampleJob(), exampleJob()
	cancelled.State = jobs.Cancelled
	cancelled.FinishedAt = &exampleLater
	retried.Attempt = 5
	edited.Priority = 10
	register(a, huma.Operation{
		OperationID: "getJob", Method: http.MethodGet, Path: "/v1/jobs/{id}", Tags: []string{tagJobs},
		Summary: "Get a job",
		Description: "The job with its state, its attempts and its result. With `wait_seconds` the answer comes as soon " +
			"as the job has ended, or after that time with the job as it is then.",
	}, documented{answer: exampleCompletedJob(), problems: []jobs.Code{jobs.JobNotFound}}, a.getJob)
	register(a, huma.Operation{
		OperationID: "listJobs", Method: http.MethodGet, Path: "/v1/jobs", Tags: []string{tagJobs},
		Summary: "List jobs",
		Description: "Jobs that match all filters, newest first. A slow search ends its page early, so a page may be " +
			"empty although more pages follow. Unknown parameters are refused.",
	}, documented{answer: JobPage{Items: []jobs.Job{exampleJob()}, NextCursor: cursorTo("jobs", "4711")}, problems: []jobs.Code{jobs.PresetNotFound}}, a.listJobs)
	child := exampleJob()
	child.ID, child.ParentID = 4712, 4711
	register(a, huma.Operation{
		OperationID: "listChildren", Method: http.MethodGet, Path: "/v1/jobs/{id}/children", Tags: []string{tagJobs},
		Summary:     "List a job's children",
		Description: "The jobs that were enqueued with this job as their `parent_id`, newest first.",
	}, documented{answer: JobPage{Items: []jobs.Job{child}}, problems: []jobs.Code{jobs.JobNotFound}}, a.listChildren)
	registerBody(a, huma.Operation{
		OperationID: "editJob", Method: http.MethodPatch, Path: "/v1/jobs/{id}", Tags: []string{tagJobs},
		Summary: "Change a waiting job",
		Description: "Changes the given fields and keeps the others. An available job moves to the end of its priority. A " +
			"running or ended job cannot be changed.",
	}, documented{body: jobs.Edit{Priority: new(10)}, answer: edited, problems: []jobs.Code{jobs.JobNotFound, jobs.JobNotEditable}}, a.editJob)
	register(a, huma.Operation{
		OperationID: "cancelJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/cancel", Tags: []string{tagJobs},
		Summary: "Cancel a job",
		Description: "A waiting job is cancelled at once. A running job continues: its worker sees the request at its " +
			"next heartbeat, and the job is cancelled when the worker releases it or the lease ends.",
	}, documented{answer: cancelled, problems: []jobs.Code{jobs.JobNotFound, jobs.JobEnded}}, a.cancelJob)
	registerBody(a, huma.Operation{
		OperationID: "retryJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/retry", Tags: []string{tagJobs},
		Summary: "Retry a job now",
		Description: "Makes an ended, scheduled or retryable job available now, under the same id. Earlier attempts count " +
			"unless they are reset.",
	}, documented{body: RetryRequest{ResetAttempts: true}, optional: true, answer: retried, problems: []jobs.Code{jobs.JobNotFound, jobs.JobNotRetryable, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch}}, a.retryJob)
}

func (a *API) getJob(ctx context.Context, in *getJobInput) (*jobOutput, error) {
	if in.WaitSeconds > 0 {
		callOf(ctx).waited = true
		leave, err := enter(ctx, &a.waiting)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	return jobAnswer(a.engine.WaitFor(ctx, in.id(), time.Duration(in.WaitSeconds*float64(time.Second))))
}

func (a *API) listJobs(ctx context.Context, in *jobsInput) (*jobPageOutput, error) {
	filter, err := in.filter(ctx)
	if err != nil {
		return nil, err
	}
	switch in.Sort {
	case "-id":
	case "id":
		const list = "jobs, the oldest first"
		after, err := in.before(ctx, list)
		if err != nil {
			return nil, err
		}
		page, err := a.engine.Oldest(ctx, filter, after, in.Limit)
		return jobPageAnswer(list, page, err)
	default:
		return a.listSorted(ctx, in, filter)
	}
	before, err := in.before(ctx, "jobs")
	if err != nil {
		return nil, err
	}
	page, err := a.engine.List(ctx, filter, before, in.Limit)
	return jobPageAnswer("jobs", page, err)
}

func (a *API) listChildren(ctx context.Context, in *childrenInput) (*jobPageOutput, error) {
	before, err := in.before(ctx, "jobs")
	if err != nil {
		return nil, err
	}
	page, err := a.engine.Children(ctx, in.id(), before, in.Limit)
	return jobPageAnswer("jobs", page, err)
}

func jobPageAnswer(list string, page jobs.Page, err error) (*jobPageOutput, error) {
	if err != nil {
		return nil, err
	}
	out := &jobPageOutput{Body: JobPage{Items: page.Jobs, SearchedBackTo: page.SearchedBackTo, EncryptedSkipped: page.EncryptedSkipped}}
	if page.Next != 0 {
		out.Body.NextCursor = cursorTo(list, page.Next.String())
	}
	return out, nil
}

func (a *API) editJob(ctx context.Context, in *jobBodyInput, edit *jobs.Edit) (*jobOutput, error) {
	if *edit == (jobs.Edit{}) {
		return nil, invalidAt(ctx, "body", "has nothing to change") // and would still move the job to the end of its priority
	}
	return jobAnswer(a.engine.Edit(ctx, in.id(), *edit))
}

func (a *API) cancelJob(ctx context.Context, in *JobPath) (*jobOutput, error) {
	return jobAnswer(a.engine.Cancel(ctx, in.id()))
}

func (a *API) retryJob(ctx context.Context, in *jobBodyInput, b *RetryRequest) (*jobOutput, error) {
	return jobAnswer(a.engine.Retry(ctx, in.id(), b.ResetAttempts))
}

func jobAnswer(job jobs.Job, err error) (*jobOutput, error) {
	if err != nil {
		return nil, err
	}
	return &jobOutput{Body: job}, nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
