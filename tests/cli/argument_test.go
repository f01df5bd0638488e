package cli

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestChecksIDs needs no node: an impossible id is refused before any call.
func TestChecksIDs(t *testing.T) {
	t.Parallel()
	settings := []string{"WEIR_URL=http://127.0.0.1:1"}
	for _, command := range []string{
		"job ?", "job show ?", "job timeline ?", "job logs ?", "job why ?", "job wait ?", "job children ?", "job cancel 1 ?",
		"job retry ?", "dead show ?", "dead redrive ?", "dead purge 1 ? --yes", "operations watch ?", "operations cancel ?",
		"workflow show ?", "workflow cancel ?", "workflow retry ?", "workflow fork ? a", "workflow signal ? s",
		"workflow timeline ?",
		"enqueue k --parent ?",
	} {
		for _, id := range []string{"abc", "0", "-1", "1.5", "12345678901234567890", "..", "1/2"} {
			args := strings.Fields(strings.ReplaceAll(command, "?", id))
			if id == "-1" {
				continue // the parser takes it for a flag
			}
			weirtest.RunCLI(t, settings, "", args...).Says(2, `"`+id+`" is not an id`)
		}
	}
}

func TestReachesNamesThatPathsResolve(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{}`).Want(http.StatusOK)
	for _, name := range []string{".", ".."} {
		s.CLI("queue", "limits", "q", "--key", name, "concurrency=3").Says(1, "key must not")
	}
	for _, name := range []string{"a/b", "../../jobs", "a b?c#d", "%2E"} {
		s.CLI("queue", "limits", "q", "--key", name, "concurrency=3").Says(0, "key "+name+" has limits of its own")
		s.CLI("queue", "limits", "q").Says(0, "key "+name+" ")
		s.CLI("queue", "limits", "q", "--key", name, "--off").Says(0, "no limits of its own")
	}
	for _, name := range []string{".", ".."} {
		r := s.Post("/v1/claims", weirtest.Object{"worker": name, "queues": []string{"q"}})
		if r.Status == http.StatusUnprocessableEntity {
			continue // the service refuses such a name
		}
		s.Eventually("the worker is known", func() bool { return s.CLI("workers", "show", name).Status == 0 })
		s.CLI("workers", "show", name).Says(0, "active")
		s.CLI("workers", "pause", name).Says(0, name+" is paused")
		s.CLI("workers", "drain", name).Says(0, name+" is draining")
		s.CLI("workers", "resume", name).Says(0, name+" is active")
		s.CLI("workers", "remove", name, "--yes").Says(0, name+" is removed")
		s.CLI("workers", "show", name).Says(1, "there is no worker")
	}
}

// TestExitStatuses: 0 for success, 1 for a failure, 2 for a mistake in the command line.
func TestExitStatuses(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, c := range []struct {
		status int
		line   string
		says   string
	}{
		{2, "queue list --limit", "--limit"},
		{2, "dead --limit 0", "--limit"},
		{2, "job children 1 --limit x", "--limit"},
		{2, "webhooks deliveries w --limit -1", "--limit"},
		{2, "breakers events b --limit 0", "--limit"},
		{2, "schedules preview --every 1h --count 0", "--count"},
		{2, "enqueue k --delay 1e300", "--delay"},
		{2, "queues --url nowhere", "nowhere"},
		{2, "queues --url ftp://x", "ftp://x"},
		{2, "workflow show 1 --mermaid --json", "--mermaid"},
		{2, "dead redrive 1 --no-wait", "filters"},
		{1, "queue show none", "none"},
		{1, "breakers show none", "none"},
		{1, "webhooks delete none --yes", "none"},
		{1, "queues --url http://127.0.0.1:1", "nothing answers"},
	} {
		s.CLI(strings.Fields(c.line)...).Says(c.status, c.says)
	}
}
