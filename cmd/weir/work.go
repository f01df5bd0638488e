package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

type workCommand struct {
	Queue            []string `help:"A queue to take jobs from; may be given several times, and each gets its turn." env:"WEIR_QUEUE" required:"" placeholder:"NAME"`
	Concurrency      int      `help:"How many commands run at once. Defaults to the number of processors." env:"WEIR_CONCURRENCY" default:"${default_concurrency}"`
	Worker           string   `help:"The name of this worker, which no other one has. Defaults to the machine's name and the process's id." env:"WEIR_WORKER" placeholder:"NAME"`
	LeaseSeconds     int      `help:"How long a job stays with this worker without a sign of life. Heartbeats, sent three times as often, also bring word that a job was cancelled." env:"WEIR_LEASE_SECONDS" default:"30"`
	GraceSeconds     float64  `help:"When told to end: how long running commands may take to finish." env:"WEIR_GRACE_SECONDS" default:"10"`
	KillGraceSeconds float64  `help:"When a command is stopped: how long after SIGTERM it gets SIGKILL." env:"WEIR_KILL_GRACE_SECONDS" default:"5"`
	ShowStderr       bool     `help:"Pass on what commands write to standard error." env:"WEIR_SHOW_STDERR"`
	Command          []string `arg:"" passthrough:"" help:"The program and its arguments, after --."`
	clientFlags
	logFlags
}

// Help is what weir work --help says beside the flags.
func (workCommand) Help() string {
	return `The command is started once for each job. It reads the job's args, JSON, from standard input; what it writes to standard output
is the result: JSON where it is that, otherwise text. An exit status other than 0 fails the attempt, with the end of standard error as
the reason, and the job is tried again by its retry policy.

In its environment it finds WEIR_JOB_ID, WEIR_JOB_KIND, WEIR_JOB_QUEUE, WEIR_JOB_ATTEMPT, WEIR_JOB_MAX_ATTEMPTS, WEIR_JOB_TOKEN,
WEIR_JOB_TIMEOUT_SECONDS, WEIR_JOB_TAGS and WEIR_JOB_METADATA (both JSON), WEIR_JOB_DEGRADED
(true: its circuit breaker is open), WEIR_JOB_WORKER and WEIR_URL.

A command is stopped, with all processes of its group, when its job is cancelled, runs past its timeout, or is no longer this
worker's. SIGTERM and SIGINT end the worker: it takes no more jobs, gives running commands --grace-seconds, and puts what it still
holds back into the queue, at no cost of an attempt. A second signal does so at once.

The worker registers, with a capacity of what it runs at once and takes ahead of need, and says every ten seconds that it lives and how
busy it is. weir workers pause, resume and drain tell the service to give it no jobs, or to give it some again; it goes on with
what it has, and does not end by itself. Where it gave itself its name it is forgotten when it ends; under a name of yours it
stays in the list, so that you see that it is away.`
}

// Validate is called by kong.
func (c *workCommand) Validate() error {
	switch {
	case c.Concurrency < 1 || c.Concurrency > 1000:
		return errors.New("--concurrency must be from 1 to 1000")
	case c.LeaseSeconds < 1 || c.LeaseSeconds > 3600:
		return errors.New("--lease-seconds must be from 1 to 3600")
	case c.GraceSeconds < 0 || c.KillGraceSeconds < 0:
		return errors.New("--grace-seconds and --kill-grace-seconds must not be negative")
	}
	return nil
}

// Run works until it is told to end.
func (c *workCommand) Run(std streams, stop *stop) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	line := c.Command
	if len(line) > 0 && line[0] == "--" {
		line = line[1:]
	}
	if len(line) == 0 {
		return usagef("no command: give the program and its arguments after --")
	}
	path, err := exec.LookPath(line[0])
	if err != nil {
		return usagef("there is no program %s: %v", line[0], errors.Unwrap(err))
	}
	name := c.Worker
	if name == "" {
		name = defaultWorkerName()
	}
	log := c.logger(std.err)
	var stderr io.Writer
	if c.ShowStderr {
		stderr = std.err
	}
	w := newWorker(workerConfig{
		client: weir, log: log, name: name, fleeting: c.Worker == "", queues: c.Queue, slots: c.Concurrency, leaseSeconds: c.LeaseSeconds, grace: inSeconds(c.GraceSeconds),
		command: &command{
			path: path, args: line, env: commandEnvironment(os.Environ(), name, weir.base), grace: inSeconds(c.KillGraceSeconds), stderr: stderr,
		},
	})
	log.Info("working", "url", weir.base, "queues", strings.Join(c.Queue, ","), "worker", name, "concurrency", c.Concurrency)
	return w.run(stop)
}

func inSeconds(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func defaultConcurrency() string { return strconv.Itoa(runtime.NumCPU()) }

// defaultWorkerName tells workers of one machine apart, and machines.
func defaultWorkerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
