// Package clock shows that weir recovers from steps of the database's clock.
package clock

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
