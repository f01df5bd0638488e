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
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	jars, javac := jackson(t, root), where(t, root, "javac")
	weirtest.FirstJob(t, "java", "Java", "JACKSON="+strings.Join(jars, ":"), "PATH="+filepath.Dir(javac)+":"+os.Getenv("PATH"))
}
