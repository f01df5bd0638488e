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
}

// The outcomes that a worker reports.
const (
	complete = "complete"
	fail     = "fail"
	release  = "release"
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
	a.Outcome, a.Result, a.Error = fail, nil, &failure{Message: message, Type: kind}
	return a
}

// unusable fails the job for good: its output would be no better the next time.
func (a ack) unusable(message string) ack {
	a = a.failed("output", message)
	a.Retry = new(bool)
	return a
}
