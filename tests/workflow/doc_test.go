// Package workflow shows that the steps of a workflow run in the order of their dependencies, and how workflows fail,
// wait, nest and are changed.
package workflow

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
