package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// client makes the few REST calls that this example needs.
type client struct {
	url   string
	queue string
}

type workflow struct {
	Name  string `json:"name"`
	Steps []step `json:"steps"`
}

type step struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Queue     string   `json:"queue"`
	Args      stepArgs `json:"args"`
	DependsOn []string `json:"depends_on,omitempty"`
}

// stepArgs are those of list (Folder, Size), of count (Folder, Files) and of reduce (Shard).
type stepArgs struct {
	Folder string   `json:"folder,omitempty"`
	Size   int64    `json:"size,omitempty"`
	Files  []string `json:"files,omitempty"`
	Shard  int      `json:"shard,omitempty"`
}

// claimed is a step that this worker has.
type claimed struct {
	ID           string                     `json:"id"`
	Token        string                     `json:"token"`
	Kind         string                     `json:"kind"`
	Args         stepArgs                   `json:"args"`
	Dependencies map[string]json.RawMessage `json:"dependencies"`
}

// completion is the end of a step. With new steps it is one transaction: there is no moment at which this one is done and those are not there.
type completion struct {
	Token    string `json:"token"`
	Result   any    `json:"result,omitempty"`
	AddSteps []step `json:"add_steps,omitempty"`
}

func (c client) submit(ctx context.Context, w workflow) (id string, err error) {
	var answer struct {
		ID string `json:"id"`
	}
	err = c.call(ctx, http.MethodPost, "/v1/workflows", w, &answer)
	return answer.ID, err
}

func (c client) claim(ctx context.Context, worker string) ([]claimed, error) {
	var answer struct {
		Jobs []claimed `json:"jobs"`
	}
	err := c.call(ctx, http.MethodPost, "/v1/claims", map[string]any{
		"worker": worker, "queues": []string{c.queue}, "limit": 1, "wait_seconds": 10, "lease_seconds": 30,
	}, &answer)
	return answer.Jobs, err
}

// results are those of the steps that a step depends on. A claim has them, unless they are too large together: then they are fetched page by page.
func (c client) results(ctx context.Context, s claimed) (map[string]json.RawMessage, error) {
	if s.Dependencies != nil {
		return s.Dependencies, nil
	}
	results := map[string]json.RawMessage{}
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				Step   string          `json:"step"`
				Result json.RawMessage `json:"result"`
			} `json:"items"`
			NextCursor *string `json:"next_cursor"`
		}
		if err := c.call(ctx, http.MethodGet, "/v1/jobs/"+s.ID+"/dependencies?limit=10"+cursor, nil, &page); err != nil {
			return nil, err
		}
		for _, d := range page.Items {
			results[d.Step] = d.Result
		}
		if page.NextCursor == nil {
			return results, nil
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

func (c client) complete(ctx context.Context, s claimed, with completion) error {
	with.Token = s.Token
	return c.call(ctx, http.MethodPost, "/v1/jobs/"+s.ID+"/complete", with, nil)
}

func (c client) fail(ctx context.Context, s claimed, reason error) error {
	return c.call(ctx, http.MethodPost, "/v1/jobs/"+s.ID+"/fail", map[string]any{"token": s.Token, "error": map[string]string{"message": reason.Error()}}, nil)
}

// total waits for the end of a workflow, and returns the result of its step total.
func (c client) total(ctx context.Context, id string) (summary, error) {
	var w struct {
		State    string  `json:"state"`
		Progress float64 `json:"progress"`
		Failure  struct {
			Message string `json:"message"`
		} `json:"failure"`
	}
	for {
		if err := c.call(ctx, http.MethodGet, "/v1/workflows/"+id, nil, &w); err != nil {
			return summary{}, err
		}
		fmt.Printf("\r%s, %g %%    ", w.State, w.Progress)
		if w.State == "completed" {
			break
		}
		if w.State == "failed" || w.State == "cancelled" {
			return summary{}, fmt.Errorf("the workflow is %s: %s", w.State, w.Failure.Message)
		}
		select {
		case <-ctx.Done():
			return summary{}, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	fmt.Println()
	path := "/v1/workflows/" + id + "/steps?limit=1000"
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				Name   string          `json:"name"`
				Result json.RawMessage `json:"result"`
			} `json:"items"`
			NextCursor *string `json:"next_cursor"`
		}
		if err := c.call(ctx, http.MethodGet, path+cursor, nil, &page); err != nil {
			return summary{}, err
		}
		for _, s := range page.Items {
			if s.Name == "total" {
				var total summary
				return total, json.Unmarshal(s.Result, &total)
			}
		}
		if page.NextCursor == nil {
			return summary{}, errors.New("the workflow has no step total")
		}
		cursor = "&cursor=" + *page.NextCursor
	}
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
	if answer == nil {
		return nil
	}
	return json.Unmarshal(received, answer)
}
