package work

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// logOf returns the log of a job in words.
func logOf(s *weirtest.Node, id, query string) (lines []string) {
	s.T.Helper()
	for _, l := range weirtest.Decode[weirtest.Page[struct {
		Level, Message string
		Fields         map[string]any
	}]](s.Get("/v1/jobs/" + id + "/logs?limit=1000" + query).Want(http.StatusOK)).Items {
		lines = append(lines, strings.TrimSuffix(fmt.Sprint(l.Level, " ", l.Message, " ", l.Fields), " map[]"))
	}
	return lines
}

func wantLog(t *testing.T, s *weirtest.Node, id string, want ...string) {
	t.Helper()
	if got := logOf(s, id, ""); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the log of job %s is\n%s\nwant\n%s", id, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestStandardErrorBecomesTheLog(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.StartWorker([]string{"--queue", "q", "--concurrency", "3"}, "sh", "-c", `
		case $WEIR_JOB_KIND in
			plain) printf 'one\n\ntwo\r\n  three' >&2 ;;
			json) echo '{"level": "WARNING", "msg": "odd row", "time": "2026-01-31T09:00:00Z", "row": 17}' >&2; echo '{"a": 1}' >&2; echo '{"message": "x\u0000"}' >&2 ;;
			bytes) printf 'a\000\377b\n' >&2 ;;
			odd) echo '{"message": "m", "big": 1e99999}' >&2 ;;
			long) head -c 20000 /dev/zero | tr '\0' x >&2 ;;
			fails) echo 'no such file' >&2; exit 3 ;;
			silent) ;;
		esac`)
	run := func(kind, state string) string {
		id := s.Enqueue(obj{"kind": kind, "queue": "q", "max_attempts": 1})
		s.WaitForState(id, state)
		return id
	}
	wantLog(t, s, run("plain", "completed"), "info one", "info two", "info   three")
	wantLog(t, s, run("json", "completed"), "warn odd row map[row:17]", `info {"a": 1}`, `info {"message": "x\u0000"}`)
	wantLog(t, s, run("bytes", "completed"), "info a\uFFFD\uFFFDb")
	wantLog(t, s, run("odd", "completed"), "info m")
	wantLog(t, s, run("long", "completed"), "info "+strings.Repeat("x", 8192), "info "+strings.Repeat("x", 8192), "info "+strings.Repeat("x", 20000-2*8192))
	failed := run("fails", "dead")
	wantLog(t, s, failed, "info no such file")
	if text := string(s.Job(failed).Error); !strings.Contains(text, "exit status 3: no such file") {
		t.Errorf("the error is %s", text)
	}
	wantLog(t, s, run("silent", "completed"))
	if status := w.Stop(); status != 0 {
		t.Errorf("the worker ended with %d:\n%s", status, w.Output)
	}
}

// Lines are there while the command runs, and a command that writes more than can be sent is not held up.
func TestLogIsSentWhileTheCommandRuns(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q", "--concurrency", "2"}, "sh", "-c", `
		case $WEIR_JOB_KIND in
			slow) echo begun >&2; sleep 600 ;;
			loud) seq 200000 >&2 ;;
		esac`)
	slow := s.Enqueue(obj{"kind": "slow", "queue": "q"})
	weirtest.Eventually(t, "the first line comes", func() bool { return len(logOf(s, slow, "")) == 1 })
	if state := s.Job(slow).State; state != "running" {
		t.Errorf("the job is %s", state)
	}
	loud := s.Enqueue(obj{"kind": "loud", "queue": "q"})
	s.WaitForState(loud, "completed")
	if warned := logOf(s, loud, "&level=warn"); len(warned) == 0 {
		t.Error("the log does not tell of the lines that are missing")
	}
	if first := logOf(s, loud, "")[0]; first != "info 1" {
		t.Errorf("the first line is %s", first)
	}
}

func TestNoLogsSendsNone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q", "--no-logs"}, "sh", "-c", "echo hidden >&2; exit 1")
	id := s.Enqueue(obj{"kind": "k", "queue": "q", "max_attempts": 1})
	if text := string(s.WaitForState(id, "dead").Error); !strings.Contains(text, "hidden") {
		t.Errorf("the error is %s", text)
	}
	wantLog(t, s, id)
}
