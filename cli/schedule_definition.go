package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

// timingFlags say when a schedule fires.
type timingFlags struct {
	Cron       string    `help:"Cron expression of 5 or 6 fields, or @daily and the like." placeholder:"'M H D M W'"`
	Every      duration  `help:"Interval: 90 (seconds), 5m, 24h." placeholder:"TIME"`
	Anchor     time.Time `help:"With --every: the time of one slot, in RFC 3339. The others follow from it." placeholder:"TIME"`
	At         time.Time `help:"Fire once, at this time, in RFC 3339." placeholder:"TIME"`
	Zone       string    `help:"Time zone of --cron, such as Europe/Berlin. Defaults to UTC." placeholder:"ZONE"`
	Jitter     duration  `help:"Fire up to this much later; the same for each try of a slot." placeholder:"TIME"`
	StartsAt   time.Time `help:"No slots before this time, in RFC 3339." placeholder:"TIME"`
	EndsAt     time.Time `help:"No slots at this time or later, in RFC 3339." placeholder:"TIME"`
	DSTGap     string    `name:"dst-gap" help:"Local times skipped by DST: run_after or skip." placeholder:"POLICY"`
	DSTOverlap string    `name:"dst-overlap" help:"Local times repeated by DST: once or twice." placeholder:"POLICY"`
}

func (f timingFlags) definition() definition {
	d := definition{}
	d.text("cron", f.Cron)
	d.text("timezone", f.Zone)
	d.text("dst_gap", f.DSTGap)
	d.text("dst_overlap", f.DSTOverlap)
	d.number("every_seconds", int(f.Every.seconds()))
	d.number("jitter_seconds", int(f.Jitter.seconds()))
	d.time("anchor", f.Anchor)
	d.time("at", f.At)
	d.time("starts_at", f.StartsAt)
	d.time("ends_at", f.EndsAt)
	return d
}

// definition is a schedule's definition as a request has it. What a flag does not set is absent.
type definition map[string]any

func (d definition) text(name, value string) {
	if value != "" {
		d[name] = value
	}
}

func (d definition) number(name string, value int) {
	if value != 0 {
		d[name] = value
	}
}

func (d definition) time(name string, value time.Time) {
	if !value.IsZero() {
		d[name] = value
	}
}

type createSchedule struct {
	Name string `arg:"" help:"The schedule's name."`
	Kind string `arg:"" complete:"kind" help:"The kind of the jobs that it enqueues."`
	timingFlags
	Queue        string   `help:"The job's queue. Defaults to default." placeholder:"NAME"`
	Args         string   `help:"The job's args: JSON, @FILE to read it from a file, - for standard input. Placeholders such as {{scheduled_at}} are filled in." placeholder:"JSON"`
	Priority     int      `help:"The job's priority, 1 to 10, 10 first. Defaults to the queue's." placeholder:"N"`
	MaxAttempts  int      `help:"The job is dead after this many failed attempts. Defaults to the queue's." placeholder:"N"`
	Tag          []string `help:"A tag of the job; repeat for several." sep:"none" placeholder:"TAG"`
	MaxRuns      int      `help:"Finish after this many slots that enqueued a job." placeholder:"N"`
	Misfire      string   `help:"Slots more than a minute late: skip, latest or all. Defaults to latest." placeholder:"POLICY"`
	MisfireLimit int      `help:"With --misfire all: run at most this many." placeholder:"N"`
	Overlap      string   `help:"If the previous run is still active: allow, skip, wait or cancel. Defaults to allow." placeholder:"POLICY"`
	Paused       bool     `help:"Create it paused."`
	Replace      bool     `help:"Replace the schedule of this name, if it exists."`
	ownerFlag
	answerFlags
}

// Run creates the schedule.
func (c *createSchedule) Run(ctx context.Context, s *Session) error {
	args, err := readJSON(c.Args, s.In)
	if err != nil {
		return err
	}
	d := c.definition()
	d["job"] = newJob{
		Kind: c.Kind, Queue: c.Queue, Args: args, Priority: c.Priority, MaxAttempts: c.MaxAttempts, Tags: c.Tag,
	}
	d.text("misfire", c.Misfire)
	d.text("overlap", c.Overlap)
	d.number("max_runs", c.MaxRuns)
	d.number("misfire_limit", c.MisfireLimit)
	if c.Paused {
		d["paused"] = true
	}
	if c.Replace {
		return c.changeSchedule(ctx, s, c.of(rest.Call{Method: http.MethodPut, Path: schedulePath(c.Name), Body: d}))
	}
	d["name"] = c.Name
	return c.changeSchedule(ctx, s, c.of(rest.Post("/v1/schedules", d)))
}

