package cli

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type deadCommands struct {
	List    listDead    `cmd:"" default:"withargs" help:"List dead letters, those that died last first. The default."`
	Show    showDead    `cmd:"" help:"Show a dead letter and its history."`
	Redrive redriveDead `cmd:"" help:"Run dead letters again: those with these ids, or all that match the filters."`
	Purge   purgeDead   `cmd:"" help:"Remove dead letters: those with these ids, or all that match the filters. The jobs stay dead."`
}

// deadFilter selects dead letters.
type deadFilter struct {
	Queue       string    `json:"queue,omitempty" help:"Only of this queue." placeholder:"NAME"`
	Kind        string    `json:"kind,omitempty" help:"Only of this kind." placeholder:"KIND"`
	Tenant      string    `json:"tenant,omitempty" help:"Only of this tenant." placeholder:"TENANT"`
	Tag         string    `json:"tag,omitempty" help:"Only with this tag." placeholder:"TAG"`
	ErrorType   string    `json:"error_type,omitempty" help:"Only with a last error of this type." placeholder:"TYPE"`
	Text        string    `json:"q,omitempty" name:"text" help:"Only with this text in kind, args or errors." placeholder:"TEXT"`
	DiedAfter   time.Time `json:"died_after,omitzero" help:"Only those that died at this time or later, in RFC 3339." placeholder:"TIME"`
	DiedBefore  time.Time `json:"died_before,omitzero" help:"Only those that died before this time, in RFC 3339." placeholder:"TIME"`
	MinAttempts int       `json:"min_attempts,omitempty" help:"Only with this many attempts or more." placeholder:"N"`
}

// filter adds the filter to a call's query.
func (f deadFilter) filter(call rest.Call) rest.Call {
	call = call.With("queue", f.Queue).With("kind", f.Kind).With("tenant", f.Tenant).With("tag", f.Tag)
	call = call.With("error_type", f.ErrorType).With("q", f.Text)
	if !f.DiedAfter.IsZero() {
		call = call.With("died_after", f.DiedAfter.Format(time.RFC3339Nano))
	}
	if !f.DiedBefore.IsZero() {
		call = call.With("died_before", f.DiedBefore.Format(time.RFC3339Nano))
	}
	if f.MinAttempts != 0 {
		call = call.With("min_attempts", strconv.Itoa(f.MinAttempts))
	}
	return call
}

// deadLetter is what is printed of a dead letter.
type deadLetter struct {
	job
	DiedAt   time.Time `json:"died_at"`
	Redrives int       `json:"redrives"`
	By       string    `json:"redriven_by"`
	Timeline []struct {
		At      time.Time `json:"at"`
		Event   string    `json:"event"`
		Attempt int       `json:"attempt"`
		Worker  string    `json:"worker"`
		Detail  struct {
			Message string `json:"message"`
			By      string `json:"by"`
		} `json:"detail"`
	} `json:"timeline"`
}

type listDead struct {
	deadFilter
	Limit limit `help:"List at most this many." default:"50"`
	answerFlags
}

// Run lists dead letters.
func (c *listDead) Run(ctx context.Context, s *Session) error {
	call := c.filter(rest.Get("/v1/dead"))
	return list(ctx, s, c.answerFlags, call, int(c.Limit), "There are no such dead letters.", layout[deadLetter]{
		columns: []string{"JOB", "QUEUE", "KIND", "DIED", "ATTEMPTS", "REDRIVES", "ERROR"},
		row: func(_ *printer, l *deadLetter) []any {
			message := ""
			if l.Error != nil {
				message = terminal.Shorten(terminal.OneLine(l.Error.Message), 80)
			}
			return []any{l.ID, l.Queue, l.Kind, l.DiedAt, l.attempts(), l.Redrives, message}
		},
	})
}

type showDead struct {
	ID id `arg:"" complete:"dead" help:"The job's id."`
	answerFlags
}

// Run shows one dead letter.
func (c *showDead) Run(ctx context.Context, s *Session) error {
	return show(ctx, s, c.answerFlags, rest.Get(deadPath(c.ID)), func(p *printer, l *deadLetter) { l.print(p) })
}

func (l *deadLetter) print(p *printer) {
	l.job.print(p)
	switch {
	case l.Redrives > 0 && l.By != "":
		p.line("\nredriven %s before, last by %s", countOf(l.Redrives, "time"), l.By)
	case l.Redrives > 0:
		p.line("\nredriven %s before", countOf(l.Redrives, "time"))
	}
	p.line("")
	t := p.table("TIME", "EVENT", "ATTEMPT", "BY", "WHY")
	for _, m := range l.Timeline {
		by := m.Worker
		if m.Detail.By != "" {
			by = m.Detail.By
		}
		t.row(localTime(m.At), spaced(m.Event), m.Attempt, by, terminal.Shorten(terminal.OneLine(m.Detail.Message), 80))
	}
	t.end()
}

