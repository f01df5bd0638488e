package queue

import (
	"testing"
	"time"
)

func TestBooksThatDoNotBalance(t *testing.T) {
	jobs := []Job{{Number: 1}, {Number: 2}, {Number: 3}}
	for name, c := range map[string]struct {
		completed []int64
		left      int64
		balanced  bool
	}{
		"all completed":     {[]int64{1, 2, 3}, 0, true},
		"some left":         {[]int64{3}, 2, true},
		"one lost":          {[]int64{1, 2}, 0, false},
		"one too many left": {[]int64{1, 2}, 2, false},
		"one twice":         {[]int64{1, 2, 2}, 1, false},
	} {
		l := NewLedger(false)
		l.Enqueued(jobs, time.Now())
		l.Completed(c.completed...)
		if err := l.Balance(c.left); (err == nil) != c.balanced {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPickupIsTheTimeFromCommitToClaim(t *testing.T) {
	l := NewLedger(true)
	now := time.Now()
	l.Enqueued([]Job{{Number: 1}, {Number: 2}, {Number: 3}}, now)
	l.Claimed(now.Add(5*time.Millisecond), 1)
	l.Claimed(now.Add(-time.Millisecond), 2) // claimed before the producer had its answer; 3 never is
	got := l.Pickups()
	if len(got) != 2 || got[0] != 5*time.Millisecond || got[1] != 0 {
		t.Errorf("pickups are %v", got)
	}
}
