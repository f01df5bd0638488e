// Package change shows what people can do to one job (cancel, retry, edit), and what every transition does to a job in
// every state.
package change

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
