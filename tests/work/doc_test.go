// Package work shows `weir work`, which runs a command for each job: its results, failures, kills and shutdown.
package work

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
