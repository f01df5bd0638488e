package scenario

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// producers is how many connections enqueue under continuous load.
	producers = 2

	// waterline is how many jobs must wait for the producers to pause: enough to keep every system's workers busy.
	waterline = 10_000
)

// produce enqueues batches until it is told to stop, as fast as it can without letting more jobs wait than the waterline. A batch under
// way is finished, so that the books stay exact.
func (s *stage) produce(ctx, stop context.Context) error {
	var all sync.WaitGroup
	errs := make([]error, producers)
	for i := range errs {
		all.Go(func() {
			for errs[i] == nil && stop.Err() == nil {
				if s.ledger.CountEnqueued()-s.ledger.CountCompleted() >= waterline {
					time.Sleep(time.Millisecond)
					continue
				}
				errs[i] = s.enqueue(ctx, s.Batch)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// offer enqueues a batch of size jobs at each tick until it is told to stop, on time whatever the system does, as long as one of
// the connections is free.
func (s *stage) offer(ctx, stop context.Context, every time.Duration, size int) error {
	var all sync.WaitGroup
	due := make(chan struct{}, 1_000_000)
	errs := make([]error, s.Connections)
	for i := range errs {
		all.Go(func() {
			for range due {
				if errs[i] == nil && stop.Err() == nil {
					errs[i] = s.enqueue(ctx, size)
				}
			}
		})
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	start, sent := time.Now(), 0
	for stop.Err() == nil {
		select {
		case <-stop.Done():
		case <-tick.C:
			for ; sent < int(time.Since(start)/every); sent++ {
				due <- struct{}{}
			}
		}
	}
	close(due)
	all.Wait()
	return errors.Join(errs...)
}

// sample notes how many jobs are completed in each second for some time, and how fast the machine is then, and gives up when none has been for a minute.
func (s *stage) sample(ctx context.Context, length time.Duration) (series, speeds []float64, err error) {
	yard := newYardstick()
	end := time.After(length)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before, idle := s.ledger.CountCompleted(), 0
	for {
		select {
		case <-ctx.Done():
			return series, speeds, ctx.Err()
		case <-end:
			return series, speeds, nil
		case <-tick.C:
		}
		now := s.ledger.CountCompleted()
		series, speeds = append(series, float64(now-before)), append(speeds, yard.speed())
		if idle++; now != before {
			idle = 0
		}
		if idle == 60 {
			return series, speeds, errors.New("no job was completed for a minute")
		}
		before = now
	}
}

// slowest is what the worst 5 s were like, in percent of the median of all windows of 5 s.
func slowest(series []float64) float64 {
	sorted := slices.Sorted(slices.Values(windows(series)))
	return 100 * sorted[0] / sorted[len(sorted)/2]
}

// windows are the means of all 5 neighbours.
func windows(series []float64) []float64 {
	const size = 5
	if len(series) < size {
		return []float64{mean(series)}
	}
	means := make([]float64, len(series)-size+1)
	for i := range means {
		means[i] = mean(series[i : i+size])
	}
	return means
}

func mean(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(1, len(values)))
}
