// Package node shows a running node: start, readiness, metrics, background work, what it costs when idle, and how it
// stops.
package node

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
