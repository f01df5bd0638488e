package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/db"
)

// loggedText is what is encrypted of a line of a log.
type loggedText struct {
	Message string          `json:"message"`
	Fields  json.RawMessage `json:"fields,omitempty"`
}

// encryptLog returns lines of the log of a job as SQL takes them, encrypted if the job's queue is.
func (v *vault) encryptLog(ctx context.Context, job ID, lines []NewLogLine) (json.RawMessage, error) {
	queues, err := v.encrypted(ctx)
	if err != nil {
		return nil, err
	}
	if len(queues) == 0 {
		return json.Marshal(lines)
	}
	found, err := v.q.EncryptedLeases(ctx, []int64{int64(job)})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return json.Marshal(lines)
	}
	type sealedLine struct {
		At        *time.Time      `json:"at,omitempty"`
		Level     string          `json:"level,omitempty"`
		Encrypted json.RawMessage `json:"encrypted"`
	}
	sealed, total := make([]sealedLine, len(lines)), 0
	for i, l := range lines {
		var fields bytes.Buffer
		if !isEmpty(l.Fields) {
			if err := json.Compact(&fields, l.Fields); err != nil {
				return nil, invalid(fmt.Sprintf("lines[%d].fields", i), "must be an object")
			}
		}
		if fields.Len() > maxLogFields {
			return nil, invalid(fmt.Sprintf("lines[%d].fields", i), "must be at most 4 KiB")
		}
		if total += len(l.Message) + fields.Len(); total > maxLogBytes {
			return nil, invalid("lines", "must have at most 1 MiB of messages and fields")
		}
		text, err := json.Marshal(loggedText{l.Message, fields.Bytes()})
		if err != nil {
			return nil, err
		}
		sealed[i] = sealedLine{At: l.At, Level: l.Level}
		if sealed[i].Encrypted, err = v.encrypt(ctx, logField, text); err != nil {
			return nil, err
		}
	}
	return json.Marshal(sealed)
}

// logLine is a line as people read it. One that this node cannot decrypt says so.
func (v *vault) logLine(ctx context.Context, r db.ReadLogRow) LogLine {
	line := LogLine{
		Number: int(r.Number), At: r.At.UTC(), Attempt: int(r.Attempt), Level: r.Level, Message: r.Message, Fields: r.Fields, Dropped: int(r.Dropped),
	}
	if r.Encrypted == "" {
		return line
	}
	line.Message = "(encrypted)"
	var text loggedText
	plain, err := v.decrypt(ctx, logField, json.RawMessage(`"`+r.Encrypted+`"`))
	if err == nil && json.Unmarshal(plain, &text) == nil {
		line.Message, line.Fields = text.Message, text.Fields
	}
	return line
}
