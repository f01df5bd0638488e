package rest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Event is one event of a stream.
type Event struct{ ID, Name, Data string }

const (
	// maxEvent is the longest line of a stream.
	maxEvent = 1 << 20
	// maxSilence is how long a stream may be silent: the service sends a comment every 15 s.
	maxSilence = 45 * time.Second
)

// Follower takes the events of a stream that may break off and go on.
type Follower struct {
	// Take takes an event, and returns whether it wants more. Its error ends the stream.
	Take func(Event) (more bool, err error)
	// Open hears that the service has answered for the first time: what happens from then on comes. Defaults to nothing.
	Open func()
	// Lost hears that the stream broke off, and why if that is known. Defaults to nothing.
	Lost func(reason error)
	// Back hears that the stream goes on after that. Defaults to nothing.
	Back func()
}

// Follow makes a call whose answer is a stream of server-sent events. When the stream breaks off, it makes the call again, after the last event
// that came. It returns nil when the follower wants no more or ctx ends, and an error if the service refuses the call, or does not answer the first.
func (c *Client) Follow(ctx context.Context, call Call, f Follower) error {
	call.Header = call.Header.Clone()
	if call.Header == nil {
		call.Header = http.Header{}
	}
	var pause Backoff
	lost, reached := false, false
	opened := func() {
		if !reached && f.Open != nil {
			f.Open()
		}
		if lost && f.Back != nil {
			f.Back()
		}
		lost, reached = false, true
	}
	take := func(event Event) error {
		pause = Backoff{}
		if more, err := f.Take(event); err != nil || !more {
			return &doneError{err}
		}
		if event.ID != "" {
			call.Header.Set(lastEventID, event.ID)
		}
		return nil
	}
	for {
		err := c.stream(ctx, call, opened, take)
		var done *doneError
		switch {
		case errors.As(err, &done):
			return done.reason
		case ctx.Err() != nil:
			return nil
		case Refused(err) && reached && call.Header.Get(lastEventID) != "": // that event is too long ago
			call.Header.Del(lastEventID)
			err = fmt.Errorf("what happened since then is left out: %w", err)
		case Refused(err), !reached && Status(err) != http.StatusServiceUnavailable:
			return err
		}
		if !lost && f.Lost != nil {
			f.Lost(err)
		}
		lost = true
		if !pause.Sleep(ctx) {
			return nil
		}
	}
}

const lastEventID = "Last-Event-Id"

// doneError is that a follower wants no more. reason is its error, or nil.
type doneError struct{ reason error }

func (e *doneError) Error() string { return "the follower wants no more" }

// stream makes a call and hands on what comes until the stream breaks off, which is no error, or take returns one.
func (c *Client) stream(ctx context.Context, call Call, opened func(), take func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(maxSilence, cancel)
	defer silence.Stop()
	request, err := c.request(ctx, call)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.explain(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		text, _ := io.ReadAll(response.Body)
		return c.problem(response, text)
	}
	opened()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	for event := (Event{}); lines.Scan(); {
		silence.Reset(maxSilence)
		switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
		case "id":
			event.ID = value
		case "event":
			event.Name = value
		case "data":
			event.Data = value
		case "":
			if event.Name == "" {
				continue // a comment
			}
			if err := take(event); err != nil {
				return err
			}
			event = Event{}
		}
	}
	return lines.Err()
}
