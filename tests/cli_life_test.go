package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestCLIShowsTheLifeOfAJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.do(http.MethodPut, "/v1/queues/q", `{"max_attempts": 2, "retry": {"strategy": "fixed", "base_seconds": 3600, "jitter": false}}`).want(http.StatusOK)
	id := s.enqueue(`{"kind": "k", "queue": "q"}`)
	child := strings.Fields(s.cli("enqueue", "part", "--queue", "parts", "--parent", id, "--result-ttl", "1h").says(0).stdout)[1]
	if j := readAs[struct {
		Parent string `json:"parent_id"`
		TTL    int    `json:"result_ttl_seconds"`
	}](s.get("/v1/jobs/" + child)); j.Parent != id || j.TTL != 3600 {
		t.Errorf("the child is %+v", j)
	}
	s.cli("job", "children", id).says(0, "JOB", "part", "parts", child, "available")
	s.cli("job", "children", child).says(0, "no children")
	s.cli("job", "show", child).says(0, "parent", "job "+id)
	s.cli("job", "why", id).says(0, "no_worker", "queue q")

	j := s.claimOne("q")
	s.cli("job", "why", id).says(0, "running", "worker")
	time.Sleep(20 * time.Millisecond)
	s.post("/v1/jobs/"+id+"/fail", obj{"token": j.Token, "error": obj{"message": "connection\x1b[31m refused"}}).want(http.StatusOK)
	s.cli("job", "why", id).says(0, "retry_wait", "attempt 1 of 2")
	drawn := s.cli("job", "timeline", id).says(0, "enqueued", "available", "┬", "started attempt 1 on worker", "┴", "connection[31m refused", "failed after", "waits until", "now", "runs in").stdout
	if strings.Contains(drawn, "\x1b") {
		t.Errorf("what a worker wrote reaches the terminal: %q", drawn)
	}
	s.cli("job", "retry", id, "--reset-attempts").says(0, "job "+id, "available")
	s.cli("job", "cancel", id, child).says(0, "job "+id, "job "+child, "cancelled")
	s.cli("job", "timeline", id).says(0, "retried", "●", "cancelled")
	s.cli("job", "cancel", id).says(1, "has ended")
	s.cli("job", "retry", "4711").says(1, "4711")
	s.cli("job", "cancel").says(2, "id")

	var page servedPage[struct{ Event string }]
	if err := json.Unmarshal([]byte(s.cli("job", "timeline", id, "--json").says(0).stdout), &page); err != nil || len(page.Items) != 7 || page.Items[6].Event != "cancelled" || page.NextCursor != nil {
		t.Errorf("--json shows %+v, %v", page, err)
	}
	for _, command := range []string{"why", "children", "show"} {
		if r := s.cli("job", command, id, "--json").says(0); !json.Valid([]byte(r.stdout)) {
			t.Errorf("%s: no JSON: %s", r.line, r.stdout)
		}
	}
}

func TestCLIWaitsForAJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	id := s.enqueue(`{"kind": "k", "queue": "q"}`)
	s.cli("job", "wait", id, "--timeout", "300ms").says(1, "has not ended", "available")
	waits := make(chan cliRun, 1)
	go func() { waits <- s.cli("job", "wait", id) }()
	s.eventually("the command waits", func() bool { return s.metric("weir_job_waits") == 1 })
	j := s.claimOne("q")
	s.post("/v1/jobs/"+id+"/complete", obj{"token": j.Token, "result": "done"}).want(http.StatusOK)
	(<-waits).says(0, "completed", "done")
	s.cli("job", "wait", id, "--json").says(0, `"state":"completed"`)
	dead := s.enqueue(`{"kind": "k", "queue": "q"}`)
	s.post("/v1/jobs/"+dead+"/fail", obj{"token": s.claimOne("q").Token, "retry": false, "error": obj{"message": "no"}}).want(http.StatusOK)
	s.cli("job", "wait", dead).says(1, "is dead")
	s.cli("job", "wait", "4711").says(1, "there is no job 4711")
}

func TestCLILooksAfterQueues(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.cli("queue", "list").says(0, "no queues yet")
	s.cli("queue", "set", "q", "priority=7").says(1, "there is no queue")
	s.cli("queue", "set", "q", "priority=7", "retry.strategy=fixed", "retry.base_seconds=9", "--replace").says(0, "queue q is active")
	s.cli("queue", "set", "q", "max_depth=100").says(0)
	if q := s.queue("q"); q.Priority != 7 || q.MaxDepth == nil || *q.MaxDepth != 100 || !strings.Contains(string(q.Retry), "fixed") || !strings.Contains(string(q.Retry), "9") {
		t.Errorf("the queue is %+v", q)
	}
	s.cli("queue", "set", "q", "priority").says(2, "name=value")
	s.cli("queue", "set", "q", "priority=77").says(1, "priority")

	s.enqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q", "delay_seconds": 600}})
	s.cli("queue", "pause", "q", "--reason", "deploying", "--for", "1h").says(0, "queue q is paused until", "deploying")
	if q := readAs[servedPause](s.get("/v1/queues/q")); q.ResumeAt == nil || q.ResumeAt.Sub(*q.PausedAt).Round(time.Minute) != time.Hour {
		t.Errorf("the queue is %+v", q)
	}
	s.cli("queue", "list").says(0, "QUEUE", "paused until", "deploying")
	s.cli("queue").says(0, "QUEUE", "q")
	s.cli("queues").says(0, "QUEUE", "q")
	s.cli("queue", "show", "q").says(0, "deploying", "priority", "7", "LAST", "PER SECOND", "retention_seconds")
	s.cli("queue", "pause", "q", "--until", "2999-01-01T00:00:00Z").says(1, "10 years", "resume_at")
	s.cli("queue", "pause", "q", "--until", "2999-01-01T00:00:00Z", "--for", "1h").says(2, "--until", "--for")
	s.cli("queue", "resume", "q").says(0, "queue q is active")
	s.cli("queue", "resume", "none").says(1, "none")

	s.cli("queue", "purge", "q", "--dry-run").says(0, "2 jobs of queue q are available")
	s.cli("queue", "purge", "q", "--dry-run", "--state", "waiting", "--yes", "--json").says(0, `"matching":3`, `"purged":0`)
	settings := []string{"WEIR_URL=" + s.url}
	if r := cli(t, settings, "n\n", "queue", "purge", "q"); r.status != 1 || !strings.Contains(r.stderr, "Cancel 2 jobs of queue q") || s.queue("q").Available != 2 {
		t.Errorf("a purge that was not wanted: %d %s", r.status, r.stderr)
	}
	cli(t, settings, "y\n", "queue", "purge", "q").says(0, "cancelled 2 of 2")
	s.cli("queue", "purge", "q", "--state", "scheduled", "--yes").says(0, "cancelled 1 of 1")
	s.cli("queue", "purge", "q", "--state", "running").says(2, "running")
}
