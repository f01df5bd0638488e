package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/weirhq/weir/cli"
	"github.com/weirhq/weir/worker"
)

type workCommand struct {
	Queue            []string `help:"Queue to take jobs from; repeat for several, which take turns." env:"WEIR_QUEUE" required:"" placeholder:"NAME"`
	Concurrency      int      `help:"How many commands run at once. Defaults to the number of processors." env:"WEIR_CONCURRENCY" default:"${default_concurrency}"`
	Worker           string   `help:"Name of this worker; it must be unique. Defaults to host name and process id." env:"WEIR_WORKER" placeholder:"NAME"`
	LeaseSeconds     int      `help:"How long a job stays leased to this worker without a heartbeat. Heartbeats are three times as frequent, and also learn that a job is cancelled." env:"WEIR_LEASE_SECONDS" default:"30"`
	GraceSeconds     float64  `help:"On shutdown, how long running commands may take to finish." env:"WEIR_GRACE_SECONDS" default:"10"`
	KillGraceSeconds float64  `help:"When a command is stopped, the time between SIGTERM and SIGKILL." env:"WEIR_KILL_GRACE_SECONDS" default:"5"`
	Env              []string `help:"Names of variables that commands get beside those that all get, comma-separated. A * at the end of a name stands for any text." env:"WEIR_ENV" placeholder:"NAME,…"`
	ShowStderr       bool     `help:"Copy the standard error of commands to that of weir." env:"WEIR_SHOW_STDERR"`
	Batch            int      `help:"Give a command up to this many jobs of a queue and kind at once: a line each on standard input, with the whole job." env:"WEIR_BATCH" default:"1" placeholder:"N"`
	Envelope         bool     `help:"Give the command the whole job as one JSON object, in place of its args." env:"WEIR_ENVELOPE"`
	LaterStatus      int      `help:"Exit status that puts the job back for --later-seconds, at no cost of an attempt; 0 for none." env:"WEIR_LATER_STATUS" default:"75"`
	LaterSeconds     float64  `help:"Delay after --later-status." env:"WEIR_LATER_SECONDS" default:"60"`
	GiveUpStatus     int      `help:"Exit status that fails the job for good: it is dead, whatever its attempts; 0 for none." env:"WEIR_GIVE_UP_STATUS" default:"65"`
	NoLogs           bool     `help:"Do not send the standard error of commands to the logs of their jobs." env:"WEIR_NO_LOGS"`
	Command          []string `arg:"" passthrough:"" help:"The program and its arguments, after --."`
	cli.ServiceFlags
	logFlags
}

// Help is what weir work --help prints besides the flags.
func (workCommand) Help() string {
	return `weir starts the command once for each job. The command reads the job's args, JSON, from standard input. Its
standard output is the result: JSON if it is valid JSON, otherwise a string. An exit status other than 0 fails
the attempt, with the end of standard error as the reason, and the job is retried by its retry policy. Two exit
statuses say more, as sysexits.h has them: 75 puts the job back for a minute and costs no attempt, 65 fails it for
good.

--envelope gives the command the whole job in place of its args: one JSON object with id, token, kind, queue, args,
attempt, max_attempts, timeout_seconds, tags, metadata and, for a step of a workflow, dependencies.

The command may report while it runs. It writes JSON objects, one a line, to the file descriptor in
WEIR_JOB_REPORT_FD (3): {"progress": 40} or {"progress": {"percent": 40, "message": "resizing"}}; {"log": "text",
"level": "warn", "fields": {…}}; {"result": …}, in place of standard output; {"enqueue": {"kind": …}}, a follow-up
job, and {"add_steps": […]}, steps of its workflow, which are stored in one transaction with the completion, or not
at all if the attempt fails; {"snooze_seconds": 300}, to be run again later; {"settled": true}, if it has told weir
itself how the job ended; {"outcome": "complete"}, "fail" (with "error", and "retry": false or "cancel": true) or
"snooze", in place of what the exit status says.

--batch N gives one command up to N jobs of a queue and kind: a line of JSON each, as with --envelope. Each report
then names its "job". A job whose outcome is reported ends at once; the exit status decides those that are left. A
job that is cancelled, times out or is no longer leased stops the command; the others go back and lose no attempt.

What the command writes to standard error is the job's log, line by line (weir job logs ID --follow). A line that is
a JSON object with a message may have a level and a time; its other members are the fields. The rest has the level
info. Lines that cannot be sent in time are dropped and counted; the command never waits for them. --no-logs sends
none.

Its environment has WEIR_JOB_ID, WEIR_JOB_KIND, WEIR_JOB_QUEUE, WEIR_JOB_ATTEMPT, WEIR_JOB_MAX_ATTEMPTS,
WEIR_JOB_TOKEN, WEIR_JOB_TIMEOUT_SECONDS, WEIR_JOB_TAGS and WEIR_JOB_METADATA (both JSON), WEIR_JOB_DEGRADED
(true if its circuit breaker is open), WEIR_JOB_DEPENDENCIES (of a step: results by name, up to 100 KiB),
TRACEPARENT (that of the metadata), WEIR_JOB_WORKER and WEIR_URL. Of the environment of weir work it has PATH,
HOME, USER, LOGNAME, SHELL, LANG, LC_…, TZ, TMPDIR, and what --env names: secrets that weir was started with stay
with weir. --env 'AWS_*,WEIR_TOKEN' passes those on.

weir stops a command, with all processes of its group, when its job is cancelled, passes its timeout, or is no
longer leased to this worker. SIGTERM and SIGINT stop the worker: it claims no more jobs, gives running commands
--grace-seconds, and puts the jobs that it still holds back into their queues; they lose no attempt. A second
signal does so at once.

The worker registers with a capacity of the jobs that it runs at once and claims ahead of need. Every ten
seconds it sends a heartbeat with its load. weir workers pause, drain and resume tell the service whether to
give it jobs; it keeps the jobs that it has, and keeps running. A worker with a default name is removed from the
list when it ends; one that you named stays in the list.`
}

