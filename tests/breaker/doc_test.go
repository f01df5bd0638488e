// Package breaker shows that a circuit breaker opens when its dependency fails, holds or handles its jobs as its
// policy says, probes, and lets them return in order.
package breaker

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }

func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	weirtest.ThroughPgBouncer(t, ".")
}
