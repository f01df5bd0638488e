package weir

import (
	"context"
	"encoding/json"
	"time"
)

// transport is a way to weir. Its errors are *Error where weir refused something, and otherwise those of the connection.
type transport interface {
	enqueue(context.Context, *NewJob) (Enqueued, error)
	enqueueMany(context.Context, []NewJob) ([]Enqueued, error)

	// claim takes up to limit jobs. With a wait it waits for the first one, but no longer than until stop ends. A claim that has been sent is not
	// broken off: what it takes is returned, or given back.
	claim(stop context.Context, r claimRequest) ([]*claimedJob, error)
	ack(context.Context, []ack) ([]ackStatus, error)
	// completeWith completes a job and stores what it adds, all or nothing. Errors: *Error; [ErrLeaseLost] where the lease is not held.
	completeWith(context.Context, ack, *additions) error
	// heartbeat returns the leases that are still held. Those that are missing are lost.
	heartbeat(ctx context.Context, beats []beat, leaseSeconds int) (map[ID]beatAnswer, error)
	appendLog(context.Context, *claimedJob, []logLine) error

	registerWorker(context.Context, string, workerSettings) error
	// heartbeatWorker returns whether the worker is active, paused or draining; empty: it is not registered any more.
	heartbeatWorker(ctx context.Context, name string, load float64) (state string, err error)
	removeWorker(context.Context, string) error

	job(ctx context.Context, id ID, wait time.Duration) (*JobState, error)
	cancelJob(context.Context, ID) error
	submitWorkflow(ctx context.Context, w *Workflow, key string) (ID, error)
	workflow(context.Context, ID) (*WorkflowState, error)
	signal(ctx context.Context, workflow ID, name string, payload json.RawMessage) error
	setSchedule(ctx context.Context, name string, definition []byte) error
	deleteSchedule(context.Context, string) error
	triggerSchedule(context.Context, string) (ID, error)
	events(context.Context, EventFilter, func(Event) bool) error

	close()
}

// claimRequest asks for jobs on behalf of a worker.
type claimRequest struct {
	Worker       string   `json:"worker"`
	Queues       []string `json:"queues"`
	Limit        int      `json:"limit"`
	LeaseSeconds int      `json:"lease_seconds,omitempty"`
	WaitSeconds  float64  `json:"wait_seconds,omitempty"`
}

// claimedJob is a job as a claim hands it out.
type claimedJob struct {
	ID             ID              `json:"id"`
	Token          string          `json:"token"`
	Kind           string          `json:"kind"`
	Queue          string          `json:"queue"`
	Args           json.RawMessage `json:"args"`
	Attempt        int             `json:"attempt"`
	MaxAttempts    int             `json:"max_attempts"`
	Priority       int             `json:"priority"`
	TimeoutSeconds int             `json:"timeout_seconds"`
	CreatedAt      time.Time       `json:"created_at"`
	Tags           []string        `json:"tags"`
	Metadata       json.RawMessage `json:"metadata"`
	Dependencies   json.RawMessage `json:"dependencies"`
	Degraded       bool            `json:"degraded"`

	claimedAt time.Time // by the clock of this process
}

// The outcomes of an ack.
const (
	ackComplete = "complete"
	ackFail     = "fail"
	ackSnooze   = "snooze"
	ackRelease  = "release"
)

// ack settles the lease of a job.
type ack struct {
	ID             ID              `json:"id"`
	Token          string          `json:"token"`
	Outcome        string          `json:"outcome"`
	Result         json.RawMessage `json:"result,omitempty"`
	Error          *failure        `json:"error,omitempty"`
	Retry          *bool           `json:"retry,omitempty"`
	RetryInSeconds *float64        `json:"retry_in_seconds,omitempty"`
	Cancel         bool            `json:"cancel,omitempty"`
	DelaySeconds   *float64        `json:"delay_seconds,omitempty"`

	adds *additions // what a completion stores with it; nil: nothing
}

// failure is why an attempt failed.
type failure struct {
	Message string `json:"message"`
	Type    string `json:"type,omitempty"`
	Stack   string `json:"stack,omitempty"`
}

// ackStatus is the outcome of an ack.
type ackStatus struct {
	accepted bool
	err      error // of one whose values weir refuses; nil: the lease is not held
}

// beat says that a worker still has a job.
type beat struct {
	id       ID
	token    string
	progress *progress // nil: as it was
}

// progress is how far a job is.
type progress struct {
	Percent float64 `json:"percent"`
	Message string  `json:"message,omitempty"`
}

// beatAnswer is what a worker learns of a job that it holds.
type beatAnswer struct{ cancelRequested bool }

// logLine is a line of the log of a job.
type logLine struct {
	At      time.Time       `json:"at"`
	Level   string          `json:"level"`
	Message string          `json:"message"`
	Fields  json.RawMessage `json:"fields,omitempty"`
}

// workerSettings is what a worker says of itself.
type workerSettings struct {
	Hostname string            `json:"hostname,omitempty"`
	Version  string            `json:"version,omitempty"`
	Capacity int               `json:"capacity"`
	Queues   []string          `json:"queues"`
	Labels   map[string]string `json:"labels,omitempty"`
}
