// Package dead shows the dead letter queue: which jobs come into it, and how they are listed, redriven, purged and
// routed.
package dead

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
