package cli

import (
	"context"
	"fmt"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type listJobs struct {
	jobFlags
	Limit limit `help:"List at most this many." default:"50" placeholder:"N"`
}

// Run lists the newest children.
func (c *listJobs) Run(ctx context.Context, s *Session) error {
	empty := fmt.Sprintf("Job %s has no children.", c.ID)
	return list(ctx, s, c.answerFlags, rest.Get(c.path("children")), int(c.Limit), empty, jobTable)
}

var jobTable = layout[job]{
	columns: []string{"JOB", "KIND", "QUEUE", "ATTEMPT", "CREATED", "STATE"},
	row: func(p *printer, j *job) []any {
		return []any{j.ID, terminal.Shorten(j.Kind, 40), j.Queue, j.attempts(), j.CreatedAt, j.stateNow(p)}
	},
}
