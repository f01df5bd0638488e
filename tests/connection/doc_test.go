// Package connection tests how a node gets along with the connections that it has: settings of its role, poolers, limits, cut connections, and databases
// that it cannot use.
package connection

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
