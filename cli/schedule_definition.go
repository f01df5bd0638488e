package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// timingFlags say when a schedule fires.
type timingFlags struct {
	Cron       string    `help:"A cron expression of 5 or 6 fields, or @daily and the like." placeholder:"'M H D M W'"`
	Every      delay     `help:"An interval: 90 (seconds), 5m, 24h." placeholder:"TIME"`
	Anchor     time.Time `help:"With --every: one of its slots, in RFC 3339." placeholder:"TIME"`
	At         time.Time `help:"Once, then, in RFC 3339." placeholder:"TIME"`
	Zone       string    `help:"The time zone of --cron, such as Europe/Berlin. Defaults to UTC." placeholder:"ZONE"`
	Jitter     delay     `help:"Fire up to so much later, always the same for one slot." placeholder:"TIME"`
	StartsAt   time.Time `help:"No slot before." placeholder:"TIME"`
	EndsAt     time.Time `help:"No slot then or later." placeholder:"TIME"`
	DSTGap     string    `name:"dst-gap" help:"Of a time that the clocks leave out: run_after or skip." placeholder:"POLICY"`
	DSTOverlap string    `name:"dst-overlap" help:"Of a time that comes twice: once or twice." placeholder:"POLICY"`
}

func (f timingFlags) definition() map[string]any {
	d := map[string]any{}
	for name, value := range map[string]string{"cron": f.Cron, "timezone": f.Zone, "dst_gap": f.DSTGap, "dst_overlap": f.DSTOverlap} {
		if value != "" {
			d[name] = value
		}
	}
	for name, value := range map[string]delay{"every_seconds": f.Every, "jitter_seconds": f.Jitter} {
		if value != 0 {
			d[name] = int(time.Duration(value).Seconds())
		}
	}
	for name, value := range map[string]time.Time{"anchor": f.Anchor, "at": f.At, "starts_at": f.StartsAt, "ends_at": f.EndsAt} {
		if !value.IsZero() {
			d[name] = value
		}
	}
	return d
}

type createScheduleCommand struct {
	Name string `arg:"" help:"Its name."`
	Kind string `arg:"" help:"The kind of the job that each slot makes."`
	timingFlags
	Queue        string   `help:"The job's queue. Defaults to default." placeholder:"NAME"`
	Args         string   `help:"The job's args: JSON, @FILE to read it from a file, - from standard input. {{scheduled_at}} and the like are filled in." placeholder:"JSON"`
	Priority     int      `help:"The job's priority, 1 to 10, 10 first. Defaults to the queue's." placeholder:"N"`
	MaxAttempts  int      `help:"After this many failed attempts the job is dead. Defaults to the queue's." placeholder:"N"`
	Tag          []string `help:"A label of the job; may be given several times." sep:"none" placeholder:"TAG"`
	MaxRuns      int      `help:"Finished after so many slots that made a job." placeholder:"N"`
	Misfire      string   `help:"Of slots that nobody fired within a minute: skip, latest or all. Defaults to latest." placeholder:"POLICY"`
	MisfireLimit int      `help:"With --misfire all: only so many." placeholder:"N"`
	Overlap      string   `help:"While the run before is active: allow, skip, wait or cancel. Defaults to allow." placeholder:"POLICY"`
	Paused       bool     `help:"Do not let it fire yet."`
	Replace      bool     `help:"Replace the schedule of this name, if there is one."`
	answerFlags
}

// Run makes the schedule.
func (c *createScheduleCommand) Run(ctx context.Context, std streams) error {
	args, err := readArgs(c.Args, std.in)
	if err != nil {
		return err
	}
	body := c.definition()
	body["job"] = newJob{Kind: c.Kind, Queue: c.Queue, Args: args, Priority: c.Priority, MaxAttempts: c.MaxAttempts, Tags: c.Tag}
	for name, value := range map[string]string{"misfire": c.Misfire, "overlap": c.Overlap} {
		if value != "" {
			body[name] = value
		}
	}
	for name, value := range map[string]int{"max_runs": c.MaxRuns, "misfire_limit": c.MisfireLimit} {
		if value != 0 {
			body[name] = value
		}
	}
	if c.Paused {
		body["paused"] = true
	}
	f := scheduleFlags{Name: c.Name, answerFlags: c.answerFlags}
	if c.Replace {
		return f.change(ctx, std, http.MethodPut, "", body)
	}
	body["name"] = c.Name
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.post(ctx, "/v1/schedules", body, &answer); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(s schedule) error {
		s.say(std.out)
		return nil
	})
}

type applySchedulesCommand struct {
	File string `arg:"" help:"JSON: a schedule, or an array of them, each with its name, as weir schedules list --json prints them; - for standard input."`
	answerFlags
}

// Run puts each schedule of the file. What a schedule is at, as a listing shows, is passed over.
func (c *applySchedulesCommand) Run(ctx context.Context, std streams) error {
	definitions, err := readSchedules(c.File, std.in)
	if err != nil {
		return err
	}
	names := make([]string, len(definitions))
	for i, d := range definitions { // before the first one is applied
		if json.Unmarshal(d["name"], &names[i]) != nil || names[i] == "" {
			return usagef("%s has a schedule without a name", c.File)
		}
	}
	for i, d := range definitions {
		for _, progress := range []string{"name", "state", "next_at", "next_local", "due_at", "last_at", "runs", "waiting_for", "tries", "problem", "paused_at", "created_at", "updated_at"} {
			delete(d, progress)
		}
		f := scheduleFlags{Name: names[i], answerFlags: c.answerFlags}
		if err := f.change(ctx, std, http.MethodPut, "", d); err != nil {
			return fmt.Errorf("schedule %s: %w", oneLine(names[i]), err)
		}
	}
	return nil
}

// readSchedules takes one object, an array, or the page that a listing prints.
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
		return nil, usagef("%s is not JSON of schedules: %v", path, err)
	}
	return many, nil
}

type previewScheduleCommand struct {
	Name  string    `arg:"" optional:"" help:"The schedule's name. None: what the flags say."`
	Count int       `help:"Show so many slots that fire." default:"10"`
	From  time.Time `help:"Show slots from then on, in RFC 3339. Defaults to the next one." placeholder:"TIME"`
	timingFlags
	answerFlags
}

// Run shows slots that are to come.
func (c *previewScheduleCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	body := c.definition()
	if (c.Name == "") == (len(body) == 0) {
		return usagef("give the name of a schedule, or --cron, --every or --at, and not both")
	}
	var answer json.RawMessage
	if c.Name != "" {
		query := url.Values{"count": {fmt.Sprint(c.Count)}}
		if !c.From.IsZero() {
			query.Set("from", c.From.Format(time.RFC3339Nano))
		}
		err = weir.get(ctx, scheduleFlags{Name: c.Name}.path("/preview?"+query.Encode()), &answer)
	} else {
		body["count"] = c.Count
		if !c.From.IsZero() {
			body["from"] = c.From
		}
		err = weir.post(ctx, "/v1/schedules/preview", body, &answer)
	}
	if err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(page struct{ Items []scheduleSlot }) error {
		if len(page.Items) == 0 {
			fmt.Fprintln(std.out, "It does not fire any more.")
			return nil
		}
		return printSlots(std.out, page.Items)
	})
}
