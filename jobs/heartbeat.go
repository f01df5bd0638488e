package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/weirhq/weir/db"
)

// Beat says that a worker still has a job.
type Beat struct {
	ID           ID
	Token        Token
	LeaseSeconds int       // length of the lease from now; 0: as long as it was
	Progress     *Progress // nil: as it was
}

// BeatResult is what the worker learns.
type BeatResult struct {
	LeaseExpiresAt  time.Time `json:"lease_expires_at" doc:"When the job is taken back unless another heartbeat comes."`
	CancelRequested bool      `json:"cancel_requested" doc:"The job was cancelled: stop working on it."`
}

// Heartbeat extends one lease. Errors: StaleToken, JobNotFound, InvalidArgument.
func (e *Engine) Heartbeat(ctx context.Context, beat Beat) (BeatResult, error) {
	fence, err := e.checkedFence(ctx, beat.ID, beat.Token)
	if err != nil {
		return BeatResult{}, err
	}
	params := db.HeartbeatParams{JobIds: []int64{int64(beat.ID)}, Tokens: []int64{fence}}
	if beat.LeaseSeconds != 0 {
		seconds := int32(beat.LeaseSeconds)
		params.LeaseSeconds = &seconds
	}
	if beat.Progress != nil {
		text, err := json.Marshal(beat.Progress)
		if err != nil {
			return BeatResult{}, invalid("progress", "is not valid")
		}
		params.Progress = []json.RawMessage{text}
	}
	rows, err := e.q.Heartbeat(ctx, params)
	if err != nil {
		return BeatResult{}, fromDB("extending a lease", err)
	}
	if len(rows) == 0 {
		return BeatResult{}, e.refusal(ctx, beat.ID)
	}
	return BeatResult{LeaseExpiresAt: rows[0].ExpiresAt.UTC(), CancelRequested: rows[0].CancelRequested}, nil
}

// refusal is the error for a job whose lease is not held with the token that was named.
func (e *Engine) refusal(ctx context.Context, id ID) error {
	exist, err := e.q.JobsThatExist(ctx, []int64{int64(id)})
	if err != nil {
		return fromDB("looking up a job", err)
	}
	return refusalOf(id, len(exist) > 0)
}

func refusalOf(id ID, exists bool) error {
	if !exists {
		return &Error{Code: JobNotFound, Message: "there is no job " + id.String(), Hint: "Ended jobs go when their retention is over."}
	}
	return &Error{
		Code: StaleToken, Message: "the lease on job " + id.String() + " is not held with this token",
		Hint: "It ended, expired or was given to another worker. Nothing was changed; stop working on the job.",
	}
}
