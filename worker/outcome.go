package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
	"unicode/utf8"
)

// outcome is how a run of the program ended.
type outcome struct {
	err     error // of Start or Wait
	started bool
	stopped stopReason
	stdout  []byte
	cut     bool // stdout was longer than maxResult
	stderr  string
	took    time.Duration
	told    *reports
}

// ack turns the outcome into what is reported. A job that is cancelled is released, which cancels it. For a lost lease
// there is nothing to report, nor for a job that the program has settled, and ok is false.
func (o outcome) ack(job *claimedJob, exits Exits) (a ack, ok bool) {
	a = ack{ID: job.ID, Token: job.Token}
	if o.told.settled {
		return a, false
	}
	if named := o.told.outcome; named != nil && o.told.err == nil && o.stopped != leaseLost {
		named.ID, named.Token = a.ID, a.Token
		return *named, true
	}
	switch o.stopped {
	case leaseLost:
		return a, false
	case jobCancelled, shuttingDown, cutShort:
		// Even if the exit status is 0: a program that was told to stop may end well with its work half done.
		a.Outcome = release
		return a, true
	case timedOut:
		reason := fmt.Sprintf("ran past its timeout of %d seconds", job.TimeoutSeconds)
		return a.failed("timeout", o.withStderr(reason)), true
	case notStopped:
	}
	if !o.started {
		return a.failed("start", "the command could not be started: "+o.err.Error()), true
	}
	if o.told.err != nil {
		return a.failed("report", "the command reported what weir does not understand: "+o.told.err.Error()), true
	}
	return o.finished(a, exits), true
}

// finished is the ack for a program that nothing stopped.
func (o outcome) finished(a ack, exits Exits) ack {
	status := o.exitStatus()
	switch {
	case o.told.snooze != nil && (o.err == nil || status == exits.Later):
		return a.snoozed(*o.told.snooze)
	case status != 0 && status == exits.Later:
		return a.snoozed(exits.LaterSeconds)
	case o.err != nil:
		a = a.failed(o.status())
		if status != 0 && status == exits.GiveUp {
			a.Retry = new(bool)
		}
		return a
	}
	a.Outcome, a.Result, a.jobs, a.steps = complete, o.told.result, o.told.jobs, o.told.steps
	if a.Result != nil {
		return a
	}
	if o.cut {
		return a.unusable(fmt.Sprintf("standard output is longer than %d bytes, the largest result", maxResult))
	}
	result, err := resultFrom(o.stdout)
	if err != nil {
		return a.unusable(err.Error())
	}
	a.Result = result
	return a
}

// exitStatus is the exit status of a program that exited with one other than 0, and else 0.
func (o outcome) exitStatus() int {
	var exit *exec.ExitError
	if errors.As(o.err, &exit) {
		return max(exit.ExitCode(), 0)
	}
	return 0
}

// status says how a program failed that was not stopped.
func (o outcome) status() (kind, message string) {
	var exit *exec.ExitError
	if !errors.As(o.err, &exit) {
		return "wait", o.withStderr(o.err.Error())
	}
	if wait, ok := exit.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return "signal", o.withStderr(fmt.Sprintf("ended by signal %d (%s)", wait.Signal(), wait.Signal()))
	}
	return "exit", o.withStderr(fmt.Sprintf("exit status %d", exit.ExitCode()))
}

func (o outcome) withStderr(message string) string {
	if o.stderr == "" {
		return message
	}
	return message + ": " + o.stderr
}

// resultFrom makes a result of a program's output: JSON as it is, other text as a JSON string without its last line
// break, and nil for no output.
func resultFrom(output []byte) (json.RawMessage, error) {
	text := bytes.TrimSpace(output)
	if len(text) == 0 {
		return nil, nil
	}
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("standard output is neither JSON nor text in UTF-8, so it cannot be a result")
	}
	if json.Valid(text) {
		return text, nil
	}
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(string(bytes.TrimRight(output, "\r\n"))); err != nil {
		return nil, err
	}
	result := bytes.TrimSpace(encoded.Bytes())
	if len(result) > maxResult {
		return nil, fmt.Errorf("standard output is longer than %d bytes as a JSON string, the largest result", maxResult)
	}
	return result, nil
}
