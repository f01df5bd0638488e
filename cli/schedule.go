package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type scheduleCommands struct {
	List    listSchedules    `cmd:"" default:"withargs" help:"List schedules. The default."`
	Show    showSchedule     `cmd:"" help:"Show a schedule, its next slots and its last runs."`
	Create  createSchedule   `cmd:"" help:"Create a schedule."`
	Apply   applySchedules   `cmd:"" help:"Create or replace the schedules in a file."`
	Preview previewSchedule  `cmd:"" help:"Show when a schedule fires, or when one would with these flags."`
	Runs    listScheduleRuns `cmd:"" help:"List the past slots of a schedule and their outcomes."`
	Pause   pauseSchedule    `cmd:"" help:"Stop a schedule from firing."`
	Resume  resumeSchedule   `cmd:"" help:"Let a schedule fire again. Slots that came due during the pause do not run."`
	Trigger triggerSchedule  `cmd:"" help:"Run a schedule now. Its slots do not change."`
	Delete  deleteSchedule   `cmd:"" help:"Delete a schedule. Jobs that it has enqueued stay."`
}

// scheduleFlags are those of the commands about one schedule.
type scheduleFlags struct {
	Name string `arg:"" complete:"schedule" help:"The schedule's name."`
	ownerFlag
	answerFlags
}

func (f scheduleFlags) get(below ...string) rest.Call {
	return f.of(rest.Get(schedulePath(f.Name, below...)))
}

func (f scheduleFlags) post(below ...string) rest.Call {
	return f.of(rest.Post(schedulePath(f.Name, below...), nil))
}

func schedulePath(name string, below ...string) string {
	return rest.Path(append([]string{"schedules", name}, below...)...)
}

// schedule is what is printed of a schedule.
type schedule struct {
	Name         string     `json:"name"`
	Tenant       string     `json:"tenant"`
	State        string     `json:"state"`
	Cron         string     `json:"cron"`
	EverySeconds float64    `json:"every_seconds"`
	At           *time.Time `json:"at"`
	Timezone     string     `json:"timezone"`
	Job          *newJob    `json:"job"`
	NextAt       *time.Time `json:"next_at"`
	NextLocal    string     `json:"next_local"`
	Runs         int        `json:"runs"`
	WaitingFor   string     `json:"waiting_for"`
	Problem      string     `json:"problem"`
}

// timing is when it fires, in short.
func (s *schedule) timing() string {
	switch {
	case s.EverySeconds != 0:
		return "every " + roughly(Seconds(s.EverySeconds))
	case s.At != nil:
		return "at " + s.At.Format(time.RFC3339)
	}
	return s.Cron
}

func (s *schedule) makes() string {
	if s.Job != nil {
		return s.Job.Kind
	}
	return "a workflow"
}

func (s *schedule) next(now time.Time) string {
	if s.NextAt == nil {
		return ""
	}
	return s.NextLocal + " (" + relative(now, *s.NextAt) + ")"
}

// status is the state, what it waits for, and what is wrong.
func (s *schedule) status(p *printer) safe {
	status := p.state(s.State)
	if s.WaitingFor != "" {
		status += safe(" for " + terminal.OneLine(s.WaitingFor))
	}
	if s.Problem != "" {
		status += safe(": " + terminal.Shorten(terminal.OneLine(s.Problem), 80))
	}
	return status
}

var scheduleTable = layout[schedule]{
	columns: []string{"SCHEDULE", "WHEN", "ZONE", "MAKES", "NEXT", "RUNS", "STATE"},
	row: func(p *printer, s *schedule) []any {
		return []any{ofTenant(s.Name, s.Tenant), s.timing(), s.Timezone, s.makes(), s.next(p.now), s.Runs, s.status(p)}
	},
}

type listSchedules struct {
	State  string `help:"Only schedules in this state: ${enum}." enum:"active,waiting,paused,finished," default:"" placeholder:"STATE"`
	Tenant string `help:"Only schedules of this tenant." placeholder:"TENANT"`
	answerFlags
}

// Run lists the schedules.
func (c *listSchedules) Run(ctx context.Context, s *Session) error {
	call := rest.Get("/v1/schedules").With("state", c.State).With("tenant", c.Tenant)
	return list(ctx, s, c.answerFlags, call, rest.All, "There are no such schedules.", scheduleTable)
}

type showSchedule struct{ scheduleFlags }

// shownSlots is how many next slots, and how many past ones, are shown.
const shownSlots = 5

// Run shows the schedule with its next slots and its last runs.
func (c *showSchedule) Run(ctx context.Context, s *Session) error {
	answer, found, err := read[schedule](ctx, s, c.answerFlags, c.get())
	if err != nil || c.JSON {
		return orWriteJSON(s, err, answer)
	}
	preview := c.get("preview").With("count", fmt.Sprint(shownSlots))
	_, slots, err := read[slotPage](ctx, s, c.answerFlags, preview)
	if err != nil {
		return err
	}
	runs, err := items[scheduleRun](ctx, s, c.answerFlags, c.get("runs"), shownSlots)
	if err != nil {
		return err
	}
	definition, err := definitionOf(answer)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	scheduleTable.print(p, []schedule{*found})
	p.text("\n" + definition)
	slotTable.section(p, slots.Items)
	scheduleRunTable.section(p, runs)
	return p.flush()
}

// definitionOf is the definition in a schedule's answer, indented.
func definitionOf(answer json.RawMessage) (string, error) {
	fields, err := decode[map[string]json.RawMessage](answer)
	if err != nil {
		return "", err
	}
	for _, name := range append([]string{"paused", "tenant"}, scheduleProgress...) {
		delete(*fields, name)
	}
	var indented bytes.Buffer
	encoder := json.NewEncoder(&indented)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(fields)
	return string(bytes.TrimSpace(indented.Bytes())), err
}

// change makes a call that answers with the schedule, and prints it in one line.
func (f answerFlags) changeSchedule(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f, call, func(p *printer, changed *schedule) {
		next := changed.next(p.now)
		if next != "" {
			next = ", next " + next
		}
		p.line("schedule %s is %s%s", changed.Name, p.state(changed.State), next)
	})
}

type (
	pauseSchedule   struct{ scheduleFlags }
	resumeSchedule  struct{ scheduleFlags }
	triggerSchedule struct{ scheduleFlags }
	deleteSchedule  struct {
		scheduleFlags
		yesFlag
	}
)

// Run pauses the schedule.
func (c *pauseSchedule) Run(ctx context.Context, s *Session) error {
	return c.changeSchedule(ctx, s, c.post("pause"))
}

// Run resumes the schedule.
func (c *resumeSchedule) Run(ctx context.Context, s *Session) error {
	return c.changeSchedule(ctx, s, c.post("resume"))
}

// Run runs the schedule now.
func (c *triggerSchedule) Run(ctx context.Context, s *Session) error {
	return show(ctx, s, c.answerFlags, c.post("trigger"), func(p *printer, r *scheduleRun) {
		p.line("%s is %s", r.made(), r.Outcome)
	})
}

// Run asks, and deletes the schedule.
func (c *deleteSchedule) Run(ctx context.Context, s *Session) error {
	return c.remove(ctx, s, c.yesFlag, removal{
		find: c.get(), delete: c.of(rest.Delete(schedulePath(c.Name))),
		question: "Delete schedule " + c.Name + "?", gone: "schedule " + c.Name + " is gone",
	})
}
