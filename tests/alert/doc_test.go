// Package alert shows when rules open and resolve alerts, who may do what with them, and that targets are told once and surely.
package alert

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
