package work

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestExitStatusesSayLaterAndNever(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q", "--later-seconds", "3600"}, "sh", "-c", `echo "no luck" >&2; exit $(cat)`)
	later, never, again := s.Enqueue(obj{"kind": "k", "queue": "q", "args": 75}), s.Enqueue(obj{"kind": "k", "queue": "q", "args": 65}), s.Enqueue(obj{"kind": "k", "queue": "q", "args": 3})
	if j := s.WaitForState(later, "scheduled"); j.Attempt != 0 {
		t.Errorf("a job that was put off has lost %d attempts", j.Attempt)
	}
	if j := s.WaitForState(never, "dead"); j.Attempt != 1 || !strings.Contains(string(j.Error), "exit status 65: no luck") {
		t.Errorf("a job that is given up has %d attempts, %s", j.Attempt, j.Error)
	}
	s.WaitForState(again, "retryable")
}

func TestExitStatusesAreSettings(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q", "--later-status", "9", "--give-up-status", "0"}, "sh", "-c", `exit $(cat)`)
	later, again := s.Enqueue(obj{"kind": "k", "queue": "q", "args": 9}), s.Enqueue(obj{"kind": "k", "queue": "q", "args": 65})
	s.WaitForState(later, "scheduled")
	s.WaitForState(again, "retryable")
}

func TestEnvelopeHasTheWholeJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q", "--envelope"}, "sh", "-c", `echo "$TRACEPARENT" >&2; cat`)
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	id := s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"n": 1}, "tags": []string{"red"}, "metadata": obj{"traceparent": trace}, "max_attempts": 4})
	var e struct {
		ID, Token, Kind, Queue string
		Args                   struct{ N int }
		Attempt                int
		MaxAttempts            int `json:"max_attempts"`
		Tags                   []string
		Metadata               struct{ Traceparent string }
	}
	if err := json.Unmarshal(s.WaitForState(id, "completed").Result, &e); err != nil {
		t.Fatal(err)
	}
	if e.ID != id || e.Token == "" || e.Kind != "k" || e.Queue != "q" || e.Args.N != 1 || e.Attempt != 1 || e.MaxAttempts != 4 || fmt.Sprint(e.Tags) != "[red]" || e.Metadata.Traceparent != trace {
		t.Errorf("the envelope is %+v", e)
	}
	if lines := string(s.Get("/v1/jobs/" + id + "/logs").Want(http.StatusOK).Body); !strings.Contains(lines, trace) {
		t.Errorf("the command has no trace context: %s", lines)
	}
}

func TestStepsGetTheirDependencies(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q"}, "sh", "-c", `if [ "$WEIR_JOB_KIND" = first ]; then echo 42; else echo "$WEIR_JOB_DEPENDENCIES"; fi`)
	w := weirtest.Decode[struct{ ID string }](s.Post("/v1/workflows", obj{"name": "w", "steps": []obj{
		{"name": "a", "kind": "first", "queue": "q"}, {"name": "b", "kind": "second", "queue": "q", "depends_on": []string{"a"}},
	}}).Want(http.StatusCreated))
	var step string
	weirtest.Eventually(t, "the second step completes", func() bool {
		return weirtest.Value[int](t, s.DB, "select count(*) from weir.jobs where state = 'completed'") == 2
	})
	step = weirtest.Value[string](t, s.DB, "select result::text from weir.jobs where kind = 'second'")
	if step != `{"a": 42}` {
		t.Errorf("the second step of workflow %s got %s", w.ID, step)
	}
}

func TestCommandsReportWhileTheyRun(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	release := filepath.Join(t.TempDir(), "go")
	s.StartWorker([]string{"--queue", "q"}, "sh", "-c", `
		echo '{"progress": {"percent": 40, "message": "resizing"}, "log": "half way", "level": "warn", "fields": {"n": 7}}' >&$WEIR_JOB_REPORT_FD
		until [ -e `+release+` ]; do sleep 0.05; done
		echo "not the result"
		echo '{"result": {"size": 9}, "enqueue": {"kind": "next", "queue": "later", "args": {"a": 1}}}' >&$WEIR_JOB_REPORT_FD
		printf '{"enqueue": {"kind": "next", "queue": "later"}}' >&3`)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	weirtest.Eventually(t, "the progress is seen", func() bool {
		return strings.Contains(string(s.Get("/v1/jobs/"+id).Want(http.StatusOK).Body), `"message":"resizing"`)
	})
	weirtest.Eventually(t, "the line is in the log", func() bool {
		text := string(s.Get("/v1/jobs/" + id + "/logs").Want(http.StatusOK).Body)
		return strings.Contains(text, "half way") && strings.Contains(text, `"warn"`) && strings.Contains(text, `"n":7`)
	})
	if n := weirtest.Value[int](t, s.DB, "select count(*) from weir.jobs where kind = 'next'"); n != 0 {
		t.Errorf("%d follow-up jobs are there before the completion", n)
	}
	touch(t, release)
	if j := s.WaitForState(id, "completed"); !strings.Contains(string(j.Result), "9") {
		t.Errorf("the result is %s", j.Result)
	}
	if n := weirtest.Value[int](t, s.DB, "select count(*) from weir.jobs where kind = 'next' and parent_id = $1::bigint", id); n != 2 {
		t.Errorf("there are %d follow-up jobs, want 2", n)
	}
}

func TestFollowUpJobsOfFailedCommandsAreNotStored(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q"}, "sh", "-c", `
		case $WEIR_JOB_KIND in
			fails) echo '{"enqueue": {"kind": "next"}}' >&3; exit 1 ;;
			invalid) echo '{"enqueue": {"kind": "next", "priority": 99}}' >&3 ;;
			garbled) echo '{"enqueue": {"kind": "next"}}' >&3; echo '{"enqeue": {}}' >&3 ;;
			snooze) echo '{"enqueue": {"kind": "next"}, "snooze_seconds": 3600}' >&3 ;;
		esac`)
	for kind, want := range map[string]string{"fails": "exit status 1", "invalid": "priority", "garbled": "enqeue"} {
		if j := s.WaitForState(s.Enqueue(obj{"kind": kind, "queue": "q", "max_attempts": 1}), "dead"); !strings.Contains(string(j.Error), want) {
			t.Errorf("%s: the error is %s; want %q", kind, j.Error, want)
		}
	}
	s.WaitForState(s.Enqueue(obj{"kind": "snooze", "queue": "q"}), "scheduled")
	if n := weirtest.Value[int](t, s.DB, "select count(*) from weir.jobs where kind = 'next'"); n != 0 {
		t.Errorf("%d follow-up jobs are stored", n)
	}
}

func TestSettledJobsAreNotReported(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	dir := t.TempDir()
	w := s.StartWorker([]string{"--queue", "q"}, "sh", "-c", `
		echo $WEIR_JOB_TOKEN > `+dir+`/token
		until [ -e `+dir+`/go ]; do sleep 0.05; done
		echo '{"settled": true}' >&3`)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": noted(t, dir+"/token"), "result": "mine"}).Want(http.StatusOK)
	touch(t, dir+"/go")
	if status := w.Stop(); status != 0 || !strings.Contains(w.Output.String(), "lost=0 settled=1") {
		t.Errorf("the worker ended with %d:\n%s", status, w.Output)
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
