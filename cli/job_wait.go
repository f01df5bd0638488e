package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/weirhq/weir/rest"
)

type waitForJob struct {
	jobFlags
	Timeout duration `help:"Wait no longer than this: 90 (seconds), 90s, 5m, 2h. Defaults to no limit." placeholder:"TIME"`
}

// maxWait is the longest that the service waits in one call.
const maxWait = 60 * time.Second

// endStates are the states that a job does not leave without a retry.
var endStates = []string{"completed", "cancelled", "dead"}

// Run waits until the job has ended, or the timeout has passed, and shows the job.
func (c *waitForJob) Run(ctx context.Context, s *Session) error {
	began := time.Now()
	var pause rest.Backoff
	for {
		wait := maxWait
		if c.Timeout > 0 {
			wait = min(wait, max(time.Duration(c.Timeout)-time.Since(began), 0))
		}
		asked := time.Now()
		call := rest.Get(c.path()).With("wait_seconds", strconv.FormatFloat(wait.Seconds(), 'f', 3, 64))
		call.Wait = wait
		answer, j, err := read[job](ctx, s, c.answerFlags, call)
		if err != nil {
			return err
		}
		ended := slices.Contains(endStates, j.State)
		if ended || c.Timeout > 0 && time.Since(began) >= time.Duration(c.Timeout) {
			if err := write(s, c.answerFlags, answer, func(p *printer, j *job) { j.print(p) }); err != nil {
				return err
			}
			switch {
			case !ended:
				return fmt.Errorf("job %s has not ended: it is %s", j.ID, j.State)
			case j.State != "completed":
				return fmt.Errorf("job %s is %s", j.ID, j.State)
			}
			return nil
		}
		// A node that shuts down answers early; another one will wait.
		if time.Since(asked) < wait/2 && !pause.Sleep(ctx) {
			return ctx.Err()
		}
	}
}
