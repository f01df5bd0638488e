package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

type cancelJobsCommand struct {
	IDs []string `arg:"" name:"id" help:"The ids of the jobs."`
	answerFlags
}

// Run cancels one job after the other, and stops at the first that cannot be.
func (c *cancelJobsCommand) Run(ctx context.Context, std streams) error {
	return changeJobs(ctx, std, c.answerFlags, c.IDs, "/cancel", nil)
}

type retryJobsCommand struct {
	IDs           []string `arg:"" name:"id" help:"The ids of the jobs."`
	ResetAttempts bool     `help:"Forget the attempts so far."`
	answerFlags
}

// Run retries one job after the other, and stops at the first that cannot be.
func (c *retryJobsCommand) Run(ctx context.Context, std streams) error {
	return changeJobs(ctx, std, c.answerFlags, c.IDs, "/retry", map[string]bool{"reset_attempts": c.ResetAttempts})
}

func changeJobs(ctx context.Context, std streams, flags answerFlags, ids []string, operation string, body any) error {
	weir, err := flags.client()
	if err != nil {
		return err
	}
	for _, id := range ids {
		var answer json.RawMessage
		if err := weir.post(ctx, jobPath(id)+operation, body, &answer); err != nil {
			return err
		}
		if err := show(flags, std.out, answer, func(j job) error {
			_, err := fmt.Fprintf(std.out, "job %s is %s%s\n", j.ID, newPainter(std.out).state(j.State), j.when(time.Now()))
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
