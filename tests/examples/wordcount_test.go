package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// The example in examples/wordcount as its README describes it, over a part of the source of Go, or over the folder
// that WEIR_TEST_WORDCOUNT names. One of the workers is killed in the middle.
func TestWorkflowCountsWordsOfSourceTree(t *testing.T) {
	weirtest.Long(t, "it counts the words of a source tree")
	t.Parallel()
	folder := os.Getenv("WEIR_TEST_WORDCOUNT")
	if folder == "" {
		root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatal(err)
		}
		folder = filepath.Join(strings.TrimSpace(string(root)), "src", "net")
	}
	s := weirtest.StartNode(t)
	settings := []string{"WEIR_URL=" + s.URL}
	wordcount := weirtest.Program(t, "./examples/wordcount")
	run := func(args ...string) string {
		t.Helper()
		c := weirtest.StartProgram(t, settings, wordcount, args...)
		if status := c.Wait(); status != 0 {
			t.Fatalf("wordcount %v ended with status %d:\n%s", args, status, c.Output)
		}
		return strings.TrimSpace(c.Output.String())
	}
	id := run("submit", "-size", "65536", folder)
	weirtest.Exec(t, s.DB, `select weir.set_queue('wordcount', '{"lease_seconds": 5}')`)
	doomed := weirtest.StartProgram(t, settings, wordcount, "worker", "-name", "doomed")
	s.Eventually("some steps are counted", func() bool { return s.Workflow(id).Completed > 2 })
	doomed.Kill()
	workers := []*weirtest.Process{weirtest.StartProgram(t, settings, wordcount, "worker", "-name", "a"), weirtest.StartProgram(t, settings, wordcount, "worker", "-name", "b")}
	if said := run("verify", id, folder); !strings.Contains(said, "the workflow's count is that of a single process") {
		t.Errorf("verify says %s", said)
	}
	w := s.Workflow(id)
	if w.State != "completed" || w.Steps < 10 {
		t.Errorf("the workflow is %+v", w)
	}
	t.Logf("%d steps: %s", w.Steps, fmt.Sprint(s.Count("select count(distinct worker) from weir.workflow_steps where workflow_id = $1::bigint", id))+" workers")
	for _, w := range workers {
		w.Signal(os.Interrupt)
	}
	for _, w := range workers {
		if status := w.Wait(); status != 0 {
			t.Errorf("a worker that was told to end ended with status %d:\n%s", status, w.Output)
		}
	}
	weirtest.CheckWorkflows(t, s.DB)
}
