// Package java compiles the Java client and drives a node with it.
package java

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
