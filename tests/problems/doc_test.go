// Package problems shows that invalid requests are answered with a problem that names the field, and change nothing.
package problems

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
