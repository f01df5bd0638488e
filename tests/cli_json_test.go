package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestCLIJSONIsAllThatIsPrinted runs commands whose answer has no body, or comes from several calls.
func TestCLIJSONIsAllThatIsPrinted(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.do(http.MethodPut, "/v1/queues/q", `{}`).want(http.StatusOK)
	id := s.enqueue(obj{"kind": "a<b>&c", "queue": "q"})
	for _, command := range [][]string{
		{"version"},
		{"queue", "limits", "q", "--key", "a", "concurrency=3"},
		{"queue", "limits", "q", "--key", "a", "--off"},
		{"queue", "limits", "q", "--tenant", "t", "weight=2"},
		{"queue", "limits", "q", "--tenant", "t", "--off"},
		{"queue", "limits", "q", "concurrency=5"},
		{"queue", "limits", "q", "--off"},
		{"queue", "limits", "q"},
		{"queue", "show", "q"},
		{"queue", "list"},
		{"job", id},
		{"job", "children", id},
		{"job", "timeline", id},
		{"webhooks"},
		{"schedules"},
		{"workers"},
		{"dead"},
		{"operations"},
		{"workflows"},
		{"breakers"},
		{"queues"},
		{"schedules", "preview", "--every", "1h"},
		{"queue", "purge", "q", "--yes"},
	} {
		r := s.cli(append(command, "--json")...).says(0)
		off := strings.HasSuffix(r.line, " --off --json") && len(command) > 4
		if off && r.stdout != "" || !off && !json.Valid([]byte(r.stdout)) || strings.Count(r.stdout, "\n") > 1 {
			t.Errorf("%s prints %q", r.line, r.stdout)
		}
		if r.stderr != "" {
			t.Errorf("%s writes to standard error: %s", r.line, r.stderr)
		}
	}
}

func TestCLIFailedTestOfAWebhookFailsWithJSONToo(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	r := newReceiver(t)
	t.Cleanup(s.runTelling(url, r))
	s.newWebhook(obj{"name": "w", "url": r.URL, "events": []string{"dead"}})
	r.answers(http.StatusTeapot)
	run := s.cli("webhooks", "test", "w", "--json").says(1, "not delivered")
	var delivery struct{ Status int }
	if err := json.Unmarshal([]byte(run.stdout), &delivery); err != nil || delivery.Status != http.StatusTeapot {
		t.Errorf("it prints %q", run.stdout)
	}
}

func TestCLIFollowingACancelledOperationFails(t *testing.T) {
	t.Parallel()
	s := startServiceWithChores(t)
	s.killMany("slow", 500)
	id := strings.Fields(s.cli("dead", "redrive", "--queue", "slow", "--rate", "0.5", "--no-wait").says(0).stdout)[1]
	watched := make(chan cliRun, 1)
	go func() { watched <- s.cli("operations", "watch", id) }()
	s.cli("operations", "cancel", id).says(0, "is cancelled")
	if r := (<-watched).says(1, "operation "+id+" is cancelled"); !strings.Contains(r.stdout, "of 500") && !strings.Contains(r.stdout, "dead letter") {
		t.Errorf("it prints %q", r.stdout)
	}
	s.cli("operations", "watch", id, "--json").says(1, "is cancelled")
}
