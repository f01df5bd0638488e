package worker

import "encoding/json"

// ack reports the outcome of a job: one of the acks of POST /v1/acks.
type ack struct {
	ID      string          `json:"id"`
	Token   string          `json:"token"`
	Outcome string          `json:"outcome"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *failure        `json:"error,omitempty"`
	Retry   *bool           `json:"retry,omitempty"`
	Cancel  bool            `json:"cancel,omitempty"`
	Delay   *float64        `json:"delay_seconds,omitempty"`

	jobs  []json.RawMessage // follow-up jobs, stored with a completion
	steps []json.RawMessage // steps to add to the job's workflow, likewise
}

// adds reports whether the ack stores more than the outcome: such an ack has a request of its own.
func (a ack) adds() bool { return len(a.jobs)+len(a.steps) > 0 }

// The outcomes that a worker reports.
const (
	complete = "complete"
	fail     = "fail"
	release  = "release"
	snooze   = "snooze"
)

// failure is why an attempt failed.
type failure struct {
	Message string `json:"message"`
	Type    string `json:"type"`
}

func (f *failure) message() string {
	if f == nil {
		return ""
	}
	return f.Message
}

// failed makes the ack one of a failed attempt.
func (a ack) failed(kind, message string) ack {
	return ack{ID: a.ID, Token: a.Token, Outcome: fail, Error: &failure{Message: message, Type: kind}}
}

// snoozed makes the ack one that puts the job back for a delay.
func (a ack) snoozed(seconds float64) ack {
	return ack{ID: a.ID, Token: a.Token, Outcome: snooze, Delay: &seconds}
}

// unusable fails the job for good: its output would be no better the next time.
func (a ack) unusable(message string) ack {
	a = a.failed("output", message)
	a.Retry = new(bool)
	return a
}
