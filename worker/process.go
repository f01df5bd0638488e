package worker

import (
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// pipeWait is how long a program that has ended may keep its output open: a process that it started may hold on to it.
const pipeWait = 2 * time.Second

// Program is the program that does the jobs, one process a job.
type Program struct {
	Path string
	Args []string // the program's name first
	Env  []string // what all runs have in common, of Environment
	// KillGrace is how long after SIGTERM a program gets SIGKILL.
	KillGrace time.Duration
	// Envelope gives the program the whole job on standard input, in place of its args.
	Envelope bool
	// Batch is the most jobs of a queue and kind that one process gets, as lines of whole jobs. Defaults to 1: each job has a process.
	Batch int
	// Exits are the exit statuses that say more than that the attempt failed.
	Exits Exits
	// Stderr is where standard error is passed on to. Defaults to nowhere.
	Stderr io.Writer
}

// always are the variables that every program gets.
var always = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR"}

// Environment is what all runs of a program have in common: the variables of the environment that are listed, the worker's name and
// the service's URL. The others may be secrets of this program, such as its database's URL, which jobs have no need of.
func Environment(inherited, listed []string, worker, url string) []string {
	listed = slices.Concat(listed, always)
	var env []string
	for _, variable := range inherited {
		name, _, _ := strings.Cut(variable, "=")
		if passes(name, listed) {
			env = append(env, variable)
		}
	}
	return append(env, "WEIR_JOB_WORKER="+worker, "WEIR_URL="+url)
}

// passes says whether a variable is listed. One of weir's own must be listed by its whole name.
func passes(name string, listed []string) bool {
	if strings.HasPrefix(name, "WEIR_JOB_") || name == "WEIR_URL" {
		return false // another job's, or the address of another service
	}
	return slices.ContainsFunc(listed, func(entry string) bool {
		prefix, open := strings.CutSuffix(entry, "*")
		return entry == name || open && strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, "WEIR_")
	})
}

// stopReason is why a program is stopped before it ends.
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

// run runs the program for a job until it ends, the deadline passes, or stop gives a reason to stop it. log gets its standard error too, unless
// it is nil.
func (p *Program) run(job *claimedJob, deadline time.Time, stop <-chan stopReason, told *reports, log io.Writer) outcome {
	return p.process(p.input(job), job.environment(), func() time.Time { return deadline }, stop, told, log)
}

// process runs a process of the program. The deadline may come to be later while it runs.
func (p *Program) process(input io.Reader, env []string, deadline func() time.Time, stop <-chan stopReason, told *reports, log io.Writer) outcome {
	stdout, stderr := &head{limit: maxResult}, &tail{limit: maxStderr, through: p.Stderr, log: log}
	cmd := &exec.Cmd{
		Path: p.Path, Args: p.Args, Env: append(p.Env[:len(p.Env):len(p.Env)], env...),
		Stdin: input, Stdout: stdout, Stderr: stderr, SysProcAttr: processGroup(), WaitDelay: pipeWait,
	}
	began := time.Now()
	channel, err := newChannel(cmd, told)
	if err != nil {
		return outcome{err: err}
	}
	if err := cmd.Start(); err != nil {
		channel.abandon()
		return outcome{err: err}
	}
	channel.listen()
	exited := make(chan struct{})
	stopped := make(chan stopReason, 1)
	go func() { stopped <- p.watch(cmd.Process.Pid, deadline, stop, exited) }()
	err = cmd.Wait()
	close(exited)
	channel.end()
	o := outcome{
		err: err, started: true, stopped: <-stopped, stdout: stdout.text, cut: stdout.cut, took: time.Since(began), told: told,
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		o.err = nil // it succeeded; a process that it started goes on
	}
	o.stderr = stderr.String()
	return o
}

// watch stops the program if there is a reason to before it exits, and returns that reason.
func (p *Program) watch(pid int, deadline func() time.Time, stop <-chan stopReason, exited <-chan struct{}) stopReason {
	timeout := time.NewTimer(time.Until(deadline()))
	defer timeout.Stop()
	reason := notStopped
	for reason == notStopped {
		select {
		case <-exited:
			return notStopped
		case reason = <-stop:
		case <-timeout.C:
			if left := time.Until(deadline()); left > 0 {
				timeout.Reset(left)
				continue
			}
			reason = timedOut
		}
	}
	// Whatever is left of its process group is killed after it.
	defer func() { _ = syscall.Kill(-pid, syscall.SIGKILL) }()
	if reason == cutShort {
		return reason
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	grace := time.NewTimer(p.KillGrace)
	defer grace.Stop()
	for {
		select {
		case <-exited:
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
