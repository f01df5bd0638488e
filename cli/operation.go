package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
)

type operationsCommand struct {
	List   listOperationsCommand  `cmd:"" default:"withargs" help:"List operations, the newest first. The default."`
	Watch  watchOperationCommand  `cmd:"" help:"Show how far an operation is until it ends."`
	Cancel cancelOperationCommand `cmd:"" help:"End an operation; what it did stays done."`
}

// operation is what people are shown of an operation.
type operation struct {
	ID         string     `json:"id"`
	Kind       string     `json:"kind"`
	State      string     `json:"state"`
	By         string     `json:"by"`
	Total      int64      `json:"total"`
	Done       int64      `json:"done"`
	Failed     int64      `json:"failed"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// what is done to the letters or jobs, as in "1200 dead letters redriven".
func (o *operation) what() string {
	switch o.Kind {
	case "redrive_dead":
		return "redriven"
	case "purge_dead":
		return "purged"
	case "bulk_cancel":
		return "cancelled"
	case "bulk_retry":
		return "run again"
	case "bulk_reprioritise":
		return "reprioritised"
	case "export_jobs":
		return "exported"
	}
	return oneLine(o.Kind)
}

func (o *operation) print(w io.Writer) {
	letters := func(n int64) string {
		if o.Kind == "redrive_dead" || o.Kind == "purge_dead" {
			return countOf(int(n), "dead letter")
		}
		return countOf(int(n), "job")
	}
	switch {
	case o.State == "dry_run":
		fmt.Fprintf(w, "%s would be %s\n", letters(o.Total), o.what())
	case o.FinishedAt == nil:
		fmt.Fprintf(w, "operation %s is %s: %d of %s %s\n", o.ID, o.State, o.Done, letters(o.Total), o.what())
	default:
		gone := ""
		if o.Failed > 0 {
			gone = fmt.Sprintf(", %d were no longer there", o.Failed)
		}
		fmt.Fprintf(w, "operation %s is %s: %s %s%s\n", o.ID, o.State, letters(o.Done), o.what(), gone)
	}
}

// followOperation shows an operation, and if it is to be waited for how far it is until its end.
func followOperation(ctx context.Context, std streams, weir *client, answer json.RawMessage, wait, asJSON bool) error {
	var o operation
	if err := json.Unmarshal(answer, &o); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	var bar *progressbar.ProgressBar
	if wait && isTerminal(std.err) {
		bar = progressbar.NewOptions64(o.Total, progressbar.OptionSetWriter(std.err), progressbar.OptionSetDescription(o.what()),
			progressbar.OptionShowCount(), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	}
	for patience := 100 * time.Millisecond; wait && o.FinishedAt == nil; patience = min(2*patience, time.Second) {
		if bar != nil {
			bar.ChangeMax64(max(o.Total, 1))
			_ = bar.Set64(min(o.Done, o.Total))
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(std.err, "\noperation %s goes on; weir operations cancel %s ends it\n", o.ID, o.ID)
			return ctx.Err()
		case <-time.After(patience):
		}
		if err := weir.get(ctx, operationPath(o.ID), &answer); err != nil {
			return err
		}
		o = operation{}
		if err := json.Unmarshal(answer, &o); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
	}
	if bar != nil {
		_ = bar.Finish()
	}
	if asJSON {
		return printJSON(std.out, answer)
	}
	o.print(std.out)
	return nil
}

func operationPath(id string) string { return "/v1/operations/" + url.PathEscape(id) }

type listOperationsCommand struct {
	State string `help:"Only those in this state: pending, running, completed or cancelled." enum:",pending,running,completed,cancelled" default:""`
	Limit int    `help:"At most so many." default:"20"`
	answerFlags
}

// Validate is called by kong.
func (c *listOperationsCommand) Validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit must be at least 1")
	}
	return nil
}

// Run lists operations.
func (c *listOperationsCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.State != "" {
		query.Set("state", c.State)
	}
	page, err := listSome(ctx, weir, "/v1/operations", query, c.Limit)
	if err != nil {
		return err
	}
	if c.JSON {
		text, err := json.Marshal(page)
		if err != nil {
			return err
		}
		return printJSON(std.out, text)
	}
	if len(page.Items) == 0 {
		fmt.Fprintln(std.out, "There are no such operations.")
		return nil
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "OPERATION\tKIND\tDONE\tTOTAL\tASKED FOR\tBY\tSTATE")
	for _, item := range page.Items {
		var o operation
		if err := json.Unmarshal(item, &o); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", oneLine(o.ID), strings.ReplaceAll(oneLine(o.Kind), "_", " "), o.Done, o.Total, relative(time.Now(), o.CreatedAt), orDash(o.By), newPainter(std.out).state(o.State))
	}
	return table.Flush()
}

// operationArgument names an operation and says where weir is.
type operationArgument struct {
	ID string `arg:"" help:"The operation's id."`
	answerFlags
}

type (
	watchOperationCommand  struct{ operationArgument }
	cancelOperationCommand struct{ operationArgument }
)

// Run waits for the end of an operation.
func (c *watchOperationCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.get(ctx, operationPath(c.ID), &answer); err != nil {
		return err
	}
	return followOperation(ctx, std, weir, answer, true, c.JSON)
}

// Run cancels an operation.
func (c *cancelOperationCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.post(ctx, operationPath(c.ID)+"/cancel", nil, &answer); err != nil {
		return err
	}
	return followOperation(ctx, std, weir, answer, false, c.JSON)
}
