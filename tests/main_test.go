// Package tests holds what weir promises, tested from outside: over SQL, over HTTP, and through its commands.
package tests

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
