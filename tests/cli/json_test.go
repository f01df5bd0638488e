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
		{"job", "logs", id},
		{"webhooks"},
		{"schedules"},
		{"workers"},
		{"dead"},
		{"operations"},
		{"workflows"},
		{"breakers"},
		{"alerts"},
		{"alerts", "rules"},
		{"alerts", "targets"},
		{"alerts", "evaluate"},
		{"alerts", "stats"},
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
	if r := (<-watched).Says(1, "operation "+id+" is cancelled"); !strings.Contains(r.Stdout, " redriven") {
		t.Errorf("it prints %q", r.Stdout)
	}
	s.CLI("operations", "watch", id, "--json").Says(1, "is cancelled")
}

func TestMigrateAnswersInJSON(t *testing.T) {
	t.Parallel()
	settings := []string{"WEIR_DATABASE_URL=" + weirtest.Empty(t).Direct}
	run := func(command string) (answer struct {
		Version    int64
		Current    bool
		Migrations []struct {
			Version   int64
			Name      string
			AppliedAt string `json:"applied_at"`
		}
	},
	) {
		t.Helper()
		r := weirtest.RunCLI(t, settings, "y\n", "migrate", command, "--json").Says(0)
		if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil {
			t.Fatalf("%s: %v\n%s", r.Line, err, r.Stdout)
		}
		return answer
	}
	before := run("status")
	if before.Version != 0 || before.Current || len(before.Migrations) == 0 || before.Migrations[0].AppliedAt != "" {
		t.Errorf("an empty database is %+v", before)
	}
	up := run("up")
	if after := run("status"); up.Version == 0 || after.Version != up.Version || !after.Current || after.Migrations[0].AppliedAt == "" {
		t.Errorf("migrated to %+v, it is %+v", up, after)
	}
	if r := weirtest.RunCLI(t, settings, "n\n", "migrate", "down", "--json"); r.Status != 1 || r.Stdout != "" {
		t.Errorf("%s, answered n, ends with %d: %s", r.Line, r.Status, r.Stdout)
	}
	if down := run("down"); down.Version != 0 {
		t.Errorf("removed, it is %+v", down)
	}
}
