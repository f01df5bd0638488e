// Package health shows how a node reports its health: each component, the history of checks, the score, and what a
// hung database or missing background work does to them.
package health

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }

func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	weirtest.ThroughPgBouncer(t, "Component|Score|Checks")
}
