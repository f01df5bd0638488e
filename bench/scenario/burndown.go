package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/bench/queue"
)

// burndown enqueues all, then works all. A life is both: lives/s is the number of jobs by the time of the two together.
func burndown(ctx context.Context, s *stage) error {
	filling, err := s.fill(ctx, s.Jobs)
	if err != nil {
		return err
	}
	burning, err := s.burn(ctx)
	if err != nil {
		return err
	}
	s.rate("enqueue/s", int64(s.Jobs), filling)
	s.rate("burn/s", int64(s.Jobs), burning)
	s.rate("lives/s", int64(s.Jobs), filling+burning)
	return nil
}

// enqueueOnly measures producers alone.
func enqueueOnly(ctx context.Context, s *stage) error {
	filling, err := s.fill(ctx, s.Jobs)
	s.rate("enqueue/s", int64(s.Jobs), filling)
	return err
}

// numbers hands out the numbers of jobs.
type numbers struct{ last atomic.Int64 }

// take returns the first of n numbers that are now taken.
func (n *numbers) take(count int) int64 { return n.last.Add(int64(count)) - int64(count) + 1 }

// enqueue commits one batch of new jobs.
func (s *stage) enqueue(ctx context.Context, count int) error {
	first := s.next.take(count)
	jobs := make([]queue.Job, count)
	for i := range jobs {
		jobs[i] = queue.MakeJob(first+int64(i), s.ArgsSize)
	}
	if err := s.queue.Enqueue(ctx, jobs); err != nil {
		return fmt.Errorf("enqueueing: %w", err)
	}
	s.ledger.Enqueued(jobs, time.Now())
	return nil
}

// fill enqueues jobs from all connections at once and returns how long it took.
func (s *stage) fill(ctx context.Context, jobs int) (time.Duration, error) {
	start := time.Now()
	var left atomic.Int64
	left.Store(int64(jobs))
	var producers sync.WaitGroup
	errs := make([]error, s.Connections)
	for i := range s.Connections {
		producers.Go(func() {
			for errs[i] == nil {
				batch := min(int64(s.Batch), left.Add(-int64(s.Batch))+int64(s.Batch))
				if batch <= 0 {
					return
				}
				errs[i] = s.enqueue(ctx, int(batch))
			}
		})
	}
	producers.Wait()
	return time.Since(start), errors.Join(errs...)
}

// burn works until all that is enqueued is completed, and returns how long that took. The clock starts when the workers are
// there, because some systems take a second to start.
func (s *stage) burn(ctx context.Context) (time.Duration, error) {
	stop, err := s.queue.Work(ctx, s.crew(), s.ledger)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	err = s.awaitCompleted(ctx, s.ledger.CountEnqueued())
	took := time.Since(start)
	return took, errors.Join(err, stop())
}

func (s *stage) crew() queue.Crew { return queue.Crew{Connections: s.Connections, Batch: s.Batch} }

// awaitCompleted returns when n jobs are completed, and gives up after a minute without progress.
func (s *stage) awaitCompleted(ctx context.Context, wanted int64) error {
	const patience = time.Minute
	seen, at := int64(-1), time.Now()
	for {
		completed := s.ledger.CountCompleted()
		if completed >= wanted {
			return nil
		}
		if completed > seen {
			seen, at = completed, time.Now()
		}
		if time.Since(at) > patience {
			return fmt.Errorf("%d of %d jobs are completed, and none was for %s", completed, s.ledger.CountEnqueued(), patience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}
