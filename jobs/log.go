package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/weirhq/weir/db"
)

// The bounds of the lines of one call, as SQL has them.
const (
	maxLogFields = 4 << 10 // bytes of the fields of a line
	maxLogBytes  = 1 << 20 // bytes of all messages and fields
)

// NewLogLine is a line that a worker adds to the log of its job.
type NewLogLine struct {
	At      *time.Time      `json:"at,omitempty" doc:"When it was written. Defaults to the time of the call."`
	Level   string          `json:"level,omitempty" enum:"debug,info,warn,error" doc:"How grave it is. Defaults to info."`
	Message string          `json:"message" minLength:"1" maxLength:"8192" doc:"What happened." example:"200 of 500 rows"`
	Fields  json.RawMessage `json:"fields,omitempty" doc:"More about it: an object of at most 4 KiB."`
}

// LogLine is a line of the log of a job.
type LogLine struct {
	Number  int             `json:"number" doc:"Its place in the log, from 1, over all attempts."`
	At      time.Time       `json:"at" doc:"When it was written, as the worker says, or else when it came."`
	Attempt int             `json:"attempt" doc:"The attempt that wrote it."`
	Level   string          `json:"level" enum:"debug,info,warn,error" doc:"How grave it is."`
	Message string          `json:"message" doc:"What happened."`
	Fields  json.RawMessage `json:"fields,omitempty" doc:"More about it."`
	Dropped int             `json:"dropped,omitempty" doc:"In the last line of a full log: how many lines were dropped."`
}

// LogResult is the outcome of a call that adds lines.
type LogResult struct {
	Stored  int `json:"stored" doc:"How many lines were stored: the first ones."`
	Dropped int `json:"dropped" doc:"How many were dropped, because the log is full."`
}

// LogFilter chooses lines of a log. A zero value chooses all.
type LogFilter struct {
	Attempt int
	Level   string // this one or graver
}

// AppendLog adds lines to the log of a job. Errors: StaleToken, JobNotFound, InvalidArgument.
func (e *Engine) AppendLog(ctx context.Context, id ID, token Token, lines []NewLogLine) (LogResult, error) {
	fence, err := e.checkedFence(ctx, id, token)
	if err != nil {
		return LogResult{}, err
	}
	var row db.LogRow
	err = e.vault.twice(ctx, func() error {
		text, err := e.vault.encryptLog(ctx, id, lines)
		if err != nil {
			return err
		}
		row, err = e.q.Log(ctx, db.LogParams{JobID: int64(id), Token: fence, Lines: text})
		return err
	})
	if err != nil {
		return LogResult{}, fromDB("storing lines of a log", err)
	}
	e.followed.tell(id)
	return LogResult{Stored: int(row.Stored), Dropped: int(row.Dropped)}, nil
}

// Log returns up to limit lines of the log of a job in order, behind the number `after`. Errors: JobNotFound.
func (e *Engine) Log(ctx context.Context, id ID, filter LogFilter, after, limit int) ([]LogLine, error) {
	params := db.ReadLogParams{JobID: int64(id), After: int32(after), Most: int32(limit), Lowest: filter.Level}
	if filter.Attempt != 0 {
		attempt := int16(filter.Attempt)
		params.Attempt = &attempt
	}
	rows, err := e.reads.ReadLog(ctx, params)
	if err != nil {
		return nil, fromDB("reading a log", err)
	}
	if len(rows) == 0 {
		if err := e.checkExists(ctx, id); err != nil {
			return nil, err
		}
	}
	lines := make([]LogLine, len(rows))
	for i, r := range rows {
		lines[i] = e.vault.logLine(ctx, r)
	}
	return lines, nil
}

// checkExists returns JobNotFound unless there is a job.
func (e *Engine) checkExists(ctx context.Context, id ID) error {
	exist, err := e.q.JobsThatExist(ctx, []int64{int64(id)})
	if err != nil {
		return fromDB("looking up a job", err)
	}
	if len(exist) == 0 {
		return refusalOf(id, false)
	}
	return nil
}
