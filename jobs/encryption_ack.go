package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
)

// encryptedMember is what an error has in place of its text.
var encryptedMember = []byte(`"encrypted"`)

// decryptError puts the text back into an error, which may also be the detail of a moment or one of a list.
func (v *vault) decryptError(ctx context.Context, value json.RawMessage) json.RawMessage {
	if !bytes.Contains(value, encryptedMember) {
		return value
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil {
		return value
	}
	if nested := members["error"]; len(nested) > 0 && nested[0] == '{' {
		members["error"] = v.decryptError(ctx, nested)
	}
	if text, err := v.decrypt(ctx, errorField, members["encrypted"]); err == nil && len(text) > 0 && text[0] == '{' {
		delete(members, "encrypted")
		_ = json.Unmarshal(text, &members) // a node wrote it
	}
	whole, err := json.Marshal(members)
	if err != nil {
		return value
	}
	return whole
}

// decryptErrors does so for each of a list.
func (v *vault) decryptErrors(ctx context.Context, list json.RawMessage) json.RawMessage {
	if !bytes.Contains(list, encryptedMember) {
		return list
	}
	var each []json.RawMessage
	if json.Unmarshal(list, &each) != nil {
		return list
	}
	for i := range each {
		each[i] = v.decryptError(ctx, each[i])
	}
	whole, err := json.Marshal(each)
	if err != nil {
		return list
	}
	return whole
}

// encryptAcks encrypts the results and the texts of errors of those jobs whose queue is encrypted.
func (v *vault) encryptAcks(ctx context.Context, acks []Ack) ([]Ack, error) {
	queues, err := v.encrypted(ctx)
	if err != nil || len(queues) == 0 {
		return acks, err
	}
	var ids []int64
	for _, a := range acks {
		if a.hides() {
			ids = append(ids, int64(a.ID))
		}
	}
	if len(ids) == 0 {
		return acks, nil
	}
	found, err := v.q.EncryptedLeases(ctx, ids)
	if err != nil || len(found) == 0 {
		return acks, err
	}
	acks = slices.Clone(acks)
	for i, a := range acks {
		if !a.hides() || !slices.Contains(found, int64(a.ID)) {
			continue
		}
		if acks[i], err = v.encryptAck(ctx, a); err != nil {
			return nil, err
		}
	}
	return acks, nil
}

// hides says whether an ack has something that an encrypted queue encrypts.
func (a Ack) hides() bool {
	return a.Outcome == Complete && len(a.Result) > 0 && string(a.Result) != "null" || a.Outcome == Fail && a.Error != nil
}

// The most characters of an error that are kept, as SQL has it.
const (
	maxMessage = 8192
	maxType    = 200
	maxStack   = 16384
)

func (v *vault) encryptAck(ctx context.Context, a Ack) (Ack, error) {
	if a.Outcome == Complete {
		var err error
		a.Result, err = v.encrypt(ctx, resultField, a.Result)
		return a, err
	}
	text, err := json.Marshal(Failure{Message: cutRunes(a.Error.Message, maxMessage), Stack: cutRunes(a.Error.Stack, maxStack)})
	if err != nil {
		return a, err
	}
	sealed, err := v.encrypt(ctx, errorField, text)
	if err != nil {
		return a, err
	}
	a.encrypted, err = json.Marshal(struct {
		Message   string          `json:"message"`
		Type      string          `json:"type,omitempty"`
		Encrypted json.RawMessage `json:"encrypted"`
	}{"(encrypted)", cutRunes(a.Error.Type, maxType), sealed})
	return a, err
}

// cutRunes is the beginning of a text, of at most this many characters.
func cutRunes(text string, most int) string {
	n := 0
	for i := range text {
		if n == most {
			return text[:i]
		}
		n++
	}
	return text
}
