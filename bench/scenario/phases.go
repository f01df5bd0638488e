package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirhq/weir/bench/queue"
)

// nothing is longer than any completion takes that does not ask the database, because the claim was the end of the job.
const nothing = 5 * time.Millisecond

// phases times enqueue, claim and complete apart, for systems whose workers are loops of ours.
func phases(ctx context.Context, s *stage) error {
	q, ok := s.queue.(queue.ClaimQueue)
	if !ok {
		return fmt.Errorf("%w: its claim and completion cannot be called separately", queue.ErrUnsuited)
	}
	filling, err := s.fill(ctx, s.Jobs)
	if err != nil {
		return err
	}
	s.rate("enqueue/s", int64(s.Jobs), filling)

	claimers := make([]queue.Claimer, s.Connections)
	for i := range claimers {
		if claimers[i], err = q.Claimer(ctx, i); err != nil {
			return err
		}
		defer claimers[i].Close(context.WithoutCancel(ctx))
	}
	batches := make([][][]queue.Taken, s.Connections)
	claiming, err := s.together(func(i int) error {
		for {
			jobs, err := claimers[i].Claim(ctx, s.Batch)
			if err != nil || len(jobs) == 0 {
				return err
			}
			batches[i] = append(batches[i], jobs)
		}
	})
	if err != nil {
		return err
	}
	s.rate("claim/s", int64(s.Jobs), claiming)

	completing, err := s.together(func(i int) error {
		for _, jobs := range batches[i] {
			numbers, err := claimers[i].Complete(ctx, jobs)
			if err != nil {
				return err
			}
			s.ledger.Completed(numbers...)
		}
		return nil
	})
	if completing > nothing {
		s.rate("complete/s", int64(s.Jobs), completing)
	}
	return err
}

// together does the same on every connection and returns how long all of them took.
func (s *stage) together(do func(connection int) error) (time.Duration, error) {
	start := time.Now()
	errs := make([]error, s.Connections)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return time.Since(start), errors.Join(errs...)
}
