//go:build unix

package weirtest

import (
	"testing"
)

// RollOver begins a new partition now.
func RollOver(t *testing.T, q Querier) {
	t.Helper()
	if did := Value[string](t, q, "select weir.keep_partitions('0 s')"); did != "rolled" {
		t.Fatalf("keep_partitions says %q, want rolled", did)
	}
}
