// Package python runs the tests of the Python client, and its example, against a real node.
package python

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
