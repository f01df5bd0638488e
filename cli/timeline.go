package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type showMoments struct{ jobFlags }

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

// Run draws the job's timeline.
func (c *showMoments) Run(ctx context.Context, s *Session) error {
	return showList(ctx, s, c.answerFlags, rest.Get(c.path("timeline")), rest.All, printTimeline)
}

// The marks of a timeline, which show how far an attempt reaches.
const (
	markBegin  = safe("┬")
	markWithin = safe("├")
	markEnd    = safe("┴")
	markOther  = safe("○")
	markOver   = safe("●")
	markNow    = safe("┆")
	blank      = safe("")
)

// attemptEnds are the events that end an attempt.
var attemptEnds = []string{"failed", "timed_out", "lost", "snoozed", "released", "completed"}

// printTimeline draws one line a moment: when it was, how long after the one before, and a mark.
func printTimeline(p *printer, moments []moment, _ bool) {
	t := p.table("TIME", "AFTER", "", "WHAT")
	var began, last time.Time // began: of the attempt that runs
	var days dayHeads
	for _, m := range moments {
		days.print(t, m.At, 3)
		after := blank
		if gap := m.At.Sub(last); !last.IsZero() && gap >= time.Millisecond {
			after = safe(roughly(gap))
		}
		mark, ran := markOther, time.Duration(-1)
		switch {
		case m.Event == "started":
			mark, began = markBegin, m.At
		case !began.IsZero() && slices.Contains(attemptEnds, m.Event):
			mark, ran, began = markEnd, m.At.Sub(began), time.Time{}
		case !began.IsZero():
			mark = markWithin
		}
		what := safe(m.describe(ran))
		if m.ended() {
			mark = markOver
			what = safe(strings.Replace(string(what), m.Event, string(p.state(m.Event)), 1))
		}
		t.row(clock(m.At), after, mark, what)
		last = m.At
	}
	if len(moments) > 0 {
		printNow(t, moments[len(moments)-1], !began.IsZero())
	}
	t.end()
}

// printNow draws what the job does now, unless it has ended.
func printNow(t *table, last moment, running bool) {
	since := roughly(max(t.now.Sub(last.At), 0))
	switch {
	case last.ended():
	case running:
		t.row("now", since, markNow, t.state("running"))
	case last.RunAt != nil && last.RunAt.After(t.now):
		t.row("now", since, markNow, "waits; runs "+relative(t.now, *last.RunAt))
	default:
		t.row("now", since, markNow, "waits")
	}
}

// dayHeads prints the day above the first moment of each day.
type dayHeads struct{ day string }

func (d *dayHeads) print(t *table, at time.Time, blanks int) {
	if day := at.Local().Format("2006-01-02 MST"); day != d.day {
		d.day = day
		t.row(append([]any{day}, slices.Repeat([]any{blank}, blanks)...)...)
	}
}

func clock(at time.Time) string { return at.Local().Format("15:04:05.000") }

func (m moment) ended() bool { return slices.Contains(endStates, m.Event) }

// describe is the moment in one line; ran is how long the attempt took that it ends, or negative.
func (m moment) describe(ran time.Duration) string {
	what := spaced(m.Event)
	switch {
	case m.Event == "started":
		what += fmt.Sprintf(" attempt %d on %s", m.Attempt, m.Worker)
	case m.Event == "available" && m.Cause == "due":
		what += ": its time had come"
	case ran >= 0:
		what += " after " + roughly(ran)
	case m.ended() && m.Cause != "":
		what += " (" + spaced(m.Cause) + ")"
	}
	var message string
	if json.Unmarshal(m.Detail["message"], &message) == nil && message != "" {
		what += ": " + terminal.Shorten(terminal.OneLine(message), 120)
	} else if m.Event != "enqueued" && !m.ended() && len(m.Detail) > 0 {
		text, _ := json.Marshal(m.Detail)
		what += " " + terminal.Shorten(terminal.OneLine(string(text)), 120)
	}
	if m.RunAt != nil {
		what += "; waits until " + m.RunAt.Local().Format(timeFormat)
	}
	return terminal.OneLine(what)
}
