package work

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// noted waits for a file that a command wrote and returns its text.
func noted(t *testing.T, path string) string {
	t.Helper()
	var text []byte
	weirtest.Eventually(t, "a command writes "+filepath.Base(path), func() bool {
		var err error
		text, err = os.ReadFile(path)
		return err == nil && bytes.HasSuffix(text, []byte("\n"))
	})
	return strings.TrimSpace(string(text))
}

// goesAway waits until a process has ended.
func goesAway(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	weirtest.Eventually(t, "process "+pid+" ends", func() bool {
		stat, _ := os.ReadFile("/proc/" + pid + "/stat")
		return syscall.Kill(n, 0) != nil || bytes.Contains(stat, []byte(") Z "))
	})
}

func TestOutputBecomesResult(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.StartWorker([]string{"--queue", "q", "--concurrency", "3", "--worker", "mill"}, "sh", "-c", `
		case $WEIR_JOB_KIND in
			echo) cat ;;
			text) echo "job $WEIR_JOB_ID of $WEIR_JOB_QUEUE, attempt $WEIR_JOB_ATTEMPT, token $WEIR_JOB_TOKEN" ;;
			none) ;;
			long) head -c 1048577 /dev/zero | tr '\0' 1 ;;
			bytes) printf '\377' ;;
			nul) echo '"a\u0000b"' ;;
		esac`)
	for kind, want := range map[string]string{"echo": `{"to": ["you", 1.50, null]}`, "text": "", "none": ""} {
		id := s.Enqueue(obj{"kind": kind, "queue": "q", "args": json.RawMessage(`{"to": ["you", 1.50, null]}`)})
		j := s.WaitForState(id, "completed")
		if kind == "text" {
			want = fmt.Sprintf(`"job %s of q, attempt 1, token %s"`, id, id)
		}
		var got, wanted any
		_ = json.Unmarshal(j.Result, &got)
		_ = json.Unmarshal([]byte(want), &wanted)
		if fmt.Sprint(got) != fmt.Sprint(wanted) || j.Worker != "mill" {
			t.Errorf("%s: the result is %s, by %s; want %s", kind, j.Result, j.Worker, want)
		}
	}
	for kind, want := range map[string]string{"long": "longer than 1048576 bytes", "bytes": "UTF-8", "nul": "refuses the result"} {
		j := s.WaitForState(s.Enqueue(obj{"kind": kind, "queue": "q"}), "dead")
		if !strings.Contains(string(j.Error), want) || j.Attempt != 1 {
			t.Errorf("%s: after attempt %d the error is %s; want %q", kind, j.Attempt, j.Error, want)
		}
	}
	if status := w.Stop(); status != 0 {
		t.Errorf("the worker ended with %d:\n%s", status, w.Output)
	}
	if !strings.Contains(w.Output.String(), "done=3 failed=3") {
		t.Errorf("the worker does not sum up:\n%s", w.Output)
	}
}