func deadPath(job id, below ...string) string {
	return rest.Path(append([]string{"dead", string(job)}, below...)...)
}

// deadSelection is which dead letters a command works on, and who runs it.
type deadSelection struct {
	IDs []id `arg:"" complete:"dead" optional:"" name:"id" help:"The jobs' ids. Without ids, the filters select."`
	deadFilter
	All    bool    `help:"Select all dead letters; required without ids and filters."`
	Rate   float64 `help:"With filters: at most this many a second." placeholder:"N"`
	DryRun bool    `help:"With filters: only count the dead letters that match."`
	NoWait bool    `help:"With filters: do not wait until the operation ends."`
	byFlag
	answerFlags
}

// Validate is called by kong.
func (c *deadSelection) Validate() error {
	filtered := c.deadFilter != deadFilter{}
	switch {
	case len(c.IDs) > 0 && (filtered || c.All || c.Rate != 0 || c.DryRun || c.NoWait):
		return errors.New("ids cannot be combined with filters or their flags")
	case len(c.IDs) == 0 && !filtered && !c.All:
		return errors.New("give ids, filters, or --all")
	case filtered && c.All:
		return errors.New("filters cannot be combined with --all")
	case c.Rate < 0:
		return errors.New("--rate must not be negative")
	}
	return nil
}

// deadOperation is the body of POST /v1/dead/redrive and /v1/dead/purge.
type deadOperation struct {
	Filter        deadFilter `json:"filter"`
	By            string     `json:"by,omitempty"`
	KeepAttempts  bool       `json:"keep_attempts,omitempty"`
	RatePerSecond float64    `json:"rate_per_second,omitempty"`
	DryRun        bool       `json:"dry_run,omitempty"`
}

// start starts an operation on all dead letters that match, and follows it.
func (c *deadSelection) start(ctx context.Context, s *Session, action string, keepAttempts bool) error {
	answer, err := c.ask(ctx, s, rest.Post(rest.Path("dead", action), deadOperation{
		Filter: c.deadFilter, By: c.name(s), KeepAttempts: keepAttempts, RatePerSecond: c.Rate, DryRun: c.DryRun,
	}))
	if err != nil {
		return err
	}
	if c.NoWait || c.DryRun {
		return write(s, c.answerFlags, answer, func(p *printer, o *operation) { o.print(p) })
	}
	return c.follow(ctx, s, answer)
}

type redriveDead struct {
	KeepAttempts bool `help:"Keep the number of attempts, so that each job gets one more."`
	deadSelection
}

// Run runs dead letters again.
func (c *redriveDead) Run(ctx context.Context, s *Session) error {
	if len(c.IDs) == 0 {
		return c.start(ctx, s, "redrive", c.KeepAttempts)
	}
	body := c.body(s)
	body["keep_attempts"] = c.KeepAttempts
	for _, job := range c.IDs {
		if err := show(ctx, s, c.answerFlags, rest.Post(deadPath(job, "redrive"), body), printRedriven); err != nil {
			return err
		}
	}
	return nil
}

func printRedriven(p *printer, j *job) {
	p.line("job %s runs again in %s: %s", j.ID, j.Queue, p.state(j.State))
}

type purgeDead struct {
	yesFlag
	deadSelection
}

// Run removes dead letters.
func (c *purgeDead) Run(ctx context.Context, s *Session) error {
	if len(c.IDs) == 0 {
		return c.purgeMatching(ctx, s)
	}
	ids := make([]string, len(c.IDs))
	for i, job := range c.IDs {
		ids[i] = string(job)
		if _, err := c.ask(ctx, s, rest.Get(deadPath(job))); err != nil { // before any is purged
			return err
		}
	}
	named := terminal.Shorten(strings.Join(ids, ", "), 200)
	question := "Purge " + countOf(len(ids), "dead letter") + " (" + named + ")?"
	if err := s.Confirm(c.Yes, question, "nothing was purged"); err != nil {
		return err
	}
	for _, job := range c.IDs {
		call := rest.Delete(deadPath(job)).With("by", c.name(s))
		gone := func(p *printer, _ *struct{}) { p.line("dead letter %s is gone", string(job)) }
		if err := show(ctx, s, c.answerFlags, call, gone); err != nil {
			return err
		}
	}
	return nil
}

// purgeMatching counts, asks, and purges.
func (c *purgeDead) purgeMatching(ctx context.Context, s *Session) error {
	if !c.Yes && !c.DryRun {
		call := rest.Post("/v1/dead/purge", deadOperation{Filter: c.deadFilter, DryRun: true})
		_, would, err := read[operation](ctx, s, c.answerFlags, call)
		if err != nil {
			return err
		}
		if err := s.Confirm(false, "Purge "+would.total()+"?", "nothing was purged"); err != nil {
			return err
		}
	}
	return c.start(ctx, s, "purge", false)
}
