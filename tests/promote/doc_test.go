// Package promote shows that delayed jobs become available at their time and in order, and that none is forgotten.
package promote

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