func TestFailureOfCommandIsReported(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q"}, "sh", "-c", `
		[ "$WEIR_JOB_KIND" != killed ] || kill -KILL $$
		i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); done >&2
		echo "no such thing" >&2
		exit 3`)
	j := s.WaitForState(s.Enqueue(obj{"kind": "k", "queue": "q", "max_attempts": 2, "retry": obj{"base_seconds": 0}}), "dead")
	if len(j.Errors) != 2 {
		t.Fatalf("it has %d failed attempts", len(j.Errors))
	}
	for _, e := range j.Errors {
		if !strings.HasPrefix(e.Message, "exit status 3: …") || !strings.HasSuffix(e.Message, "line 1999\nno such thing") || len(e.Message) > 4200 || e.Kind != "failed" {
			t.Errorf("%s with %d bytes: %.30s … %s", e.Kind, len(e.Message), e.Message, e.Message[max(0, len(e.Message)-30):])
		}
	}
	j = s.WaitForState(s.Enqueue(obj{"kind": "killed", "queue": "q", "max_attempts": 1}), "dead")
	if len(j.Errors) != 1 || j.Errors[0].Message != "ended by signal 9 (killed)" {
		t.Errorf("the errors are %+v", j.Errors)
	}
}

func TestCancelledCommandIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	s, pids := weirtest.StartNode(t), filepath.Join(t.TempDir(), "pids")
	w := s.StartWorker([]string{"--queue", "q", "--lease-seconds", "9", "--kill-grace-seconds", "0.5"}, "sh", "-c",
		`trap '' TERM; (trap '' TERM; sleep 100; sleep 100) & echo $$ $! > "$0"; wait; wait; sleep 100`, pids)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	started := strings.Fields(noted(t, pids))
	s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)
	s.WaitForState(id, "cancelled")
	for _, pid := range started {
		goesAway(t, pid)
	}
	w.Stop()
	if !strings.Contains(w.Output.String(), "cancelled=1") {
		t.Errorf("the worker does not say so:\n%s", w.Output)
	}
}

func TestWorkKeepsLeaseAndTimeout(t *testing.T) {
	weirtest.Long(t, "it waits for a timeout")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q", "--lease-seconds", "9", "--concurrency", "2"}, "sh", "-c", `echo begun >&2; sleep "$(cat)"; echo done`)
	long := s.Enqueue(obj{"kind": "k", "queue": "q", "args": 12})
	tooLong := s.Enqueue(obj{"kind": "k", "queue": "q", "args": 100, "timeout_seconds": 2, "max_attempts": 1})
	if j := s.WaitForState(long, "completed"); j.Attempt != 1 {
		t.Errorf("a job longer than its lease took %d attempts", j.Attempt)
	}
	j := s.WaitForState(tooLong, "dead")
	if len(j.Errors) != 1 || j.Errors[0].Type != "timeout" {
		t.Errorf("a job longer than its timeout has the errors %+v", j.Errors)
	}
}

func TestManySmallJobsAreEachDoneOnceThroughRestart(t *testing.T) {
	weirtest.Long(t, "it runs 1,500 commands")
	t.Parallel()
	database := weirtest.New(t)
	s, node := weirtest.StartServe(t, database)
	const jobs = 1500
	var all []obj
	for i := range jobs {
		all = append(all, obj{"kind": "k", "queue": "q", "args": i})
	}
	s.EnqueueAll(all)
	done := filepath.Join(t.TempDir(), "done")
	w := s.StartWorker([]string{"--queue", "q", "--concurrency", "4", "--log-level", "info"}, "sh", "-c", `read i; echo $i; echo $i >> "$0"`, done)
	lines := func() int {
		text, _ := os.ReadFile(done)
		return bytes.Count(text, []byte("\n"))
	}
	weirtest.Eventually(t, "a third of them is done", func() bool { return lines() > jobs/3 })

	// The node dies and another one starts in its place.
	address := strings.TrimPrefix(s.URL, "http://")
	node.Kill()
	time.Sleep(300 * time.Millisecond)
	weirtest.StartProgram(t, []string{"WEIR_DATABASE_URL=" + database.URL, "WEIR_ADDR=" + address}, weirtest.Program(t, "./cmd/weir"), "serve")
	completed := func() (n int) {
		if err := database.Pool.QueryRow(t.Context(), "select count(*) from weir.jobs where state = 'completed' and result = args").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 3 { // a lease from a claim whose answer was lost takes half a minute to expire
		for end := time.Now().Add(weirtest.Patience); completed() < jobs && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		}
	}
	if n := completed(); n != jobs {
		t.Fatalf("%d of %d are done", n, jobs)
	}
	if status := w.Stop(); status != 0 {
		t.Errorf("the worker ended with %d:\n%s", status, w.Output)
	}
	// Only a claim whose answer died with the node may lose an attempt. No command runs twice.
	if n := lines(); n != jobs {
		t.Errorf("the command ran %d times for %d jobs", n, jobs)
	}
}
