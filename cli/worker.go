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

type workerCommands struct {
	List   listWorkers  `cmd:"" default:"withargs" help:"List workers. The default."`
	Show   showWorker   `cmd:"" help:"Show a worker, its jobs and its last attempts."`
	Pause  pauseWorker  `cmd:"" help:"Stop giving a worker new jobs; running jobs continue."`
	Resume resumeWorker `cmd:"" help:"Give a worker new jobs again, after a pause or a drain."`
	Drain  drainWorker  `cmd:"" help:"Let a worker finish its jobs and give it no new ones."`
	Remove removeWorker `cmd:"" help:"Forget a worker. Its jobs go back to their queues at once, and lose no attempt."`
}

// workerFlags are those of the commands about one worker.
type workerFlags struct {
	Name string `arg:"" complete:"worker" help:"The worker's name."`
	answerFlags
}

func (f workerFlags) path(below ...string) string {
	return rest.Path(append([]string{"workers", f.Name}, below...)...)
}

// worker is what is printed of a worker.
type worker struct {
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
	Stats      *workerStats      `json:"stats"`
}

// workerStats is what a worker did in a window.
type workerStats struct {
	WindowSeconds float64 `json:"window_seconds"`
	Completed     int     `json:"completed"`
	Failed        int     `json:"failed"`
	BusySeconds   float64 `json:"busy_seconds"`
}

func (w *worker) capacity() string {
	if w.Capacity == nil {
		return "no limit"
	}
	return strconv.Itoa(*w.Capacity)
}

func (w *worker) load() string {
	if w.Load == nil {
		return ""
	}
	return strconv.FormatFloat(*w.Load, 'g', 4, 64)
}

type listWorkers struct {
	State         string  `help:"Only workers in this state: active, paused, draining or lost." enum:",active,paused,draining,lost" default:""`
	Queue         string  `help:"Only workers of this queue." placeholder:"NAME"`
	Hostname      string  `help:"Only workers on this host." placeholder:"NAME"`
	WindowSeconds float64 `help:"Show what each worker did in the last this many seconds. 0 leaves that out, which is faster." default:"3600"`
	answerFlags
}

// Run lists all workers.
func (c *listWorkers) Run(ctx context.Context, s *Session) error {
	call := rest.Get("/v1/workers").With("state", c.State).With("queue", c.Queue).With("hostname", c.Hostname)
	if c.WindowSeconds > 0 {
		call = call.With("window_seconds", strconv.FormatFloat(c.WindowSeconds, 'f', -1, 64))
	}
	empty := "There are no such workers: a worker is known from its first claim."
	table := workerTable
	if c.WindowSeconds > 0 {
		window := roughly(Seconds(c.WindowSeconds))
		table.footer = "DONE, FAILED and BUSY count the last " + window + "; BUSY adds up all jobs of a worker."
	}
	return list(ctx, s, c.answerFlags, call, rest.All, empty, table)
}

var workerTable = layout[worker]{
	columns: []string{
		"WORKER", "RUNNING", "CAPACITY", "LOAD", "DONE", "FAILED", "BUSY", "SEEN", "HOST", "VERSION", "QUEUES", "STATE",
	},
	row: func(p *printer, w *worker) []any {
		var done, failed, busy any = "", "", ""
		if w.Stats != nil {
			done, failed, busy = w.Stats.Completed, w.Stats.Failed, Seconds(w.Stats.BusySeconds)
		}
		return []any{
			w.Name, w.Running, w.capacity(), w.load(), done, failed, busy, w.LastSeen, w.Hostname, w.Version,
			strings.Join(w.Queues, ","), p.state(w.State),
		}
	},
}

type showWorker struct {
	WindowSeconds float64 `help:"Show what it did in the last this many seconds." default:"3600"`
	workerFlags
}

// shownJobs is how many of a worker's jobs and attempts are shown.
const shownJobs = 20

// Run shows one worker with its jobs and its last attempts.
func (c *showWorker) Run(ctx context.Context, s *Session) error {
	call := rest.Get(c.path()).With("window_seconds", strconv.FormatFloat(c.WindowSeconds, 'f', -1, 64))
	answer, w, err := read[worker](ctx, s, c.answerFlags, call)
	if err != nil {
		return err
	}
	running, err := c.page(ctx, s, rest.Get(c.path("jobs")), shownJobs)
	if err != nil {
		return err
	}
	history, err := c.page(ctx, s, rest.Get(c.path("history")), shownJobs)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.writeJSON(struct {
			Worker  json.RawMessage   `json:"worker"`
			Jobs    []json.RawMessage `json:"jobs"`
			History []json.RawMessage `json:"history"`
		}{answer, running.Items, history.Items})
	}
	jobs, err := decodeItems[job](running)
	if err != nil {
		return err
	}
	attempts, err := decodeItems[attempt](history)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	w.print(p)
	heldJobTable.section(p, jobs)
	attemptTable.section(p, attempts)
	return p.flush()
}

