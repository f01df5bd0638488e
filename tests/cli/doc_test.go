// Package cli shows the commands of weir that a person types: they enqueue and show jobs, run a node, migrate, and
// report mistakes in one line.
package cli

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
