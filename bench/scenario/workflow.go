package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirhq/weir/bench/queue"
)

// shape says which steps a step of a workflow depends on.
type shape struct {
	steps     int
	dependsOn func(step int) []int
}

// fanShape is a step, so many that depend on it, and one that depends on all of those.
func fanShape(width int) shape {
	return shape{width + 2, func(step int) []int {
		switch step {
		case 0:
			return nil
		case width + 1:
			all := make([]int, width)
			for i := range all {
				all[i] = i + 1
			}
			return all
		}
		return []int{0}
	}}
}

// chainShape is steps each of which depends on the one before.
func chainShape(length int) shape {
	return shape{length, func(step int) []int {
		if step == 0 {
			return nil
		}
		return []int{step - 1}
	}}
}

// workflows submits workflows of one shape, until there are enough steps, and then works them all.
func workflows(of shape) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		q, ok := s.queue.(queue.WorkflowQueue)
		if !ok {
			return fmt.Errorf("%w: it has no workflows", queue.ErrUnsuited)
		}
		count := max(1, s.Jobs/of.steps)
		together := max(1, s.Batch/of.steps)
		submitting, err := s.submit(ctx, q, of, count, together)
		if err != nil {
			return err
		}
		burning, err := s.burn(ctx)
		if err != nil {
			return err
		}
		steps := int64(count * of.steps)
		s.rate("submit steps/s", steps, submitting)
		s.rate("burn steps/s", steps, burning)
		s.rate("steps/s", steps, submitting+burning)
		broken, err := q.Broken(ctx)
		if err == nil && broken > 0 {
			err = fmt.Errorf("%d things are wrong with the workflows", broken)
		}
		return err
	}
}

// submit commits workflows from all connections at once, some in each transaction, and returns how long it took.
func (s *stage) submit(ctx context.Context, q queue.WorkflowQueue, of shape, count, together int) (time.Duration, error) {
	start := time.Now()
	work := make(chan int, count/together+1)
	for left := count; left > 0; left -= together {
		work <- min(left, together)
	}
	close(work)
	errs := make([]error, s.Connections)
	var producers sync.WaitGroup
	for i := range s.Connections {
		producers.Go(func() {
			for n := range work {
				batch, all := make([][]queue.Step, n), []queue.Job(nil)
				for w := range batch {
					first := s.next.take(of.steps)
					for step := range of.steps {
						job := queue.MakeJob(first+int64(step), s.ArgsSize)
						batch[w] = append(batch[w], queue.Step{Job: job, DependsOn: of.dependsOn(step)})
						all = append(all, job)
					}
				}
				if errs[i] = q.Submit(ctx, batch); errs[i] != nil {
					return
				}
				s.ledger.Enqueued(all, time.Now())
			}
		})
	}
	producers.Wait()
	return time.Since(start), errors.Join(errs...)
}
