// Package stats shows that the numbers for dashboards are those of a plain count over the jobs.
package stats

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
