package clock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestZeroClockIsTheMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Clock
		began := c.Now()
		if err := c.Sleep(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if took := c.Since(began); took != time.Minute {
			t.Errorf("slept for a minute, but the clock went on by %s", took)
		}
		if left := c.Until(began.Add(time.Hour)); left != 59*time.Minute {
			t.Errorf("%s left of an hour after a minute", left)
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := (Clock{}).Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := (Clock{}).Sleep(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a sleep of nothing after the end of its context: got %v", err)
		}
	})
}

func TestChosenTimeAndChance(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := Clock{Time: func() time.Time { return at }, Random: func() uint64 { return 1_000_000_007 }}
	if !c.Now().Equal(at) {
		t.Errorf("it is %s", c.Now())
	}
	if d := c.Jitter(time.Second); d != 7 {
		t.Errorf("jitter is %d ns, want 7", d)
	}
	if d := c.Jitter(0); d != 0 {
		t.Errorf("jitter below 0 ns is %s", d)
	}
}

func TestJitterStaysBelowItsBound(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := Clock{}.Jitter(10)
		if d < 0 || d >= 10 {
			t.Fatalf("jitter below 10 ns is %d ns", d)
		}
		seen[d] = true
	}
	if len(seen) != 10 {
		t.Errorf("a thousand draws gave %d of 10 values", len(seen))
	}
}
