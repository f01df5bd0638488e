package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCLIShowsTheLifeOfAJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{"max_attempts": 2, "retry": {"strategy": "fixed", "base_seconds": 3600, "jitter": false}}`).Want(http.StatusOK)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	child := strings.Fields(s.CLI("enqueue", "part", "--queue", "parts", "--parent", id, "--result-ttl", "1h").Says(0).Stdout)[1]
	if j := weirtest.Decode[struct {
		Parent string `json:"parent_id"`
		TTL    int    `json:"result_ttl_seconds"`
	}](s.Get("/v1/jobs/" + child)); j.Parent != id || j.TTL != 3600 {
		t.Errorf("the child is %+v", j)
	}
	s.CLI("job", "children", id).Says(0, "JOB", "part", "parts", child, "available")
	s.CLI("job", "children", child).Says(0, "no children")
	s.CLI("job", "show", child).Says(0, "parent", "job "+id)
	s.CLI("job", "why", id).Says(0, "no_worker", "queue q")

	j := s.ClaimOne("q")
	s.CLI("job", "why", id).Says(0, "running", "worker")
	time.Sleep(20 * time.Millisecond)
	s.Post("/v1/jobs/"+id+"/fail", obj{"token": j.Token, "error": obj{"message": "connection\x1b[31m refused"}}).Want(http.StatusOK)
	s.CLI("job", "why", id).Says(0, "retry_wait", "attempt 1 of 2")
	drawn := s.CLI("job", "timeline", id).Says(0, "enqueued", "available", "┬", "started attempt 1 on worker", "┴", "connection[31m refused", "failed after", "waits until", "now", "runs in").Stdout
	if strings.Contains(drawn, "\x1b") {
		t.Errorf("what a worker wrote reaches the terminal: %q", drawn)
	}
	s.CLI("job", "retry", id, "--reset-attempts").Says(0, "job "+id, "available")
	s.CLI("job", "cancel", id, child).Says(0, "job "+id, "job "+child, "cancelled")
	s.CLI("job", "timeline", id).Says(0, "retried", "●", "cancelled")
	s.CLI("job", "cancel", id).Says(1, "has ended")
	s.CLI("job", "retry", "4711").Says(1, "4711")
	s.CLI("job", "cancel").Says(2, "id")

	var page weirtest.Page[struct{ Event string }]
	if err := json.Unmarshal([]byte(s.CLI("job", "timeline", id, "--json").Says(0).Stdout), &page); err != nil || len(page.Items) != 7 || page.Items[6].Event != "cancelled" || page.NextCursor != nil {
		t.Errorf("--json shows %+v, %v", page, err)
	}
	for _, command := range []string{"why", "children", "show"} {
		if r := s.CLI("job", command, id, "--json").Says(0); !json.Valid([]byte(r.Stdout)) {
			t.Errorf("%s: no JSON: %s", r.Line, r.Stdout)
		}
	}
}

func TestCLIWaitsForAJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	s.CLI("job", "wait", id, "--timeout", "300ms").Says(1, "has not ended", "available")
	waits := make(chan weirtest.CLIResult, 1)
	go func() { waits <- s.CLI("job", "wait", id) }()
	s.Eventually("the command waits", func() bool { return s.Metric("weir_job_waits") == 1 })
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": j.Token, "result": "done"}).Want(http.StatusOK)
	(<-waits).Says(0, "completed", "done")
	s.CLI("job", "wait", id, "--json").Says(0, `"state":"completed"`)
	dead := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	s.Post("/v1/jobs/"+dead+"/fail", obj{"token": s.ClaimOne("q").Token, "retry": false, "error": obj{"message": "no"}}).Want(http.StatusOK)
	s.CLI("job", "wait", dead).Says(1, "is dead")
	s.CLI("job", "wait", "4711").Says(1, "there is no job 4711")
}

func TestCLILooksAfterQueues(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("queue", "list").Says(0, "no queues yet")
	s.CLI("queue", "set", "q", "priority=7").Says(1, "there is no queue")
	s.CLI("queue", "set", "q", "priority=7", "retry.strategy=fixed", "retry.base_seconds=9", "--replace").Says(0, "queue q is active")
	s.CLI("queue", "set", "q", "max_depth=100").Says(0)
	if q := s.Queue("q"); q.Priority != 7 || q.MaxDepth == nil || *q.MaxDepth != 100 || !strings.Contains(string(q.Retry), "fixed") || !strings.Contains(string(q.Retry), "9") {
		t.Errorf("the queue is %+v", q)
	}
	s.CLI("queue", "set", "q", "priority").Says(2, "name=value")
	s.CLI("queue", "set", "q", "priority=77").Says(1, "priority")

	s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q", "delay_seconds": 600}})
	s.CLI("queue", "pause", "q", "--reason", "deploying", "--for", "1h").Says(0, "queue q is paused until", "deploying")
	if q := weirtest.Decode[weirtest.Pause](s.Get("/v1/queues/q")); q.ResumeAt == nil || q.ResumeAt.Sub(*q.PausedAt).Round(time.Minute) != time.Hour {
		t.Errorf("the queue is %+v", q)
	}
	s.CLI("queue", "list").Says(0, "QUEUE", "paused until", "deploying")
	s.CLI("queue").Says(0, "QUEUE", "q")
	s.CLI("queues").Says(0, "QUEUE", "q")
	s.CLI("queue", "show", "q").Says(0, "deploying", "priority", "7", "LAST", "PER SECOND", "retention_seconds")
	s.CLI("queue", "pause", "q", "--until", "2999-01-01T00:00:00Z").Says(1, "10 years", "resume_at")
	s.CLI("queue", "pause", "q", "--until", "2999-01-01T00:00:00Z", "--for", "1h").Says(2, "--until", "--for")
	s.CLI("queue", "resume", "q").Says(0, "queue q is active")
	s.CLI("queue", "resume", "none").Says(1, "none")

	s.CLI("queue", "purge", "q", "--dry-run").Says(0, "2 jobs of queue q are available")
	s.CLI("queue", "purge", "q", "--dry-run", "--state", "waiting", "--yes", "--json").Says(0, `"matching":3`, `"purged":0`)
	settings := []string{"WEIR_URL=" + s.URL}
	if r := weirtest.RunCLI(t, settings, "n\n", "queue", "purge", "q"); r.Status != 1 || !strings.Contains(r.Stderr, "Cancel 2 jobs of queue q") || s.Queue("q").Available != 2 {
		t.Errorf("a purge that was not wanted: %d %s", r.Status, r.Stderr)
	}
	weirtest.RunCLI(t, settings, "y\n", "queue", "purge", "q").Says(0, "cancelled 2 of 2")
	s.CLI("queue", "purge", "q", "--state", "scheduled", "--yes").Says(0, "cancelled 1 of 1")
	s.CLI("queue", "purge", "q", "--state", "running").Says(2, "running")
}
