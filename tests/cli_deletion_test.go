package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestCLIDeletionAsksFirst(t *testing.T) {
	t.Parallel()
	s := startService(t)
	settings := []string{"WEIR_URL=" + s.url}
	for _, c := range []struct {
		command string
		exists  string // a path that is there until the deletion
		create  func() (id string)
	}{
		{"webhooks delete", "/v1/webhooks/", func() string {
			return s.newWebhook(obj{"name": "hook", "url": "https://example.com", "events": []string{"dead"}}).Name
		}},
		{"schedules delete", "/v1/schedules/", func() string {
			s.post("/v1/schedules", obj{"name": "nightly", "every_seconds": 3600, "job": obj{"kind": "k"}}).want(http.StatusCreated)
			return "nightly"
		}},
		{"breakers delete", "/v1/breakers/", func() string {
			s.do(http.MethodPut, "/v1/breakers/smtp", obj{"failure_threshold": 3})
			return "smtp"
		}},
		{"workers remove", "/v1/workers/", func() string {
			s.register("mill", 1)
			return "mill"
		}},
		{"dead purge", "/v1/dead/", func() string { return s.kill(obj{"kind": "k", "queue": "q"}) }},
	} {
		for _, yes := range []string{"answered", "given", "given, with JSON"} {
			name := c.create()
			run := strings.Fields(c.command)
			run = append(run, name)
			refused := cli(t, settings, "n\n", run...)
			if refused.status != 1 || !strings.Contains(refused.stderr, name) || !strings.Contains(refused.stderr, "[y/N]") ||
				!strings.Contains(refused.stderr, "nothing was") || !strings.Contains(refused.stderr, "--yes") || refused.stdout != "" {
				t.Errorf("weir %s %s, answered n, ends with %d:\n%s%s", c.command, name, refused.status, refused.stdout, refused.stderr)
			}
			s.get(c.exists + name).want(http.StatusOK)
			stdin := ""
			switch yes {
			case "answered":
				stdin = "y\n"
			case "given":
				run = append(run, "--yes")
			default:
				run = append(run, "--yes", "--json")
			}
			done := cli(t, settings, stdin, run...).says(0)
			if asked := strings.Contains(done.stderr, "[y/N]"); asked != (stdin != "") {
				t.Errorf("%s: asked: %v\n%s", done.line, asked, done.stderr)
			}
			if yes == "given, with JSON" {
				if done.stdout != "" && !json.Valid([]byte(done.stdout)) {
					t.Errorf("%s prints no JSON: %s", done.line, done.stdout)
				}
			} else if !strings.Contains(done.stdout, name) {
				t.Errorf("%s says %q", done.line, done.stdout)
			}
			s.get(c.exists + name).want(http.StatusNotFound)
		}
		cli(t, settings, "", append(strings.Fields(c.command), "4711")...).says(1, "4711")
	}
}
