package search

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A step that finds nothing in many partitions takes larger windows, up to a bound.
func TestASearchGoesThroughManyPartitions(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 20 {
		weirtest.EnqueueOne(t, d, "q")
		weirtest.RollOver(t, d)
	}
	if n := weirtest.Value[int](t, d, `select total from weir.count_jobs('{"args": {"no": "job"}}')`); n != 0 {
		t.Errorf("%d jobs match", n)
	}
	if n := weirtest.Value[int](t, d, `select total from weir.count_jobs('{"queue": "q"}')`); n != 20 {
		t.Errorf("%d jobs of the queue are counted, want 20", n)
	}
}
