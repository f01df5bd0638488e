// Package job shows how jobs are read: one job with its result, timeline and reason for waiting, lists with filters,
// children, views, and calls that wait for the end of a job.
package job

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
