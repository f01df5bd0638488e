package python

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestFirstJobInPython(t *testing.T) {
	t.Parallel()
	weirtest.FirstJob(t, "python", "Python", "PATH="+filepath.Dir(python(t))+":"+os.Getenv("PATH"))
}
