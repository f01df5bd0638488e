package weir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// JobState is a job as a reader sees it.
type JobState struct {
	ID       ID              `json:"id"`
	Kind     string          `json:"kind"`
	Queue    string          `json:"queue"`
	Args     json.RawMessage `json:"args"`
	Priority int             `json:"priority"`
	// State is held, scheduled, retryable, available, running, completed, cancelled or dead.
	State       string     `json:"state"`
	Attempt     int        `json:"attempt"`
	MaxAttempts int        `json:"max_attempts"`
	CreatedAt   time.Time  `json:"created_at"`
	RunAt       *time.Time `json:"run_at"`
	StartedAt   *time.Time `json:"started_at"`
	FinishedAt  *time.Time `json:"finished_at"`
	Worker      string     `json:"worker"`
	// Progress is what the worker last said.
	Progress *struct {
		Percent float64 `json:"percent"`
		Message string  `json:"message"`
	} `json:"progress"`
	Result json.RawMessage `json:"result"`
	// Error is why it is dead or was cancelled: an object with message, type and stack.
	Error      json.RawMessage `json:"error"`
	Tags       []string        `json:"tags"`
	Metadata   json.RawMessage `json:"metadata"`
	WorkflowID ID              `json:"workflow_id"`
	Step       string          `json:"step"`
}

// Ended says whether the job is completed, cancelled or dead.
func (s *JobState) Ended() bool {
	return s.State == "completed" || s.State == "cancelled" || s.State == "dead"
}

// Job returns a job as it is now. Errors: [ErrNotFound].
func (c *Client) Job(ctx context.Context, id ID) (*JobState, error) { return c.t.job(ctx, id, 0) }

// waitFor is how long one call waits for the end of a job.
const waitFor = 30 * time.Second

// Wait waits until a job has ended, or ctx has. Over REST weir answers when the job ends; over SQL the job is read ten times a second. Errors:
// [ErrNotFound].
func (c *Client) Wait(ctx context.Context, id ID) (*JobState, error) {
	for p := (pauses{}); ; {
		s, err := c.t.job(ctx, id, waitFor)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && s.Ended():
			return s, nil
		case err == nil:
			p = pauses{}
		case !isAway(err):
			return nil, err
		default:
			sleep(ctx, p.next(err))
		}
	}
}

// JobFailedError says that a job did not complete that a caller waits for.
type JobFailedError struct {
	// State is dead or cancelled.
	State string
	// ID is the job's.
	ID ID
	// Message and Type are of its last error; empty: it has none.
	Message, Type string
}

// Error says how the job ended.
func (e *JobFailedError) Error() string {
	text := fmt.Sprintf("weir: job %s is %s", e.ID, e.State)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Await waits for a job and decodes its result; the zero value, where it has none. Errors: *[JobFailedError] where it was cancelled or died,
// [ErrNotFound], and that of ctx.
func Await[R any](ctx context.Context, c *Client, id ID) (result R, err error) {
	s, err := c.Wait(ctx, id)
	if err != nil {
		return result, err
	}
	if s.State != "completed" {
		failed := &JobFailedError{State: s.State, ID: id}
		var f failure
		if json.Unmarshal(s.Error, &f) == nil {
			failed.Message, failed.Type = f.Message, f.Type
		}
		return result, failed
	}
	if len(s.Result) == 0 || string(s.Result) == "null" {
		return result, nil
	}
	if err := json.Unmarshal(s.Result, &result); err != nil {
		return result, fmt.Errorf("weir: decoding the result of job %s: %w", id, err)
	}
	return result, nil
}

// Call enqueues a job and waits for its result, whose type follows from the args. Errors: those of [Client.Enqueue] and [Await].
func Call[A Produces[R], R any](ctx context.Context, c *Client, args A, opts ...Option) (R, error) {
	done, err := c.Enqueue(ctx, args, opts...)
	if err != nil {
		var none R
		return none, err
	}
	return Await[R](ctx, c, done.ID)
}

var errClosed = errors.New("weir: the client is closed")
