package weir

import (
	"errors"
	"fmt"
	"time"
)

// outcome is an error of a handler that says what to do with its job.
type outcome struct {
	what  string
	delay time.Duration
	err   error
}

const (
	outcomeSnooze  = "snooze"
	outcomeRetry   = "retry"
	outcomeDiscard = "discard"
	outcomeCancel  = "cancel"
)

func (o *outcome) Error() string {
	switch {
	case o.err != nil:
		return o.err.Error()
	case o.what == outcomeSnooze:
		return fmt.Sprintf("snoozed for %s", o.delay)
	case o.what == outcomeCancel:
		return "cancelled by its handler"
	}
	return "the job was given up"
}

func (o *outcome) Unwrap() error { return o.err }

// Snooze is the error of a handler that wants to run the job later: after a delay of 0 to 10 years, without losing an attempt. It can be used any
// number of times.
func Snooze(d time.Duration) error { return &outcome{what: outcomeSnooze, delay: d} }

// RetryIn is the error of a handler whose attempt failed, and that names the delay before the next one, 0 to 10 years, in place of the retry
// policy: for instance what a service said in Retry-After. A last attempt makes the job dead anyway.
func RetryIn(d time.Duration, err error) error {
	return &outcome{what: outcomeRetry, delay: d, err: err}
}

// Discard is the error of a handler for which another attempt is of no use: the job is dead at once, and a dead letter for people to look at.
func Discard(err error) error { return &outcome{what: outcomeDiscard, err: err} }

// Cancel is the error of a handler whose job is not needed: it is cancelled, which is no failure and no dead letter. The error says why; nil: no
// reason is kept.
func Cancel(err error) error { return &outcome{what: outcomeCancel, err: err} }

// wanted is what the error of a handler says to do with its job, or nil.
func wanted(err error) *outcome {
	var o *outcome
	if errors.As(err, &o) {
		return o
	}
	return nil
}
