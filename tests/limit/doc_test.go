// Package limit shows queues with limits: concurrency by key, shares by tenant, rates, and their change under load.
package limit

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
