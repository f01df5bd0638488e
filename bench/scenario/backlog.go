package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/bench/queue"
)

// claims is how many claims are timed, after some that let the session plan its statements.
const claims, unclocked = 200, 10

// claimTimer is a system that is no [queue.ClaimQueue] but can make a single claim.
type claimTimer interface {
	TimeClaim(ctx context.Context, limit int) (time.Duration, error)
}

// backlog compares the claim on an all but empty queue with the claim on a long one.
func backlog(ctx context.Context, s *stage) error {
	if _, err := s.fill(ctx, (claims+unclocked)*s.Batch); err != nil {
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

// timeClaims claims batches one after the other, on one connection, with nothing else going on: what autovacuum and the checkpointer would do about a
// million new rows at some moment of these seconds is done before. It completes them where it can.
func (s *stage) timeClaims(ctx context.Context, name string) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
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
	var times []time.Duration
	for i := range unclocked + claims {
		took, err := claim()
		if errors.Is(err, errNothing) && len(times) > 0 {
			break // a system that takes more than the batch has no more
		}
		if err != nil {
			return fmt.Errorf("timing claims: %w", err)
		}
		if i >= unclocked {
			times = append(times, took)
		}
	}
	s.result.Latency[name] = spreadOf(times)
	return nil
}

func (s *stage) settle(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{"vacuum analyze", "checkpoint"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("letting the database settle: %w", err)
		}
	}
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
