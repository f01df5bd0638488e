// Package webhook shows that webhooks get the events they asked for, signed and at least once, and that failing
// webhooks are retried and disabled.
package webhook

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
