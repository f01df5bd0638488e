// Package bulk shows operations on many jobs at once (cancel, retry, change of priority, redrive, purge), their pace
// and progress, and the export of jobs.
package bulk

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
