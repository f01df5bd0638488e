// Package rollup shows that the counts by minute and hour include everything exactly once.
package rollup

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
