package scenario

import (
	"testing"
	"time"
)

func TestSpreadOfAHundredTimes(t *testing.T) {
	var times []time.Duration
	for ms := 100; ms > 0; ms-- {
		times = append(times, time.Duration(ms)*time.Millisecond)
	}
	if got := spreadOf(times); got != (Spread{Count: 100, P50: 50, P95: 95, P99: 99, Max: 100}) {
		t.Errorf("spread of 1 to 100 ms is %+v", got)
	}
}

func TestTheSlowestFiveSeconds(t *testing.T) {
	if got := slowest([]float64{9, 9, 1, 1, 1, 1, 1, 9}); got != 1 {
		t.Errorf("slowest is %v, want 1", got)
	}
	if got := slowest([]float64{4, 2}); got != 3 {
		t.Errorf("slowest of a short series is %v, want its mean, 3", got)
	}
}
