package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type tailCommand struct {
	Job      id       `arg:"" optional:"" complete:"job" help:"Follow this job and its log from the beginning, until it ends. The exit status is 0 if it completed."`
	Queue    string   `help:"Only events of jobs in this queue." placeholder:"QUEUE"`
	Kind     string   `help:"Only events of jobs of this kind." placeholder:"KIND"`
	Workflow id       `help:"Only events of this workflow and of its jobs." placeholder:"ID"`
	Event    []string `help:"Only these events, comma-separated, such as dead,failed,worker_lost." placeholder:"EVENT,…"`
	answerFlags
}

// Validate is called by kong.
func (c *tailCommand) Validate() error {
	if c.Job != "" && (c.Queue != "" || c.Kind != "" || c.Workflow != "") {
		return Usagef("a job has one queue, kind and workflow: --queue, --kind and --workflow are for tails without a job")
	}
	return nil
}

// Run prints events as they come.
func (c *tailCommand) Run(ctx context.Context, s *Session) error {
	if c.Job != "" {
		return c.followJob(ctx, s)
	}
	weir, err := c.Client(s)
	if err != nil {
		return err
	}
	var heads tailHeads
	return weir.Follow(ctx, c.call(), s.follower(func(message rest.Event) (bool, error) {
		return true, c.printEvent(s, &heads, message.Data)
	}))
}

func (c *tailCommand) call() rest.Call {
	return rest.Get("/v1/events").With("queue", c.Queue).With("kind", c.Kind).With("workflow_id", string(c.Workflow)).
		With("event", strings.Join(c.Event, ","))
}

// follower takes events, and says on standard error when their stream breaks off and goes on.
func (s *Session) follower(take func(rest.Event) (bool, error)) rest.Follower {
	return rest.Follower{
		Take: take,
		Lost: func(reason error) {
			if reason == nil {
				fmt.Fprintln(s.Err, "weir: the node ended the stream; connecting again")
				return
			}
			fmt.Fprintf(s.Err, "weir: %s; trying again\n", terminal.OneLine(reason.Error()))
		},
		Back: func() { fmt.Fprintln(s.Err, "weir: connected again") },
	}
}

// event is what is printed of something that happened.
type event struct {
	At         time.Time   `json:"at"`
	Event      string      `json:"event"`
	JobID      string      `json:"job_id"`
	Queue      string      `json:"queue"`
	Kind       string      `json:"kind"`
	Attempt    int         `json:"attempt"`
	Worker     string      `json:"worker"`
	Breaker    string      `json:"breaker"`
	By         string      `json:"by"`
	Reason     string      `json:"reason"`
	WorkflowID string      `json:"workflow_id"`
	Step       string      `json:"step"`
	RunAt      *time.Time  `json:"run_at"`
	Error      *eventError `json:"error"`
}

// eventError is what went wrong.
type eventError struct {
	Message string `json:"message"`
}

func (c *tailCommand) printEvent(s *Session, heads *tailHeads, data string) error {
	if c.JSON {
		return s.writeJSON(json.RawMessage(data))
	}
	ev, err := decode[event](json.RawMessage(data))
	if err != nil {
		return err
	}
	p := newPrinter(s)
	heads.print(p, ev.At, ev.Event, ev.subject()+ev.besides(p))
	return p.flush()
}

// tailHeads prints lines, with the day above the first of each.
type tailHeads struct{ day string }

const eventWidth = 12 // of most names of events

func (h *tailHeads) print(p *printer, at time.Time, name, text string) {
	if day := at.Local().Format("2006-01-02 MST"); day != h.day {
		h.day = day
		p.line("%s", day)
	}
	gap := strings.Repeat(" ", max(0, eventWidth-len(name)))
	text = strings.TrimRight(gap+" "+indent(terminal.Printable(text)), " ")
	p.line("%s %s%s", clock(at), p.state(name), safe(text))
}

// subject is what it happened to.
func (ev *event) subject() string {
	switch {
	case ev.JobID != "" && ev.WorkflowID != "":
		return "job " + ev.JobID + " " + ev.Kind + " in " + ev.Queue + ", step " + ev.Step + " of workflow " + ev.WorkflowID
	case ev.JobID != "":
		return "job " + ev.JobID + " " + ev.Kind + " in " + ev.Queue
	case ev.WorkflowID != "":
		return strings.TrimSpace("workflow " + ev.WorkflowID + " " + ev.Step)
	case ev.Breaker != "":
		return "circuit breaker " + ev.Breaker
	}
	return "worker " + ev.Worker
}

// besides is what belongs to it, behind the subject.
func (ev *event) besides(p *printer) string {
	text := ""
	if ev.Attempt > 0 {
		text += ", attempt " + strconv.Itoa(ev.Attempt)
		if ev.Worker != "" {
			text += " on " + ev.Worker
		}
	}
	if ev.RunAt != nil {
		text += ", runs " + relative(p.now, *ev.RunAt)
	}
	if ev.By != "" {
		text += ", by " + ev.By
	}
	if ev.Error != nil && ev.Error.Message != "" {
		text += ": " + terminal.Shorten(terminal.OneLine(ev.Error.Message), 200)
	} else if ev.Reason != "" {
		text += ": " + spaced(ev.Reason)
	}
	return text
}
