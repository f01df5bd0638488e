package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type workflowCommands struct {
	List     listWorkflows       `cmd:"" default:"withargs" help:"List workflows, newest first. The default."`
	Show     showWorkflow        `cmd:"" help:"Draw a workflow: its steps, what they depend on, and their states."`
	Submit   submitWorkflow      `cmd:"" help:"Submit a workflow."`
	Cancel   cancelWorkflow      `cmd:"" help:"Cancel a workflow."`
	Retry    retryWorkflow       `cmd:"" help:"Run the failed steps of a workflow again."`
	Fork     forkWorkflow        `cmd:"" help:"Submit a copy of a workflow in which some steps run again."`
	Signal   signalWorkflow      `cmd:"" help:"Send a signal to a workflow."`
	Timeline showWorkflowMoments `cmd:"" help:"Show what happened to a workflow and its jobs."`
}

// workflowFlags are those of the commands about one workflow.
type workflowFlags struct {
	ID id `arg:"" complete:"workflow" help:"The workflow's id."`
	answerFlags
}

func (f workflowFlags) path(below ...string) string {
	return rest.Path(append([]string{"workflows", string(f.ID)}, below...)...)
}

// workflow is what is printed of a workflow.
type workflow struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	State      string     `json:"state"`
	CreatedAt  time.Time  `json:"created_at"`
	DeadlineAt *time.Time `json:"deadline_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Progress   float64    `json:"progress"`
	Steps      int        `json:"steps"`
	Dead       int        `json:"dead"`
	Running    int        `json:"running"`
	Waiting    int        `json:"waiting"`
	Failure    *struct {
		Message string `json:"message"`
	} `json:"failure"`
	ParentWorkflowID string `json:"parent_workflow_id"`
	ForkedFrom       string `json:"forked_from"`
	Duplicate        bool   `json:"duplicate"`
}

// took is how long it took, or has taken until now.
func (w *workflow) took(now time.Time) time.Duration {
	if w.FinishedAt != nil {
		now = *w.FinishedAt
	}
	return max(0, now.Sub(w.CreatedAt))
}

// print prints the workflow in one line.
func (w *workflow) print(p *printer) {
	failure := ""
	if w.Failure != nil {
		failure = "; " + terminal.Shorten(terminal.OneLine(w.Failure.Message), 160)
	}
	steps := countOf(w.Steps, "step")
	p.line("workflow %s %s is %s: %g %% of %s%s", w.ID, w.Name, p.state(w.State), w.Progress, steps, failure)
}

type listWorkflows struct {
	State string `help:"Only workflows in this state: running, stopping, compensating, completed, failed or cancelled." placeholder:"STATE"`
	Name  string `help:"Only workflows of this name." placeholder:"NAME"`
	Limit limit  `help:"List at most this many." default:"50"`
	answerFlags
}

// Run lists workflows.
func (c *listWorkflows) Run(ctx context.Context, s *Session) error {
	call := rest.Get("/v1/workflows").With("state", c.State).With("name", c.Name)
	return list(ctx, s, c.answerFlags, call, int(c.Limit), "There are no such workflows.", layout[workflow]{
		columns: []string{"WORKFLOW", "NAME", "DONE", "STEPS", "DEAD", "RUNNING", "SUBMITTED", "TOOK", "STATE"},
		row: func(p *printer, w *workflow) []any {
			name, done := terminal.Shorten(w.Name, 40), fmt.Sprintf("%g %%", w.Progress)
			return []any{w.ID, name, done, w.Steps, w.Dead, w.Running, w.CreatedAt, w.took(p.now), p.state(w.State)}
		},
	})
}

type submitWorkflow struct {
	Definition     string `arg:"" help:"The workflow as JSON: {name, steps: [...]}. @FILE reads it from a file, - from standard input."`
	IdempotencyKey string `help:"Submitting again with this key returns the first workflow." placeholder:"KEY"`
	answerFlags
}

// Run submits the workflow.
func (c *submitWorkflow) Run(ctx context.Context, s *Session) error {
	definition, err := readJSON(c.Definition, s.In)
	if err != nil {
		return err
	}
	call := rest.Post("/v1/workflows", definition)
	if c.IdempotencyKey != "" {
		call.Header = http.Header{"Idempotency-Key": {c.IdempotencyKey}}
	}
	return show(ctx, s, c.answerFlags, call, func(p *printer, w *workflow) {
		if w.Duplicate {
			p.line("workflow %s existed already", w.ID)
			return
		}
		p.line("workflow %s with %s", w.ID, countOf(w.Steps, "step"))
	})
}

// change makes a call that answers with the workflow, and prints it.
func (f workflowFlags) change(ctx context.Context, s *Session, action string, body any) error {
	return show(ctx, s, f.answerFlags, rest.Post(f.path(action), body), func(p *printer, w *workflow) { w.print(p) })
}

type cancelWorkflow struct {
	Compensate bool `help:"Then run the compensations of the completed steps."`
	workflowFlags
}

// Run cancels a workflow.
func (c *cancelWorkflow) Run(ctx context.Context, s *Session) error {
	return c.change(ctx, s, "cancel", map[string]any{"compensate": c.Compensate})
}

type retryWorkflow struct {
	workflowFlags
	byFlag
}

// Run runs the failed steps again.
func (c *retryWorkflow) Run(ctx context.Context, s *Session) error {
	return c.change(ctx, s, "retry", c.body(s))
}

type forkWorkflow struct {
	workflowFlags
	From []string `arg:"" help:"The steps that run again, with all that depend on them."`
	byFlag
}

// Run forks a workflow.
func (c *forkWorkflow) Run(ctx context.Context, s *Session) error {
	body := c.body(s)
	body["from"] = c.From
	return c.change(ctx, s, "fork", body)
}

type signalWorkflow struct {
	workflowFlags
	Name    string `arg:"" help:"The signal's name."`
	Payload string `arg:"" optional:"" help:"The signal's payload: JSON, @FILE to read it from a file, - for standard input."`
}

// Run sends a signal.
func (c *signalWorkflow) Run(ctx context.Context, s *Session) error {
	payload, err := readJSON(c.Payload, s.In)
	if err != nil {
		return err
	}
	body := map[string]any{}
	if payload != nil {
		body["payload"] = payload
	}
	type signalled struct{ Ended int }
	return show(ctx, s, c.answerFlags, rest.Post(c.path("signals", c.Name), body), func(p *printer, a *signalled) {
		if a.Ended == 0 {
			p.line("no step waits for it yet; it is kept")
			return
		}
		p.line("%s waited for it", countOf(a.Ended, "step"))
	})
}

type showWorkflowMoments struct{ workflowFlags }

// workflowMoment is something that happened to a workflow or one of its jobs.
type workflowMoment struct {
	moment
	Step string `json:"step"`
}

// Run shows the timeline.
func (c *showWorkflowMoments) Run(ctx context.Context, s *Session) error {
	return showList(ctx, s, c.answerFlags, rest.Get(c.path("timeline")), rest.All, printWorkflowTimeline)
}

func printWorkflowTimeline(p *printer, moments []workflowMoment, _ bool) {
	t := p.table("TIME", "STEP", "WHAT")
	var days dayHeads
	for _, m := range moments {
		days.print(t, m.At, 2)
		t.row(clock(m.At), m.Step, m.describe(-1))
	}
	t.end()
}

type showWorkflow struct {
	workflowFlags
	Mermaid bool `help:"Print a Mermaid flowchart."`
	All     bool `help:"Draw every step. By default, many similar steps are drawn as one."`
}

// maxSimilar is how many similar steps are drawn one by one.
const maxSimilar = 8

// Run draws a workflow.
func (c *showWorkflow) Run(ctx context.Context, s *Session) error {
	if c.Mermaid {
		if c.JSON {
			return Usagef("--mermaid cannot be combined with --json")
		}
		return c.mermaid(ctx, s)
	}
	answer, g, err := read[graph](ctx, s, c.answerFlags, rest.Get(c.path("graph")))
	if err != nil || c.JSON {
		return orWriteJSON(s, err, answer)
	}
	_, w, err := read[workflow](ctx, s, c.answerFlags, rest.Get(c.path()))
	if err != nil {
		return err
	}
	similar := maxSimilar
	if c.All {
		similar = len(g.Nodes)
	}
	p := newPrinter(s)
	g.draw(p, w, similar)
	return p.flush()
}

func (c *showWorkflow) mermaid(ctx context.Context, s *Session) error {
	weir, err := c.Client(s)
	if err != nil {
		return err
	}
	call := rest.Get(c.path("graph"))
	call.Header = http.Header{"Accept": {"text/vnd.mermaid"}}
	text, err := weir.Text(ctx, call)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(s.Out, terminal.Printable(text))
	return err
}
