package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"
)

type childrenCommand struct {
	jobFlags
	Limit int `help:"Show at most so many, the newest, up to 1000." default:"50" placeholder:"N"`
}

// Run lists the newest children.
func (c *childrenCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.get(ctx, c.path(fmt.Sprintf("/children?limit=%d", c.Limit)), &answer); err != nil {
		return err
	}
	type page struct {
		Items      []job
		NextCursor *string `json:"next_cursor"`
	}
	return show(c.answerFlags, std.out, answer, func(p page) error {
		if len(p.Items) == 0 {
			fmt.Fprintf(std.out, "Job %s has no children.\n", oneLine(c.ID))
			return nil
		}
		paint, now := newPainter(std.out), time.Now()
		table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "JOB\tKIND\tQUEUE\tATTEMPT\tCREATED\tSTATE")
		for _, j := range p.Items {
			fmt.Fprintf(table, "%s\t%s\t%s\t%d of %d\t%s\t%s%s\n", j.ID, shorten(oneLine(j.Kind), 40), oneLine(j.Queue), j.Attempt, j.MaxAttempts, relative(now, j.CreatedAt),
				paint.state(j.State), j.when(now))
		}
		if p.NextCursor != nil {
			fmt.Fprintln(table, "…")
		}
		return table.Flush()
	})
}
