package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

type deadCommand struct {
	List    listDeadCommand    `cmd:"" default:"withargs" help:"List dead letters, the last that died first. The default."`
	Show    showDeadCommand    `cmd:"" help:"Show a dead letter with all that happened to it."`
	Redrive redriveDeadCommand `cmd:"" help:"Run dead letters again: those named, or all that the filters choose."`
	Purge   purgeDeadCommand   `cmd:"" help:"Remove dead letters: those named, or all that the filters choose. The jobs stay dead."`
}

// deadFilter chooses dead letters.
type deadFilter struct {
	Queue       string    `json:"queue,omitempty" help:"Only those of this queue." placeholder:"NAME"`
	Kind        string    `json:"kind,omitempty" help:"Only those of this kind." placeholder:"KIND"`
	Tenant      string    `json:"tenant,omitempty" help:"Only those of this tenant." placeholder:"TENANT"`
	Tag         string    `json:"tag,omitempty" help:"Only those with this tag." placeholder:"TAG"`
	ErrorType   string    `json:"error_type,omitempty" help:"Only those whose last error is of this type." placeholder:"TYPE"`
	Text        string    `json:"q,omitempty" name:"text" help:"Only those with this text in their kind, args or errors." placeholder:"TEXT"`
	DiedAfter   time.Time `json:"died_after,omitzero" help:"Only those that died then or later, in RFC 3339." placeholder:"TIME"`
	DiedBefore  time.Time `json:"died_before,omitzero" help:"Only those that died earlier." placeholder:"TIME"`
	MinAttempts int       `json:"min_attempts,omitempty" help:"Only those with so many attempts or more." placeholder:"N"`
}

func (f deadFilter) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{
		"queue": f.Queue, "kind": f.Kind, "tenant": f.Tenant, "tag": f.Tag, "error_type": f.ErrorType, "q": f.Text,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if !f.DiedAfter.IsZero() {
		query.Set("died_after", f.DiedAfter.Format(time.RFC3339Nano))
	}
	if !f.DiedBefore.IsZero() {
		query.Set("died_before", f.DiedBefore.Format(time.RFC3339Nano))
	}
	if f.MinAttempts != 0 {
		query.Set("min_attempts", strconv.Itoa(f.MinAttempts))
	}
	return query
}

type listDeadCommand struct {
	deadFilter
	Limit int `help:"At most so many." default:"50"`
	answerFlags
}

// Validate is called by kong.
func (c *listDeadCommand) Validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit must be at least 1")
	}
	return nil
}

// deadLetter is what people are shown of a dead letter.
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

// Run lists dead letters.
func (c *listDeadCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	page, err := listSome(ctx, weir, "/v1/dead", c.query(), c.Limit)
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
		fmt.Fprintln(std.out, "There are no such dead letters.")
		return nil
	}
	if err := printLetters(std.out, page.Items, time.Now()); err != nil {
		return err
	}
	if page.NextCursor != nil {
		fmt.Fprintf(std.out, "\nThere are more: --limit %d shows twice as many.\n", 2*c.Limit)
	}
	return nil
}

func printLetters(w io.Writer, items []json.RawMessage, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "JOB\tQUEUE\tKIND\tDIED\tATTEMPTS\tREDRIVES\tERROR")
	for _, item := range items {
		var l deadLetter
		if err := json.Unmarshal(item, &l); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		message := "-"
		if l.Error != nil {
			message = shorten(oneLine(l.Error.Message), 80)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d of %d\t%d\t%s\n", oneLine(l.ID), oneLine(l.Queue), oneLine(l.Kind), relative(now, l.DiedAt), l.Attempt, l.MaxAttempts, l.Redrives, message)
	}
	return table.Flush()
}

type showDeadCommand struct {
	ID string `arg:"" help:"The job's id."`
	answerFlags
}

// Run shows one dead letter.
func (c *showDeadCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.get(ctx, deadPath(c.ID), &answer); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, answer)
	}
	var l deadLetter
	if err := json.Unmarshal(answer, &l); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return l.print(std.out, time.Now())
}

