package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/bench/queue"
)

// offered returns a scenario in which perSecond jobs come each second in transactions of size jobs.
func offered(perSecond, size int) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		stop, err := s.queue.Work(ctx, s.crew(), s.ledger)
		if err != nil {
			return err
		}
		time.Sleep(time.Second) // until all workers wait
		err = s.offerAndAwait(ctx, perSecond, size)
		if err := errors.Join(err, stop()); err != nil {
			return err
		}
		s.result.Latency["pickup"] = spreadOf(s.ledger.Pickups())
		return nil
	}
}

// offerAndAwait offers jobs for the time of an offer, and waits as long again for what a system that cannot keep up still has to do.
func (s *stage) offerAndAwait(ctx context.Context, perSecond, size int) error {
	offering, end := context.WithTimeout(ctx, s.Offer)
	defer end()
	start, before := time.Now(), s.ledger.CountCompleted()
	err := s.offer(ctx, offering, time.Second*time.Duration(size)/time.Duration(perSecond), size)
	s.rate("jobs/s", s.ledger.CountCompleted()-before, time.Since(start))
	for late := time.Now(); time.Since(late) < s.Offer && s.ledger.CountCompleted() < s.ledger.CountEnqueued() && ctx.Err() == nil; {
		time.Sleep(10 * time.Millisecond)
	}
	return errors.Join(err, ctx.Err())
}

// waiting returns a scenario with this many workers and almost no jobs.
func waiting(workers int) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		stop, err := s.queue.Work(ctx, queue.Crew{Waiting: workers}, s.ledger)
		if err != nil {
			return err
		}
		idle, err := s.idle(ctx)
		if err == nil {
			s.result.Figures["idle Postgres CPU %"] = idle
			err = s.offerAndAwait(ctx, 100, 1)
		}
		if err := errors.Join(err, stop()); err != nil {
			return err
		}
		s.result.Latency["pickup"] = spreadOf(s.ledger.Pickups())
		return nil
	}
}

// idle waits for a quarter of an offer and returns how much of one processor PostgreSQL used meanwhile, in per cent.
func (s *stage) idle(ctx context.Context) (float64, error) {
	time.Sleep(time.Second)
	before, err := s.cluster.CPU()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(s.Offer / 4):
	}
	after, err := s.cluster.CPU()
	if err != nil {
		return 0, fmt.Errorf("reading the server's CPU time: %w", err)
	}
	return 100 * (after - before) / time.Since(start).Seconds(), nil
}
