package jobs

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weirhq/weir/encryption"
)

// encryptWorkflow encrypts the args of those steps of a definition whose queue is encrypted, and of the workflows in its steps. What is
// malformed is left for the database to refuse.
func (v *vault) encryptWorkflow(ctx context.Context, text json.RawMessage, place string) (json.RawMessage, error) {
	queues, err := v.encrypted(ctx)
	if err != nil || len(queues) == 0 && !mayBeForged(text) {
		return text, err
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil || members["steps"] == nil {
		return text, nil
	}
	steps, err := v.encryptSteps(ctx, queues, members["steps"], place+"steps")
	if err != nil {
		return nil, err
	}
	members["steps"] = steps
	return json.Marshal(members)
}

func (v *vault) encryptSteps(ctx context.Context, queues map[string]struct{}, text json.RawMessage, place string) (json.RawMessage, error) {
	var steps []json.RawMessage
	if json.Unmarshal(text, &steps) != nil {
		return text, nil
	}
	for i, step := range steps {
		at := fmt.Sprintf("%s[%d]", place, i)
		encrypted, err := v.encryptJob(ctx, queues, step, at+".args")
		if err != nil {
			return nil, err
		}
		if encrypted != nil {
			steps[i] = encrypted
		}
		var nested struct {
			Workflow json.RawMessage `json:"workflow"`
		}
		if json.Unmarshal(step, &nested) != nil || len(nested.Workflow) == 0 || nested.Workflow[0] != '{' {
			continue
		}
		inner, err := v.encryptWorkflow(ctx, nested.Workflow, at+".workflow.")
		if err != nil {
			return nil, err
		}
		if steps[i], err = withMember(steps[i], "workflow", inner); err != nil {
			return nil, err
		}
	}
	return json.Marshal(steps)
}

// withMember is a JSON object with another value for a member.
func withMember(text json.RawMessage, name string, value json.RawMessage) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	members[name] = value
	return json.Marshal(members)
}

// encryptSchedule does so for what a schedule makes. Placeholders are filled in by the database, which cannot see them in what is encrypted.
func (v *vault) encryptSchedule(ctx context.Context, text json.RawMessage) (json.RawMessage, error) {
	queues, err := v.encrypted(ctx)
	if err != nil || len(queues) == 0 && !mayBeForged(text) {
		return text, err
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return text, nil
	}
	if job := members["job"]; len(job) > 0 && job[0] == '{' {
		encrypted, err := v.encryptJob(ctx, queues, job, "job.args")
		if err != nil {
			return nil, err
		}
		if encrypted != nil {
			if bytes.Contains(job, []byte("{{")) {
				return nil, badForm("job.args", "must not have placeholders: its queue is encrypted, and they are filled in by the database")
			}
			members["job"] = encrypted
		}
	}
	if workflow := members["workflow"]; len(workflow) > 0 && workflow[0] == '{' {
		if members["workflow"], err = v.encryptWorkflow(ctx, workflow, "workflow."); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members)
}

// decryptSchedule is the definition of a schedule as its makers wrote it.
func (v *vault) decryptSchedule(ctx context.Context, text json.RawMessage) json.RawMessage {
	if !bytes.Contains(text, []byte(encryption.Prefix)) {
		return text
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return text
	}
	for _, name := range []string{"job", "workflow"} {
		if members[name] != nil {
			members[name] = v.decryptDefinition(ctx, members[name])
		}
	}
	whole, err := json.Marshal(members)
	if err != nil {
		return text
	}
	return whole
}

// decryptDefinition decrypts the args of a job, or those of the steps of a workflow.
func (v *vault) decryptDefinition(ctx context.Context, text json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	var steps []json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return text
	}
	if members["args"] != nil {
		members["args"] = v.shown(ctx, argsField, members["args"])
	}
	if members["workflow"] != nil {
		members["workflow"] = v.decryptDefinition(ctx, members["workflow"])
	}
	if json.Unmarshal(members["steps"], &steps) == nil && steps != nil {
		for i := range steps {
			steps[i] = v.decryptDefinition(ctx, steps[i])
		}
		members["steps"], _ = json.Marshal(steps) // each was JSON
	}
	whole, err := json.Marshal(members)
	if err != nil {
		return text
	}
	return whole
}

// decryptLines decrypts a piece of an export: whole lines.
func (v *vault) decryptLines(ctx context.Context, piece, format string) (string, error) {
	if !strings.Contains(piece, encryption.Prefix) {
		return piece, nil
	}
	var out strings.Builder
	if format == "csv" {
		return v.decryptCSV(ctx, piece)
	}
	for line := range strings.Lines(piece) {
		text, err := v.decryptLine(ctx, []byte(line))
		if err != nil {
			return "", err
		}
		out.Write(append(text, '\n'))
	}
	return out.String(), nil
}

// decryptLine keeps the order of the members.
func (v *vault) decryptLine(ctx context.Context, line []byte) ([]byte, error) {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	var out bytes.Buffer
	e := jsontext.NewEncoder(&out, jsontext.SpaceAfterColon(true), jsontext.SpaceAfterComma(true), jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("reading an export: %w", err)
	}
	_ = e.WriteToken(jsontext.BeginObject) // a buffer has no errors, and all is JSON
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("reading an export: %w", err)
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("reading an export: %w", err)
		}
		_ = e.WriteToken(jsontext.String(key))
		if err := e.WriteValue(jsontext.Value(v.decryptColumn(ctx, key, json.RawMessage(value)))); err != nil {
			return nil, fmt.Errorf("reading an export: %w", err)
		}
	}
	_ = e.WriteToken(jsontext.EndObject)
	return bytes.TrimSpace(out.Bytes()), nil
}

func (v *vault) decryptColumn(ctx context.Context, name string, value json.RawMessage) json.RawMessage {
	switch name {
	case "args":
		return v.shown(ctx, argsField, value)
	case "result":
		return v.shown(ctx, resultField, value)
	case "error":
		return v.decryptError(ctx, value)
	}
	return value
}

// ExportColumns are those of an export in CSV.
var ExportColumns = strings.Split("id,kind,queue,state,priority,attempt,max_attempts,created_at,run_at,started_at,finished_at,worker,tenant,tags,args,result,error", ",")

func (v *vault) decryptCSV(ctx context.Context, piece string) (string, error) {
	var out strings.Builder
	w := csv.NewWriter(&out)
	rows, err := csv.NewReader(strings.NewReader(piece)).ReadAll()
	if err != nil {
		return "", fmt.Errorf("reading an export: %w", err)
	}
	for _, row := range rows {
		for i, name := range ExportColumns {
			if i >= len(row) || !slices.Contains([]string{"args", "result", "error"}, name) || !strings.Contains(row[i], encryption.Prefix) {
				continue
			}
			row[i] = string(v.decryptColumn(ctx, name, json.RawMessage(row[i])))
			// It is JSON now, which no spreadsheet takes for a formula: what begins with - is a number (weir.csv_cell).
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return "", fmt.Errorf("reading an export: %w", err)
	}
	return out.String(), nil
}
