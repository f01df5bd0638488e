package rest

import (
	"context"
	"time"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Backoff is the wait before the next attempt of a call: it doubles from 100 ms to 5 s. Its zero value is ready for
// use.
type Backoff struct{ last time.Duration }

// Next is how long to wait now.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, minBackoff), maxBackoff)
	return b.last
}

// Sleep waits, and returns false if ctx ends first.
func (b *Backoff) Sleep(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(b.Next()):
		return true
	}
}
