package clock

import (
	"sync/atomic"
	"time"
)

// Stamp is a time that several goroutines set and read. Unlike a number of nanoseconds it keeps the monotonic reading, so that a step
// of the node's clock does not change how long ago it was. The zero value holds the zero time.
type Stamp struct{ at atomic.Pointer[time.Time] }

// Set replaces the time.
func (s *Stamp) Set(at time.Time) { s.at.Store(&at) }

// Get returns the time.
func (s *Stamp) Get() time.Time {
	if at := s.at.Load(); at != nil {
		return *at
	}
	return time.Time{}
}
