package client

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestFirstJobInGo(t *testing.T) {
	weirtest.Long(t, "it builds a program from an empty folder")
	t.Parallel()
	weirtest.FirstJob(t, "go", "Go")
}
