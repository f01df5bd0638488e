// Package chaos shows that no job is lost or completed twice while workers, nodes and PostgreSQL are killed.
package chaos

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
