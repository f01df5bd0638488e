package scenario

import (
	"context"
	"time"

	"github.com/weirhq/weir/bench/queue"
)

// breaking is a system with circuit breakers.
type breaking interface {
	// Depend makes the jobs that are enqueued from now on depend on something whose breaker is open; without, the jobs depend on nothing.
	Depend(ctx context.Context, on bool) error
	// LetGo closes the breaker and returns when no job is held any more.
	LetGo(ctx context.Context) error
}

// held compares claims of jobs that depend on nothing: while no breaker is open, while one is that has held no job yet, and while it holds many.
func held(ctx context.Context, s *stage) error {
	q, ok := s.queue.(breaking)
	if !ok {
		return queue.ErrUnsuited
	}
	small := s.Batch
	if _, err := s.fill(ctx, (claims+unclocked)*small); err != nil {
		return err
	}
	if err := s.timeClaims(ctx, "claim, all closed"); err != nil {
		return err
	}
	if err := q.Depend(ctx, true); err != nil {
		return err
	}
	if err := q.Depend(ctx, false); err != nil {
		return err
	}
	if _, err := s.fill(ctx, (claims+unclocked)*small); err != nil {
		return err
	}
	if err := s.timeClaims(ctx, "claim, open, none held"); err != nil {
		return err
	}
	if err := q.Depend(ctx, true); err != nil {
		return err
	}
	s.Batch = 1000
	if _, err := s.fill(ctx, s.Backlog); err != nil {
		return err
	}
	s.Batch = small
	if err := q.Depend(ctx, false); err != nil {
		return err
	}
	if _, err := s.fill(ctx, (claims+unclocked)*small); err != nil {
		return err
	}
	// The first claims move them out of the way.
	start := time.Now()
	claimer, err := s.queue.(queue.ClaimQueue).Claimer(ctx, 0)
	if err != nil {
		return err
	}
	defer claimer.Close(context.WithoutCancel(ctx))
	for jobs := []queue.Taken(nil); len(jobs) == 0; {
		if jobs, err = claimer.Claim(ctx, small); err != nil {
			return err
		}
		numbers, err := claimer.Complete(ctx, jobs)
		if err != nil {
			return err
		}
		s.ledger.Completed(numbers...)
	}
	s.rate("held/s", int64(s.Backlog), time.Since(start))
	if err := s.timeClaims(ctx, "claim, open, many held"); err != nil {
		return err
	}
	start = time.Now()
	if err := q.LetGo(ctx); err != nil {
		return err
	}
	s.rate("back/s", int64(s.Backlog), time.Since(start))
	return nil
}
