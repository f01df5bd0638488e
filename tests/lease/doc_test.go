// Package lease shows that a lease lasts as long as its heartbeats, ends at its expiry or timeout, and fences
// transactions.
package lease

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
