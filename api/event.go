package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// eventPulse is the interval of comments on a stream without events.
const eventPulse = 15 * time.Second

type eventsInput struct {
	Queue       string   `query:"queue" maxLength:"128" doc:"Only events of jobs in this queue."`
	Kind        string   `query:"kind" maxLength:"200" doc:"Only events of jobs of this kind."`
	JobID       string   `query:"job_id" pattern:"^[0-9]+$" maxLength:"30" doc:"Only events of this job."`
	WorkflowID  string   `query:"workflow_id" pattern:"^[0-9]+$" maxLength:"30" doc:"Only events of this workflow and of its jobs."`
	Event       []string `query:"event" maxItems:"20" doc:"Only these events, comma-separated, such as dead,failed."`
	LastEventID string   `header:"Last-Event-ID" maxLength:"100" doc:"Resume after this event, sent by any node within the last hour. Browsers send it when they reconnect."`
}

func (a *API) registerEvents() {
	const path = "/v1/events"
	register(a, huma.Operation{
		OperationID: "streamEvents", Method: http.MethodGet, Path: path, Tags: []string{tagJobs},
		Summary: "Stream events",
		Description: "An endless stream of server-sent events: what happens to jobs, oldest first, within about a quarter " +
			"of a second of the commit. Each has an `id` to resume from (`Last-Event-ID`), an `event` and, as " +
			"`data`, the Event as JSON. A comment every 15 s shows that the stream is alive. A stream that " +
			"cannot keep up is closed: reconnect and resume from the last `id`. Around a resumption an event may " +
			"come twice.\n\n`started` is sent for jobs that run for more than a moment; every end has `attempt` " +
			"and `worker` too. Changes of workers and circuit breakers are sent within a second while the stream " +
			"is open, and cannot be resumed.",
	}, documented{}, a.streamEvents)
	a.huma.OpenAPI().Paths[path].Get.Responses["200"].Content = map[string]*huma.MediaType{
		"text/event-stream": a.lines("Frames of id, event and data; the data is an Event as JSON in one line.",
			"id: 1769853000000000-4711-0f3a9c55-17\nevent: completed\n"+`data: {"at": "2026-01-31T09:00:30Z", "event": "completed", "job_id": "4711", "queue": "mail", "kind": "send_receipt", "attempt": 1, "worker": "mailer-1"}`+"\n\n", reflect.TypeFor[jobs.Event]()),
	}
}

func (a *API) streamEvents(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	for i, name := range in.Event {
		if !slices.Contains(jobs.EventNames, name) {
			return nil, invalidAt(ctx, fmt.Sprintf("query.event[%d]", i), "is the name of no event")
		}
	}
	filter := jobs.EventFilter{Queue: in.Queue, Kind: in.Kind, Events: in.Event}
	if in.JobID != "" {
		filter.JobID = JobPath{ID: in.JobID}.id()
	}
	if in.WorkflowID != "" {
		filter.WorkflowID = idOf(in.WorkflowID)
	}
	return stream(ctx, a, func() (*jobs.EventListener, func(), error) { return a.engine.Listen(ctx, filter, in.LastEventID) }, a.appendEvents)
}

// appendEvents appends the next events, as the caller may read them.
func (a *API) appendEvents(ctx context.Context, text []byte, listener *jobs.EventListener) ([]byte, bool, error) {
	events, open, err := listener.Next(ctx, eventPulse)
	if err != nil || !open {
		return nil, open, err
	}
	for _, ev := range events {
		if len(ev.Text) == 0 {
			a.log.WarnContext(ctx, "left out an event that cannot be encoded", "event", ev.Event, "job", ev.JobID)
			continue
		}
		said := ev.Said(ctx)
		if redacts(ctx) {
			hidden, err := redactJSON(said)
			if err != nil {
				return nil, false, err
			}
			if said, err = json.Marshal(hidden); err != nil {
				return nil, false, fmt.Errorf("encoding an event: %w", err)
			}
		}
		text = appendEvent(text, ev, said)
	}
	return text, true, nil
}

func appendEvent(text []byte, ev *jobs.Event, said json.RawMessage) []byte {
	text = fmt.Appendf(text, "id: %s\nevent: %s\ndata: ", ev.Position, ev.Event)
	return append(append(text, said...), "\n\n"...) // the JSON has no line breaks
}
