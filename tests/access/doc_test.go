// Package access tests what roles of the database can do that do not own weir's schemas, and what they cannot.
package access

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
