// Package preset shows that each built-in preset finds what a plain count over the jobs finds, and how people save
// presets of their own, through every door and with callers bound to a tenant or to queues.
package preset

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
