package cli

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type showLog struct {
	Attempt int    `help:"Only lines of this attempt." placeholder:"N"`
	Follow  bool   `short:"f" help:"Print lines as they come, until the job has ended."`
	Level   string `help:"Only lines of this level or a graver one: debug, info, warn or error." enum:",debug,info,warn,error" default:""`
	jobFlags
}

// logLine is a line of the log of a job.
type logLine struct {
	Number  int                        `json:"number"`
	At      time.Time                  `json:"at"`
	Attempt int                        `json:"attempt"`
	Level   string                     `json:"level"`
	Message string                     `json:"message"`
	Fields  map[string]json.RawMessage `json:"fields"`
}

// Validate is called by kong.
func (c *showLog) Validate() error {
	if c.Attempt < 0 {
		return Usagef("--attempt must be a number of at least 1")
	}
	return nil
}

// Run prints the log of a job.
func (c *showLog) Run(ctx context.Context, s *Session) error {
	call := rest.Get(c.path("logs")).With("level", c.Level)
	if c.Attempt > 0 {
		call = call.With("attempt", strconv.Itoa(c.Attempt))
	}
	if c.Follow {
		return c.follow(ctx, s, call.With("follow", "true"))
	}
	return showList(ctx, s, c.answerFlags, call, rest.All, func(p *printer, lines []logLine, _ bool) {
		if len(lines) == 0 {
			p.line("There are no such lines.")
		}
		var heads logHeads
		for i := range lines {
			heads.print(p, &lines[i])
		}
	})
}

// follow prints lines as they come, as JSON one a line.
func (c *showLog) follow(ctx context.Context, s *Session, call rest.Call) error {
	weir, err := c.Client(s)
	if err != nil {
		return err
	}
	var heads logHeads
	return weir.Follow(ctx, call, rest.Follower{Take: func(event rest.Event) (more bool, err error) {
		if event.Name == "line" {
			err = c.printEvent(s, &heads, event)
		}
		return event.Name != "end", err
	}})
}

func (c *showLog) printEvent(s *Session, heads *logHeads, event rest.Event) error {
	if c.JSON {
		return s.writeJSON(json.RawMessage(event.Data))
	}
	line, err := decode[logLine](json.RawMessage(event.Data))
	if err != nil {
		return err
	}
	p := newPrinter(s)
	heads.print(p, line)
	return p.flush()
}

// logHeads prints lines, with the day and the attempt above the first line of each.
type logHeads struct{ head string }

func (h *logHeads) print(p *printer, l *logLine) {
	if head := "attempt " + strconv.Itoa(l.Attempt) + ", " + l.At.Local().Format("2006-01-02 MST"); head != h.head {
		h.head = head
		p.line("%s:", head)
	}
	p.text(clock(l.At) + " " + strings.ToUpper(l.Level) + strings.Repeat(" ", max(0, 6-len(l.Level))) + indent(l.text()))
}

// text is the message with the fields behind it.
func (l *logLine) text() string {
	text := strings.TrimSpace(l.Message)
	for _, name := range slices.Sorted(maps.Keys(l.Fields)) {
		text += " " + terminal.OneLine(name) + "=" + string(l.Fields[name])
	}
	return text
}