func (l *deadLetter) print(w io.Writer, now time.Time) error {
	if err := l.job.print(w, now); err != nil {
		return err
	}
	if l.Redrives > 0 {
		by := ""
		if l.By != "" {
			by = ", last by " + oneLine(l.By)
		}
		fmt.Fprintf(w, "\nrun again %s before%s\n", countOf(l.Redrives, "time"), by)
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHEN\tWHAT\tATTEMPT\tWHO\tWHY")
	for _, m := range l.Timeline {
		who := m.Worker
		if m.Detail.By != "" {
			who = m.Detail.By
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", localTime(m.At), strings.ReplaceAll(oneLine(m.Event), "_", " "), m.Attempt, orDash(who), orDash(shorten(m.Detail.Message, 80)))
	}
	return table.Flush()
}

func deadPath(id string) string { return "/v1/dead/" + url.PathEscape(id) }

// chosenLetters are those that a command is about, and who gives it.
type chosenLetters struct {
	IDs []string `arg:"" optional:"" name:"id" help:"The ids of jobs. None: those that the filters choose."`
	deadFilter
	All    bool    `help:"All there are; needed where neither ids nor filters are given."`
	Rate   float64 `help:"Of those that the filters choose: at most so many a second." placeholder:"N"`
	DryRun bool    `help:"Only say how many the filters choose."`
	NoWait bool    `help:"Do not wait until all that the filters choose are done."`
	By     string  `help:"Who does it; kept with the jobs. Defaults to your name on this machine." placeholder:"NAME"`
	answerFlags
}

// Validate is called by kong.
func (c *chosenLetters) Validate() error {
	filtered := c.deadFilter != deadFilter{}
	switch {
	case len(c.IDs) > 0 && (filtered || c.All || c.Rate != 0 || c.DryRun):
		return fmt.Errorf("give ids, or filters, but not both")
	case len(c.IDs) == 0 && !filtered && !c.All:
		return fmt.Errorf("say which: ids, filters, or --all")
	case filtered && c.All:
		return fmt.Errorf("give filters, or --all, but not both")
	case c.Rate < 0:
		return fmt.Errorf("--rate must not be negative")
	}
	return nil
}

func (c *chosenLetters) who() string {
	if c.By != "" {
		return c.By
	}
	return nameHere()
}

// nameHere is what whoever runs this program is called on this machine.
func nameHere() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// bulkRequest is the body of POST /v1/dead/redrive and /v1/dead/purge.
type bulkRequest struct {
	Filter        deadFilter `json:"filter"`
	By            string     `json:"by,omitempty"`
	KeepAttempts  bool       `json:"keep_attempts,omitempty"`
	RatePerSecond float64    `json:"rate_per_second,omitempty"`
	DryRun        bool       `json:"dry_run,omitempty"`
}

// bulk has the service do something with all that the filters choose, and shows how far it is.
func (c *chosenLetters) bulk(ctx context.Context, std streams, weir *client, path string, keepAttempts bool) error {
	var answer json.RawMessage
	err := weir.post(ctx, path, bulkRequest{Filter: c.deadFilter, By: c.who(), KeepAttempts: keepAttempts, RatePerSecond: c.Rate, DryRun: c.DryRun}, &answer)
	if err != nil {
		return err
	}
	return followOperation(ctx, std, weir, answer, !c.NoWait && !c.DryRun, c.JSON)
}

type redriveDeadCommand struct {
	KeepAttempts bool `help:"Let the attempts so far count, so that each has one more."`
	chosenLetters
}

// Run runs dead letters again.
func (c *redriveDeadCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	if len(c.IDs) == 0 {
		return c.bulk(ctx, std, weir, "/v1/dead/redrive", c.KeepAttempts)
	}
	for _, id := range c.IDs {
		var answer json.RawMessage
		if err := weir.post(ctx, deadPath(id)+"/redrive", map[string]any{"by": c.who(), "keep_attempts": c.KeepAttempts}, &answer); err != nil {
			return err
		}
		if c.JSON {
			if err := printJSON(std.out, answer); err != nil {
				return err
			}
			continue
		}
		var j job
		if err := json.Unmarshal(answer, &j); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		fmt.Fprintf(std.out, "job %s runs again in %s: %s\n", j.ID, oneLine(j.Queue), newPainter(std.out).state(j.State))
	}
	return nil
}

type purgeDeadCommand struct {
	Yes bool `help:"Do not ask first whether those that the filters choose may go."`
	chosenLetters
}

// Run removes dead letters.
func (c *purgeDeadCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	if len(c.IDs) == 0 {
		return c.purgeChosen(ctx, std, weir)
	}
	query := url.Values{}
	if by := c.who(); by != "" {
		query.Set("by", by)
	}
	for _, id := range c.IDs {
		if err := weir.call(ctx, http.MethodDelete, deadPath(id)+"?"+query.Encode(), nil, nil, 0); err != nil {
			return err
		}
		if !c.JSON {
			fmt.Fprintf(std.out, "dead letter %s is gone\n", oneLine(id))
		}
	}
	return nil
}

// purgeChosen counts, asks, and purges.
func (c *purgeDeadCommand) purgeChosen(ctx context.Context, std streams, weir *client) error {
	if !c.Yes && !c.DryRun {
		var would operation
		if err := weir.post(ctx, "/v1/dead/purge", bulkRequest{Filter: c.deadFilter, DryRun: true}, &would); err != nil {
			return err
		}
		if !std.confirm(fmt.Sprintf("Purge %s?", countOf(int(would.Total), "dead letter"))) {
			return fmt.Errorf("nothing was purged; answer y, or give --yes")
		}
	}
	return c.bulk(ctx, std, weir, "/v1/dead/purge", false)
}
