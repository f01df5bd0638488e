// Package health holds what nodes report of themselves: readiness, and the health of their components.
package health

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
