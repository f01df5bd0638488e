package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type queueCommands struct {
	List     listQueues    `cmd:"" default:"withargs" help:"List queues. weir queue and weir queues do too."`
	Show     showQueue     `cmd:"" help:"Show a queue: its settings, depth and throughput."`
	Why      explainQueue  `cmd:"" help:"Show why the jobs of a queue do not run now, and how many each reason holds up."`
	Forecast forecastQueue `cmd:"" help:"Show when the backlog of a queue is gone, at the rates of the last minutes."`
	Pause    pauseQueue    `cmd:"" help:"Stop handing out the jobs of a queue."`
	Resume   resumeQueue   `cmd:"" help:"Hand out the jobs of a queue again."`
	Purge    purgeQueue    `cmd:"" help:"Cancel the waiting jobs of a queue."`
	Set      setQueue      `cmd:"" help:"Change settings of a queue."`
	Limits   limitQueue    `cmd:"" help:"Show or change how many jobs of a queue may run, and how fast, for each key or tenant."`
}

// queueFlags are those of the commands about one queue.
type queueFlags struct {
	Name string `arg:"" complete:"queue" help:"The queue's name."`
	answerFlags
}

func (f queueFlags) path(below ...string) string {
	return rest.Path(append([]string{"queues", f.Name}, below...)...)
}

// queue is what is printed of a queue.
type queue struct {
	Name                   string     `json:"name"`
	Paused                 bool       `json:"paused"`
	PausedAt               *time.Time `json:"paused_at"`
	PauseReason            string     `json:"pause_reason"`
	ResumeAt               *time.Time `json:"resume_at"`
	Breaker                string     `json:"breaker"`
	BreakerState           string     `json:"breaker_state"`
	Available              int64      `json:"available"`
	Running                int64      `json:"running"`
	Scheduled              int64      `json:"scheduled"`
	Retryable              int64      `json:"retryable"`
	Held                   int64      `json:"held"`
	Dead                   int64      `json:"dead"`
	OldestAvailableSeconds float64    `json:"oldest_available_seconds"`
	Exact                  bool       `json:"exact"`
}

// count prints a number of jobs. The service stops counting at a bound, then the number has a plus sign.
func (q *queue) count(n int64) string {
	text := strconv.FormatInt(n, 10)
	if !q.Exact && n > 0 {
		text += "+"
	}
	return text
}

// status is whether the queue is paused, until when and why, or otherwise that its circuit breaker is not closed.
func (q *queue) status(p *printer) safe {
	if !q.Paused && q.BreakerState != "" && q.BreakerState != "closed" {
		return safe("its circuit breaker "+terminal.OneLine(q.Breaker)+" is ") + p.state(q.BreakerState)
	}
	if !q.Paused {
		return "active"
	}
	status := p.state("paused")
	if q.ResumeAt != nil {
		status += safe(" until " + q.ResumeAt.Local().Format(timeFormat))
	}
	if q.PauseReason != "" {
		status += safe(": " + terminal.Shorten(terminal.OneLine(q.PauseReason), 80))
	}
	return status
}

var queueTable = layout[queue]{
	columns: []string{"QUEUE", "AVAILABLE", "RUNNING", "SCHEDULED", "RETRYABLE", "HELD", "DEAD", "OLDEST", "STATE"},
	row: func(p *printer, q *queue) []any {
		oldest := ""
		if q.Available > 0 {
			oldest = roughly(Seconds(q.OldestAvailableSeconds))
		}
		return []any{
			q.Name, q.count(q.Available), q.Running, q.count(q.Scheduled), q.count(q.Retryable), q.count(q.Held),
			q.count(q.Dead), oldest, q.status(p),
		}
	},
}

type listQueues struct{ answerFlags }

// Run lists all queues.
func (c *listQueues) Run(ctx context.Context, s *Session) error {
	empty := "There are no queues yet: the first job of a queue creates it."
	return list(ctx, s, c.answerFlags, rest.Get("/v1/queues"), rest.All, empty, queueTable)
}

type showQueue struct{ queueFlags }

// queueSettings are the settings that are printed, in this order.
var queueSettings = []string{
	"priority", "max_attempts", "timeout_seconds", "lease_seconds", "retry", "retention_seconds", "dead_retention_seconds",
	"dead_letter_queue", "max_depth", "breaker", "limits", "tenant", "encrypted",
}

// queueWindow is what a queue did in the last seconds.
type queueWindow struct {
	WindowSeconds      float64 `json:"window_seconds"`
	CompletedPerSecond float64 `json:"completed_per_second"`
	Completed          int64
	Dead               int64
	Cancelled          int64
}

var queueWindowTable = layout[queueWindow]{
	columns: []string{"LAST", "COMPLETED", "DEAD", "CANCELLED", "PER SECOND"},
	row: func(_ *printer, w *queueWindow) []any {
		rate := fmt.Sprintf("%.2f", w.CompletedPerSecond)
		return []any{Seconds(w.WindowSeconds), w.Completed, w.Dead, w.Cancelled, rate}
	},
}

