package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

type workersCommand struct {
	List   listWorkersCommand  `cmd:"" default:"withargs" help:"List the workers. The default."`
	Show   showWorkerCommand   `cmd:"" help:"Show a worker, what it has and what it did."`
	Pause  pauseWorkerCommand  `cmd:"" help:"Let a worker have no more jobs for a while; it goes on with those that it has."`
	Resume resumeWorkerCommand `cmd:"" help:"End a pause or a drain."`
	Drain  drainWorkerCommand  `cmd:"" help:"Let a worker finish what it has and have no more."`
	Remove removeWorkerCommand `cmd:"" help:"Forget a worker. Its jobs go back to their queues at once, at no cost of an attempt."`
}

// registeredWorker is what people are shown of a worker.
type registeredWorker struct {
	Name       string            `json:"name"`
	State      string            `json:"state"`
	Hostname   string            `json:"hostname"`
	Version    string            `json:"version"`
	Queues     []string          `json:"queues"`
	Labels     map[string]string `json:"labels"`
	Capacity   *int              `json:"capacity"`
	Running    int               `json:"running"`
	Load       *float64          `json:"load"`
	Registered time.Time         `json:"registered_at"`
	LastSeen   time.Time         `json:"last_seen_at"`
	Stats      *struct {
		WindowSeconds float64 `json:"window_seconds"`
		Completed     int     `json:"completed"`
		Failed        int     `json:"failed"`
		BusySeconds   float64 `json:"busy_seconds"`
	} `json:"stats"`
}

type listWorkersCommand struct {
	State         string  `help:"Only those in this state: active, paused, draining or lost." enum:",active,paused,draining,lost" default:""`
	Queue         string  `help:"Only those that say that they work on this queue." placeholder:"NAME"`
	Hostname      string  `help:"Only those on this machine." placeholder:"NAME"`
	WindowSeconds float64 `help:"Say what each did in the last so many seconds; 0: do not, which is quicker." default:"3600"`
	JSON          bool    `name:"json" help:"Print the service's answer."`
	clientFlags
}

// Run lists all workers.
func (c *listWorkersCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.WindowSeconds > 0 {
		query.Set("window_seconds", strconv.FormatFloat(c.WindowSeconds, 'f', -1, 64))
	}
	for name, value := range map[string]string{"state": c.State, "queue": c.Queue, "hostname": c.Hostname} {
		if value != "" {
			query.Set(name, value)
		}
	}
	all, err := listAll(ctx, weir, "/v1/workers", query)
	if err != nil {
		return err
	}
	if c.JSON {
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return printJSON(std.out, text)
	}
	if len(all.Items) == 0 {
		fmt.Fprintln(std.out, "There are no such workers: a worker is known from its first claim on.")
		return nil
	}
	return printWorkers(std.out, all.Items, inSeconds(c.WindowSeconds), time.Now())
}

