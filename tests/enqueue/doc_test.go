// Package enqueue shows what a producer can rely on: defaults, limits, unique keys, idempotency, and jobs that commit
// with the producer's transaction.
package enqueue

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