// Validate is called by kong.
func (c *workCommand) Validate() error {
	switch {
	case c.Concurrency < 1 || c.Concurrency > 1000:
		return errors.New("--concurrency must be from 1 to 1000")
	case c.Batch < 1 || c.Batch*c.Concurrency > 3000:
		return errors.New("--batch must be at least 1, and --batch times --concurrency at most 3000")
	case c.LeaseSeconds < 1 || c.LeaseSeconds > 3600:
		return errors.New("--lease-seconds must be from 1 to 3600")
	case c.LaterStatus < 0 || c.LaterStatus > 255 || c.GiveUpStatus < 0 || c.GiveUpStatus > 255 || c.LaterStatus > 0 && c.LaterStatus == c.GiveUpStatus:
		return errors.New("--later-status and --give-up-status must be from 0 to 255, and differ")
	case c.LaterSeconds < 0 || c.LaterSeconds > 315360000:
		return errors.New("--later-seconds must be from 0 to 315360000")
	case c.GraceSeconds < 0 || c.KillGraceSeconds < 0:
		return errors.New("--grace-seconds and --kill-grace-seconds must not be negative")
	}
	return nil
}

// Run works until it is asked to stop.
func (c *workCommand) Run(std streams, stop *stop) error {
	client, err := c.Client(std.session())
	if err != nil {
		return err
	}
	name := c.Worker
	if name == "" {
		name = defaultWorkerName()
	}
	program, err := c.program(std, name, client.URL())
	if err != nil {
		return err
	}
	log := c.logger(std.err)
	w := worker.New(worker.Config{
		Client: client, Logger: log, Name: name, Ephemeral: c.Worker == "", Version: readBuild().version,
		Queues: c.Queue, Slots: c.Concurrency, LeaseSeconds: c.LeaseSeconds, Grace: cli.Seconds(c.GraceSeconds),
		Program: program, NoLogs: c.NoLogs,
	})
	log.Info("working", "url", client.URL(), "queues", strings.Join(c.Queue, ","), "worker", name,
		"concurrency", c.Concurrency)
	return w.Run(stop.asked, stop.insisted)
}

// program is the program that runs for each job.
func (c *workCommand) program(std streams, workerName, url string) (worker.Program, error) {
	args := c.Command
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return worker.Program{}, usagef("no command: give the program and its arguments after --")
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return worker.Program{}, usagef("cannot find the program %s: %v", args[0], errors.Unwrap(err))
	}
	p := worker.Program{
		Path: path, Args: args, Env: worker.Environment(os.Environ(), c.Env, workerName, url),
		KillGrace: cli.Seconds(c.KillGraceSeconds), Envelope: c.Envelope, Batch: c.Batch,
		Exits: worker.Exits{Later: c.LaterStatus, GiveUp: c.GiveUpStatus, LaterSeconds: c.LaterSeconds},
	}
	if c.ShowStderr {
		p.Stderr = std.err
	}
	return p, nil
}

// defaultWorkerName is unique to this process on this host.
func defaultWorkerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
