package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Taken is a job that a worker has: the system's own id and token, and its number.
type Taken struct {
	ID, Token, Number int64
	Sealed            string // the token as weir's service gives it to a caller with a key
}

// Claimer is a system whose workers are loops of ours: claim a batch, complete it. Each worker has a claimer of its own.
type Claimer interface {
	Claim(ctx context.Context, limit int) ([]Taken, error)
	Complete(ctx context.Context, jobs []Taken) (numbers []int64, err error)
	Wait(ctx context.Context) error // until there may be something to claim; after at most a second
	Close(ctx context.Context) error
}

// ClaimQueue is a Queue that hands out claimers, so that scenarios can time a claim alone.
type ClaimQueue interface {
	Queue
	Claimer(ctx context.Context, worker int) (Claimer, error)
}

// workLoops is Work for every ClaimQueue.
func workLoops(ctx context.Context, q ClaimQueue, crew Crew, ledger *Ledger) (stop func() error, err error) {
	if crew.Waiting > 0 {
		crew.Connections, crew.Batch = crew.Waiting, 1
	}
	waiting, wake := context.WithCancel(ctx)
	var stopped atomic.Bool
	var loops sync.WaitGroup
	errs := make([]error, crew.Connections)
	stop = func() error {
		stopped.Store(true)
		wake()
		loops.Wait()
		return errors.Join(errs...)
	}
	for worker := range crew.Connections {
		c, err := q.Claimer(ctx, worker)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		loops.Go(func() {
			defer c.Close(context.WithoutCancel(ctx))
			for !stopped.Load() && errs[worker] == nil {
				errs[worker] = workOnce(ctx, waiting, c, crew.Batch, ledger)
			}
		})
	}
	return stop, nil
}

// workOnce claims and completes a batch, or waits where there is none. Only the waiting is cut short at a stop: a
// statement under way is let finish, so that the books stay exact.
func workOnce(ctx, waiting context.Context, c Claimer, batch int, ledger *Ledger) error {
	jobs, err := c.Claim(ctx, batch)
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		if err := c.Wait(waiting); err != nil && waiting.Err() == nil {
			return err
		}
		return nil
	}
	now := time.Now()
	numbers := make([]int64, len(jobs))
	for i, job := range jobs {
		numbers[i] = job.Number
	}
	ledger.Claimed(now, numbers...)
	if numbers, err = c.Complete(ctx, jobs); err != nil {
		return err
	}
	ledger.Completed(numbers...)
	return nil
}
