// Package retention shows that partitions are made ahead, sealed with search indexes, and dropped when their jobs
// ended long enough ago.
package retention

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
