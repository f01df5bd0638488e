//go:build unix

package weirtest

import (
	"testing"
)

// Tick advances the watermark now, without waiting for the interval between ticks.
func Tick(t testing.TB, q Querier) int64 {
	t.Helper()
	return Value[int64](t, q, "select tick from weir.advance_frontier('0 s')")
}
