package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
)

type queueCommand struct {
	List   listQueuesCommand  `cmd:"" default:"withargs" help:"List the queues; weir queue and weir queues do too."`
	Show   showQueueCommand   `cmd:"" help:"Show a queue: its settings, how deep it is and how fast."`
	Pause  pauseQueueCommand  `cmd:"" help:"Keep a queue from handing out jobs."`
	Resume resumeQueueCommand `cmd:"" help:"End a pause."`
	Purge  purgeQueueCommand  `cmd:"" help:"Cancel the jobs of a queue that wait."`
	Set    setQueueCommand    `cmd:"" help:"Change settings of a queue."`
	Limits limitsCommand      `cmd:"" help:"Show or change how many jobs of a queue may be in flight, how fast, and for whom."`
}

// queueFlags are those of the commands about one queue.
type queueFlags struct {
	Name string `arg:"" help:"The queue's name."`
	answerFlags
}

func (f queueFlags) path(below string) string { return "/v1/queues/" + url.PathEscape(f.Name) + below }

// queue is what people are shown of a queue.
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
}

type listQueuesCommand struct{ answerFlags }

// Run lists all queues.
func (c *listQueuesCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	all, err := listAll(ctx, weir, "/v1/queues", url.Values{})
	if err != nil {
		return err
	}
	return showList(c.answerFlags, std.out, all, func(queues []queue) error {
		if len(queues) == 0 {
			fmt.Fprintln(std.out, "There are no queues yet: a queue comes into being at its first job.")
			return nil
		}
		return printQueues(std.out, queues)
	})
}

func printQueues(w io.Writer, queues []queue) error {
	paint := newPainter(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "QUEUE\tAVAILABLE\tRUNNING\tSCHEDULED\tRETRYABLE\tHELD\tDEAD\tOLDEST\tSTATE")
	for _, q := range queues {
		oldest := "-"
		if q.Available > 0 {
			oldest = roughly(time.Duration(q.OldestAvailableSeconds * float64(time.Second)))
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", oneLine(q.Name), q.Available, q.Running, q.Scheduled, q.Retryable, q.Held, q.Dead, oldest, q.state(paint))
	}
	return table.Flush()
}

// state says whether it is paused, until when and why, or else what its circuit breaker does.
func (q *queue) state(paint painter) string {
	if !q.Paused && q.BreakerState != "" && q.BreakerState != "closed" {
		return "its circuit breaker " + oneLine(q.Breaker) + " is " + paint.state(q.BreakerState)
	}
	if !q.Paused {
		return "active"
	}
	state := paint.state("paused")
	if q.ResumeAt != nil {
		state += " until " + q.ResumeAt.Local().Format("2006-01-02 15:04:05")
	}
	if q.PauseReason != "" {
		state += ": " + shorten(oneLine(q.PauseReason), 80)
	}
	return state
}

type showQueueCommand struct{ queueFlags }

// Run shows what the statistics of the queue say.
func (c *showQueueCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.get(ctx, c.path("/stats"), &answer); err != nil {
		return err
	}
	type stats struct {
		Queue   json.RawMessage
		Windows []struct {
			WindowSeconds      int     `json:"window_seconds"`
			CompletedPerSecond float64 `json:"completed_per_second"`
			Completed          int64
			Dead               int64
			Cancelled          int64
		}
	}
	return show(c.answerFlags, std.out, answer, func(s stats) error {
		var q queue
		var settings map[string]json.RawMessage
		if err := json.Unmarshal(s.Queue, &q); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if err := json.Unmarshal(s.Queue, &settings); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if err := printQueues(std.out, []queue{q}); err != nil {
			return err
		}
		fmt.Fprintln(std.out)
		table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		for _, name := range settingNames {
			if value := settings[name]; value != nil {
				fmt.Fprintf(table, "%s\t%s\n", name, oneLine(string(value)))
			}
		}
		fmt.Fprintln(table, "\nLAST\tCOMPLETED\tDEAD\tCANCELLED\tPER SECOND")
		for _, w := range s.Windows {
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%.2f\n", roughly(time.Duration(w.WindowSeconds)*time.Second), w.Completed, w.Dead, w.Cancelled, w.CompletedPerSecond)
		}
		return table.Flush()
	})
}

// settingNames are the settings that people are shown, in this order.
var settingNames = []string{"priority", "max_attempts", "timeout_seconds", "lease_seconds", "retry", "retention_seconds", "dead_retention_seconds", "dead_letter_queue", "max_depth", "breaker", "limits"}

type pauseQueueCommand struct {
	queueFlags
	Reason string    `help:"Why." placeholder:"TEXT"`
	For    delay     `help:"Resume by itself after so long: 90 (seconds), 90s, 5m, 2h." xor:"end" placeholder:"TIME"`
	Until  time.Time `help:"Resume by itself at this time, in RFC 3339: 2027-01-31T09:00:00Z." xor:"end" placeholder:"TIME"`
}

// Run pauses the queue.
func (c *pauseQueueCommand) Run(ctx context.Context, std streams) error {
	body := map[string]any{}
	if c.Reason != "" {
		body["reason"] = c.Reason
	}
	if c.For > 0 {
		body["resume_in_seconds"] = time.Duration(c.For).Seconds()
	}
	if !c.Until.IsZero() {
		body["resume_at"] = c.Until
	}
	return c.change(ctx, std, http.MethodPost, "/pause", body)
}

type resumeQueueCommand struct{ queueFlags }

// Run resumes the queue.
func (c *resumeQueueCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, http.MethodPost, "/resume", nil)
}

