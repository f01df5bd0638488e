package scenario

import (
	"math"
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
	series := []float64{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1, 1, 1, 1, 9}
	if got := slowest(series); math.Round(got) != 11 {
		t.Errorf("slowest is %v %% of the median, want 11", got)
	}
	if got := windows([]float64{4, 2}); len(got) != 1 || got[0] != 3 {
		t.Errorf("the windows of a short series are %v, want its mean, 3", got)
	}
}

func TestASlowMachineIsNotASlowSystem(t *testing.T) {
	series, speeds := make([]float64, 30), make([]float64, 30)
	for i := range series {
		series[i], speeds[i] = 1000, 200
		if i >= 20 {
			series[i], speeds[i] = 500, 100
		}
	}
	if raw, even := slowest(series), slowest(evened(series, speeds)); raw != 50 || even != 100 {
		t.Errorf("the slowest 5 s are %v %%, and %v %% on an even machine, want 50 and 100", raw, even)
	}
	if speed := newYardstick().speed(); speed < 1 || speed > 100_000 {
		t.Errorf("this machine does the work %v times a second", speed)
	}
}
