// Package events shows the stream of events over server-sent events: it misses nothing, filters, and resumes on
// another node.
package events

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
