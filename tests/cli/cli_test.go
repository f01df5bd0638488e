package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCommandsEnqueueAndShow(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	said := s.CLI("enqueue", "mail", "--queue", "post", "--args", `{"to": "you"}`, "--priority", "8", "--delay", "90s", "--max-attempts", "2",
		"--unique-key", "u", "--tag", "a,b", "--tag", "c").Says(0, "in post", "scheduled", "runs in").Stdout
	id := strings.Fields(said)[1]
	j := s.Job(id)
	if j.Kind != "mail" || j.Queue != "post" || j.Priority != 8 || j.MaxAttempts != 2 || j.UniqueKey != "u" || len(j.Tags) != 2 || j.RunAt == nil {
		t.Errorf("the job is %+v", j)
	}
	s.CLI("enqueue", "mail", "--unique-key", "u").Says(0, "job "+id, "already")
	s.CLI("job", id).Says(0, "mail", "post, priority 8", "0 of 2", "a,b, c", "you")

	var shown weirtest.Job
	if err := json.Unmarshal([]byte(s.CLI("job", id, "--json").Says(0).Stdout), &shown); err != nil || shown.ID != id {
		t.Errorf("--json shows %+v, %v", shown, err)
	}
	var page weirtest.Page[struct{ Name string }]
	if err := json.Unmarshal([]byte(s.CLI("queues", "--json").Says(0).Stdout), &page); err != nil || !slices.ContainsFunc(page.Items, func(q struct{ Name string }) bool { return q.Name == "post" }) {
		t.Errorf("--json shows %+v, %v", page, err)
	}
	s.CLI("queues").Says(0, "QUEUE", "post")

	file := filepath.Join(t.TempDir(), "args.json")
	if err := os.WriteFile(file, []byte("[1]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := []string{"WEIR_URL=" + s.URL}
	for _, args := range [][]string{{"--args", "@" + file}, {"--args", "-"}, {"--args=[1]"}} {
		r := weirtest.RunCLI(t, settings, " [1]", append([]string{"enqueue", "k", "--json"}, args...)...).Says(0)
		var made weirtest.Job
		if err := json.Unmarshal([]byte(r.Stdout), &made); err != nil || string(made.Args) != "[1]" {
			t.Errorf("%v: %s", args, r.Stdout)
		}
	}
}

func TestEnqueueTakesEveryFieldOfAJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	enqueue := []string{
		"enqueue", "k", "--queue", "q", "--tenant", "acme", "--concurrency-key", "c", "--metadata", `{"a": 1}`, "--timeout", "90s",
		"--retry", `{"strategy": "fixed", "base_seconds": 7}`, "--idempotency-key", "once",
	}
	s.CLI(enqueue...).Says(0, "job 1 is enqueued in q")
	s.CLI(enqueue...).Says(0, "job 1 already has this key, in q")
	if same := weirtest.Value[bool](t, s.DB, `select tenant = 'acme' and concurrency_key = 'c' and metadata = '{"a": 1}' and timeout_seconds = 90
		and retry ->> 'base_seconds' = '7' from weir.jobs`); !same {
		t.Errorf("the job is %s", weirtest.Value[string](t, s.DB, "select to_jsonb(j)::text from weir.jobs j"))
	}
	s.CLI("enqueue", "k", "--metadata", "[1]").Says(1, "metadata")
}

func TestMistakesAreReportedInOneLine(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("job", "4711").Says(1, "there is no job 4711")
	s.CLI("enqueue", "k", "--priority", "77").Says(1, "priority")
	s.CLI("enqueue", "k", "--args", "{").Says(2, "not JSON")
	s.CLI("enqueue", "k", "--args", "@/nonexistent").Says(1, "/nonexistent")
	s.CLI("enqueue", "k", "--delay", "soon").Says(2, "soon")
	s.CLI("enqueue", "k", "--delay", "1", "--run-at", "2030-01-01T00:00:00Z").Says(2, "--delay", "--run-at")
	s.CLI("enqueue").Says(2, "kind")
	s.CLI("frobnicate").Says(2, "frobnicate")
	s.CLI("work", "--queue", "q").Says(2, "command")
	s.CLI("work", "--queue", "q", "--", "no-such-program").Says(2, "no-such-program")
	s.CLI("work", "--", "cat").Says(2, "--queue")
	s.CLI("work", "--queue", "q", "--concurrency", "0", "--", "cat").Says(2, "--concurrency")
	s.CLI("serve").Says(2, "--database-url")
	s.CLI("openapi", "--version", "2.0").Says(2, "3.0")
	weirtest.RunCLI(t, []string{"WEIR_URL=http://127.0.0.1:1"}, "", "queues").Says(1, "http://127.0.0.1:1", "weir dev", "--url")
	weirtest.RunCLI(t, []string{"WEIR_URL=nowhere"}, "", "queues").Says(2, "nowhere")
	weirtest.RunCLI(t, []string{"WEIR_URL=" + s.URL + "/docs"}, "", "queues").Says(1, "/docs")
	weirtest.RunCLI(t, []string{"WEIR_DATABASE_URL=postgres://u:secret@127.0.0.1:1/d", "WEIR_ADDR=127.0.0.1:0"}, "", "serve").Says(1, "127.0.0.1")
}

func TestCommandsDescribeThemselves(t *testing.T) {
	t.Parallel()
	weirtest.RunCLI(t, nil, "", "version").Says(0, "weir ", "go1.")
	for version, prefix := range map[string]string{"3.0": "3.0.", "3.1": "3.1."} {
		var document struct {
			OpenAPI string
			Paths   map[string]any
		}
		r := weirtest.RunCLI(t, nil, "", "openapi", "--version", version).Says(0)
		if err := json.Unmarshal([]byte(r.Stdout), &document); err != nil || !strings.HasPrefix(document.OpenAPI, prefix) || document.Paths["/v1/jobs"] == nil {
			t.Errorf("%s: %v, version %s, %d paths", version, err, document.OpenAPI, len(document.Paths))
		}
	}
	for _, command := range []string{
		"dev", "serve", "migrate up", "migrate down", "migrate status", "work", "enqueue", "job", "job show", "job timeline", "job logs", "job why", "job wait", "job children", "job cancel", "job retry", "queue",
		"queue list", "queue show", "queue pause", "queue resume", "queue purge", "queue set", "queue forecast", "queues", "dead list", "dead show",
		"dead redrive", "dead purge", "operations list", "operations watch", "operations cancel", "schedules list", "schedules show", "schedules create", "schedules apply",
		"schedules preview", "schedules runs", "schedules pause", "schedules resume", "schedules trigger", "schedules delete", "openapi", "version",
	} {
		weirtest.RunCLI(t, nil, "", append(strings.Fields(command), "--help")...).Says(0, "Usage: weir "+command)
	}
	weirtest.RunCLI(t, nil, "").Says(0, "weir dev")
}

func TestCommandsShowLifeOfJob(t *testing.T) {
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
	s.CLI("job", "logs", id).Says(0, "There are no such lines.")
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

func TestCommandsManageQueues(t *testing.T) {
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
