package work

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A command gets a listed part of the environment, so that jobs do not get at the secrets of weir work.
func TestCommandsGetAListedEnvironment(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	url := strings.Replace(s.URL, "http://", "http://user:s3cr3t@", 1)
	weirtest.StartProgram(t, []string{
		"WEIR_URL=" + url, "WEIR_DATABASE_URL=postgres://u:s3cr3t@h/d", "AWS_SECRET_ACCESS_KEY=s3cr3t", "APP_A=a", "APP_B=b", "OTHER=o",
		"LANG=C.UTF-8", "LC_TIME=C", "TZ=UTC", "WEIR_TOKEN_FILE=", "WEIR_ENV=APP_A,OTH*",
	}, weirtest.Program(t, "./cmd/weir"), "work", "--queue", "q", "--", "env")
	j := s.WaitForState(s.Enqueue(`{"kind": "k", "queue": "q"}`), "completed")
	var output string
	if err := json.Unmarshal(j.Result, &output); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(output) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[name] = value
	}
	for name, want := range map[string]string{"WEIR_URL": s.URL, "WEIR_JOB_KIND": "k", "APP_A": "a", "OTHER": "o", "LANG": "C.UTF-8", "LC_TIME": "C", "TZ": "UTC"} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	if env["PATH"] == "" {
		t.Error("there is no PATH")
	}
	for _, name := range []string{"WEIR_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "APP_B", "WEIR_ENV"} {
		if value, there := env[name]; there {
			t.Errorf("%s is %q", name, value)
		}
	}
	if strings.Contains(output, "s3cr3t") {
		t.Errorf("a secret is in\n%s", output)
	}
}
