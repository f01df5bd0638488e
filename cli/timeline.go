package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

type timelineCommand struct{ jobFlags }

// moment is something that happened to a job.
type moment struct {
	At      time.Time                  `json:"at"`
	Event   string                     `json:"event"`
	Attempt int                        `json:"attempt"`
	Worker  string                     `json:"worker"`
	Cause   string                     `json:"cause"`
	RunAt   *time.Time                 `json:"run_at"`
	Detail  map[string]json.RawMessage `json:"detail"`
}

// Run draws the timeline.
func (c *timelineCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	all, err := listAll(ctx, weir, c.path("/timeline"), url.Values{})
	if err != nil {
		return err
	}
	return showList(c.answerFlags, std.out, all, func(moments []moment) error { return printTimeline(std.out, moments, time.Now()) })
}

// printTimeline draws one line a moment: when, how long after the one before, and a mark that shows how far an attempt reaches.
func printTimeline(w io.Writer, moments []moment, now time.Time) error {
	paint := newPainter(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIME\tAFTER\t\tWHAT")
	var began, last time.Time // began: of the attempt that runs
	day := ""
	for _, m := range moments {
		if d := m.At.Local().Format("2006-01-02 MST"); d != day {
			day = d
			fmt.Fprintf(table, "%s\t\t\t\n", day)
		}
		after := ""
		if gap := m.At.Sub(last); !last.IsZero() && gap >= time.Millisecond {
			after = roughly(gap)
		}
		mark, ran := "○", time.Duration(-1)
		switch {
		case m.Event == "started":
			mark, began = "┬", m.At
		case !began.IsZero() && slices.Contains([]string{"failed", "timed_out", "lost", "snoozed", "released", "completed"}, m.Event):
			mark, ran, began = "┴", m.At.Sub(began), time.Time{}
		case !began.IsZero():
			mark = "├"
		}
		what := m.say(ran)
		if m.ended() {
			mark = "●"
			what = strings.Replace(what, m.Event, paint.state(m.Event), 1)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", m.At.Local().Format("15:04:05.000"), after, mark, what)
		last = m.At
	}
	switch end := moments[max(len(moments)-1, 0):]; {
	case len(end) == 0 || end[0].ended():
	case !began.IsZero():
		fmt.Fprintf(table, "now\t%s\t┆\t%s\n", roughly(max(now.Sub(last), 0)), paint.state("running"))
	case end[0].RunAt != nil && end[0].RunAt.After(now):
		fmt.Fprintf(table, "now\t%s\t┆\twaits; runs %s\n", roughly(max(now.Sub(last), 0)), relative(now, *end[0].RunAt))
	default:
		fmt.Fprintf(table, "now\t%s\t┆\twaits\n", roughly(max(now.Sub(last), 0)))
	}
	return table.Flush()
}

func (m moment) ended() bool {
	return slices.Contains([]string{"completed", "cancelled", "dead"}, m.Event)
}

// say is the moment in one line; ran is how long the attempt took that it ends, or negative.
func (m moment) say(ran time.Duration) string {
	what := strings.ReplaceAll(oneLine(m.Event), "_", " ")
	switch {
	case m.Event == "started":
		what += fmt.Sprintf(" attempt %d on %s", m.Attempt, oneLine(m.Worker))
	case m.Event == "available" && m.Cause == "due":
		what += ": its time had come"
	case ran >= 0:
		what += " after " + roughly(ran)
	case m.ended() && m.Cause != "":
		what += " (" + strings.ReplaceAll(oneLine(m.Cause), "_", " ") + ")"
	}
	var message string
	if json.Unmarshal(m.Detail["message"], &message) == nil && message != "" {
		what += ": " + shorten(oneLine(message), 120)
	} else if m.Event != "enqueued" && !m.ended() && len(m.Detail) > 0 {
		text, _ := json.Marshal(m.Detail)
		what += " " + shorten(oneLine(string(text)), 120)
	}
	if m.RunAt != nil {
		what += "; waits until " + m.RunAt.Local().Format("2006-01-02 15:04:05")
	}
	return what
}
