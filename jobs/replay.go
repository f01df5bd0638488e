package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/encryption"
)

// Replay says what to change in the copy of a job. A zero value keeps what the job has.
type Replay struct {
	Args   json.RawMessage `json:"args,omitempty" doc:"The arguments for the worker: any JSON of at most 1 MiB. Defaults to the job's."`
	Queue  string          `json:"queue,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The queue to wait in; its first job creates it. Defaults to the job's." example:"mail"`
	DryRun bool            `json:"dry_run,omitempty" doc:"Store nothing, and answer as a dry run of an enqueue. Defaults to false."`
}

// Replay enqueues a copy of a job, in whatever state that is, and returns the copy. Errors: JobNotFound and those of Enqueue.
func (e *Engine) Replay(ctx context.Context, id ID, r Replay) (Job, error) {
	var copied int64
	err := e.withReplay(ctx, id, r, func(changes json.RawMessage) (err error) {
		copied, err = e.changes.Replay(ctx, db.ReplayParams{JobID: int64(id), Changes: changes, Principal: access.ID(access.From(ctx))})
		return err
	})
	if err != nil {
		return Job{}, err
	}
	return e.Job(ctx, ID(copied))
}

// DryRunReplay says what Replay would do, and stores nothing. Errors: JobNotFound and those of DryRun.
func (e *Engine) DryRunReplay(ctx context.Context, id ID, r Replay) (DryRun, error) {
	var answer json.RawMessage
	err := e.withReplay(ctx, id, r, func(changes json.RawMessage) (err error) {
		answer, err = e.q.DryRunReplay(ctx, db.DryRunReplayParams{JobID: int64(id), Changes: changes, Tenant: viewer(ctx)})
		return err
	})
	if err != nil {
		return DryRun{}, err
	}
	return dryRunOf(answer)
}

// withReplay checks the changes of a replay, and gives them to do as SQL takes them: encrypted if the queue of the copy is.
func (e *Engine) withReplay(ctx context.Context, id ID, r Replay, do func(changes json.RawMessage) error) error {
	if err := checkForged("args", r.Args); err != nil {
		return err
	}
	if r.Queue != "" {
		if err := checkQueues(ctx, "queue", r.Queue); err != nil {
			return err
		}
	}
	original, err := e.q.GetJob(ctx, int64(id))
	if err != nil {
		return notFoundOr(err, id, "reading a job")
	}
	err = e.vault.twice(ctx, func() error {
		changes, err := e.vault.encryptReplay(ctx, original, r)
		if err != nil {
			return err
		}
		return do(changes)
	})
	return ofOne(fromDB("replaying a job", err))
}

// encryptReplay writes the changes of a replay. Args that are encrypted in the database stay as they are.
func (v *vault) encryptReplay(ctx context.Context, original db.WeirJobs, r Replay) (json.RawMessage, error) {
	queues, err := v.encrypted(ctx)
	if err != nil {
		return nil, err
	}
	call := struct {
		Queue string          `json:"queue"`
		Args  json.RawMessage `json:"args,omitempty"`
	}{original.Queue, r.Args}
	if r.Queue != "" {
		call.Queue = r.Queue
	}
	if _, encrypts := queues[call.Queue]; encrypts && len(call.Args) == 0 && !encryption.IsEncrypted(original.Args) {
		call.Args = original.Args
	}
	text, err := json.Marshal(call)
	if err != nil {
		return nil, fmt.Errorf("encoding changes: %w", err)
	}
	encrypted, err := v.encryptJob(ctx, queues, text, "args")
	if encrypted == nil {
		return text, err
	}
	return encrypted, err
}