func (w *worker) print(p *printer) {
	t := p.table()
	t.property("worker", "%s", w.Name)
	t.row(safe("state"), p.state(w.State)+safe(", last seen "+relative(p.now, w.LastSeen)))
	t.property("jobs", "%d, capacity %s", w.Running, w.capacity())
	for _, property := range [][2]string{
		{"load", w.load()},
		{"registered", localTime(w.Registered)},
		{"host", w.Hostname},
		{"version", w.Version},
		{"queues", strings.Join(w.Queues, ", ")},
	} {
		if property[1] != "" {
			t.property(property[0], "%s", property[1])
		}
	}
	for _, label := range slices.Sorted(maps.Keys(w.Labels)) {
		t.property("label", "%s=%s", label, w.Labels[label])
	}
	if w.Stats != nil {
		window, busy := roughly(Seconds(w.Stats.WindowSeconds)), roughly(Seconds(w.Stats.BusySeconds))
		t.property("in the last "+window, "%d done, %d failed, busy for %s", w.Stats.Completed, w.Stats.Failed, busy)
	}
	t.end()
}

var heldJobTable = layout[job]{
	columns: []string{"JOB", "KIND", "QUEUE", "ATTEMPT", "STARTED"},
	row:     func(_ *printer, j *job) []any { return []any{j.ID, j.Kind, j.Queue, j.attempts(), j.StartedAt} },
}

// attempt is what is printed of an attempt that a worker has ended.
type attempt struct {
	JobID     string    `json:"job_id"`
	Kind      string    `json:"kind"`
	Queue     string    `json:"queue"`
	Attempt   int       `json:"attempt"`
	Outcome   string    `json:"outcome"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Error     string    `json:"error"`
}

var attemptTable = layout[attempt]{
	columns: []string{"BEFORE", "KIND", "QUEUE", "ATTEMPT", "ENDED", "TOOK", "OUTCOME"},
	row: func(_ *printer, a *attempt) []any {
		outcome := spaced(a.Outcome)
		if a.Error != "" {
			outcome += ": " + terminal.Shorten(terminal.OneLine(a.Error), 60)
		}
		return []any{a.JobID, a.Kind, a.Queue, a.Attempt, a.EndedAt, a.EndedAt.Sub(a.StartedAt), outcome}
	},
}

type (
	pauseWorker  struct{ workerFlags }
	resumeWorker struct{ workerFlags }
	drainWorker  struct{ workerFlags }
	removeWorker struct {
		workerFlags
		yesFlag
	}
)

// Run pauses a worker.
func (c *pauseWorker) Run(ctx context.Context, s *Session) error { return c.change(ctx, s, "pause") }

// Run resumes a worker.
func (c *resumeWorker) Run(ctx context.Context, s *Session) error { return c.change(ctx, s, "resume") }

// Run drains a worker.
func (c *drainWorker) Run(ctx context.Context, s *Session) error { return c.change(ctx, s, "drain") }

func (f workerFlags) change(ctx context.Context, s *Session, action string) error {
	return show(ctx, s, f.answerFlags, rest.Post(f.path(action), nil), func(p *printer, w *worker) {
		p.line("%s is %s and has %s.", w.Name, p.state(w.State), countOf(w.Running, "job"))
	})
}

// Run asks, and removes a worker.
func (c *removeWorker) Run(ctx context.Context, s *Session) error {
	_, w, err := read[worker](ctx, s, c.answerFlags, rest.Get(c.path()))
	if err != nil {
		return err
	}
	has := countOf(w.Running, "job")
	question := "Remove worker " + c.Name + "? It has " + has + ", which other workers may run at once."
	if err := s.Confirm(c.Yes, question, "nothing was removed"); err != nil {
		return err
	}
	type removed struct {
		Released int `json:"released"`
	}
	return show(ctx, s, c.answerFlags, rest.Delete(c.path()), func(p *printer, r *removed) {
		p.line("%s is removed; %s went back.", c.Name, countOf(r.Released, "job"))
	})
}
