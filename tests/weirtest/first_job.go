//go:build unix

package weirtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FirstJob runs the commands of a language in examples/first-job, in an empty folder and against a node. Settings go to
// their environment.
func FirstJob(t *testing.T, language, name string, settings ...string) {
	t.Helper()
	root, err := filepath.Abs(moduleRoot())
	if err != nil {
		t.Fatal(err)
	}
	s := StartNode(t)
	began := time.Now()
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", filepath.Join(root, "examples", "first-job", language+".sh"))
	cmd.Dir = t.TempDir()
	cmd.Env = append(append(os.Environ(), "WEIR="+root, "WEIR_URL="+s.URL), settings...)
	output, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(output), "Hello, weir, from "+name+"\n") {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Logf("from an empty folder to a completed job in %v", time.Since(began).Round(time.Millisecond))
}
