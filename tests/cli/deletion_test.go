package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestDeletionAsksFirst(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	settings := []string{"WEIR_URL=" + s.URL}
	for _, c := range []struct {
		command string
		exists  string // a path that exists until the deletion
		create  func() (id string)
	}{
		{"webhooks delete", "/v1/webhooks/", func() string {
			hook := weirtest.Object{"name": "hook", "url": "https://example.com", "events": []string{"dead"}}
			return s.AddWebhook(hook).Name
		}},
		{"schedules delete", "/v1/schedules/", func() string {
			schedule := weirtest.Object{"name": "nightly", "every_seconds": 3600, "job": weirtest.Object{"kind": "k"}}
			s.Post("/v1/schedules", schedule).Want(http.StatusCreated)
			return "nightly"
		}},
		{"alerts rules delete", "/v1/alert-rules/", func() string {
			s.Do(http.MethodPut, "/v1/alert-rules/deep", weirtest.Object{"condition": "queue_depth"})
			return "deep"
		}},
		{"alerts targets delete", "/v1/alert-targets/", func() string {
			s.Post("/v1/alert-targets", weirtest.Object{"name": "team", "kind": "slack", "url": "https://example.com"})
			return "team"
		}},
		{"breakers delete", "/v1/breakers/", func() string {
			s.Do(http.MethodPut, "/v1/breakers/smtp", weirtest.Object{"failure_threshold": 3})
			return "smtp"
		}},
		{"workers remove", "/v1/workers/", func() string {
			s.Register("mill", 1)
			return "mill"
		}},
		{"dead purge", "/v1/dead/", func() string { return s.Kill(weirtest.Object{"kind": "k", "queue": "q"}) }},
	} {
		for _, yes := range []string{"answered", "given", "given, with JSON"} {
			name := c.create()
			run := strings.Fields(c.command)
			run = append(run, name)
			refused := weirtest.RunCLI(t, settings, "n\n", run...)
			if refused.Status != 1 || refused.Stdout != "" {
				t.Errorf("%s, answered n, ends with %d: %s", refused.Line, refused.Status, refused.Stdout)
			}
			for _, words := range []string{name, "[y/N]", "nothing was", "--yes"} {
				if !strings.Contains(refused.Stderr, words) {
					t.Errorf("%s, answered n, does not say %q: %s", refused.Line, words, refused.Stderr)
				}
			}
			s.Get(c.exists + name).Want(http.StatusOK)
			stdin := ""
			switch yes {
			case "answered":
				stdin = "y\n"
			case "given":
				run = append(run, "--yes")
			default:
				run = append(run, "--yes", "--json")
			}
			done := weirtest.RunCLI(t, settings, stdin, run...).Says(0)
			if asked := strings.Contains(done.Stderr, "[y/N]"); asked != (stdin != "") {
				t.Errorf("%s: asked: %v\n%s", done.Line, asked, done.Stderr)
			}
			if yes == "given, with JSON" {
				if done.Stdout != "" && !json.Valid([]byte(done.Stdout)) {
					t.Errorf("%s prints no JSON: %s", done.Line, done.Stdout)
				}
			} else if !strings.Contains(done.Stdout, name) {
				t.Errorf("%s says %q", done.Line, done.Stdout)
			}
			s.Get(c.exists + name).Want(http.StatusNotFound)
		}
		weirtest.RunCLI(t, settings, "", append(strings.Fields(c.command), "4711")...).Says(1, "4711")
	}
}
