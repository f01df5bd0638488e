package main

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxResult is the largest result that weir keeps.
	maxResult = 1 << 20

	// maxStderr is how much of the end of standard error goes into the reason of a failure.
	maxStderr = 4 << 10

	// pipePatience is how long a command that has ended is waited for to close its output: something that it started may hold on to it.
	pipePatience = 2 * time.Second
)

// command is the program that does the jobs.
type command struct {
	path   string
	args   []string // the program's name first
	env    []string // what all runs have in common
	grace  time.Duration
	stderr io.Writer // where standard error is passed on to; nil: nowhere
}

// stopReason is why a command is stopped before it ends by itself.
type stopReason int

const (
	notStopped stopReason = iota
	jobCancelled
	leaseLost
	timedOut
	shuttingDown
	cutShort // as shuttingDown, but at once
)

func (r stopReason) String() string {
	return [...]string{"not stopped", "job cancelled", "lease lost", "timed out", "shutting down", "cut short"}[r]
}

// ending is how a run of the command ended.
type ending struct {
	err     error // what Start or Wait said
	started bool
	stopped stopReason
	stdout  []byte
	tooMuch bool // stdout was longer than maxResult, and is cut
	stderr  string
	took    time.Duration
}

// run runs the command for a job until it ends, the deadline passes, or a reason to stop it comes.
func (c *command) run(job *claimedJob, deadline time.Time, stop <-chan stopReason) ending {
	stdout, stderr := &head{limit: maxResult}, &tail{limit: maxStderr, through: c.stderr}
	cmd := &exec.Cmd{
		Path: c.path, Args: c.args, Env: append(c.env[:len(c.env):len(c.env)], job.environment()...), Stdin: job.input(), Stdout: stdout, Stderr: stderr,
		SysProcAttr: processGroup(), WaitDelay: pipePatience,
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return ending{err: err}
	}
	ended := make(chan struct{})
	stopped := make(chan stopReason, 1)
	go func() { stopped <- c.watch(cmd.Process.Pid, deadline, stop, ended) }()
	err := cmd.Wait()
	close(ended)
	e := ending{err: err, started: true, stopped: <-stopped, stdout: stdout.text, tooMuch: stdout.more, took: time.Since(began)}
	if errors.Is(err, exec.ErrWaitDelay) {
		e.err = nil // it ended well; something that it started goes on
	}
	e.stderr = stderr.String()
	return e
}

// watch stops the command, if there is a reason to before it ends, and says which.
func (c *command) watch(pid int, deadline time.Time, stop <-chan stopReason, ended <-chan struct{}) stopReason {
	timeout := time.NewTimer(time.Until(deadline))
	defer timeout.Stop()
	var reason stopReason
	select {
	case <-ended:
		return notStopped
	case reason = <-stop:
	case <-timeout.C:
		reason = timedOut
	}
	// When the command is gone, whatever is left of its group goes too.
	defer func() { _ = syscall.Kill(-pid, syscall.SIGKILL) }()
	if reason == cutShort {
		return reason
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	grace := time.NewTimer(c.grace)
	defer grace.Stop()
	for {
		select {
		case <-ended:
			return reason
		case <-grace.C:
			return reason
		case again := <-stop:
			if again == cutShort {
				return reason
			}
		}
	}
}

// commandEnvironment is what all runs of the command have in common: the worker's own environment, and where the worker stands.
func commandEnvironment(own []string, worker, url string) []string {
	var env []string
	for _, variable := range own {
		if !strings.HasPrefix(variable, "WEIR_JOB_") {
			env = append(env, variable)
		}
	}
	return append(env, "WEIR_JOB_WORKER="+worker, "WEIR_URL="+url)
}

// environment is what the command finds out about its job.
func (j *claimedJob) environment() []string {
	tags, metadata := j.Tags, j.Metadata
	if tags == nil {
		tags = []byte("[]")
	}
	if metadata == nil {
		metadata = []byte("{}")
	}
	return []string{
		"WEIR_JOB_ID=" + j.ID,
		"WEIR_JOB_TOKEN=" + j.Token,
		"WEIR_JOB_KIND=" + j.Kind,
		"WEIR_JOB_QUEUE=" + j.Queue,
		"WEIR_JOB_ATTEMPT=" + strconv.Itoa(j.Attempt),
		"WEIR_JOB_MAX_ATTEMPTS=" + strconv.Itoa(j.MaxAttempts),
		"WEIR_JOB_TIMEOUT_SECONDS=" + strconv.Itoa(j.TimeoutSeconds),
		"WEIR_JOB_TAGS=" + string(tags),
		"WEIR_JOB_METADATA=" + string(metadata),
		"WEIR_JOB_DEGRADED=" + strconv.FormatBool(j.Degraded),
	}
}

// input is the args, with a line's end for programs that read lines.
func (j *claimedJob) input() io.Reader {
	args := j.Args
	if args == nil {
		args = []byte("{}")
	}
	return io.MultiReader(bytes.NewReader(args), strings.NewReader("\n"))
}

// head keeps the beginning of what is written.
type head struct {
	limit int
	text  []byte
	more  bool // than the limit was written
}

func (h *head) Write(p []byte) (int, error) {
	room := h.limit - len(h.text)
	if len(p) > room {
		h.more = true
		h.text = append(h.text, p[:room]...)
	} else {
		h.text = append(h.text, p...)
	}
	return len(p), nil
}

// tail keeps the end of what is written, and passes all of it on.
type tail struct {
	limit   int
	text    []byte
	cut     bool
	through io.Writer
}

func (t *tail) Write(p []byte) (int, error) {
	if t.through != nil {
		_, _ = t.through.Write(p)
	}
	t.text = append(t.text, p...)
	if len(t.text) > 16*t.limit {
		t.trim()
	}
	return len(p), nil
}

func (t *tail) trim() {
	if len(t.text) > t.limit {
		t.text = append(t.text[:0], t.text[len(t.text)-t.limit:]...)
		t.cut = true
	}
}

// String is the end as text that JSON and PostgreSQL can hold.
func (t *tail) String() string {
	t.trim()
	text := strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(string(t.text), "\uFFFD"), "\x00", ""))
	if t.cut {
		text = "…" + strings.TrimLeft(text, "\uFFFD")
	}
	return text
}
