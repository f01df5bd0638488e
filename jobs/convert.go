package jobs

import "time"

// What the database takes and returns, as Go has it.

// seconds turns a number of seconds into a duration.
func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// utc converts a time from the zone of the session or of this machine.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// value is what p points to; the zero value for null.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// nonZero is null for the zero value.
func nonZero[T comparable](x T) *T {
	var zero T
	if x == zero {
		return nil
	}
	return &x
}

// intOf widens a number that may be null.
func intOf(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}
