package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
)

// client makes the few REST calls that this example needs.
type client struct {
	url   string
	queue string
}

type checksumArgs struct {
	Path string `json:"path"`
}

type checksumResult struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

type newJob struct {
	Kind  string       `json:"kind"`
	Queue string       `json:"queue"`
	Args  checksumArgs `json:"args"`
}

// job is what we read of a job; there is more.
type job struct {
	ID     string          `json:"id"`
	State  string          `json:"state"`
	Args   checksumArgs    `json:"args"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// enqueue makes a job of each path: of all of them, or on an error of none.
func (c client) enqueue(ctx context.Context, paths []string) error {
	var body struct {
		Jobs []newJob `json:"jobs"`
	}
	for _, path := range paths {
		body.Jobs = append(body.Jobs, newJob{Kind: "checksum", Queue: c.queue, Args: checksumArgs{Path: path}})
	}
	var answer struct {
		IDs []string `json:"ids"`
	}
	if err := c.call(ctx, http.MethodPost, "/v1/jobs/batch", body, &answer); err != nil {
		return err
	}
	if len(answer.IDs) != len(paths) {
		return fmt.Errorf("%d jobs sent, but %d ids came back", len(paths), len(answer.IDs))
	}
	return nil
}

// jobs gives the queue's jobs in one state, fetching page after page. An error is the last it gives.
func (c client) jobs(ctx context.Context, state string) iter.Seq2[job, error] {
	return func(yield func(job, error) bool) {
		query := url.Values{"queue": {c.queue}, "state": {state}, "limit": {"1000"}}
		for {
			var page struct {
				Items      []job   `json:"items"`
				NextCursor *string `json:"next_cursor"`
			}
			if err := c.call(ctx, http.MethodGet, "/v1/jobs?"+query.Encode(), nil, &page); err != nil {
				yield(job{}, err)
				return
			}
			for _, j := range page.Items {
				if !yield(j, nil) {
					return
				}
			}
			if page.NextCursor == nil {
				return
			}
			query.Set("cursor", *page.NextCursor)
		}
	}
}

// unfinished counts the queue's jobs that have not ended, all at one moment.
func (c client) unfinished(ctx context.Context) (int64, error) {
	var stats struct {
		Queue struct{ Held, Scheduled, Retryable, Available, Running *int64 }
	}
	if err := c.call(ctx, http.MethodGet, "/v1/queues/"+url.PathEscape(c.queue)+"/stats", nil, &stats); err != nil {
		return 0, err
	}
	var total int64
	for _, count := range []*int64{stats.Queue.Held, stats.Queue.Scheduled, stats.Queue.Retryable, stats.Queue.Available, stats.Queue.Running} {
		if count == nil {
			return 0, errors.New("the stats of the queue lack a count") // better than to take it for 0 and to be done too early
		}
		total += *count
	}
	return total, nil
}

func (c client) call(ctx context.Context, method, path string, body, answer any) error {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, sent)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	received, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", response.Status, received) // an RFC 9457 problem; it says what is wrong
	}
	return json.Unmarshal(received, answer)
}
