package tests

import (
	"net/http"
	"strings"
	"testing"
)

// TestCLIChecksIDs needs no node: an id that cannot be one is refused before any call.
func TestCLIChecksIDs(t *testing.T) {
	t.Parallel()
	settings := []string{"WEIR_URL=http://127.0.0.1:1"}
	for _, command := range []string{
		"job ?", "job show ?", "job timeline ?", "job why ?", "job wait ?", "job children ?", "job cancel 1 ?", "job retry ?",
		"dead show ?", "dead redrive ?", "dead purge 1 ? --yes", "operations watch ?", "operations cancel ?",
		"workflow show ?", "workflow cancel ?", "workflow retry ?", "workflow fork ? a", "workflow signal ? s", "workflow timeline ?",
		"enqueue k --parent ?",
	} {
		for _, id := range []string{"abc", "0", "-1", "1.5", "12345678901234567890", "..", "1/2"} {
			args := strings.Fields(strings.ReplaceAll(command, "?", id))
			if id == "-1" {
				continue // it is a flag to the parser
			}
			cli(t, settings, "", args...).says(2, `"`+id+`" is not an id`)
		}
	}
}

func TestCLIReachesNamesThatPathsResolve(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.do(http.MethodPut, "/v1/queues/q", `{}`).want(http.StatusOK)
	for _, name := range []string{".", "..", "a/b", "../../jobs", "a b?c#d", "%2E"} {
		s.cli("queue", "limits", "q", "--key", name, "concurrency=3").says(0, "key "+name+" has limits of its own")
		s.cli("queue", "limits", "q").says(0, "key "+name+" ")
		s.cli("queue", "limits", "q", "--key", name, "--off").says(0, "no limits of its own")
	}
	for _, name := range []string{".", ".."} {
		r := s.post("/v1/claims", obj{"worker": name, "queues": []string{"q"}})
		if r.status == http.StatusUnprocessableEntity {
			continue // the service takes no such name
		}
		s.eventually("the worker is known", func() bool { return s.cli("workers", "show", name).status == 0 })
		s.cli("workers", "show", name).says(0, "active")
		s.cli("workers", "pause", name).says(0, name+" is paused")
		s.cli("workers", "drain", name).says(0, name+" is draining")
		s.cli("workers", "resume", name).says(0, name+" is active")
		s.cli("workers", "remove", name, "--yes").says(0, name+" is removed")
		s.cli("workers", "show", name).says(1, "there is no worker")
	}
}

// TestCLIExitStatuses: 0 for success, 1 for a failure, 2 for a mistake in the command line.
func TestCLIExitStatuses(t *testing.T) {
	t.Parallel()
	s := startService(t)
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
		s.cli(strings.Fields(c.line)...).says(c.status, c.says)
	}
}
