package typescript

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// It packs the SDK, so it does not run beside the tests that use its build.
func TestFirstJobInTypeScript(t *testing.T) {
	prepare(t)
	weirtest.FirstJob(t, "typescript", "TypeScript")
}
