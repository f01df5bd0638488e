package weir

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weirhq/weir/client/go/rest"
)

const (
	maxEvent   = 1 << 20          // bytes of a line of a stream
	maxSilence = 45 * time.Second // of a stream: weir sends a comment every 15 s
)

func (t *httpTransport) events(ctx context.Context, f EventFilter, take func(Event) bool) error {
	params := rest.StreamEventsParams{Queue: given(f.Queue), Kind: given(f.Kind), LastEventID: given(f.After)}
	if f.JobID != 0 {
		params.JobID = given(f.JobID.String())
	}
	if f.WorkflowID != 0 {
		params.WorkflowID = given(f.WorkflowID.String())
	}
	if len(f.Events) > 0 {
		params.Event = &f.Events
	}
	for p := (pauses{}); ; {
		done, err := t.stream(ctx, &params, func(e Event) bool {
			p = pauses{}
			if e.Position != "" {
				params.LastEventID = &e.Position
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
func (t *httpTransport) stream(ctx context.Context, params *rest.StreamEventsParams, take func(Event) bool) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(maxSilence, cancel)
	defer silence.Stop()
	response, err := t.rest.StreamEvents(ctx, params)
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
