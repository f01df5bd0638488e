package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCLIWorkersAreListedShownAndChanged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("workers").Says(0, "no such workers")
	s.Do(http.MethodPut, weirtest.WorkerPath("mill/1"), `{"hostname": "h1", "capacity": 7, "queues": ["q", "r"], "version": "1.2", "labels": {"zone": "eu"}}`).Want(http.StatusOK)
	s.Post(weirtest.WorkerPath("mill/1")+"/heartbeat", `{"load": 0.5}`).Want(http.StatusOK)
	s.Register("other", 0)
	s.Fill(5)
	jobs := s.TryClaim("mill/1", 4, 0).Jobs
	s.Post("/v1/jobs/"+jobs[0].ID+"/complete", obj{"token": jobs[0].Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+jobs[1].ID+"/fail", obj{"token": jobs[1].Token, "error": obj{"message": "no\x1b[31m luck"}}).Want(http.StatusOK)

	s.CLI("workers").Says(0, "WORKER", "mill/1", "h1", "1.2", "q,r", "0.5", "active", "other", "no limit", "last 60 min")
	if out := s.CLI("workers", "list", "--hostname", "h1", "--state", "active", "--queue", "r").Says(0, "mill/1").Stdout; strings.Contains(out, "other") {
		t.Errorf("the filters let through:\n%s", out)
	}
	var page weirtest.Page[weirtest.Worker]
	if err := json.Unmarshal([]byte(s.CLI("workers", "list", "--json").Says(0).Stdout), &page); err != nil || len(page.Items) != 2 || page.Items[0].Stats.Completed != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if err := json.Unmarshal([]byte(s.CLI("workers", "list", "--json", "--window-seconds", "0").Says(0).Stdout), &page); err != nil || page.Items[0].Name != "mill/1" {
		t.Errorf("%v %+v", err, page)
	}
	shown := s.CLI("workers", "show", "mill/1").Says(0, "mill/1", "active", "2, capacity 7", "0.5", "h1", "zone=eu", "1 done, 1 failed", jobs[2].ID, "completed", "failed: no").Stdout
	if strings.Contains(shown, "\x1b[31m") {
		t.Error("it prints what a terminal would obey")
	}
	var details struct {
		Worker  weirtest.Worker
		Jobs    []weirtest.Job
		History []weirtest.Attempt
	}
	if err := json.Unmarshal([]byte(s.CLI("workers", "show", "mill/1", "--json").Says(0).Stdout), &details); err != nil || details.Worker.Running != 2 || len(details.Jobs) != 2 || len(details.History) != 2 {
		t.Errorf("%v %+v", err, details)
	}
	s.CLI("workers", "pause", "mill/1").Says(0, "mill/1 is paused and has 2 jobs")
	s.CLI("workers", "list", "--state", "paused").Says(0, "mill/1")
	s.CLI("workers", "resume", "mill/1").Says(0, "mill/1 is active")
	var w weirtest.Worker
	if err := json.Unmarshal([]byte(s.CLI("workers", "drain", "mill/1", "--json").Says(0).Stdout), &w); err != nil || w.State != "draining" {
		t.Errorf("%v %+v", err, w)
	}
	s.CLI("workers", "remove", "mill/1", "--yes").Says(0, "mill/1 is removed; 2 jobs went back")
	for _, action := range []string{"show", "pause", "resume", "drain", "remove"} {
		s.CLI("workers", action, "mill/1").Says(1, `there is no worker`, "mill/1")
	}
	s.CLI("workers", "list", "--state", "well").Says(2, "--state")
}

func TestCLIWorkRegistersAndIsPausedAndDrained(t *testing.T) {
	t.Parallel()
	s, gate := weirtest.StartNode(t), filepath.Join(t.TempDir(), "gate")
	child := s.StartWorker([]string{"--queue", "q", "--concurrency", "2", "--worker", "mill"}, "sh", "-c", `while [ ! -e "$0" ]; do sleep 0.05; done`, gate)
	s.Eventually("it registers", func() bool { return s.Get("/v1/workers/mill").Status == http.StatusOK })
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
	s.Eventually("it begins anew", func() bool {
		r := s.Get("/v1/workers/mill")
		return r.Status == http.StatusOK && weirtest.Decode[weirtest.Worker](r).Capacity != nil
	})
	if status := child.Stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, child.Output)
	}
	s.Worker("mill") // stays, so that it is seen that it is away
}

func TestCLIAWorkerWithANameOfItsOwnIsForgottenWhenItEnds(t *testing.T) {
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
	time.Sleep(2 * time.Second) // and does not come back by what was noted of its last claim
	if left := weirtest.Decode[weirtest.Page[weirtest.Worker]](s.Get("/v1/workers").Want(http.StatusOK)).Items; len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
}
