package weir

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/weirhq/weir/client/go/rest"
)

func (t *httpTransport) job(ctx context.Context, id ID, wait time.Duration) (*JobState, error) {
	seconds := min(wait.Seconds(), 60)
	s := &JobState{}
	return s, t.call(ctx, wait, nil, s, func(ctx context.Context, _ io.Reader) (*http.Response, error) {
		return t.rest.GetJob(ctx, id.String(), &rest.GetJobParams{WaitSeconds: &seconds})
	})
}

func (t *httpTransport) cancelJob(ctx context.Context, id ID) error {
	return t.call(ctx, 0, nil, nil, func(ctx context.Context, _ io.Reader) (*http.Response, error) {
		return t.rest.CancelJob(ctx, id.String())
	})
}

func (t *httpTransport) submitWorkflow(ctx context.Context, w *Workflow, key string) (ID, error) {
	definition, err := w.text("")
	if err != nil {
		return 0, err
	}
	var answer struct {
		ID ID `json:"id"`
	}
	err = t.call(ctx, 0, json.RawMessage(definition), &answer, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.SubmitWorkflowWithBody(ctx, &rest.SubmitWorkflowParams{IdempotencyKey: given(key)}, jsonType, body)
	})
	return answer.ID, err
}

func (t *httpTransport) workflow(ctx context.Context, id ID) (*WorkflowState, error) {
	s := &WorkflowState{}
	return s, t.call(ctx, 0, nil, s, func(ctx context.Context, _ io.Reader) (*http.Response, error) {
		return t.rest.GetWorkflow(ctx, id.String())
	})
}

func (t *httpTransport) signal(ctx context.Context, workflow ID, name string, payload json.RawMessage) error {
	return t.call(ctx, 0, map[string]any{"payload": payload}, nil, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.SignalWorkflowWithBody(ctx, workflow.String(), name, jsonType, body)
	})
}

func (t *httpTransport) setSchedule(ctx context.Context, name string, definition []byte) error {
	return t.call(ctx, 0, json.RawMessage(definition), nil, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.PutScheduleWithBody(ctx, name, &rest.PutScheduleParams{}, jsonType, body)
	})
}

func (t *httpTransport) deleteSchedule(ctx context.Context, name string) error {
	return t.call(ctx, 0, nil, nil, func(ctx context.Context, _ io.Reader) (*http.Response, error) {
		return t.rest.DeleteSchedule(ctx, name, &rest.DeleteScheduleParams{})
	})
}

func (t *httpTransport) triggerSchedule(ctx context.Context, name string) (ID, error) {
	var answer struct {
		JobID      ID `json:"job_id"`
		WorkflowID ID `json:"workflow_id"`
	}
	err := t.call(ctx, 0, nil, &answer, func(ctx context.Context, _ io.Reader) (*http.Response, error) {
		return t.rest.TriggerSchedule(ctx, name, &rest.TriggerScheduleParams{})
	})
	return max(answer.JobID, answer.WorkflowID), err
}
