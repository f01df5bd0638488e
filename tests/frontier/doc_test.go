// Package frontier shows that claims start behind the rows they have passed and still find every job, however late its
// transaction commits.
package frontier

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