// Run shows the queue's statistics and settings.
func (c *showQueue) Run(ctx context.Context, s *Session) error {
	answer, stats, err := read[struct {
		Queue   json.RawMessage
		Windows []queueWindow
	}](ctx, s, c.answerFlags, rest.Get(c.path("stats")))
	if err != nil || c.JSON {
		return orWriteJSON(s, err, answer)
	}
	q, err := decode[queue](stats.Queue)
	if err != nil {
		return err
	}
	settings, err := decode[map[string]json.RawMessage](stats.Queue)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	queueTable.print(p, []queue{*q})
	p.line("")
	p.settings(*settings, queueSettings)
	queueWindowTable.section(p, stats.Windows)
	return p.flush()
}

// change makes a call that answers with the queue, and prints its status.
func (f queueFlags) change(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f.answerFlags, call, func(p *printer, q *queue) {
		p.line("queue %s is %s", q.Name, q.status(p))
	})
}

type pauseQueue struct {
	queueFlags
	Reason string    `help:"Why." placeholder:"TEXT"`
	For    duration  `help:"Resume after this time: 90 (seconds), 90s, 5m, 2h." xor:"end" placeholder:"TIME"`
	Until  time.Time `help:"Resume at this time, in RFC 3339: 2027-01-31T09:00:00Z." xor:"end" placeholder:"TIME"`
}

// Run pauses the queue.
func (c *pauseQueue) Run(ctx context.Context, s *Session) error {
	body := map[string]any{}
	if c.Reason != "" {
		body["reason"] = c.Reason
	}
	if c.For > 0 {
		body["resume_in_seconds"] = c.For.seconds()
	}
	if !c.Until.IsZero() {
		body["resume_at"] = c.Until
	}
	return c.change(ctx, s, rest.Post(c.path("pause"), body))
}

type resumeQueue struct{ queueFlags }

// Run resumes the queue.
func (c *resumeQueue) Run(ctx context.Context, s *Session) error {
	return c.change(ctx, s, rest.Post(c.path("resume"), nil))
}

type setQueue struct {
	queueFlags
	Settings []string `arg:"" optional:"" name:"setting=value" help:"priority=7, lease_seconds=60, max_depth=1000, retry.strategy=fixed, encrypted=true and so on."`
	Tenant   *string  `help:"The tenant that the queue belongs to; empty: tenants share it." placeholder:"TENANT"`
	Replace  bool     `help:"Set all other settings to their defaults; creates the queue if it does not exist."`
}

// Run changes the settings.
func (c *setQueue) Run(ctx context.Context, s *Session) error {
	settings, err := parseSettings(c.Settings)
	switch {
	case err != nil:
		return err
	case len(settings) == 0 && c.Tenant == nil && !c.Replace:
		return Usagef("give a setting, as in priority=7")
	case c.Tenant != nil:
		settings["tenant"] = *c.Tenant
	}
	return c.change(ctx, s, rest.Call{Method: patchOrPut(c.Replace), Path: c.path(), Body: settings})
}

// patchOrPut is the method that changes some settings, or replaces all.
func patchOrPut(replace bool) string {
	if replace {
		return http.MethodPut
	}
	return http.MethodPatch
}

type purgeQueue struct {
	queueFlags
	yesFlag
	State  string `help:"Jobs in this state: ${enum}. waiting means all of them." enum:"available,scheduled,retryable,held,waiting" default:"available"`
	DryRun bool   `help:"Only count the jobs."`
}

// purgeTimeout bounds a purge: ten million jobs take some minutes.
const purgeTimeout = time.Hour

// purged is the answer to a purge.
type purged struct{ Purged, Matching int64 }

// Run counts, asks, and purges.
func (c *purgeQueue) Run(ctx context.Context, s *Session) error {
	if c.DryRun {
		return show(ctx, s, c.answerFlags, c.purge(true), func(p *printer, n *purged) {
			p.line("%d jobs of queue %s are %s", n.Matching, c.Name, c.State)
		})
	}
	if !c.Yes {
		_, n, err := read[purged](ctx, s, c.answerFlags, c.purge(true))
		if err != nil {
			return err
		}
		question := fmt.Sprintf("Cancel %d jobs of queue %s that are %s?", n.Matching, c.Name, c.State)
		if err := s.Confirm(false, question, "nothing was cancelled"); err != nil {
			return err
		}
	}
	return show(ctx, s, c.answerFlags, c.purge(false), func(p *printer, n *purged) {
		p.line("cancelled %d of %d jobs of queue %s", n.Purged, n.Matching, c.Name)
	})
}

func (c *purgeQueue) purge(dryRun bool) rest.Call {
	call := rest.Post(c.path("purge"), map[string]any{"state": c.State, "dry_run": dryRun})
	call.Wait = purgeTimeout
	return call
}
