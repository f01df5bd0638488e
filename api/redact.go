package api

import (
	"bytes"
	"context"
	"encoding/csv"
	stdjson "encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/jobs"
)

// redacts says whether the caller sees no args, results, metadata, logs and texts of errors.
func redacts(ctx context.Context) bool {
	p := access.From(ctx)
	return p != nil && p.Redact
}

// redact is applied to every answer. It goes by the names of fields, wherever they are, so that an answer that is added later is
// covered. What a worker claims and reports is its own.
func redact(c huma.Context, _ string, v any) (any, error) {
	if !redacts(c.Context()) || slices.Contains(c.Operation().Tags, tagWork) {
		return v, nil
	}
	switch v.(type) {
	case *Problem, Why, jobs.DryRun, jobs.SimilarJobs, Readiness, Components: // their messages are weir's own
		return v, nil
	}
	text, err := stdjson.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	return redactJSON(text)
}

// redactJSON hides what a redacted caller does not see.
func redactJSON(text []byte) (any, error) {
	d := stdjson.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("redacting an answer: %w", err)
	}
	hide(v)
	return v, nil
}

func hide(v any) {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			hide(element)
		}
	case map[string]any:
		if detail, ok := v["detail"].(map[string]any); ok && (v["event"] == "failed" || v["event"] == "timed_out" || v["event"] == "lost") {
			v["detail"] = onlyType(detail) // a moment of a timeline has the error itself there
		}
		for name, value := range v {
			switch name {
			case "args", "result", "payload":
				v[name] = nil
			case "metadata", "fields": // these are objects for every caller
				v[name] = map[string]any{}
			case "message", "stack":
				v[name] = ""
			case "error":
				if object, ok := value.(map[string]any); ok {
					v[name] = onlyType(object)
				} else {
					v[name] = ""
				}
			default:
				hide(value)
			}
		}
	}
}

// onlyType is what is left of an error, which may have any fields where it came by SQL.
func onlyType(e map[string]any) map[string]any {
	left := map[string]any{"message": ""}
	if kind, ok := e["type"].(string); ok {
		left["type"] = kind
	}
	return left
}

// redactLines hides the same in a piece of an export: whole lines.
func redactLines(piece, format string) (string, error) {
	var out strings.Builder
	if format == "csv" {
		names := jobs.ExportColumns
		r, w := csv.NewReader(strings.NewReader(piece)), csv.NewWriter(&out)
		rows, err := r.ReadAll()
		if err != nil {
			return "", fmt.Errorf("redacting an export: %w", err)
		}
		for _, row := range rows {
			for i, name := range names {
				if name == "args" || name == "result" || name == "error" {
					row[i] = ""
				}
			}
		}
		if err := w.WriteAll(rows); err != nil {
			return "", fmt.Errorf("redacting an export: %w", err)
		}
		return out.String(), nil
	}
	for line := range strings.Lines(piece) {
		v, err := redactJSON([]byte(line))
		if err != nil {
			return "", err
		}
		text, err := stdjson.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("redacting an export: %w", err)
		}
		out.Write(append(text, '\n'))
	}
	return out.String(), nil
}
