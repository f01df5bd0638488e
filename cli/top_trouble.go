package cli

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/terminal"
)

// trouble is something that is slow or wrong.
type trouble struct {
	name  string // of the row
	queue string // that it concerns; empty: none
	style terminal.Style
	text  string
	size  int64 // of troubles of one style, the largest comes first
}

// quietReasons are why jobs of a queue do not run although nothing is wrong.
var quietReasons = []string{"next", "waiting", "scheduled", "retry_wait", "held_dependency", "held_timer", "held_signal", "held_workflow"}

// behindAfter is how old numbers may be before the screen says so.
const behindAfter = 2 * time.Minute

// troubles are what is slow or wrong, the worst first.
func (s *topSnapshot) troubles() (found []trouble) {
	for i := range s.breakers {
		if t, bad := breakerTrouble(&s.breakers[i], s.at); bad {
			found = append(found, t)
		}
	}
	for i := range s.queues {
		found = append(found, s.queueTroubles(&s.queues[i])...)
	}
	for i := range s.workers {
		if w := &s.workers[i]; w.State == "lost" {
			found = append(found, trouble{
				name: "worker " + w.Name, style: terminal.Red,
				text: fmt.Sprintf("worker %s is lost: it had %s, and was seen %s", w.Name, countOf(w.Running, "job"), relative(s.at, w.LastSeen)),
			})
		}
	}
	for _, f := range s.failures {
		found = append(found, failureTrouble(f, s.at))
	}
	if s.behind > behindAfter {
		found = append(found, trouble{name: "numbers", style: terminal.Yellow, text: "rates and failures are " + roughly(s.behind) + " old: the roll-ups are behind"})
	}
	for i := range found {
		found[i].text = terminal.OneLine(found[i].text)
	}
	slices.SortStableFunc(found, func(a, b trouble) int {
		return cmp.Or(cmp.Compare(severity(b.style), severity(a.style)), cmp.Compare(b.size, a.size))
	})
	return found
}

func severity(style terminal.Style) int {
	if style == terminal.Red {
		return 1
	}
	return 0
}

func breakerTrouble(b *breaker, now time.Time) (t trouble, bad bool) {
	if b.State == "closed" {
		return trouble{}, false
	}
	text := fmt.Sprintf("circuit breaker %s has been %s for %s", ofTenant(b.Name, b.Tenant), spaced(b.State), roughly(now.Sub(b.Since)))
	if b.Held > 0 {
		text += fmt.Sprintf(", holds %s", countOf(b.Held, "job"))
	}
	if b.NextProbeAt != nil {
		text += ", next probe " + relative(now, *b.NextProbeAt)
	}
	if b.Pinned {
		text += ", pinned"
	}
	return trouble{name: "breaker " + ofTenant(b.Name, b.Tenant), style: terminal.StateStyle(b.State), text: text, size: 1<<40 + b.Held}, true // others follow from it
}

// queueTroubles are a pause with jobs that wait, and the answers to why.
func (s *topSnapshot) queueTroubles(q *topQueue) (found []trouble) {
	why, asked := s.whys[q.Name]
	if !asked && q.Paused && q.Available > 0 {
		text := fmt.Sprintf("queue %s is paused: %s available", q.Name, countOf(q.Available, "job"))
		return []trouble{{name: "queue " + q.Name, queue: q.Name, style: terminal.Yellow, text: text, size: q.Available}}
	}
	for _, r := range why.Reasons {
		if slices.Contains(quietReasons, r.Code) || r.Jobs == 0 {
			continue
		}
		style := terminal.Yellow
		if r.Code == "no_worker" || r.Code == "no_node" {
			style = terminal.Red
		}
		found = append(found, trouble{
			name: "queue " + q.Name + " " + r.Code, queue: q.Name, style: style, size: r.Jobs,
			text: fmt.Sprintf("queue %s, %s: %s", q.Name, countOf(r.Jobs, "job"), r.Message),
		})
	}
	return found
}

func failureTrouble(f topFailure, now time.Time) trouble {
	what := spaced(f.Event)
	if f.Type != "" {
		what += " with " + f.Type
	}
	text := fmt.Sprintf("%s %s: %s in %s, the last %s", f.Kind, what, countOf(f.Attempts, "attempt"), roughly(topLongWindow), relative(now, f.LastSeenAt))
	if f.ExampleJobID != "" && f.ExampleJobID != "0" {
		text += " (job " + f.ExampleJobID + ")"
	}
	return trouble{name: "failure " + f.Kind + " " + f.Event + " " + f.Type, style: terminal.Yellow, text: text, size: f.Attempts}
}
