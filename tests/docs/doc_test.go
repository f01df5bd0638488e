// Package docs shows that the documentation agrees with the program: the comments of the schema, the documented
// numbers, and the tests that docs/concepts.md names.
package docs

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
