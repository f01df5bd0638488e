package weir

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// lookForEvents is how often a stream of events over SQL looks for more.
const lookForEvents = 250 * time.Millisecond

// eventFilter is a filter as weir.events_after takes it.
type eventFilter struct {
	Queue      string   `json:"queue,omitempty"`
	Kind       string   `json:"kind,omitempty"`
	JobID      ID       `json:"job_id,omitempty"`
	WorkflowID ID       `json:"workflow_id,omitempty"`
	Events     []string `json:"events,omitempty"`
}

// eventPage is an answer of weir.events_after.
type eventPage struct {
	Events []struct {
		Event
		Position string `json:"position"`
	}
	Position string
	More     bool
}

func (t *sqlTransport) events(ctx context.Context, f EventFilter, take func(Event) bool) error {
	filter, err := json.Marshal(eventFilter{f.Queue, f.Kind, f.JobID, f.WorkflowID, f.Events})
	if err != nil {
		return fmt.Errorf("weir: encoding a filter of events: %w", err)
	}
	after := given(f.After)
	for p := (pauses{}); ctx.Err() == nil; {
		text, err := one[string](ctx, t, "select weir.events_after($1, $2::jsonb)::text", after, string(filter))
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && isAway(err):
			sleep(ctx, p.next(err))
			continue
		case err != nil:
			return err
		}
		p = pauses{}
		var page eventPage
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			return fmt.Errorf("weir: decoding events: %w", err)
		}
		for _, e := range page.Events {
			if e.Event.Position = e.Position; !take(e.Event) {
				return nil
			}
		}
		if after = &page.Position; !page.More {
			sleep(ctx, lookForEvents)
		}
	}
	return nil
}
