// Package tests holds what weir promises, tested from outside: over SQL, over HTTP, and through its commands.
package tests

import (
	"testing"

	"github.com/weirhq/weir/tests/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
