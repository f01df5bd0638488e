// Package claim shows which jobs a claim gets and in which order, and that a claim that waits gets a job as soon as
// there is one.
package claim

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
