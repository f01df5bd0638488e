package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

type waitCommand struct {
	jobFlags
	Timeout delay `help:"Wait no longer than this: 90 (seconds), 90s, 5m, 2h. Defaults to for ever." placeholder:"TIME"`
}

// longestWait is what the service waits in one call.
const longestWait = 60 * time.Second

// Run waits, and shows the job as it is then.
func (c *waitCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	began := time.Now()
	var pause backoff
	for {
		wait := longestWait
		if c.Timeout > 0 {
			wait = min(wait, max(time.Duration(c.Timeout)-time.Since(began), 0))
		}
		asked := time.Now()
		var answer json.RawMessage
		if err := weir.call(ctx, http.MethodGet, c.path("?wait_seconds="+strconv.FormatFloat(wait.Seconds(), 'f', 3, 64)), nil, &answer, wait); err != nil {
			return err
		}
		var j job
		if err := json.Unmarshal(answer, &j); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		ended := slices.Contains([]string{"completed", "cancelled", "dead"}, j.State)
		if ended || c.Timeout > 0 && time.Since(began) >= time.Duration(c.Timeout) {
			if err := show(c.answerFlags, std.out, answer, func(j job) error { return j.print(std.out, time.Now()) }); err != nil {
				return err
			}
			if !ended {
				return fmt.Errorf("job %s has not ended: it is %s", j.ID, j.State)
			}
			if j.State != "completed" {
				return fmt.Errorf("job %s is %s", j.ID, j.State)
			}
			return nil
		}
		// A node that shuts down answers early: another one will wait.
		if time.Since(asked) < wait/2 && !pause.sleep(ctx) {
			return ctx.Err()
		}
	}
}
