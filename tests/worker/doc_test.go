// Package worker shows registered workers: capacity, pause and drain, silence, removal and history.
package worker

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