func printWorkers(w io.Writer, items []json.RawMessage, window time.Duration, now time.Time) error {
	paint := newPainter(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WORKER\tRUNNING\tCAPACITY\tLOAD\tDONE\tFAILED\tBUSY\tSEEN\tHOST\tVERSION\tQUEUES\tSTATE")
	for _, item := range items {
		var r registeredWorker
		if err := json.Unmarshal(item, &r); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		done, failed, busy := "-", "-", "-"
		if r.Stats != nil {
			done, failed, busy = strconv.Itoa(r.Stats.Completed), strconv.Itoa(r.Stats.Failed), roughly(inSeconds(r.Stats.BusySeconds))
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(r.Name), r.Running, r.capacity(), r.load(), done, failed, busy, relative(now, r.LastSeen),
			orDash(r.Hostname), orDash(r.Version), orDash(strings.Join(r.Queues, ",")), paint.state(r.State))
	}
	if window > 0 {
		fmt.Fprintf(table, "\nDONE, FAILED and BUSY are of the last %s; BUSY adds up all jobs of a worker.\n", roughly(window))
	}
	return table.Flush()
}

func (r *registeredWorker) capacity() string {
	if r.Capacity == nil {
		return "no limit"
	}
	return strconv.Itoa(*r.Capacity)
}

func (r *registeredWorker) load() string {
	if r.Load == nil {
		return "-"
	}
	return strconv.FormatFloat(*r.Load, 'g', 4, 64)
}

func orDash(text string) string {
	if text = oneLine(text); text == "" {
		return "-"
	}
	return text
}

// workerArgument names a worker and says where weir is.
type workerArgument struct {
	Name string `arg:"" help:"The worker's name."`
	JSON bool   `name:"json" help:"Print the service's answer."`
	clientFlags
}

func (a workerArgument) path() string { return "/v1/workers/" + url.PathEscape(a.Name) }

type showWorkerCommand struct {
	WindowSeconds float64 `help:"Say what it did in the last so many seconds." default:"3600"`
	workerArgument
}

// workerDetails is all that is shown of one worker.
type workerDetails struct {
	Worker  json.RawMessage   `json:"worker"`
	Jobs    []json.RawMessage `json:"jobs"`
	History []json.RawMessage `json:"history"`
}

// Run shows one worker.
func (c *showWorkerCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var all workerDetails
	if err := weir.get(ctx, c.path()+"?window_seconds="+strconv.FormatFloat(c.WindowSeconds, 'f', -1, 64), &all.Worker); err != nil {
		return err
	}
	for list, items := range map[string]*[]json.RawMessage{"/jobs?limit=20": &all.Jobs, "/history?limit=20": &all.History} {
		var page listPage
		if err := weir.get(ctx, c.path()+list, &page); err != nil {
			return err
		}
		*items = page.Items
	}
	if c.JSON {
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return printJSON(std.out, text)
	}
	return all.print(std.out, time.Now())
}

func (d *workerDetails) print(w io.Writer, now time.Time) error {
	var r registeredWorker
	if err := json.Unmarshal(d.Worker, &r); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	row("worker", "%s", r.Name)
	fmt.Fprintf(table, "state\t%s, last seen %s\n", newPainter(w).state(r.State), relative(now, r.LastSeen))
	row("jobs", "%d, capacity %s", r.Running, r.capacity())
	if r.Load != nil {
		row("load", "%s", r.load())
	}
	row("known", "since %s", localTime(r.Registered))
	if r.Hostname != "" {
		row("host", "%s", r.Hostname)
	}
	if r.Version != "" {
		row("version", "%s", r.Version)
	}
	if len(r.Queues) > 0 {
		row("queues", "%s", strings.Join(r.Queues, ", "))
	}
	for _, label := range slices.Sorted(maps.Keys(r.Labels)) {
		row("label", "%s=%s", label, r.Labels[label])
	}
	if r.Stats != nil {
		window := inSeconds(r.Stats.WindowSeconds)
		row("in the last "+roughly(window), "%d done, %d failed, busy for %s", r.Stats.Completed, r.Stats.Failed, roughly(inSeconds(r.Stats.BusySeconds)))
	}
	if len(d.Jobs) > 0 {
		fmt.Fprintln(table, "\nJOB\tKIND\tQUEUE\tATTEMPT\tSTARTED")
	}
	for _, item := range d.Jobs {
		var j job
		if err := json.Unmarshal(item, &j); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		started := "-"
		if j.StartedAt != nil {
			started = relative(now, *j.StartedAt)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d of %d\t%s\n", oneLine(j.ID), oneLine(j.Kind), oneLine(j.Queue), j.Attempt, j.MaxAttempts, started)
	}
	if len(d.History) > 0 {
		fmt.Fprintln(table, "\nBEFORE\tKIND\tQUEUE\tATTEMPT\tENDED\tTOOK\tOUTCOME")
	}
	for _, item := range d.History {
		var a struct {
			JobID     string    `json:"job_id"`
			Kind      string    `json:"kind"`
			Queue     string    `json:"queue"`
			Attempt   int       `json:"attempt"`
			Outcome   string    `json:"outcome"`
			StartedAt time.Time `json:"started_at"`
			EndedAt   time.Time `json:"ended_at"`
			Error     string    `json:"error"`
		}
		if err := json.Unmarshal(item, &a); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		outcome := strings.ReplaceAll(a.Outcome, "_", " ")
		if a.Error != "" {
			outcome += ": " + shorten(a.Error, 60)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", oneLine(a.JobID), oneLine(a.Kind), oneLine(a.Queue), a.Attempt, relative(now, a.EndedAt), roughly(a.EndedAt.Sub(a.StartedAt)), oneLine(outcome))
	}
	return table.Flush()
}

type (
	pauseWorkerCommand  struct{ workerArgument }
	resumeWorkerCommand struct{ workerArgument }
	drainWorkerCommand  struct{ workerArgument }
	removeWorkerCommand struct{ workerArgument }
)

// Run pauses a worker.
func (c *pauseWorkerCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, "/pause")
}

// Run resumes a worker.
func (c *resumeWorkerCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, "/resume")
}

// Run drains a worker.
func (c *drainWorkerCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, "/drain")
}

func (a workerArgument) change(ctx context.Context, std streams, action string) error {
	weir, err := a.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.post(ctx, a.path()+action, nil, &answer); err != nil {
		return err
	}
	if a.JSON {
		return printJSON(std.out, answer)
	}
	var r registeredWorker
	if err := json.Unmarshal(answer, &r); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Fprintf(std.out, "%s is %s and has %s.\n", oneLine(r.Name), r.State, countOf(r.Running, "job"))
	return nil
}

// Run removes a worker.
func (c *removeWorkerCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.call(ctx, http.MethodDelete, c.path(), nil, &answer, 0); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, answer)
	}
	var removal struct {
		Released int `json:"released"`
	}
	if err := json.Unmarshal(answer, &removal); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Fprintf(std.out, "%s is removed; %s went back.\n", oneLine(c.Name), countOf(removal.Released, "job"))
	return nil
}
