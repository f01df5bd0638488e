package cli

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type jobCommands struct {
	Show     showJob     `cmd:"" default:"withargs" help:"Show a job. weir job ID does too."`
	Timeline showMoments `cmd:"" help:"Show what happened to a job."`
	Why      explainJob  `cmd:"" help:"Show why a job does not run now."`
	Logs     showLog     `cmd:"" help:"Show what a job's worker logged."`
	Wait     waitForJob  `cmd:"" help:"Wait until a job has ended. The exit status is 0 if it completed."`
	Children listJobs    `cmd:"" help:"List the children of a job."`
	Compare  compareJobs `cmd:"" help:"Show how two jobs differ."`
	Similar  listSimilar `cmd:"" help:"List jobs that resemble a job."`
	Cancel   cancelJobs  `cmd:"" help:"Cancel jobs."`
	Replay   replayJob   `cmd:"" help:"Enqueue a copy of a job."`
	Retry    retryJobs   `cmd:"" help:"Run jobs again now that have ended or wait for a retry."`
}

// jobStates are the states of a job, in the order of its life.
var jobStates = []string{"scheduled", "retryable", "held", "available", "running", "completed", "cancelled", "dead"}

// jobFlags are those of the commands about one job.
type jobFlags struct {
	ID id `arg:"" complete:"job" help:"The job's id."`
	answerFlags
}

func (f jobFlags) path(below ...string) string { return jobPath(f.ID, below...) }

func jobPath(job id, below ...string) string {
	return rest.Path(append([]string{"jobs", string(job)}, below...)...)
}

// job is what is printed of a job.
type job struct {
	ID              string          `json:"id"`
	Kind            string          `json:"kind"`
	Queue           string          `json:"queue"`
	Args            json.RawMessage `json:"args"`
	Priority        int             `json:"priority"`
	State           string          `json:"state"`
	HeldReason      string          `json:"held_reason"`
	Attempt         int             `json:"attempt"`
	MaxAttempts     int             `json:"max_attempts"`
	CreatedAt       time.Time       `json:"created_at"`
	RunAt           *time.Time      `json:"run_at"`
	StartedAt       *time.Time      `json:"started_at"`
	FinishedAt      *time.Time      `json:"finished_at"`
	Worker          string          `json:"worker"`
	LeaseExpiresAt  *time.Time      `json:"lease_expires_at"`
	CancelRequested bool            `json:"cancel_requested"`
	Result          json.RawMessage `json:"result"`
	Tags            []string        `json:"tags"`
	ParentID        string          `json:"parent_id"`
	UniqueKey       string          `json:"unique_key"`
	ReplayOf        string          `json:"replay_of"`
	Duplicate       bool            `json:"duplicate"`
	Progress        *struct {
		Percent float64 `json:"percent"`
		Message string  `json:"message"`
	} `json:"progress"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
	Errors []jobError `json:"errors"`
}

// jobError is an attempt that failed.
type jobError struct {
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Worker  string    `json:"worker"`
	Message string    `json:"message"`
}

type showJob struct{ jobFlags }

// Run shows one job.
func (c *showJob) Run(ctx context.Context, s *Session) error {
	return show(ctx, s, c.answerFlags, rest.Get(c.path()), func(p *printer, j *job) { j.print(p) })
}

// stateNow is the state with the reason or time that belongs to it.
func (j *job) stateNow(p *printer) safe {
	state := p.state(j.State)
	switch {
	case j.HeldReason != "":
		return state + ", waits for " + safe(terminal.OneLine(j.HeldReason))
	case j.RunAt != nil:
		return state + ", runs " + safe(relative(p.now, *j.RunAt))
	case j.FinishedAt != nil:
		return state + ", " + safe(relative(p.now, *j.FinishedAt))
	case j.CancelRequested:
		return state + ", asked to stop"
	}
	return state
}

// attempts is the attempt of all that the job may have.
func (j *job) attempts() string {
	return strconv.Itoa(j.Attempt) + " of " + strconv.Itoa(j.MaxAttempts)
}

const maxValue = 2000 // characters printed of args and results

func (j *job) print(p *printer) {
	t := p.table()
	t.property("job", "%s", j.ID)
	t.property("kind", "%s", j.Kind)
	t.property("queue", "%s, priority %d", j.Queue, j.Priority)
	t.row(safe("state"), j.stateNow(p))
	t.property("attempt", "%s", j.attempts())
	t.property("created", "%s, %s", relative(p.now, j.CreatedAt), localTime(j.CreatedAt))
	if j.StartedAt != nil {
		t.property("started", "%s, by %s%s", relative(p.now, *j.StartedAt), j.Worker, j.ranFor())
	}
	if j.State == "running" && j.LeaseExpiresAt != nil {
		t.property("lease", "expires %s", relative(p.now, *j.LeaseExpiresAt))
	}
	if j.Progress != nil {
		t.property("progress", "%s %% %s", strconv.FormatFloat(j.Progress.Percent, 'f', -1, 64), j.Progress.Message)
	}
	if j.UniqueKey != "" {
		t.property("unique", "%s", j.UniqueKey)
	}
	if j.ParentID != "" {
		t.property("parent", "job %s", j.ParentID)
	}
	if j.ReplayOf != "" {
		t.property("replay of", "job %s", j.ReplayOf)
	}
	if len(j.Tags) > 0 {
		t.property("tags", "%s", strings.Join(j.Tags, ", "))
	}
	t.property("args", "%s", terminal.Shorten(string(j.Args), maxValue))
	if j.Result != nil {
		t.property("result", "%s", terminal.Shorten(string(j.Result), maxValue))
	}
	t.end()
	j.printErrors(p)
}

func (j *job) printErrors(p *printer) {
	for _, e := range j.Errors {
		p.line("\nattempt %d %s %s, on %s:", e.Attempt, spaced(e.Kind), relative(p.now, e.At), e.Worker)
		p.text("  " + indent(e.Message))
	}
	if j.Error != nil && (len(j.Errors) == 0 || j.Errors[len(j.Errors)-1].Message != j.Error.Message) {
		p.line("\nerror:")
		p.text("  " + indent(j.Error.Message))
	}
}

// ranFor is how long the last attempt took, if it has ended.
func (j *job) ranFor() string {
	if j.FinishedAt == nil || j.FinishedAt.Before(*j.StartedAt) {
		return ""
	}
	return ", ran for " + roughly(j.FinishedAt.Sub(*j.StartedAt))
}

// indent indents all lines of a text but the first.
func indent(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") }

// spaced is a word of the API, such as timed_out, as people write it.
func spaced(word string) string { return strings.ReplaceAll(word, "_", " ") }
