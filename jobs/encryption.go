package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/weirhq/weir/encryption"
)

const encryptedArgs = 1 << 20 // the most bytes of args before they are encrypted

// ErrForm is in the chain of errors of args that are refused for their form. Other args that are refused are too large.
var ErrForm = errors.New("a matter of form")

func badForm(field, message string) error {
	err := invalid(field, message)
	err.cause = ErrForm
	return err
}

// checkForged refuses a value of a client in the form of an encrypted one: it would be decrypted for its readers.
func checkForged(field string, value json.RawMessage) error {
	if encryption.IsEncrypted(value) {
		return badForm(field, "must not begin with weir:encrypted:")
	}
	return nil
}

// isEmpty says whether args hide nothing: nodes leave them readable.
func isEmpty(args json.RawMessage) bool {
	args = bytes.TrimSpace(args)
	return len(args) == 0 || string(args) == "null" || string(args) == "{}"
}

// encryptCalls encrypts the args of those jobs whose queue is encrypted.
func (v *vault) encryptCalls(ctx context.Context, calls []enqueue) ([]enqueue, error) {
	queues, err := v.encrypted(ctx)
	if err != nil {
		return nil, err
	}
	var out []enqueue
	for i, c := range calls {
		if len(queues) == 0 && !mayBeForged(c.job) {
			continue
		}
		encrypted, err := v.encryptJob(ctx, queues, c.job, fmt.Sprintf("jobs[%d].args", i))
		if err != nil {
			return nil, err
		}
		if encrypted != nil {
			if out == nil {
				out = slices.Clone(calls)
			}
			out[i].job = encrypted
		}
	}
	if out == nil {
		return calls, nil
	}
	return out, nil
}

// mayBeForged says whether a text may have a value in the form of an encrypted one.
func mayBeForged(text []byte) bool {
	return bytes.Contains(text, []byte("weir:encrypted:")) || bytes.Contains(text, []byte(`\u00`))
}

// encryptJob encrypts the args of a job, or of a step, if its queue is encrypted; nil: it stays as it is.
func (v *vault) encryptJob(ctx context.Context, queues map[string]struct{}, text json.RawMessage, place string) (json.RawMessage, error) {
	var job struct {
		Queue any             `json:"queue"`
		Args  json.RawMessage `json:"args"`
	}
	if json.Unmarshal(text, &job) != nil {
		return nil, nil // the database says what is wrong with it
	}
	if err := checkForged(place, job.Args); err != nil {
		return nil, err
	}
	name, isName := job.Queue.(string)
	if job.Queue == nil {
		name, isName = "default", true
	}
	if _, ok := queues[name]; !ok || !isName || isEmpty(job.Args) {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, job.Args); err != nil {
		return nil, nil
	}
	if compact.Len() > encryptedArgs {
		return nil, invalid(place, "must be at most 1 MiB")
	}
	sealed, err := v.encrypt(ctx, argsField, compact.Bytes())
	if err != nil {
		return nil, err
	}
	members["args"] = sealed
	return json.Marshal(members)
}
