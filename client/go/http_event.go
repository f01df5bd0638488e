package weir

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxEvent   = 1 << 20          // bytes of a line of a stream
	maxSilence = 45 * time.Second // of a stream: weir sends a comment every 15 s
)

func (t *httpTransport) events(ctx context.Context, f EventFilter, take func(Event) bool) error {
	query := url.Values{}
	set := func(name, value string) {
		if value != "" && value != "0" {
			query.Set(name, value)
		}
	}
	set("queue", f.Queue)
	set("kind", f.Kind)
	set("job_id", f.JobID.String())
	set("workflow_id", f.WorkflowID.String())
	set("event", strings.Join(f.Events, ","))
	after := f.After
	for p := (pauses{}); ; {
		done, err := t.stream(ctx, "/v1/events?"+query.Encode(), after, func(e Event) bool {
			p = pauses{}
			if e.Position != "" {
				after = e.Position
			}
			return take(e)
		})
		switch {
		case done || ctx.Err() != nil:
			return nil
		case err != nil && !isAway(err) && !errors.Is(err, errBrokenOff):
			return err
		case !sleep(ctx, p.next(err)):
			return nil
		}
	}
}

// stream makes a call whose answer is a stream of events, and hands them on until it breaks off or done: no more are wanted.
func (t *httpTransport) stream(ctx context.Context, path, after string, take func(Event) bool) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(maxSilence, cancel)
	defer silence.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if after != "" {
		header.Set("Last-Event-ID", after)
	}
	response, err := t.send(ctx, http.MethodGet, path, header, nil)
	if err != nil {
		return false, fmt.Errorf("weir: %w: %w", errBrokenOff, err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		text, _ := io.ReadAll(response.Body)
		return false, problem(response, text)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	var data, position string
	for lines.Scan() {
		silence.Reset(maxSilence)
		switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
		case "id":
			position = value
		case "data":
			data = value
		case "":
			if data == "" {
				continue // a comment
			}
			e := Event{Position: position}
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return false, fmt.Errorf("weir: decoding an event: %w", err)
			}
			if !take(e) {
				return true, nil
			}
			data, position = "", ""
		}
	}
	return false, errBrokenOff
}