type applySchedules struct {
	File string `arg:"" help:"JSON file of a schedule, or of an array of them, each with its name and its tenant, if it has one, as weir schedules list --json prints them; - for standard input."`
	answerFlags
}

// scheduleProgress are the members of a schedule's answer that are not part of its definition.
var scheduleProgress = []string{
	"name", "state", "next_at", "next_local", "due_at", "last_at", "runs", "waiting_for", "tries", "problem",
	"paused_at", "created_at", "updated_at",
}

// Run creates or replaces each schedule in the file.
func (c *applySchedules) Run(ctx context.Context, s *Session) error {
	definitions, err := readSchedules(c.File, s.In)
	if err != nil {
		return err
	}
	names, owners := make([]string, len(definitions)), make([]string, len(definitions))
	for i, d := range definitions { // all are checked before the first is applied
		if json.Unmarshal(d["name"], &names[i]) != nil || names[i] == "" {
			return Usagef("%s has a schedule without a name", c.File)
		}
		if owner := d["tenant"]; owner != nil && json.Unmarshal(owner, &owners[i]) != nil {
			return Usagef("%s has a schedule whose tenant is not a text", c.File)
		}
	}
	for i, d := range definitions {
		for _, name := range append([]string{"tenant"}, scheduleProgress...) {
			delete(d, name)
		}
		call := ownerFlag{owners[i]}.of(rest.Call{Method: http.MethodPut, Path: schedulePath(names[i]), Body: d})
		if err := c.changeSchedule(ctx, s, call); err != nil {
			return fmt.Errorf("schedule %s: %w", terminal.OneLine(names[i]), err)
		}
	}
	return nil
}

// readSchedules reads one schedule, an array of them, or the page that a listing prints.
func readSchedules(path string, stdin io.Reader) ([]map[string]json.RawMessage, error) {
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading schedules: %w", err)
	}
	text = bytes.TrimSpace(text)
	var many []map[string]json.RawMessage
	if bytes.HasPrefix(text, []byte("[")) {
		err = json.Unmarshal(text, &many)
	} else {
		var one map[string]json.RawMessage
		if err = json.Unmarshal(text, &one); err == nil {
			many = []map[string]json.RawMessage{one}
			if items, isPage := one["items"]; isPage {
				many = nil
				err = json.Unmarshal(items, &many)
			}
		}
	}
	if err != nil {
		return nil, Usagef("%s does not contain schedules as JSON: %v", path, err)
	}
	return many, nil
}

type previewSchedule struct {
	Name  string    `arg:"" complete:"schedule" optional:"" help:"The schedule's name. Without one, the flags define a schedule."`
	Count limit     `help:"Show this many slots that fire." default:"10"`
	From  time.Time `help:"Show slots from this time, in RFC 3339. Defaults to the next one." placeholder:"TIME"`
	timingFlags
	ownerFlag
	answerFlags
}

// Run shows the next slots.
func (c *previewSchedule) Run(ctx context.Context, s *Session) error {
	d := c.definition()
	if (c.Name == "") == (len(d) == 0) {
		return Usagef("give either the name of a schedule, or --cron, --every or --at, not both")
	}
	d["count"] = int(c.Count)
	d.time("from", c.From)
	call := rest.Post("/v1/schedules/preview", d)
	if c.Name != "" {
		call = c.of(rest.Get(schedulePath(c.Name, "preview"))).With("count", strconv.Itoa(int(c.Count)))
		if !c.From.IsZero() {
			call = call.With("from", c.From.Format(time.RFC3339Nano))
		}
	}
	return show(ctx, s, c.answerFlags, call, func(p *printer, slots *slotPage) {
		if len(slots.Items) == 0 {
			p.line("It does not fire any more.")
			return
		}
		slotTable.print(p, slots.Items)
	})
}
