package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/weirhq/weir/rest"
)

type operationCommands struct {
	List   listOperations  `cmd:"" default:"withargs" help:"List operations, newest first. The default."`
	Watch  watchOperation  `cmd:"" help:"Show the progress of an operation until it ends. The exit status is 0 if it completed."`
	Cancel cancelOperation `cmd:"" help:"Stop an operation. What it has done stays done."`
}

// operation is what is printed of an operation.
type operation struct {
	ID         string     `json:"id"`
	Kind       string     `json:"kind"`
	State      string     `json:"state"`
	By         string     `json:"by"`
	Total      int64      `json:"total"`
	TotalExact bool       `json:"total_exact"`
	Done       int64      `json:"done"`
	Failed     int64      `json:"failed"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// verbs says what each kind of operation does, as in "1200 dead letters redriven".
var verbs = map[string]string{
	"redrive_dead": "redriven", "purge_dead": "purged", "export_jobs": "exported",
	"bulk_cancel": "cancelled", "bulk_retry": "retried", "bulk_reprioritise": "reprioritised",
}

func (o *operation) verb() string {
	if verb, ok := verbs[o.Kind]; ok {
		return verb
	}
	return o.Kind
}

// things is a number of what the operation works on.
func (o *operation) things(n int64) string {
	if o.Kind == "redrive_dead" || o.Kind == "purge_dead" {
		return countOf(n, "dead letter")
	}
	return countOf(n, "job")
}

// total is how many there are, as far as they were counted.
func (o *operation) total() string {
	if o.TotalExact {
		return o.things(o.Total)
	}
	return "at least " + o.things(o.Total)
}

func (o *operation) print(p *printer) {
	state := p.state(o.State)
	switch {
	case o.State == "dry_run":
		p.line("%s would be %s", o.total(), o.verb())
	case o.FinishedAt == nil:
		p.line("operation %s is %s: %d of %s %s", o.ID, state, o.Done, o.total(), o.verb())
	case o.Failed > 0:
		p.line("operation %s is %s: %s %s, %d no longer existed", o.ID, state, o.things(o.Done), o.verb(), o.Failed)
	default:
		p.line("operation %s is %s: %s %s", o.ID, state, o.things(o.Done), o.verb())
	}
}

func operationPath(operation string, below ...string) string {
	return rest.Path(append([]string{"operations", operation}, below...)...)
}

// follow shows the progress of an operation until it ends, and returns an error unless it completed.
func (f answerFlags) follow(ctx context.Context, s *Session, answer json.RawMessage) error {
	o, err := decode[operation](answer)
	if err != nil {
		return err
	}
	var bar *progressbar.ProgressBar
	if s.Progress {
		bar = progressbar.NewOptions64(o.Total,
			progressbar.OptionSetWriter(s.Err), progressbar.OptionSetDescription(o.verb()),
			progressbar.OptionShowCount(), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
		defer func() { _ = bar.Finish() }()
	}
	for pause := 100 * time.Millisecond; o.FinishedAt == nil; pause = min(2*pause, time.Second) {
		if bar != nil {
			bar.ChangeMax64(max(o.Total, 1))
			_ = bar.Set64(min(o.Done, o.Total))
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(s.Err, "\noperation %s goes on; weir operations cancel %s stops it\n", o.ID, o.ID)
			return ctx.Err()
		case <-time.After(pause):
		}
		if answer, o, err = read[operation](ctx, s, f, rest.Get(operationPath(o.ID))); err != nil {
			return err
		}
	}
	if bar != nil {
		_ = bar.Finish()
	}
	if err := write(s, f, answer, func(p *printer, o *operation) { o.print(p) }); err != nil {
		return err
	}
	if o.State != "completed" {
		return fmt.Errorf("operation %s is %s", o.ID, o.State)
	}
	return nil
}

type listOperations struct {
	State string `help:"Only operations in this state: pending, running, completed or cancelled." enum:",pending,running,completed,cancelled" default:""`
	Limit limit  `help:"List at most this many." default:"20"`
	answerFlags
}

// Run lists operations.
func (c *listOperations) Run(ctx context.Context, s *Session) error {
	call := rest.Get("/v1/operations").With("state", c.State)
	return list(ctx, s, c.answerFlags, call, int(c.Limit), "There are no such operations.", layout[operation]{
		columns: []string{"OPERATION", "KIND", "DONE", "TOTAL", "STARTED", "BY", "STATE"},
		row: func(p *printer, o *operation) []any {
			return []any{o.ID, spaced(o.Kind), o.Done, o.Total, o.CreatedAt, o.By, p.state(o.State)}
		},
	})
}

// operationFlags are those of the commands about one operation.
type operationFlags struct {
	ID id `arg:"" complete:"operation" help:"The operation's id."`
	answerFlags
}

type (
	watchOperation  struct{ operationFlags }
	cancelOperation struct{ operationFlags }
)

// Run waits for the end of an operation.
func (c *watchOperation) Run(ctx context.Context, s *Session) error {
	answer, err := c.ask(ctx, s, rest.Get(operationPath(string(c.ID))))
	if err != nil {
		return err
	}
	return c.follow(ctx, s, answer)
}

// Run cancels an operation.
func (c *cancelOperation) Run(ctx context.Context, s *Session) error {
	call := rest.Post(operationPath(string(c.ID), "cancel"), nil)
	return show(ctx, s, c.answerFlags, call, func(p *printer, o *operation) { o.print(p) })
}
