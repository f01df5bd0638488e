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
	Progress *progress `json:"progress"`

	Log    *string                    `json:"log"`
	Level  string                     `json:"level"`
	Fields map[string]json.RawMessage `json:"fields"`

	Result        json.RawMessage   `json:"result"`    // in place of standard output
	Enqueue       json.RawMessage   `json:"enqueue"`   // a job, stored with the completion
	AddSteps      []json.RawMessage `json:"add_steps"` // to the job's workflow, stored with the completion
	SnoozeSeconds *float64          `json:"snooze_seconds"`
	Settled       bool              `json:"settled"` // the program itself has told weir how the job ended
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
	log *jobLog // nil: none

	mu       sync.Mutex
	partial  []byte
	progress *progress // not sent yet
	result   json.RawMessage
	jobs     []json.RawMessage
	steps    []json.RawMessage
	bytes    int // of jobs and steps
	snooze   *float64
	settled  bool
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
