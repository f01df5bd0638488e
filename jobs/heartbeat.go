package jobs

import (
	"context"
	"encoding/json"
	"fmt"
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

// BeatStatus says whether a heartbeat of several found its lease.
type BeatStatus string

// The statuses of heartbeats.
const (
	BeatOK   BeatStatus = "ok"
	BeatLost BeatStatus = "lost" // the lease is not held with this token
)

// JobBeat is the heartbeat of one of several jobs.
type JobBeat struct {
	ID       ID        `json:"id" doc:"The job."`
	Token    Token     `json:"token" doc:"The token that came with it."`
	Progress *Progress `json:"progress,omitempty" doc:"How far the job is. Defaults to the last value."`
}

// JobBeatResult is what the worker learns of one of several jobs.
type JobBeatResult struct {
	ID              ID         `json:"id" doc:"The job."`
	Status          BeatStatus `json:"status" enum:"ok,lost" doc:"lost: the lease is not held with this token. Stop working on the job."`
	LeaseExpiresAt  *time.Time `json:"lease_expires_at,omitempty" doc:"With ok: when the job is taken back unless another heartbeat comes."`
	CancelRequested bool       `json:"cancel_requested,omitempty" doc:"The job was cancelled: stop working on it."`
}

// Heartbeats extends many leases with one statement, to this length from now (0: as long as they were), and answers in the same order. A lease that is
// not held is lost, and stops no other. Errors: InvalidArgument.
func (e *Engine) Heartbeats(ctx context.Context, beats []JobBeat, leaseSeconds int) ([]JobBeatResult, error) {
	params := db.HeartbeatParams{JobIds: make([]int64, len(beats)), Tokens: make([]int64, len(beats))}
	if leaseSeconds != 0 {
		seconds := int32(leaseSeconds)
		params.LeaseSeconds = &seconds
	}
	progress, told := make([]json.RawMessage, len(beats)), false
	for i, b := range beats {
		params.JobIds[i], params.Tokens[i] = int64(b.ID), e.fence(ctx, b.ID, b.Token)
		if b.Progress == nil {
			continue
		}
		text, err := json.Marshal(b.Progress)
		if err != nil {
			return nil, invalid(fmt.Sprintf("heartbeats[%d].progress", i), "is not valid")
		}
		progress[i], told = text, true
	}
	if told {
		params.Progress = progress
	}
	rows, err := e.q.Heartbeat(ctx, params)
	if err != nil {
		return nil, fromDB("extending leases", err)
	}
	type lease struct{ id, token int64 } // a job may be named twice, with an old and with the current token
	held := make(map[lease]db.HeartbeatRow, len(rows))
	for _, r := range rows {
		held[lease{r.JobID, r.Token}] = r
	}
	results := make([]JobBeatResult, len(beats))
	for i, b := range beats {
		results[i] = JobBeatResult{ID: b.ID, Status: BeatLost}
		if r, ok := held[lease{params.JobIds[i], params.Tokens[i]}]; ok {
			results[i] = JobBeatResult{ID: b.ID, Status: BeatOK, LeaseExpiresAt: new(r.ExpiresAt.UTC()), CancelRequested: r.CancelRequested}
		}
	}
	return results, nil
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
