package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"unicode/utf8"
)

// ack says what became of a job: one of the acks of POST /v1/acks.
type ack struct {
	ID      string          `json:"id"`
	Token   string          `json:"token"`
	Outcome string          `json:"outcome"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *failure        `json:"error,omitempty"`
	Retry   *bool           `json:"retry,omitempty"`
}

type failure struct {
	Message string `json:"message"`
	Type    string `json:"type"`
}

// The outcomes that a worker reports.
const (
	complete = "complete"
	fail     = "fail"
	release  = "release"
)

// ack turns the ending into what is reported. A released job that was cancelled is cancelled then. For a lost lease there is nothing
// to report, and ok is false.
func (e ending) ack(job *claimedJob) (a ack, ok bool) {
	a = ack{ID: job.ID, Token: job.Token}
	switch e.stopped {
	case leaseLost:
		return a, false
	case jobCancelled, shuttingDown, cutShort:
		// Also where the status is 0: a command that was told to stop may end well with half of its work done.
		a.Outcome = release
		return a, true
	case timedOut:
		return a.failed("timeout", e.withStderr(fmt.Sprintf("ran past its timeout of %d seconds", job.TimeoutSeconds))), true
	case notStopped:
	}
	switch {
	case !e.started:
		return a.failed("start", "the command could not be started: "+e.err.Error()), true
	case e.err != nil:
		return a.failed(e.status()), true
	case e.tooMuch:
		return a.refused(fmt.Sprintf("standard output is longer than %d bytes, which is the most that a result may have", maxResult)), true
	}
	result, err := resultFrom(e.stdout)
	if err != nil {
		return a.refused(err.Error()), true
	}
	a.Outcome, a.Result = complete, result
	return a, true
}

func (a ack) failed(kind, message string) ack {
	a.Outcome, a.Result, a.Error = fail, nil, &failure{Message: message, Type: kind}
	return a
}

// refused is for output that would be no better the next time.
func (a ack) refused(message string) ack {
	a = a.failed("output", message)
	a.Retry = new(bool)
	return a
}

// status names how a command ended that ended badly by itself.
func (e ending) status() (kind, message string) {
	var exit *exec.ExitError
	if !errors.As(e.err, &exit) {
		return "wait", e.withStderr(e.err.Error())
	}
	if wait, ok := exit.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return "signal", e.withStderr(fmt.Sprintf("ended by signal %d (%s)", wait.Signal(), wait.Signal()))
	}
	return "exit", e.withStderr(fmt.Sprintf("exit status %d", exit.ExitCode()))
}

func (e ending) withStderr(message string) string {
	if e.stderr == "" {
		return message
	}
	return message + ": " + e.stderr
}

// resultFrom is JSON where the output is that, otherwise the output as a JSON string without the line's end, and nil for no output.
func resultFrom(output []byte) (json.RawMessage, error) {
	text := bytes.TrimSpace(output)
	if len(text) == 0 {
		return nil, nil
	}
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("standard output is neither JSON nor text in UTF-8, and cannot be a result")
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
		return nil, fmt.Errorf("standard output is longer than %d bytes as a JSON string, which is the most that a result may have", maxResult)
	}
	return result, nil
}
