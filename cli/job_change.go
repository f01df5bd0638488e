package cli

import (
	"context"

	"github.com/weirhq/weir/rest"
)

type cancelJobs struct {
	IDs []id `arg:"" complete:"job" name:"id" help:"The jobs' ids."`
	answerFlags
}

// Run cancels the jobs in order, and stops at the first that cannot be cancelled.
func (c *cancelJobs) Run(ctx context.Context, s *Session) error {
	return changeJobs(ctx, s, c.answerFlags, c.IDs, "cancel", nil)
}

type retryJobs struct {
	IDs           []id `arg:"" complete:"job" name:"id" help:"The jobs' ids."`
	ResetAttempts bool `help:"Set the number of attempts back to 0."`
	answerFlags
}

// Run retries the jobs in order, and stops at the first that cannot be retried.
func (c *retryJobs) Run(ctx context.Context, s *Session) error {
	return changeJobs(ctx, s, c.answerFlags, c.IDs, "retry", map[string]bool{"reset_attempts": c.ResetAttempts})
}

func changeJobs(ctx context.Context, s *Session, f answerFlags, ids []id, action string, body any) error {
	for _, job := range ids {
		if err := show(ctx, s, f, rest.Post(jobPath(job, action), body), printChangedJob); err != nil {
			return err
		}
	}
	return nil
}

func printChangedJob(p *printer, j *job) { p.line("job %s is %s", j.ID, j.stateNow(p)) }
