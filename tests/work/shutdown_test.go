package work

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestStoppedWorkerReleasesItsJobs(t *testing.T) {
	weirtest.Long(t, "it waits for a worker to stop")
	t.Parallel()
	s, started := weirtest.StartNode(t), filepath.Join(t.TempDir(), "started")
	w := s.StartWorker([]string{"--queue", "q", "--concurrency", "2", "--grace-seconds", "6"}, "sh", "-c", `
		if [ "$WEIR_JOB_KIND" = short ]; then sleep 0.5; exit; fi
		echo $$ > "$0"; sleep 100`, started)
	long := s.Enqueue(obj{"kind": "long", "queue": "q", "max_attempts": 1})
	pid := noted(t, started)
	short := s.Enqueue(obj{"kind": "short", "queue": "q"})
	s.WaitForState(short, "running")
	if status := w.Stop(); status != 0 {
		t.Errorf("it ended with %d", status)
	}
	goesAway(t, pid)
	if j := s.Job(short); j.State != "completed" {
		t.Errorf("what could be finished is %s", j.State)
	}
	if j := s.Job(long); j.State != "available" || j.Attempt != 0 || len(j.Errors) != 0 {
		t.Errorf("what could not is %s after %d attempts with %v", j.State, j.Attempt, j.Errors)
	}
	if !strings.Contains(w.Output.String(), "done=1 failed=0 cancelled=0 released=1 lost=0") {
		t.Errorf("it does not sum up:\n%s", w.Output)
	}
}

func TestSecondSignalEndsWorkerAtOnce(t *testing.T) {
	t.Parallel()
	s, started := weirtest.StartNode(t), filepath.Join(t.TempDir(), "started")
	w := s.StartWorker([]string{"--queue", "q", "--grace-seconds", "1000"}, "sh", "-c", `trap '' TERM; echo $$ > "$0"; sleep 100; sleep 100`, started)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	pid := noted(t, started)
	w.Signal(syscall.SIGINT)
	s.Eventually("it has heard the first", func() bool { return strings.Contains(w.Output.String(), "a second signal ends at once") })
	time.Sleep(500 * time.Millisecond) // a signal within 200 ms counts as an echo of the first
	w.Signal(syscall.SIGINT)
	w.Wait()
	goesAway(t, pid)
	if j := s.Job(id); j.State != "available" || j.Attempt != 0 {
		t.Errorf("the job is %s after %d attempts", j.State, j.Attempt)
	}
}

func TestKilledWorkersJobRunsElsewhereSoon(t *testing.T) {
	weirtest.Long(t, "it waits for the end of a lease")
	t.Parallel()
	s, started := weirtest.StartNode(t), filepath.Join(t.TempDir(), "started")
	first := s.StartWorker([]string{"--queue", "q", "--lease-seconds", "9", "--worker", "first"}, "sh", "-c", `echo $$ > "$0"; exec sleep 100`, started)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	pid := noted(t, started)
	first.Kill()
	if runtime.GOOS == "linux" { // elsewhere nothing ties a command to its worker's life
		goesAway(t, pid)
	}
	j := s.Job(id)
	if j.State != "running" || j.LeaseExpiresAt == nil {
		t.Fatalf("after the kill the job is %s", j.State)
	}
	expires := *j.LeaseExpiresAt
	s.StartWorker([]string{"--queue", "q", "--worker", "second"}, "cat")
	j = s.WaitForState(id, "completed")
	if late := j.StartedAt.Sub(expires); j.Worker != "second" || j.Attempt != 2 || late < 0 || late > weirtest.Soon {
		t.Errorf("attempt %d was begun by %s %v after the lease ran out", j.Attempt, j.Worker, late)
	}
}

func TestWorkRegistersAndIsPausedAndDrained(t *testing.T) {
	weirtest.Long(t, "it waits for heartbeats of a worker")
	t.Parallel()
	s, gate := weirtest.StartNode(t), filepath.Join(t.TempDir(), "gate")
	child := s.StartWorker([]string{"--queue", "q", "--concurrency", "2", "--worker", "mill"}, "sh", "-c", `while [ ! -e "$0" ]; do sleep 0.05; done`, gate)
	// Its first claim may come before its registration.
	s.Eventually("it registers", func() bool {
		return s.Get("/v1/workers/mill").Status == http.StatusOK && s.Worker("mill").Hostname != ""
	})
	if w := s.Worker("mill"); w.Capacity == nil || *w.Capacity < 2 || w.Hostname == "" || len(w.Queues) != 1 || w.State != "active" {
		t.Errorf("it registers as %+v", w)
	}
	first := s.Fill(2)
	for _, id := range first {
		s.WaitForState(id, "running")
	}
	s.Post("/v1/workers/mill/drain", nil).Want(http.StatusOK)
	second := s.Fill(3)
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range first {
		s.WaitForState(id, "completed")
	}
	s.Eventually("it is done", func() bool { w := s.Worker("mill"); return w.State == "draining" && w.Running == 0 })
	s.Eventually("it has heard of it", func() bool { return strings.Contains(child.Output.String(), "draining") })
	for _, id := range second {
		if j := s.Job(id); j.State != "available" {
			t.Errorf("a job is %s", j.State)
		}
	}
	s.Post("/v1/workers/mill/resume", nil).Want(http.StatusOK)
	for _, id := range second {
		s.WaitForState(id, "completed")
	}
	if s.Worker("mill").Load == nil {
		t.Error("it never said how busy it is")
	}
	s.Do(http.MethodDelete, "/v1/workers/mill", nil).Want(http.StatusOK)
	s.Eventually("it starts again", func() bool {
		r := s.Get("/v1/workers/mill")
		return r.Status == http.StatusOK && weirtest.Decode[weirtest.Worker](r).Capacity != nil
	})
	if status := child.Stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, child.Output)
	}
	s.Worker("mill") // keeps the row, so that its absence would show
}

func TestGeneratedWorkerNameIsForgottenAtTheEnd(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	child := s.StartWorker([]string{"--queue", "q"}, "cat")
	name := fmt.Sprint(child.Cmd.Process.Pid)
	list := func() (names []string) {
		for _, w := range weirtest.Decode[weirtest.Page[weirtest.Worker]](s.Get("/v1/workers").Want(http.StatusOK)).Items {
			if w.Capacity != nil && strings.HasSuffix(w.Name, "-"+name) {
				names = append(names, w.Name)
			}
		}
		return names
	}
	s.Eventually("it registers", func() bool { return len(list()) == 1 })
	s.WaitForState(s.Enqueue(obj{"kind": "k", "queue": "q"}), "completed")
	child.Signal(syscall.SIGTERM)
	if status := child.Wait(); status != 0 {
		t.Errorf("it ended with %d", status)
	}
	time.Sleep(2 * time.Second) // and the note about its last claim does not bring it back
	if left := weirtest.Decode[weirtest.Page[weirtest.Worker]](s.Get("/v1/workers").Want(http.StatusOK)).Items; len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
}
