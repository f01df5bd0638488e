//go:build unix

package weirtest

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Event is one event of a stream.
type Event struct {
	ID, Name string
	Data     struct {
		At                  time.Time
		Event               string
		JobID               string `json:"job_id"`
		Queue               string
		Kind                string
		Worker              string
		Breaker, By, Reason string
		Error               struct{ Message string }
	}
}

// WatchEvents opens a stream of events. Everything that happens after its return comes through the channel, which is
// closed when the stream ends.
func (s *Node) WatchEvents(query, lastID string) (events <-chan Event, hangUp func()) {
	s.T.Helper()
	ctx, cancel := context.WithCancel(s.T.Context())
	s.T.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/events?"+query, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	if s.Key != "" {
		request.Header.Set("Authorization", "Bearer "+s.Key)
	}
	response, err := http.DefaultClient.Do(request) //nolint:bodyclose // the goroutine below closes it
	if err != nil {
		s.T.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		s.T.Fatalf("%s %s after %q", response.Status, response.Header.Get("Content-Type"), lastID)
	}
	all := make(chan Event, 1000) // 500 unread streams must fit into memory
	go func() {
		defer close(all)
		defer response.Body.Close()
		var ev Event
		var data string
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				ev.ID = value
			case "event":
				ev.Name = value
			case "data":
				data = value
			case "": // the event is complete: the last line of a stream that broke may be a part of one
				if ev.ID != "" {
					if err := json.Unmarshal([]byte(data), &ev.Data); err != nil {
						panic(err)
					}
					select {
					case all <- ev:
					case <-ctx.Done():
						return
					}
				}
				ev, data = Event{}, ""
			}
		}
	}()
	return all, cancel
}

// NextEvents waits for n events.
func (s *Node) NextEvents(events <-chan Event, n int) (got []Event) {
	s.T.Helper()
	for len(got) < n {
		select {
		case ev, open := <-events:
			if !open {
				s.T.Fatalf("the stream ended after %d of %d events: %+v", len(got), n, got)
			}
			got = append(got, ev)
		case <-time.After(Patience):
			s.T.Fatalf("%d of %d events came: %+v", len(got), n, got)
		}
	}
	return got
}

// EventNames returns the names of events.
func EventNames(events []Event) (names []string) {
	for _, ev := range events {
		names = append(names, ev.Name)
	}
	return names
}
