package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/encryption"
)

// checkClaim refuses a claim from a queue whose jobs this node cannot read.
func (v *vault) checkClaim(ctx context.Context, names []string) error {
	if v.keys != nil {
		return nil
	}
	queues, err := v.encrypted(ctx)
	if err != nil {
		return nil // the claim says what is wrong with the database
	}
	for _, name := range names {
		if _, ok := queues[name]; ok {
			return missing(fmt.Sprintf("queue %q is encrypted, and this node has no encryption key", name), nil)
		}
	}
	return nil
}

// unreadableFor is when a job comes back that a node claimed and could not read.
const unreadableFor = 10.0

// decryptClaimed returns the jobs that this node can read, and the ends of the leases of the others. One that no node can read, as it was
// tampered with, dies. One whose key is missing here comes back; if there is no other job, that is the error.
func (v *vault) decryptClaimed(ctx context.Context, rows []db.ClaimBatchRow) (readable []db.ClaimBatchRow, others []Ack, err error) {
	var first error
	for i, r := range rows {
		args, err := v.decrypt(ctx, argsField, r.Args)
		inputs := r.Dependencies
		if err == nil {
			inputs, err = v.decryptInputs(ctx, r.Dependencies)
		}
		if err == nil {
			if others != nil {
				readable = append(readable, r)
				readable[len(readable)-1].Args, readable[len(readable)-1].Dependencies = args, inputs
			} else {
				rows[i].Args, rows[i].Dependencies = args, inputs
			}
			continue
		}
		if others == nil {
			readable = slices.Clone(rows[:i])
		}
		first = err
		others = append(others, unreadable(r, err))
	}
	switch {
	case others == nil:
		return rows, nil, nil
	case len(readable) == 0 && !errors.Is(first, encryption.ErrTampered):
		return nil, others, missing("this node lacks the key of a job that it claimed", first)
	}
	return readable, others, nil
}

func unreadable(r db.ClaimBatchRow, err error) Ack {
	a := Ack{ID: ID(r.JobID), Token: Token{Number: r.Token}}
	if errors.Is(err, encryption.ErrTampered) {
		a.Outcome, a.Retry = Fail, new(false)
		a.Error = &Failure{Type: "weir.undecryptable", Message: "what was encrypted of it cannot be decrypted: " + err.Error()}
		return a
	}
	a.Outcome, a.DelaySeconds = Snooze, new(unreadableFor)
	return a
}

// decryptInputs decrypts the results that a step gets, by name.
func (v *vault) decryptInputs(ctx context.Context, inputs json.RawMessage) (json.RawMessage, error) {
	if !bytes.Contains(inputs, []byte(encryption.Prefix)) {
		return inputs, nil
	}
	var results map[string]json.RawMessage
	if err := json.Unmarshal(inputs, &results); err != nil {
		return nil, fmt.Errorf("reading dependencies: %w", err)
	}
	for name, result := range results {
		var err error
		if results[name], err = v.decrypt(ctx, resultField, result); err != nil {
			return nil, err
		}
	}
	return json.Marshal(results)
}
