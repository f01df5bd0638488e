// Package plans shows that calls read only the rows they need, whatever the planner believes about the tables.
package plans

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
