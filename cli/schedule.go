package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"
)

type schedulesCommand struct {
	List    listSchedulesCommand   `cmd:"" default:"withargs" help:"List the schedules. The default."`
	Show    showScheduleCommand    `cmd:"" help:"Show a schedule, its next slots, and what became of the last ones."`
	Create  createScheduleCommand  `cmd:"" help:"Make a schedule."`
	Apply   applySchedulesCommand  `cmd:"" help:"Make or replace the schedules of a file."`
	Preview previewScheduleCommand `cmd:"" help:"Show when a schedule fires, or one would that is not saved."`
	Runs    runsOfScheduleCommand  `cmd:"" help:"Show what became of a schedule's slots."`
	Pause   pauseScheduleCommand   `cmd:"" help:"Keep a schedule from firing."`
	Resume  resumeScheduleCommand  `cmd:"" help:"Let a schedule fire again. What came due meanwhile does not run."`
	Trigger triggerScheduleCommand `cmd:"" help:"Run a schedule now. Its slots go on as if nothing had been."`
	Delete  deleteScheduleCommand  `cmd:"" help:"Delete a schedule. The jobs that it made stay."`
}

// schedule is what people are shown of a schedule.
type schedule struct {
	Name         string          `json:"name"`
	State        string          `json:"state"`
	Cron         string          `json:"cron"`
	EverySeconds int             `json:"every_seconds"`
	At           *time.Time      `json:"at"`
	Timezone     string          `json:"timezone"`
	Job          *newJob         `json:"job"`
	Workflow     json.RawMessage `json:"workflow"`
	NextAt       *time.Time      `json:"next_at"`
	NextLocal    string          `json:"next_local"`
	LastAt       *time.Time      `json:"last_at"`
	Runs         int             `json:"runs"`
	WaitingFor   string          `json:"waiting_for"`
	Problem      string          `json:"problem"`
}

// timing says when it fires, in short.
func (s *schedule) timing() string {
	switch {
	case s.EverySeconds != 0:
		return "every " + roughly(time.Duration(s.EverySeconds)*time.Second)
	case s.At != nil:
		return "at " + s.At.Format(time.RFC3339)
	}
	return oneLine(s.Cron)
}

func (s *schedule) makes() string {
	if s.Job != nil {
		return oneLine(s.Job.Kind)
	}
	return "a workflow"
}

func (s *schedule) next(now time.Time) string {
	if s.NextAt == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", oneLine(s.NextLocal), relative(now, *s.NextAt))
}

type listSchedulesCommand struct {
	State string `help:"Only those that are ${enum}." enum:"active,waiting,paused,finished," default:"" placeholder:"STATE"`
	answerFlags
}

// Run lists the schedules.
func (c *listSchedulesCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.State != "" {
		query.Set("state", c.State)
	}
	all, err := listAll(ctx, weir, "/v1/schedules", query)
	if err != nil {
		return err
	}
	return showList(c.answerFlags, std.out, all, func(schedules []schedule) error {
		if len(schedules) == 0 {
			fmt.Fprintln(std.out, "There are no such schedules.")
			return nil
		}
		return printSchedules(std.out, schedules, time.Now())
	})
}

func printSchedules(w io.Writer, schedules []schedule, now time.Time) error {
	paint := newPainter(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCHEDULE\tWHEN\tZONE\tMAKES\tNEXT\tRUNS\tSTATE")
	for _, s := range schedules {
		state := paint.state(s.State)
		if s.WaitingFor != "" {
			state += " for " + s.WaitingFor
		}
		if s.Problem != "" {
			state += ": " + shorten(oneLine(s.Problem), 80)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", oneLine(s.Name), s.timing(), oneLine(s.Timezone), s.makes(), s.next(now), s.Runs, state)
	}
	return table.Flush()
}

// scheduleFlags are those of the commands about one schedule.
type scheduleFlags struct {
	Name string `arg:"" help:"The schedule's name."`
	answerFlags
}

func (f scheduleFlags) path(below string) string {
	return "/v1/schedules/" + url.PathEscape(f.Name) + below
}

type showScheduleCommand struct{ scheduleFlags }

// Run shows the schedule with a few slots of its future and its past.
func (c *showScheduleCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.get(ctx, c.path(""), &answer); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(s schedule) error {
		var slots struct{ Items []scheduleSlot }
		if err := weir.get(ctx, c.path("/preview?count=5"), &slots); err != nil {
			return err
		}
		runs, err := listSome(ctx, weir, c.path("/runs"), url.Values{}, 5)
		if err != nil {
			return err
		}
		if err := printSchedules(std.out, []schedule{s}, time.Now()); err != nil {
			return err
		}
		fmt.Fprintf(std.out, "\n%s\n", indentJSON(answer))
		if len(slots.Items) > 0 {
			fmt.Fprintln(std.out)
			if err := printSlots(std.out, slots.Items); err != nil {
				return err
			}
		}
		if len(runs.Items) > 0 {
			fmt.Fprintln(std.out)
			return printRuns(std.out, runs.Items)
		}
		return nil
	})
}

// indentJSON is the definition in a schedule's answer, for people.
func indentJSON(answer json.RawMessage) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(answer, &fields) != nil {
		return ""
	}
	for _, known := range []string{"name", "state", "next_at", "next_local", "due_at", "last_at", "runs", "waiting_for", "tries", "problem", "paused_at", "created_at", "updated_at", "paused"} {
		delete(fields, known)
	}
	text, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		return ""
	}
	return printable(string(text))
}

// change makes a call that answers with the schedule, and shows that.
func (f scheduleFlags) change(ctx context.Context, std streams, method, below string, body any) error {
	weir, err := f.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.call(ctx, method, f.path(below), body, &answer, 0); err != nil {
		return err
	}
	return show(f.answerFlags, std.out, answer, func(s schedule) error {
		s.say(std.out)
		return nil
	})
}

// say is one line: what it is at, and when it fires next.
func (s *schedule) say(w io.Writer) {
	next := ""
	if s.NextAt != nil {
		next = ", next " + s.next(time.Now())
	}
	fmt.Fprintf(w, "schedule %s is %s%s\n", oneLine(s.Name), newPainter(w).state(s.State), next)
}

type pauseScheduleCommand struct{ scheduleFlags }

// Run pauses the schedule.
func (c *pauseScheduleCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, http.MethodPost, "/pause", nil)
}

type resumeScheduleCommand struct{ scheduleFlags }

// Run resumes the schedule.
func (c *resumeScheduleCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, http.MethodPost, "/resume", nil)
}

type triggerScheduleCommand struct{ scheduleFlags }

// Run runs the schedule now.
func (c *triggerScheduleCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.post(ctx, c.path("/trigger"), nil, &answer); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(r scheduleRun) error {
		fmt.Fprintf(std.out, "%s is %s\n", r.made(), oneLine(r.Outcome))
		return nil
	})
}

type deleteScheduleCommand struct {
	Yes bool `help:"Do not ask first."`
	scheduleFlags
}

// Run asks, and deletes the schedule.
func (c *deleteScheduleCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	if err := weir.get(ctx, c.path(""), new(json.RawMessage)); err != nil {
		return err
	}
	if !c.Yes && !std.confirm(fmt.Sprintf("Delete schedule %s?", oneLine(c.Name))) {
		return fmt.Errorf("nothing was deleted; answer y, or give --yes")
	}
	if err := weir.call(ctx, http.MethodDelete, c.path(""), nil, nil, 0); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(std.out, "schedule %s is gone\n", oneLine(c.Name))
	}
	return nil
}
