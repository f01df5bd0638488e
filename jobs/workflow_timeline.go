package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// WorkflowMoment is something that happened to a workflow or to one of its jobs.
type WorkflowMoment struct {
	Moment
	Step  string `json:"step,omitempty" doc:"To which step it happened; of workflow_signal the name of the signal."`
	JobID ID     `json:"job_id,omitempty" doc:"The step's job."`
}

// WorkflowTimeline returns up to limit moments of a workflow and all its jobs in order, skipping the first `after`.
// Errors: WorkflowNotFound.
func (e *Engine) WorkflowTimeline(ctx context.Context, id ID, after, limit int) ([]WorkflowMoment, error) {
	rows, err := e.reads.WorkflowTimeline(ctx, db.WorkflowTimelineParams{WorkflowID: int64(id), After: int64(after), MaxMoments: int32(limit)})
	if err != nil {
		return nil, fromDB("reading the timeline of a workflow", err)
	}
	moments := make([]WorkflowMoment, len(rows))
	for i, r := range rows {
		moments[i] = WorkflowMoment{
			Moment: Moment{At: r.At.UTC(), Event: r.Event, Attempt: int(r.Attempt), Worker: r.Worker, Cause: r.Cause, RunAt: utc(r.RunAt), Detail: e.vault.decryptError(ctx, r.Detail)},
			Step:   r.Step, JobID: ID(r.JobID),
		}
	}
	return moments, nil
}
