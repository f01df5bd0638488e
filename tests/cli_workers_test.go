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
)

func TestCLIWorkersAreListedShownAndChanged(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.cli("workers").says(0, "no such workers")
	s.do(http.MethodPut, workerPath("mill/1"), `{"hostname": "h1", "capacity": 7, "queues": ["q", "r"], "version": "1.2", "labels": {"zone": "eu"}}`).want(http.StatusOK)
	s.post(workerPath("mill/1")+"/heartbeat", `{"load": 0.5}`).want(http.StatusOK)
	s.register("other", 0)
	s.fill(5)
	jobs := s.tryClaim("mill/1", 4, 0).Jobs
	s.post("/v1/jobs/"+jobs[0].ID+"/complete", obj{"token": jobs[0].Token}).want(http.StatusOK)
	s.post("/v1/jobs/"+jobs[1].ID+"/fail", obj{"token": jobs[1].Token, "error": obj{"message": "no\x1b[31m luck"}}).want(http.StatusOK)

	s.cli("workers").says(0, "WORKER", "mill/1", "h1", "1.2", "q,r", "0.5", "active", "other", "no limit", "last 60 min")
	if out := s.cli("workers", "list", "--hostname", "h1", "--state", "active", "--queue", "r").says(0, "mill/1").stdout; strings.Contains(out, "other") {
		t.Errorf("the filters let through:\n%s", out)
	}
	var page servedPage[servedWorker]
	if err := json.Unmarshal([]byte(s.cli("workers", "list", "--json").says(0).stdout), &page); err != nil || len(page.Items) != 2 || page.Items[0].Stats.Completed != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if err := json.Unmarshal([]byte(s.cli("workers", "list", "--json", "--window-seconds", "0").says(0).stdout), &page); err != nil || page.Items[0].Name != "mill/1" {
		t.Errorf("%v %+v", err, page)
	}
	shown := s.cli("workers", "show", "mill/1").says(0, "mill/1", "active", "2, capacity 7", "0.5", "h1", "zone=eu", "1 done, 1 failed", jobs[2].ID, "completed", "failed: no").stdout
	if strings.Contains(shown, "\x1b[31m") {
		t.Error("it prints what a terminal would obey")
	}
	var details struct {
		Worker  servedWorker
		Jobs    []servedJob
		History []servedAttempt
	}
	if err := json.Unmarshal([]byte(s.cli("workers", "show", "mill/1", "--json").says(0).stdout), &details); err != nil || details.Worker.Running != 2 || len(details.Jobs) != 2 || len(details.History) != 2 {
		t.Errorf("%v %+v", err, details)
	}
	s.cli("workers", "pause", "mill/1").says(0, "mill/1 is paused and has 2 jobs")
	s.cli("workers", "list", "--state", "paused").says(0, "mill/1")
	s.cli("workers", "resume", "mill/1").says(0, "mill/1 is active")
	var w servedWorker
	if err := json.Unmarshal([]byte(s.cli("workers", "drain", "mill/1", "--json").says(0).stdout), &w); err != nil || w.State != "draining" {
		t.Errorf("%v %+v", err, w)
	}
	s.cli("workers", "remove", "mill/1", "--yes").says(0, "mill/1 is removed; 2 jobs went back")
	for _, action := range []string{"show", "pause", "resume", "drain", "remove"} {
		s.cli("workers", action, "mill/1").says(1, `there is no worker`, "mill/1")
	}
	s.cli("workers", "list", "--state", "well").says(2, "--state")
}

func TestCLIWorkRegistersAndIsPausedAndDrained(t *testing.T) {
	t.Parallel()
	s, gate := startService(t), filepath.Join(t.TempDir(), "gate")
	child := s.startWorker([]string{"--queue", "q", "--concurrency", "2", "--worker", "mill"}, "sh", "-c", `while [ ! -e "$0" ]; do sleep 0.05; done`, gate)
	s.eventually("it registers", func() bool { return s.get("/v1/workers/mill").status == http.StatusOK })
	if w := s.worker("mill"); w.Capacity == nil || *w.Capacity < 2 || w.Hostname == "" || len(w.Queues) != 1 || w.State != "active" {
		t.Errorf("it registers as %+v", w)
	}
	first := s.fill(2)
	for _, id := range first {
		s.reaches(id, "running")
	}
	s.post("/v1/workers/mill/drain", nil).want(http.StatusOK)
	second := s.fill(3)
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range first {
		s.reaches(id, "completed")
	}
	s.eventually("it is done", func() bool { w := s.worker("mill"); return w.State == "draining" && w.Running == 0 })
	s.eventually("it has heard of it", func() bool { return strings.Contains(child.output.String(), "draining") })
	for _, id := range second {
		if j := s.job(id); j.State != "available" {
			t.Errorf("a job is %s", j.State)
		}
	}
	s.post("/v1/workers/mill/resume", nil).want(http.StatusOK)
	for _, id := range second {
		s.reaches(id, "completed")
	}
	if s.worker("mill").Load == nil {
		t.Error("it never said how busy it is")
	}
	s.do(http.MethodDelete, "/v1/workers/mill", nil).want(http.StatusOK)
	s.eventually("it begins anew", func() bool {
		r := s.get("/v1/workers/mill")
		return r.status == http.StatusOK && readAs[servedWorker](r).Capacity != nil
	})
	if status := child.stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, child.output)
	}
	s.worker("mill") // stays, so that it is seen that it is away
}

func TestCLIAWorkerWithANameOfItsOwnIsForgottenWhenItEnds(t *testing.T) {
	t.Parallel()
	s := startService(t)
	child := s.startWorker([]string{"--queue", "q"}, "cat")
	name := fmt.Sprint(child.cmd.Process.Pid)
	list := func() (names []string) {
		for _, w := range readAs[servedPage[servedWorker]](s.get("/v1/workers").want(http.StatusOK)).Items {
			if w.Capacity != nil && strings.HasSuffix(w.Name, "-"+name) {
				names = append(names, w.Name)
			}
		}
		return names
	}
	s.eventually("it registers", func() bool { return len(list()) == 1 })
	s.reaches(s.enqueue(obj{"kind": "k", "queue": "q"}), "completed")
	child.signal(syscall.SIGTERM)
	if status := child.wait(); status != 0 {
		t.Errorf("it ended with %d", status)
	}
	time.Sleep(2 * time.Second) // and does not come back by what was noted of its last claim
	if left := readAs[servedPage[servedWorker]](s.get("/v1/workers").want(http.StatusOK)).Items; len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
}
