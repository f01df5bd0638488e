package api

import (
	"context"
	"io"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// streamPatience is how long a stream waits for a client that does not read. It is short because it delays the shutdown of a node, and
// because the client can resume.
const streamPatience = 5 * time.Second

// portion appends what comes next of a source to a text, or nothing after a while. more: the stream goes on.
type portion[T any] func(ctx context.Context, text []byte, source T) (out []byte, more bool, err error)

// stream answers with server-sent events, in one of the node's and the caller's places for streams. open begins to listen, and returns what
// ends that.
func stream[T any](ctx context.Context, a *API, open func() (T, func(), error), next portion[T]) (*huma.StreamResponse, error) {
	callOf(ctx).waited = true
	give, err := enter(ctx, &a.streams)
	if err != nil {
		return nil, err
	}
	source, leave, err := open()
	if err != nil {
		give()
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer give()
		defer leave()
		c.SetHeader("Content-Type", "text/event-stream")
		c.SetHeader("X-Accel-Buffering", "no") // or nginx would buffer events
		if err := writeStream(ctx, c.BodyWriter(), source, next); err != nil {
			callOf(ctx).err = err
		}
	}}, nil
}

// lines describes an answer that never is one JSON value: OpenAPI 3.1 knows it as text, and x-item-schema says what each part of it is.
func (a *API) lines(says, example string, items ...reflect.Type) *huma.MediaType {
	item := &huma.Schema{}
	for _, t := range items {
		item.OneOf = append(item.OneOf, a.schemas().Schema(t, true, ""))
	}
	if len(items) == 1 {
		item = item.OneOf[0]
	}
	return &huma.MediaType{
		Schema:     &huma.Schema{Type: huma.TypeString, Description: says},
		Example:    example,
		Extensions: map[string]any{"x-item-schema": item},
	}
}

// writeStream writes portions until the stream ends or the client has gone, and flushes after each.
func writeStream[T any](ctx context.Context, w io.Writer, source T, next portion[T]) error {
	flush := func() error { return nil }
	if out, ok := w.(*answer); ok {
		out.patience = streamPatience
		flush = out.FlushError
	}
	text, more := []byte("retry: 1000\n\n"), true
	for {
		if _, err := w.Write(text); err != nil || flush() != nil || !more {
			return nil
		}
		var err error
		text, more, err = next(ctx, text[:0], source)
		switch {
		case err != nil && ctx.Err() != nil: // the client has gone
			return nil
		case err != nil:
			return err
		case len(text) == 0 && !more:
			return nil
		case len(text) == 0:
			text = append(text, ": alive\n\n"...)
		}
	}
}
