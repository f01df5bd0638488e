// Package clock is where the engine takes the time and random numbers from, so that a test can choose both.
// Everything below jobs uses it; a linter forbids time.Now and math/rand there. It imports the standard library only.
//
// The time of a node decides how long to wait, never when a lease ends or a job is due: the database's clock decides that.
package clock

import (
	"context"
	"math/rand/v2"
	"time"
)

// Clock tells the time and draws random numbers. The zero value is the clock and the random source of this machine.
// It is small: pass it by value. Timers always run on the machine's clock; a test that moves them runs in a testing/synctest bubble.
type Clock struct {
	// Time tells the time. Defaults to time.Now.
	Time func() time.Time
	// Random draws 64 random bits. Several goroutines call it at once. Defaults to rand.Uint64.
	Random func() uint64
}

// Now is the time.
func (c Clock) Now() time.Time {
	if c.Time != nil {
		return c.Time()
	}
	return time.Now()
}

// Since is the time that has passed since t.
func (c Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until is the time left before t.
func (c Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Timer fires once, after d.
func (Clock) Timer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// AfterFunc calls f in its own goroutine after d.
func (Clock) AfterFunc(d time.Duration, f func()) *time.Timer { return time.AfterFunc(d, f) }

// Sleep waits for d, or until ctx ends, and then returns its error.
func (Clock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Uint64 draws 64 random bits.
func (c Clock) Uint64() uint64 {
	if c.Random != nil {
		return c.Random()
	}
	return rand.Uint64()
}

// Jitter draws a duration of at least 0 and less than most; 0 if most is not positive.
func (c Clock) Jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(c.Uint64() % uint64(most))
}
