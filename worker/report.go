package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

const (
	// maxReport is the longest line that a program may report with, and maxFollowUps how many jobs and steps, and how
	// many bytes of them, it may ask for.
	maxReport        = 2 << 20
	maxFollowUps     = 1000
	maxFollowUpBytes = 4 << 20
)

// report is a line that a program writes to the descriptor of its job: a JSON object with one or more members.
type report struct {
	Job string `json:"job"` // the job that it names; a program that has one need not name it

	Progress *progress `json:"progress"`

	Log    *string                    `json:"log"`
	Level  string                     `json:"level"`
	Fields map[string]json.RawMessage `json:"fields"`

	Result        json.RawMessage   `json:"result"`    // in place of standard output
	Enqueue       json.RawMessage   `json:"enqueue"`   // a job, stored with the completion
	AddSteps      []json.RawMessage `json:"add_steps"` // to the job's workflow, stored with the completion
	SnoozeSeconds *float64          `json:"snooze_seconds"`
	Settled       bool              `json:"settled"` // the program itself has told weir how the job ended

	Outcome string   `json:"outcome"` // in place of what the exit status says: complete, fail or snooze
	Error   *because `json:"error"`   // with fail: why
	Retry   *bool    `json:"retry"`   // with fail: false: the job is dead
	Cancel  bool     `json:"cancel"`  // with fail: the job is cancelled
}

// because is why an attempt failed: a text, or an object with a message and a type.
type because failure

// UnmarshalJSON takes a text or an object.
func (b *because) UnmarshalJSON(text []byte) error {
	type object because
	if text[0] == '{' {
		return json.Unmarshal(text, (*object)(b))
	}
	return json.Unmarshal(text, &b.Message)
}

// progress is how far a job is: a number of percent, or an object with a message too.
type progress struct {
	Percent float64 `json:"percent"`
	Message string  `json:"message,omitempty"`
}

// UnmarshalJSON takes a number or an object.
func (p *progress) UnmarshalJSON(text []byte) error {
	type object progress
	if text[0] == '{' {
		if err := json.Unmarshal(text, (*object)(p)); err != nil {
			return err
		}
	} else if err := json.Unmarshal(text, &p.Percent); err != nil {
		return err
	}
	if p.Percent < 0 || p.Percent > 100 || utf8.RuneCountInString(p.Message) > 1000 {
		return errors.New("progress must be from 0 to 100, and its message at most 1000 characters")
	}
	return nil
}

// reports takes what a program reports of its job, and keeps it for the ack.
type reports struct {
	log   *jobLog             // nil: none
	job   string              // the id of the job
	batch map[string]*reports // those of the jobs of a batch, by id; nil: the program has one job
	named func()              // called when the program has named the outcome of its job of a batch

	mu       sync.Mutex
	partial  []byte
	progress *progress // not sent yet
	result   json.RawMessage
	jobs     []json.RawMessage
	steps    []json.RawMessage
	bytes    int // of jobs and steps
	snooze   *float64
	settled  bool
	outcome  *ack  // that the program named
	err      error // the first line that could not be understood
}

// Write takes a part of what the program writes.
func (r *reports) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		if len(r.partial)+len(line) > maxReport {
			r.refuse(fmt.Errorf("a line is longer than %d bytes", maxReport))
			r.partial = r.partial[:0]
			continue
		}
		r.partial = append(r.partial, line...)
		if whole {
			r.take(r.partial)
			r.partial = r.partial[:0]
		}
	}
	return len(p), nil
}

// end takes in a last line without an end.
func (r *reports) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.partial) > 0 {
		r.take(r.partial)
		r.partial = nil
	}
}

func (r *reports) refuse(err error) {
	if r.err == nil {
		r.err = err
	}
}

// take takes in a line. Call it with mu held.
func (r *reports) take(line []byte) {
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return
	}
	var m report
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		r.refuse(fmt.Errorf("a line is no report: %w", err))
		return
	}
	if decoder.More() {
		r.refuse(errors.New("a line has more than one JSON value"))
		return
	}
	if r.batch != nil {
		r.pass(&m)
		return
	}
	if m.Job != "" && m.Job != r.job {
		r.refuse(fmt.Errorf("the job %q is not the one that the command has", m.Job))
		return
	}
	r.apply(&m)
}

// pass hands a line to the job of a batch that it names.
func (r *reports) pass(m *report) {
	of := r.batch[m.Job]
	if of == nil {
		r.refuse(fmt.Errorf("a line names the job %q, which the command does not have", m.Job))
		return
	}
	of.mu.Lock()
	ended := of.outcome != nil || of.settled
	if !ended {
		of.apply(m)
	}
	told := of.outcome != nil || of.settled
	of.mu.Unlock()
	if told && !ended {
		of.named()
	}
}

// apply takes in what a line says of the job. Call it with mu held.
func (r *reports) apply(m *report) {
	if m.Log != nil && r.log != nil {
		r.log.note(*m.Log, m.Level, m.Fields)
	}
	if m.Progress != nil {
		r.progress = m.Progress
	}
	if m.Result != nil {
		r.result = m.Result
	}
	if m.SnoozeSeconds != nil {
		r.snooze = m.SnoozeSeconds
	}
	r.settled = r.settled || m.Settled
	if m.Enqueue != nil {
		r.add(&r.jobs, m.Enqueue)
	}
	for _, step := range m.AddSteps {
		r.add(&r.steps, step)
	}
	r.conclude(m)
}

// conclude takes in the outcome that a line names. What follows in other lines does not change it.
func (r *reports) conclude(m *report) {
	var a ack
	switch m.Outcome {
	case "":
		if m.Error != nil || m.Retry != nil || m.Cancel {
			r.refuse(errors.New("error, retry and cancel take the outcome fail"))
		}
		return
	case complete:
		a = ack{Outcome: complete, Result: r.result, jobs: r.jobs, steps: r.steps}
	case fail:
		if m.Error == nil || m.Error.Message == "" {
			r.refuse(errors.New("the outcome fail takes an error"))
			return
		}
		a = ack{Outcome: fail, Error: (*failure)(m.Error), Retry: m.Retry, Cancel: m.Cancel}
	case snooze:
		if r.snooze == nil {
			r.refuse(errors.New("the outcome snooze takes snooze_seconds"))
			return
		}
		a = ack{Outcome: snooze, Delay: r.snooze}
	default:
		r.refuse(errors.New("an outcome is complete, fail or snooze"))
		return
	}
	r.outcome = &a
}

// concluded says whether the outcome of the job is known before the program ends.
func (r *reports) concluded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcome != nil || r.settled
}

func (r *reports) add(to *[]json.RawMessage, text json.RawMessage) {
	r.bytes += len(text)
	if len(r.jobs)+len(r.steps) >= maxFollowUps || r.bytes > maxFollowUpBytes {
		r.refuse(fmt.Errorf("it asks for more than %d jobs and steps, or more than %d bytes of them", maxFollowUps, maxFollowUpBytes))
		return
	}
	*to = append(*to, text)
}

// takeProgress returns the last progress that was not sent yet.
func (r *reports) takeProgress() *progress {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.progress
	r.progress = nil
	return p
}

// keepProgress puts back a progress that could not be sent, unless there is a later one.
func (r *reports) keepProgress(p *progress) {
	if p == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.progress == nil {
		r.progress = p
	}
}
