package cli

import (
	"context"
	"encoding/json"

	"github.com/weirhq/weir/rest"
)

type replayJob struct {
	jobFlags
	Args   string `help:"Other args for the copy: JSON, @FILE to read it from a file, - for standard input." placeholder:"JSON"`
	Queue  string `help:"Another queue for the copy." placeholder:"NAME"`
	DryRun bool   `help:"Store nothing: say what would become of the copy."`
}

// Run enqueues a copy of the job and prints its id.
func (c *replayJob) Run(ctx context.Context, s *Session) error {
	args, err := readJSON(c.Args, s.In)
	if err != nil {
		return err
	}
	call := rest.Post(c.path("replay"), struct {
		Args   json.RawMessage `json:"args,omitempty"`
		Queue  string          `json:"queue,omitempty"`
		DryRun bool            `json:"dry_run,omitempty"`
	}{args, c.Queue, c.DryRun})
	if c.DryRun {
		return show(ctx, s, c.answerFlags, call, printDryRun)
	}
	return show(ctx, s, c.answerFlags, call, func(p *printer, j *job) {
		p.line("job %s is a copy of job %s, in %s: %s", j.ID, string(c.ID), j.Queue, j.stateNow(p))
	})
}
