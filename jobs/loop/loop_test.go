package loop

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/jobs/clock"
)

// withoutJitter makes waits exact.
var withoutJitter = clock.Clock{Random: func() uint64 { return 0 }}

// start runs one loop for the rest of the test, and returns its runner and the end of it.
func start(t *testing.T, log *strings.Builder, l Loop) (r *Runner, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	r = &Runner{Clock: withoutJitter, Log: slog.New(slog.NewTextHandler(log, nil)), Observe: func(string, time.Duration, error) {}}
	ended := make(chan struct{})
	go func() {
		r.Run(ctx, l)
		close(ended)
	}()
	return r, func() {
		cancel()
		<-ended
	}
}

func TestLoopWaitsAsItsStepSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		var log strings.Builder
		_, stop := start(t, &log, Loop{Name: "it", Step: func(context.Context) (time.Duration, error) {
			at = append(at, time.Since(began))
			return 2 * time.Second, nil
		}})
		time.Sleep(5 * time.Second)
		stop()
		if len(at) != 3 || at[1] != 2*time.Second || at[2] != 4*time.Second {
			t.Errorf("its steps began at %v, want 0, 2 s and 4 s", at)
		}
	})
}

func TestSignalCutsAWaitShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := 0
		wake := NewSignal()
		var log strings.Builder
		_, stop := start(t, &log, Loop{Name: "it", Wake: wake, Step: func(context.Context) (time.Duration, error) {
			steps++
			return time.Hour, nil
		}})
		synctest.Wait()
		wake.Raise()
		wake.Raise() // none of them blocks
		synctest.Wait()
		stop()
		if steps < 2 || steps > 3 {
			t.Errorf("%d steps after one wake-up, want 2 or 3", steps)
		}
	})
}

func TestFailuresBackOffAndAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		steps := 0
		var broken atomic.Bool
		broken.Store(true)
		r, stop := start(t, &log, Loop{Name: "it", Step: func(context.Context) (time.Duration, error) {
			steps++
			if broken.Load() {
				return 0, errors.New("no table")
			}
			return time.Minute, nil
		}})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if steps < 5 || steps > 10 {
			t.Errorf("%d steps in 10 s of failures, want a back-off", steps)
		}
		if n := strings.Count(log.String(), "a loop's step failed"); n != 1 {
			t.Errorf("%d failures logged, want the first:\n%s", n, log.String())
		}
		if problem := r.Problem(); problem != "the last step of loop it failed: no table" {
			t.Errorf("its problem is %q", problem)
		}
		broken.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		stop()
		if problem := r.Problem(); problem != "" {
			t.Errorf("its problem is %q after it worked", problem)
		}
		if !strings.Contains(log.String(), "a loop works again") {
			t.Errorf("its recovery is not logged:\n%s", log.String())
		}
	})
}

func TestStuckStepIsAProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r, stop := start(t, &log, Loop{Name: "it", Step: func(ctx context.Context) (time.Duration, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}})
		time.Sleep(59 * time.Second)
		if problem := r.Problem(); problem != "" {
			t.Errorf("after 59 s its problem is %q", problem)
		}
		time.Sleep(2 * time.Second)
		if problem := r.Problem(); problem != "a step of loop it has taken 61 s so far" {
			t.Errorf("after 61 s its problem is %q", problem)
		}
		stop()
		if log.Len() > 0 {
			t.Errorf("its end is logged as a failure:\n%s", log.String())
		}
	})
}
