// Package overload tests what calls get while a lock, a defect or another client stands in their way.
package overload

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
