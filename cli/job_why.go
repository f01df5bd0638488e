package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
)

type whyCommand struct{ jobFlags }

// Run shows each reason.
func (c *whyCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.get(ctx, c.path("/why"), &answer); err != nil {
		return err
	}
	type reasons struct {
		Reasons []struct{ Code, Message string }
	}
	return show(c.answerFlags, std.out, answer, func(why reasons) error {
		table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		for _, r := range why.Reasons {
			fmt.Fprintf(table, "%s\t%s\n", oneLine(r.Code), oneLine(r.Message))
		}
		return table.Flush()
	})
}
