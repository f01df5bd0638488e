package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/bench/queue"
)

// claims is how many claims are timed.
const claims = 100

// claimTimer is a system that is no [queue.ClaimQueue] but can make a single claim.
type claimTimer interface {
	TimeClaim(ctx context.Context, limit int) (time.Duration, error)
}

// backlog compares the claim on an all but empty queue with the claim on a long one.
func backlog(ctx context.Context, s *stage) error {
	if _, err := s.fill(ctx, claims*s.Batch); err != nil {
		return err
	}
	if err := s.timeClaims(ctx, "claim, empty"); err != nil {
		return err
	}
	small := s.Batch
	s.Batch = 1000
	filling, err := s.fill(ctx, s.Backlog)
	if err != nil {
		return err
	}
	s.rate("enqueue/s", int64(s.Backlog), filling)
	s.Batch = small
	if err := s.timeClaims(ctx, "claim, backlog"); err != nil {
		return err
	}

	before, start := s.ledger.CountCompleted(), time.Now()
	stop, err := s.queue.Work(ctx, s.crew(), s.ledger)
	if err != nil {
		return err
	}
	for ctx.Err() == nil && time.Since(start) < 10*time.Second && s.ledger.CountCompleted() < s.ledger.CountEnqueued() {
		time.Sleep(2 * time.Millisecond)
	}
	s.rate("burn/s", s.ledger.CountCompleted()-before, time.Since(start))
	return errors.Join(ctx.Err(), stop())
}

// timeClaims claims batches one after the other, on one connection, with nothing else going on. It completes them where
// it can.
func (s *stage) timeClaims(ctx context.Context, name string) error {
	var claim func() (time.Duration, error)
	switch q := s.queue.(type) {
	case queue.ClaimQueue:
		claimer, err := q.Claimer(ctx, 0)
		if err != nil {
			return err
		}
		defer claimer.Close(context.WithoutCancel(ctx))
		claim = func() (time.Duration, error) { return s.claimOnce(ctx, claimer) }
	case claimTimer:
		claim = func() (time.Duration, error) { return q.TimeClaim(ctx, s.Batch) }
	default:
		return nil
	}
	times := make([]time.Duration, claims)
	for i := range times {
		var err error
		if times[i], err = claim(); errors.Is(err, errNothing) && i > 0 {
			times = times[:i] // a system that takes more than the batch has no more
			break
		} else if err != nil {
			return fmt.Errorf("timing claims: %w", err)
		}
	}
	s.result.Latency[name] = spreadOf(times)
	return nil
}

var errNothing = errors.New("there is nothing to claim")

// claimOnce times the claim that finds something: a log must first tick.
func (s *stage) claimOnce(ctx context.Context, claimer queue.Claimer) (time.Duration, error) {
	var jobs []queue.Taken
	var took time.Duration
	for tries := 0; len(jobs) == 0; tries++ {
		start := time.Now()
		var err error
		jobs, err = claimer.Claim(ctx, s.Batch)
		took = time.Since(start)
		switch {
		case err != nil:
			return took, err
		case len(jobs) == 0 && tries == 5:
			return took, errNothing
		case len(jobs) == 0:
			time.Sleep(20 * time.Millisecond)
		}
	}
	numbers, err := claimer.Complete(ctx, jobs)
	s.ledger.Completed(numbers...)
	return took, err
}
