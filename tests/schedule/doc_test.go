// Package schedule shows that each slot of a schedule fires exactly once, in every time zone, and what happens to
// missed and overlapping runs.
package schedule

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
