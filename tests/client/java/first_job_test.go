package java

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestFirstJobInJava(t *testing.T) {
	weirtest.Long(t, "it compiles the Java client")
	t.Parallel()
	jars, javac := jackson(t), where(t, "javac")
	weirtest.FirstJob(t, "java", "Java", "JACKSON="+strings.Join(jars, ":"), "PATH="+filepath.Dir(javac)+":"+os.Getenv("PATH"))
}
