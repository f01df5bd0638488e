package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func watch(s *weirtest.Node, args ...string) *weirtest.Process {
	s.T.Helper()
	args = append([]string{"jobs", "--watch", "--every", "1s"}, args...)
	return weirtest.StartProgram(s.T, []string{"WEIR_URL=" + s.URL}, weirtest.Program(s.T, "./cmd/weir"), args...)
}

func TestWatchedJobsAppendWhatChanged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	still := s.Enqueue(obj{"kind": "still", "queue": "other"})
	id := s.Enqueue(obj{"kind": "first", "queue": "q"})
	text, inJSON, filtered := watch(s), watch(s, "--json"), watch(s, "--kind", "second")
	says(t, text, "JOB  KIND ", id+"    first")
	says(t, inJSON, `"kind":"first"`)
	j := s.ClaimOne("q")
	says(t, text, "running")
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "second", "queue": "q"})
	says(t, text, "completed, ", "second")
	says(t, inJSON, `"state":"completed"`, `"kind":"second"`)
	says(t, filtered, "second")
	if strings.Contains(filtered.Output.String(), "first") {
		t.Errorf("--kind second prints %s", filtered.Output)
	}
	for _, c := range []*weirtest.Process{text, inJSON, filtered} {
		if status := c.Stop(); status != 0 {
			t.Errorf("told to stop, it ends with %d", status)
		}
	}
	printed := text.Output.String()
	if strings.Count(printed, "still") != 1 || strings.Count(printed, "JOB ") != 1 || strings.Contains(printed, "\x1b") {
		t.Errorf("job %s did not change; it prints\n%s", still, printed)
	}
	for line := range strings.Lines(inJSON.Output.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("--json prints %q", line)
		}
	}
	s.CLI("jobs", "--watch", "--every", "10ms").Says(2, "--every")
	s.CLI("jobs", "--watch", "--state", "nothing").Says(1, "state")
	weirtest.RunCLI(t, []string{"WEIR_URL=http://127.0.0.1:1"}, "", "jobs", "--watch").Says(1, "nothing answers")
}

func TestWatchedJobsAreDrawnInPlace(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	s, node := weirtest.StartServe(t, d)
	id := s.Enqueue(obj{"kind": "first", "queue": "q"})
	x := weirtest.StartTerminal(t, 90, 12, []string{"WEIR_URL=" + s.URL}, weirtest.Program(t, "./cmd/weir"), "jobs", "--watch", "--every", "1s")
	x.Shows("first", "available", "every 1.0 s", "Ctrl-C")
	j := s.ClaimOne("q")
	x.Shows("running")
	x.Hides("available")
	node.Kill()
	x.Shows("running", "nothing answers", "trying again")
	weirtest.StartServe(t, d, "WEIR_ADDR="+strings.TrimPrefix(s.URL, "http://"))
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	x.Shows("completed", "every 1.0 s")
	x.Hides("nothing answers", "running")
	for range 20 { // more than there is room for
		s.Enqueue(obj{"kind": "more", "queue": "q"})
	}
	x.Shows("more", "every 1.0 s")
	x.Hides("first")
	if n := strings.Count(x.Screen(), "JOB "); n != 1 {
		t.Errorf("the head of the table is there %d times:\n%s", n, x.Screen())
	}
	x.Type("\x03")
	if status := x.Wait(); status != 0 {
		t.Errorf("interrupted, it ends with %d", status)
	}
}

func TestWatchedJobsSurviveANodeWhenPiped(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	s, node := weirtest.StartServe(t, d)
	c := watch(s)
	says(t, c, "JOB ")
	node.Kill()
	says(t, c, "weir: nothing answers", "trying again")
	weirtest.StartServe(t, d, "WEIR_ADDR="+strings.TrimPrefix(s.URL, "http://"))
	says(t, c, "weir: connected again")
	s.Enqueue(obj{"kind": "after", "queue": "q"})
	says(t, c, "after")
}
