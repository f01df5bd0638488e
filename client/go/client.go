package weir

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Client enqueues jobs, and is what workers claim through. [HTTP] and [SQL] make one. It is safe for use by several goroutines.
type Client struct {
	t         transport
	log       *slog.Logger
	retryFor  time.Duration
	onEnqueue []func(context.Context, *NewJob)
}

// settings is what the options of both sorts of clients set.
type settings struct {
	log       *slog.Logger
	retryFor  time.Duration
	onEnqueue []func(context.Context, *NewJob)
	http      httpSettings
}

// ClientOption sets something of a client.
type ClientOption func(*settings)

// WithLogger sets where a client and its workers log what goes wrong with weir. Defaults to slog.Default().
func WithLogger(log *slog.Logger) ClientOption { return func(s *settings) { s.log = log } }

// WithRetryFor bounds how long a call that may be made again is tried again while weir does not answer or is overloaded. 0: it is not tried again,
// and an [Client.Enqueue] is sent without an idempotency key, which saves weir a row. Defaults to 30 s.
func WithRetryFor(d time.Duration) ClientOption { return func(s *settings) { s.retryFor = d } }

// OnEnqueue has a function look at each job before it is sent. It may change it, such as to add the trace context to its metadata.
func OnEnqueue(f func(context.Context, *NewJob)) ClientOption {
	return func(s *settings) { s.onEnqueue = append(s.onEnqueue, f) }
}

func settingsOf(opts []ClientOption) *settings {
	s := &settings{log: slog.Default(), retryFor: 30 * time.Second}
	for _, o := range opts {
		o(s)
	}
	return s
}

func newClient(t transport, s *settings) *Client {
	return &Client{t: t, log: s.log, retryFor: s.retryFor, onEnqueue: s.onEnqueue}
}

// Close gives back what the client holds. Workers must have ended. The pool of [SQL] stays open.
func (c *Client) Close() { c.t.close() }

// Cancel cancels a job. One that waits is cancelled at once; of one that runs the handler's context ends at its worker's next heartbeat. It takes a
// key or a login with access as an operator. Errors: [ErrNotFound], *[Error] with the code job_ended.
func (c *Client) Cancel(ctx context.Context, id ID) error { return c.t.cancelJob(ctx, id) }

const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// pauses are the waits between attempts at a call. They double from 50 ms to 5 s; each is drawn from the upper half, so that the workers of a fleet
// do not come back together.
type pauses struct{ last time.Duration }

// next is how long to wait after an error. What weir asks for counts, if it is longer.
func (p *pauses) next(err error) time.Duration {
	p.last = min(max(2*p.last, firstPause), lastPause)
	wait := p.last/2 + rand.N(p.last/2+1)
	if asked := min(retryAfter(err), time.Minute); asked > wait {
		return asked + rand.N(asked/4+1)
	}
	return wait
}

// sleep waits, and says whether it was not broken off.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// again makes a call until it succeeds, its error is one that another attempt would meet again, or the time is over.
func (c *Client) again(ctx context.Context, may func(error) bool, call func(context.Context) error) error {
	deadline := time.Now().Add(c.retryFor)
	for p := (pauses{}); ; {
		err := call(ctx)
		if err == nil || ctx.Err() != nil || !may(err) {
			return err
		}
		wait := p.next(err)
		if time.Now().Add(wait).After(deadline) || !sleep(ctx, wait) {
			return err
		}
	}
}
