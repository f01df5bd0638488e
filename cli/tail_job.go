package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
)

// tailGrace is how long a tail waits for the last event of a job whose log has ended, and for the end of the log after that event.
const tailGrace = 3 * time.Second

// jobTail prints the life of one job.
type jobTail struct {
	*tailCommand
	session *Session
	weir    *rest.Client
	heads   tailHeads
	known   map[string]bool // the events that are printed
	line    int             // the last line of its log that is printed
	over    bool            // the last event printed ends it
}

// news is an event of the job as JSON, a line of its log as JSON, the end of its log, or an error.
type news struct {
	event, line string
	end         bool
	err         error
}

// followJob prints what has happened to a job and what it logged, then what comes, until it has ended.
func (c *tailCommand) followJob(ctx context.Context, s *Session) error {
	weir, err := c.Client(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &jobTail{tailCommand: c, session: s, weir: weir, known: map[string]bool{}}
	coming := make(chan news)
	opened := make(chan struct{})
	if _, err := c.ask(ctx, s, rest.Get(jobPath(c.Job))); err != nil {
		return err
	}
	go t.followEvents(ctx, opened, coming)
	select {
	case <-opened: // what happens from now on comes: nothing is lost between the past and the present
	case n := <-coming:
		return n.err
	case <-ctx.Done():
		return nil
	}
	if err := t.printPast(ctx); err != nil {
		return err
	}
	go t.followLog(ctx, t.line, coming)
	if err := t.printComing(ctx, coming); err != nil || ctx.Err() != nil {
		return err
	}
	_, j, err := read[job](ctx, s, c.answerFlags, rest.Get(jobPath(c.Job)))
	if err == nil && j.State != "completed" {
		return fmt.Errorf("job %s is %s", j.ID, j.State)
	}
	return err
}

// followEvents passes on the events of the job.
func (t *jobTail) followEvents(ctx context.Context, opened chan<- struct{}, to chan<- news) {
	f := t.session.follower(func(e rest.Event) (bool, error) { return pass(ctx, to, news{event: e.Data}), nil })
	f.Open = func() { close(opened) }
	pass(ctx, to, news{err: t.weir.Follow(ctx, rest.Get("/v1/events").With("job_id", string(t.Job)), f)})
}

// followLog passes on lines of the job's log after one of them, and its end. The stream of events tells when the node goes away.
func (t *jobTail) followLog(ctx context.Context, after int, to chan<- news) {
	call := rest.Get(jobPath(t.Job, "logs")).With("follow", "true")
	call.Header = http.Header{"Last-Event-Id": {strconv.Itoa(after)}}
	err := t.weir.Follow(ctx, call, rest.Follower{Take: func(e rest.Event) (bool, error) {
		return e.Name != "line" && e.Name != "end" || e.Name == "line" && pass(ctx, to, news{line: e.Data}), nil
	}})
	pass(ctx, to, news{end: true, err: err})
}

func pass(ctx context.Context, to chan<- news, n news) bool {
	select {
	case to <- n:
		return true
	case <-ctx.Done():
		return false
	}
}

// printPast prints the job's timeline and log by time.
func (t *jobTail) printPast(ctx context.Context) error {
	timeline, err := t.page(ctx, t.session, rest.Get(jobPath(t.Job, "timeline")), rest.All)
	if err != nil {
		return err
	}
	log, err := t.page(ctx, t.session, rest.Get(jobPath(t.Job, "logs")), rest.All)
	if err != nil {
		return err
	}
	lines, err := decodeItems[logLine](log)
	if err != nil {
		return err
	}
	printLinesUntil := func(at time.Time) error {
		for len(lines) > 0 && !lines[0].At.After(at) {
			if err := t.printLine(log.Items[len(log.Items)-len(lines)], &lines[0]); err != nil {
				return err
			}
			lines = lines[1:]
		}
		return nil
	}
	for _, item := range timeline.Items {
		m, err := decode[moment](item)
		if err != nil {
			return err
		}
		if err := printLinesUntil(m.At); err != nil {
			return err
		}
		if err := t.printEvent(item, m.asEvent()); err != nil {
			return err
		}
	}
	return printLinesUntil(time.Now().Add(time.Hour))
}

// printComing prints what comes until the job and its log have ended.
func (t *jobTail) printComing(ctx context.Context, coming <-chan news) error {
	var patience <-chan time.Time
	for logEnded := false; !logEnded || !t.over; {
		if logEnded != t.over && patience == nil {
			patience = time.After(tailGrace)
		} else if logEnded == t.over {
			patience = nil
		}
		var n news
		select {
		case <-ctx.Done():
			return nil
		case <-patience:
			return nil
		case n = <-coming:
		}
		var err error
		switch {
		case n.end:
			logEnded, err = true, n.err
		case n.line != "":
			var l *logLine
			if l, err = decode[logLine](json.RawMessage(n.line)); err == nil {
				err = t.printLine(json.RawMessage(n.line), l)
			}
		case n.event != "":
			var ev *event
			if ev, err = decode[event](json.RawMessage(n.event)); err == nil {
				err = t.printEvent(json.RawMessage(n.event), ev)
			}
		default:
			return n.err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printEvent prints an event, unless it is printed already or not wanted.
func (t *jobTail) printEvent(text json.RawMessage, ev *event) error {
	key := fmt.Sprint(ev.At.UnixMicro(), ev.Event, ev.Attempt)
	if t.known[key] {
		return nil
	}
	t.known[key] = true
	t.over = slices.Contains(endStates, ev.Event)
	if len(t.Event) > 0 && !slices.Contains(t.Event, ev.Event) {
		return nil
	}
	if t.JSON {
		return t.session.writeJSON(text)
	}
	p := newPrinter(t.session)
	t.heads.print(p, ev.At, ev.Event, strings.TrimLeft(ev.besides(p), ",: "))
	return p.flush()
}

func (t *jobTail) printLine(text json.RawMessage, l *logLine) error {
	t.line = l.Number
	if t.JSON {
		return t.session.writeJSON(text)
	}
	p := newPrinter(t.session)
	t.heads.print(p, l.At, strings.ToUpper(l.Level), l.text())
	return p.flush()
}

// asEvent is the moment as a stream would tell it.
func (m *moment) asEvent() *event {
	ev := &event{At: m.At, Event: m.Event, Attempt: m.Attempt, Worker: m.Worker, RunAt: m.RunAt}
	var message string
	if json.Unmarshal(m.Detail["message"], &message) == nil && message != "" {
		ev.Error = &eventError{Message: message}
	}
	return ev
}
