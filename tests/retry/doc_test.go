// Package retry shows what happens after a failed attempt: the wait by the retry policy, the kept errors, and ways to
// end an attempt that cost none.
package retry

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
