package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestJSONIsAllThatIsPrinted runs commands whose answer has no body, or comes from several calls.
func TestJSONIsAllThatIsPrinted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{}`).Want(http.StatusOK)
	id := s.Enqueue(weirtest.Object{"kind": "a<b>&c", "queue": "q"})
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
		r := s.CLI(append(command, "--json")...).Says(0)
		off := strings.HasSuffix(r.Line, " --off --json") && len(command) > 4
		if off && r.Stdout != "" || !off && !json.Valid([]byte(r.Stdout)) || strings.Count(r.Stdout, "\n") > 1 {
			t.Errorf("%s prints %q", r.Line, r.Stdout)
		}
		if r.Stderr != "" {
			t.Errorf("%s writes to standard error: %s", r.Line, r.Stderr)
		}
	}
}

func TestFailedTestOfAWebhookFailsWithJSONToo(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(r))
	s.AddWebhook(weirtest.Object{"name": "w", "url": r.URL, "events": []string{"dead"}})
	r.AnswerWith(http.StatusTeapot)
	run := s.CLI("webhooks", "test", "w", "--json").Says(1, "not delivered")
	var delivery struct{ Status int }
	if err := json.Unmarshal([]byte(run.Stdout), &delivery); err != nil || delivery.Status != http.StatusTeapot {
		t.Errorf("it prints %q", run.Stdout)
	}
}

func TestFollowingACancelledOperationFails(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("slow", 500)
	id := strings.Fields(s.CLI("dead", "redrive", "--queue", "slow", "--rate", "0.5", "--no-wait").Says(0).Stdout)[1]
	watched := make(chan weirtest.CLIResult, 1)
	go func() { watched <- s.CLI("operations", "watch", id) }()
	s.CLI("operations", "cancel", id).Says(0, "is cancelled")
	if r := (<-watched).Says(1, "operation "+id+" is cancelled"); !strings.Contains(r.Stdout, "dead letters redriven") {
		t.Errorf("it prints %q", r.Stdout)
	}
	s.CLI("operations", "watch", id, "--json").Says(1, "is cancelled")
}
