package weir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

func (t *httpTransport) claim(stop context.Context, r claimRequest) ([]*claimedJob, error) {
	var answer struct {
		Jobs []*claimedJob `json:"jobs"`
	}
	began := time.Now()
	// A node whose caller has gone gives back what it took for it.
	err := t.call(stop, time.Duration(r.WaitSeconds*float64(time.Second)), r, &answer, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.ClaimJobsWithBody(ctx, jsonType, body)
	})
	if r.WaitSeconds > 0 {
		began = time.Now() // the jobs were claimed at the end of the wait
	}
	for _, j := range answer.Jobs {
		j.claimedAt = began
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
	err := t.call(ctx, 0, map[string]any{"acks": acks}, &answer, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.AckJobsWithBody(ctx, jsonType, body)
	})
	if err != nil {
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

// beatBody is the heartbeat of one of several jobs.
type beatBody struct {
	ID       ID        `json:"id"`
	Token    string    `json:"token"`
	Progress *progress `json:"progress,omitempty"`
}

func (t *httpTransport) heartbeat(ctx context.Context, beats []beat, leaseSeconds int) (map[ID]beatAnswer, error) {
	all := make([]beatBody, len(beats))
	for i, b := range beats {
		all[i] = beatBody{b.id, b.token, b.progress}
	}
	var answer struct {
		Results []struct {
			ID              ID     `json:"id"`
			Status          string `json:"status"`
			CancelRequested bool   `json:"cancel_requested"`
		} `json:"results"`
	}
	body := map[string]any{"lease_seconds": leaseSeconds, "heartbeats": all}
	err := t.call(ctx, 0, body, &answer, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.HeartbeatJobsWithBody(ctx, jsonType, body)
	})
	if err != nil {
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
	return t.call(ctx, 0, map[string]any{"token": j.Token, "lines": lines}, nil, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.LogJobWithBody(ctx, j.ID.String(), jsonType, body)
	})
}

func (t *httpTransport) registerWorker(ctx context.Context, name string, s workerSettings) error {
	return t.call(ctx, 0, s, nil, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.RegisterWorkerWithBody(ctx, name, jsonType, body)
	})
}

func (t *httpTransport) heartbeatWorker(ctx context.Context, name string, load float64) (string, error) {
	var answer struct {
		State      string `json:"state"`
		Registered bool   `json:"registered"`
	}
	err := t.call(ctx, 0, map[string]any{"load": load}, &answer, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.HeartbeatWorkerWithBody(ctx, name, jsonType, body)
	})
	if errors.Is(err, ErrNotFound) || err == nil && !answer.Registered {
		return "", nil
	}
	return answer.State, err
}

func (t *httpTransport) removeWorker(ctx context.Context, name string) error {
	return t.call(ctx, 0, nil, nil, func(ctx context.Context, _ io.Reader) (*http.Response, error) { return t.rest.RemoveWorker(ctx, name) })
}
