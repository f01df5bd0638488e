// Package queue shows the life of a queue: settings, counts, pause, purge and deletion.
package queue

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
