package scenario

import (
	"slices"
	"time"
)

// Spread is how a time was distributed, in milliseconds.
type Spread struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func spreadOf(times []time.Duration) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	slices.Sort(times)
	at := func(share float64) float64 {
		return times[int(share*float64(len(times)-1))].Seconds() * 1000
	}
	return Spread{Count: len(times), P50: at(0.50), P95: at(0.95), P99: at(0.99), Max: at(1)}
}
