package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"
)

type workflowCommand struct {
	List     listWorkflowsCommand    `cmd:"" default:"withargs" help:"List workflows, the newest first. The default."`
	Show     showWorkflowCommand     `cmd:"" help:"Draw a workflow: what waits for what, and how far it is."`
	Submit   submitWorkflowCommand   `cmd:"" help:"Submit a workflow."`
	Cancel   cancelWorkflowCommand   `cmd:"" help:"Cancel a workflow."`
	Retry    retryWorkflowCommand    `cmd:"" help:"Run what failed of a workflow again."`
	Fork     forkWorkflowCommand     `cmd:"" help:"Submit a copy of a workflow in which some steps run again."`
	Signal   signalWorkflowCommand   `cmd:"" help:"Send a signal to a workflow."`
	Timeline timelineWorkflowCommand `cmd:"" help:"Show what happened to a workflow and its jobs."`
}

// workflowFlags are those of the commands about one workflow.
type workflowFlags struct {
	ID string `arg:"" help:"The workflow's id."`
	answerFlags
}

func (f workflowFlags) path(below string) string {
	return "/v1/workflows/" + url.PathEscape(f.ID) + below
}

// workflow is what people are shown of a workflow.
type workflow struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	State      string     `json:"state"`
	CreatedAt  time.Time  `json:"created_at"`
	DeadlineAt *time.Time `json:"deadline_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Progress   float64    `json:"progress"`
	Steps      int        `json:"steps"`
	Completed  int        `json:"completed"`
	Dead       int        `json:"dead"`
	Cancelled  int        `json:"cancelled"`
	Running    int        `json:"running"`
	Waiting    int        `json:"waiting"`
	Failure    *struct {
		Message string `json:"message"`
	} `json:"failure"`
	ParentWorkflowID string `json:"parent_workflow_id"`
	ForkedFrom       string `json:"forked_from"`
	Duplicate        bool   `json:"duplicate"`
}

// took is how long it has taken so far, or took.
func (w *workflow) took(now time.Time) time.Duration {
	if w.FinishedAt != nil {
		now = *w.FinishedAt
	}
	return max(0, now.Sub(w.CreatedAt))
}

// say is the workflow in one line.
func (w *workflow) say(paint painter) string {
	line := fmt.Sprintf("workflow %s %s is %s: %g %% of %s", w.ID, oneLine(w.Name), paint.state(w.State), w.Progress, countOf(w.Steps, "step"))
	if w.Failure != nil {
		line += "; " + shorten(oneLine(w.Failure.Message), 160)
	}
	return line
}

type listWorkflowsCommand struct {
	State string `help:"Only those in this state: running, stopping, compensating, completed, failed or cancelled." placeholder:"STATE"`
	Name  string `help:"Only those of this name." placeholder:"NAME"`
	Limit int    `help:"At most so many." default:"50"`
	answerFlags
}

// Validate is called by kong.
func (c *listWorkflowsCommand) Validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit must be at least 1")
	}
	return nil
}

// Run lists workflows.
func (c *listWorkflowsCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"state": c.State, "name": c.Name} {
		if value != "" {
			query.Set(name, value)
		}
	}
	page, err := listSome(ctx, weir, "/v1/workflows", query, c.Limit)
	if err != nil {
		return err
	}
	return showList(c.answerFlags, std.out, page, func(found []workflow) error {
		if len(found) == 0 {
			fmt.Fprintln(std.out, "no such workflows")
			return nil
		}
		table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "WORKFLOW\tNAME\tSTATE\tDONE\tSTEPS\tDEAD\tRUNNING\tSUBMITTED\tTOOK")
		now := time.Now()
		for _, w := range found {
			// Last on the line is what may be coloured: a tab writer counts the colours as characters.
			fmt.Fprintf(table, "%s\t%s\t%s\t%g %%\t%d\t%d\t%d\t%s\t%s\n", w.ID, shorten(oneLine(w.Name), 40), w.State, w.Progress, w.Steps, w.Dead, w.Running,
				relative(now, w.CreatedAt), roughly(w.took(now)))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		if page.NextCursor != nil {
			fmt.Fprintf(std.out, "There are more: weir workflow list --limit %d\n", 2*c.Limit)
		}
		return nil
	})
}

type submitWorkflowCommand struct {
	Definition     string `arg:"" help:"The workflow as JSON: {name, steps: [...]}. @FILE reads it from a file, - from standard input."`
	IdempotencyKey string `help:"A second submission with this key answers with the first one's workflow." placeholder:"KEY"`
	answerFlags
}

// Run submits the workflow.
func (c *submitWorkflowCommand) Run(ctx context.Context, std streams) error {
	definition, err := readArgs(c.Definition, std.in)
	if err != nil {
		return err
	}
	weir, err := c.client()
	if err != nil {
		return err
	}
	header := http.Header{}
	if c.IdempotencyKey != "" {
		header.Set("Idempotency-Key", c.IdempotencyKey)
	}
	var answer json.RawMessage
	if err := weir.send(ctx, http.MethodPost, "/v1/workflows", header, definition, &answer, 0); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(w workflow) error {
		if w.Duplicate {
			fmt.Fprintf(std.out, "workflow %s was there already\n", w.ID)
			return nil
		}
		fmt.Fprintf(std.out, "workflow %s with %s\n", w.ID, countOf(w.Steps, "step"))
		return nil
	})
}

type cancelWorkflowCommand struct {
	Compensate bool `help:"Run the compensations of what completed, when all that runs has ended."`
	workflowFlags
}

// Run cancels a workflow.
func (c *cancelWorkflowCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, "/cancel", map[string]any{"compensate": c.Compensate})
}

type retryWorkflowCommand struct {
	By string `help:"Who does it; kept with the workflow. Defaults to your name on this machine." placeholder:"NAME"`
	workflowFlags
}

// Run runs what failed again.
func (c *retryWorkflowCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, "/retry", byWhom(c.By))
}

type forkWorkflowCommand struct {
	workflowFlags
	From []string `arg:"" help:"The steps that run again, with all that depend on them."`
	By   string   `help:"Who does it; kept with the workflow. Defaults to your name on this machine." placeholder:"NAME"`
}

// Run forks a workflow.
func (c *forkWorkflowCommand) Run(ctx context.Context, std streams) error {
	body := byWhom(c.By)
	body["from"] = c.From
	return c.change(ctx, std, "/fork", body)
}

func byWhom(by string) map[string]any {
	if by == "" {
		by = nameHere()
	}
	return map[string]any{"by": by}
}

func (f workflowFlags) change(ctx context.Context, std streams, below string, body any) error {
	weir, err := f.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.post(ctx, f.path(below), body, &answer); err != nil {
		return err
	}
	return show(f.answerFlags, std.out, answer, func(w workflow) error {
		_, err := fmt.Fprintln(std.out, w.say(newPainter(std.out)))
		return err
	})
}

type signalWorkflowCommand struct {
	workflowFlags
	Name    string `arg:"" help:"The signal's name."`
	Payload string `arg:"" optional:"" help:"What it carries: JSON, @FILE to read it from a file, - from standard input."`
}

// Run sends a signal.
func (c *signalWorkflowCommand) Run(ctx context.Context, std streams) error {
	body := map[string]any{}
	if c.Payload != "" {
		payload, err := readArgs(c.Payload, std.in)
		if err != nil {
			return err
		}
		body["payload"] = payload
	}
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.post(ctx, c.path("/signals/"+url.PathEscape(c.Name)), body, &answer); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(a struct{ Ended int }) error {
		if a.Ended == 0 {
			fmt.Fprintln(std.out, "no step waits for it yet: it is kept")
			return nil
		}
		_, err := fmt.Fprintf(std.out, "%s waited for it\n", countOf(a.Ended, "step"))
		return err
	})
}

type timelineWorkflowCommand struct {
	workflowFlags
}

// Run shows the timeline.
func (c *timelineWorkflowCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	all, err := listAll(ctx, weir, c.path("/timeline"), url.Values{})
	if err != nil {
		return err
	}
	return showList(c.answerFlags, std.out, all, func(moments []workflowMoment) error { return printWorkflowTimeline(std.out, moments) })
}

// workflowMoment is something that happened to a workflow or one of its jobs.
type workflowMoment struct {
	moment
	Step string `json:"step"`
}

func printWorkflowTimeline(w io.Writer, moments []workflowMoment) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIME\tSTEP\tWHAT")
	day := ""
	for _, m := range moments {
		if d := m.At.Local().Format("2006-01-02 MST"); d != day {
			day = d
			fmt.Fprintf(table, "%s\t\t\n", day)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", m.At.Local().Format("15:04:05.000"), orDash(oneLine(m.Step)), m.say(-1))
	}
	return table.Flush()
}

type showWorkflowCommand struct {
	workflowFlags
	Mermaid bool `help:"Print it as a Mermaid flowchart."`
	All     bool `help:"Draw every step; otherwise many that are alike are drawn as one."`
}

// Run draws a workflow.
func (c *showWorkflowCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	if c.Mermaid {
		return weir.copy(ctx, c.path("/graph"), "text/vnd.mermaid", std.out)
	}
	var w workflow
	var answer json.RawMessage
	if err := weir.get(ctx, c.path(""), &w); err != nil {
		return err
	}
	if err := weir.get(ctx, c.path("/graph"), &answer); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(g graph) error {
		few := 8
		if c.All {
			few = len(g.Nodes)
		}
		return g.draw(std.out, &w, time.Now(), few)
	})
}
