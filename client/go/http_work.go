package weir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

func (t *httpTransport) claim(stop context.Context, r claimRequest) ([]*claimedJob, error) {
	var answer struct {
		Jobs []*claimedJob `json:"jobs"`
	}
	// A node whose caller has gone gives back what it took for it.
	err := t.bounded(stop, time.Duration(r.WaitSeconds*float64(time.Second)), http.MethodPost, "/v1/claims", nil, r, &answer)
	now := time.Now()
	for _, j := range answer.Jobs {
		j.claimedAt = now
	}
	return answer.Jobs, err
}

func (t *httpTransport) ack(ctx context.Context, acks []ack) ([]ackStatus, error) {
	var answer struct {
		Results []struct {
			Status string `json:"status"`
			Error  struct {
				Message string `json:"message"`
			} `json:"error"`
		} `json:"results"`
	}
	if err := t.post(ctx, "/v1/acks", map[string]any{"acks": acks}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Results) != len(acks) {
		return nil, fmt.Errorf("weir: %d acks were answered with %d results: %w", len(acks), len(answer.Results), errBrokenOff)
	}
	statuses := make([]ackStatus, len(acks))
	for i, r := range answer.Results {
		statuses[i].accepted = r.Status == "ok"
		if r.Status == "invalid" {
			statuses[i].err = &Error{Code: "invalid_argument", Message: r.Error.Message, Status: http.StatusUnprocessableEntity}
		}
	}
	return statuses, nil
}

func (t *httpTransport) heartbeat(ctx context.Context, beats []beat, leaseSeconds int) (map[ID]beatAnswer, error) {
	type one struct {
		ID       ID        `json:"id"`
		Token    string    `json:"token"`
		Progress *progress `json:"progress,omitempty"`
	}
	body := struct {
		LeaseSeconds int   `json:"lease_seconds"`
		Heartbeats   []one `json:"heartbeats"`
	}{LeaseSeconds: leaseSeconds}
	for _, b := range beats {
		body.Heartbeats = append(body.Heartbeats, one{b.id, b.token, b.progress})
	}
	var answer struct {
		Results []struct {
			ID              ID     `json:"id"`
			Status          string `json:"status"`
			CancelRequested bool   `json:"cancel_requested"`
		} `json:"results"`
	}
	if err := t.post(ctx, "/v1/heartbeats", body, &answer); err != nil {
		return nil, err
	}
	held := make(map[ID]beatAnswer, len(beats))
	for _, r := range answer.Results {
		if r.Status == "ok" {
			held[r.ID] = beatAnswer{cancelRequested: r.CancelRequested}
		}
	}
	return held, nil
}

func (t *httpTransport) appendLog(ctx context.Context, j *claimedJob, lines []logLine) error {
	return t.post(ctx, "/v1/jobs/"+j.ID.String()+"/logs", map[string]any{"token": j.Token, "lines": lines}, nil)
}

func workerPath(name string) string { return "/v1/workers/" + url.PathEscape(name) }

func (t *httpTransport) registerWorker(ctx context.Context, name string, s workerSettings) error {
	return t.bounded(ctx, 0, http.MethodPut, workerPath(name), nil, s, nil)
}

func (t *httpTransport) heartbeatWorker(ctx context.Context, name string, load float64) (string, error) {
	var answer struct {
		State      string `json:"state"`
		Registered bool   `json:"registered"`
	}
	err := t.post(ctx, workerPath(name)+"/heartbeat", map[string]any{"load": load}, &answer)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err == nil && !answer.Registered {
		return "", nil
	}
	return answer.State, err
}

func (t *httpTransport) removeWorker(ctx context.Context, name string) error {
	return t.bounded(ctx, 0, http.MethodDelete, workerPath(name), nil, nil, nil)
}

func (t *httpTransport) job(ctx context.Context, id ID, wait time.Duration) (*JobState, error) {
	s := &JobState{}
	path := fmt.Sprintf("/v1/jobs/%d?wait_seconds=%g", id, min(wait.Seconds(), 60))
	return s, t.bounded(ctx, wait, http.MethodGet, path, nil, nil, s)
}

func (t *httpTransport) cancelJob(ctx context.Context, id ID) error {
	return t.post(ctx, "/v1/jobs/"+id.String()+"/cancel", nil, nil)
}

func (t *httpTransport) submitWorkflow(ctx context.Context, w *Workflow, key string) (ID, error) {
	definition, err := w.text("")
	if err != nil {
		return 0, err
	}
	var answer struct {
		ID ID `json:"id"`
	}
	err = t.bounded(ctx, 0, http.MethodPost, "/v1/workflows", idempotency(key), json.RawMessage(definition), &answer)
	return answer.ID, err
}

func (t *httpTransport) workflow(ctx context.Context, id ID) (*WorkflowState, error) {
	s := &WorkflowState{}
	return s, t.bounded(ctx, 0, http.MethodGet, "/v1/workflows/"+id.String(), nil, nil, s)
}

func (t *httpTransport) signal(ctx context.Context, workflow ID, name string, payload json.RawMessage) error {
	return t.post(ctx, "/v1/workflows/"+workflow.String()+"/signals/"+url.PathEscape(name), map[string]any{"payload": payload}, nil)
}

func schedulePath(name string) string { return "/v1/schedules/" + url.PathEscape(name) }

func (t *httpTransport) setSchedule(ctx context.Context, name string, definition []byte) error {
	return t.bounded(ctx, 0, http.MethodPut, schedulePath(name), nil, json.RawMessage(definition), nil)
}

func (t *httpTransport) deleteSchedule(ctx context.Context, name string) error {
	return t.bounded(ctx, 0, http.MethodDelete, schedulePath(name), nil, nil, nil)
}

func (t *httpTransport) triggerSchedule(ctx context.Context, name string) (ID, error) {
	var answer struct {
		JobID      ID `json:"job_id"`
		WorkflowID ID `json:"workflow_id"`
	}
	err := t.post(ctx, schedulePath(name)+"/trigger", nil, &answer)
	return max(answer.JobID, answer.WorkflowID), err
}