type setQueueCommand struct {
	queueFlags
	Settings []string `arg:"" name:"setting=value" help:"priority=7, lease_seconds=60, max_depth=1000, retry.strategy=fixed and so on."`
	Replace  bool     `help:"Put back to its default what is not named; makes the queue where there is none."`
}

// Run changes the settings.
func (c *setQueueCommand) Run(ctx context.Context, std streams) error {
	settings, err := settingsOf(c.Settings)
	if err != nil {
		return err
	}
	method := http.MethodPatch
	if c.Replace {
		method = http.MethodPut
	}
	return c.change(ctx, std, method, "", settings)
}

// settingsOf makes an object of name=value pairs. A value is JSON, or else a text; a point in a name leads into an object.
func settingsOf(pairs []string) (map[string]any, error) {
	settings := map[string]any{}
	for _, pair := range pairs {
		name, text, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, usagef("%q is no setting: give name=value, as in priority=7", pair)
		}
		var value any = text
		if json.Valid([]byte(text)) {
			value = json.RawMessage(text)
		}
		in := settings
		for {
			outer, inner, deeper := strings.Cut(name, ".")
			if !deeper {
				break
			}
			object, ok := in[outer].(map[string]any)
			if !ok {
				object = map[string]any{}
				in[outer] = object
			}
			in, name = object, inner
		}
		in[name] = value
	}
	return settings, nil
}

// change makes a call that answers with the queue, and shows that.
func (f queueFlags) change(ctx context.Context, std streams, method, below string, body any) error {
	weir, err := f.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.call(ctx, method, f.path(below), body, &answer, 0); err != nil {
		return err
	}
	return show(f.answerFlags, std.out, answer, func(q queue) error {
		_, err := fmt.Fprintf(std.out, "queue %s is %s\n", oneLine(q.Name), q.state(newPainter(std.out)))
		return err
	})
}

type purgeQueueCommand struct {
	queueFlags
	State  string `help:"Those that are ${enum}; waiting: all of these." enum:"available,scheduled,retryable,held,waiting" default:"available"`
	DryRun bool   `help:"Only count them."`
	Yes    bool   `help:"Do not ask first."`
}

// purgePatience bounds a purge: ten million jobs take some minutes.
const purgePatience = time.Hour

// Run counts, asks, and purges.
func (c *purgeQueueCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	type counts struct{ Purged, Matching int64 }
	purge := func(dryRun bool) (answer json.RawMessage, n counts, err error) {
		body := map[string]any{"state": c.State, "dry_run": dryRun}
		if err := weir.call(ctx, http.MethodPost, c.path("/purge"), body, &answer, purgePatience); err != nil {
			return nil, n, err
		}
		if err := json.Unmarshal(answer, &n); err != nil {
			return nil, n, fmt.Errorf("reading the answer: %w", err)
		}
		return answer, n, nil
	}
	if c.DryRun || !c.Yes {
		answer, n, err := purge(true)
		if err != nil {
			return err
		}
		if c.DryRun {
			return show(c.answerFlags, std.out, answer, func(counts) error {
				_, err := fmt.Fprintf(std.out, "%d jobs of queue %s are %s\n", n.Matching, oneLine(c.Name), c.State)
				return err
			})
		}
		if !std.confirm(fmt.Sprintf("Cancel %d jobs of queue %s that are %s?", n.Matching, oneLine(c.Name), c.State)) {
			return fmt.Errorf("nothing was cancelled; answer y, or give --yes")
		}
	}
	answer, n, err := purge(false)
	if err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(counts) error {
		_, err := fmt.Fprintf(std.out, "cancelled %d of %d jobs of queue %s\n", n.Purged, n.Matching, oneLine(c.Name))
		return err
	})
}
