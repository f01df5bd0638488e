package tests

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCLIDevStartsFromNothingAndKeepsItsData(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(weirtest.DevFolder(t), "not there yet")
	s, dev := weirtest.StartDev(t, folder)
	id := s.Enqueue(obj{"kind": "hello"})
	guide := dev.Output.String()
	for _, word := range []string{"/docs", folder, "psql", "select weir.enqueue", "curl ", "weir work", "Ctrl-C"} {
		if !strings.Contains(guide, word) {
			t.Errorf("it does not say %q:\n%s", word, guide)
		}
	}
	if status := dev.Stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, dev.Output)
	}
	if _, err := os.Stat(filepath.Join(folder, "postgres", "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("PostgreSQL was not stopped cleanly: %v", err)
	}

	s, dev = weirtest.StartDev(t, folder)
	s.Job(id)
	dev.Kill()

	// After a kill, too.
	s, dev = weirtest.StartDev(t, folder)
	s.Job(id)
	if status := dev.Stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, dev.Output)
	}
}

func TestCLIDevTellsHowToUsePsql(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("psql"); err != nil {
		t.Fatalf("this test needs psql: %v", err)
	}
	s, dev := weirtest.StartDev(t, weirtest.DevFolder(t))
	psql := regexp.MustCompile(`PGPASSWORD=.*psql .*`).FindString(dev.Output.String())
	sql := regexp.MustCompile(`select weir\.enqueue.*`).FindString(dev.Output.String())
	shell := exec.Command("sh", "-c", psql+` -Atc "$SQL"`)
	shell.Env = append(os.Environ(), "SQL="+sql)
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", psql, err, output)
	}
	if j := s.Job(strings.TrimSpace(string(output))); j.Kind != "hello" {
		t.Errorf("the job is %+v", j)
	}
	dev.Stop()
}

func TestCLIWithThePortInUseDevLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	folder := filepath.Join(weirtest.DevFolder(t), "data")
	weirtest.RunCLI(t, nil, "", "dev", "--addr", listener.Addr().String(), "--data-dir", folder).Says(1, listener.Addr().String(), "in use", "--addr")
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made the data folder: %v", err)
	}
}

func TestCLIServeRefusesADatabaseThatIsNotMigrated(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	settings := []string{"WEIR_DATABASE_URL=" + d.URL, "WEIR_ADDR=127.0.0.1:0"}
	weirtest.RunCLI(t, settings, "", "serve").Says(1, "weir migrate up", "--migrate")
	weirtest.RunCLI(t, settings, "", "migrate", "status").Says(0, "not yet", "weir migrate up")
	weirtest.RunCLI(t, settings, "", "migrate", "up").Says(0, "from version 0")
	weirtest.RunCLI(t, settings, "", "migrate", "up").Says(0, "nothing to do")
	if r := weirtest.RunCLI(t, settings, "", "migrate", "status").Says(0); strings.Contains(r.Stdout, "not yet") {
		t.Errorf("after migrating:\n%s", r.Stdout)
	}

	_, err := d.Pool.Exec(t.Context(), "update weir.schema_source set checksum = 'older' where name = 'functions/claim.sql'")
	if err != nil {
		t.Fatal(err)
	}
	weirtest.RunCLI(t, settings, "", "serve").Says(1, "out of date", "1 files", "weir migrate up")
	weirtest.RunCLI(t, settings, "", "migrate", "up").Says(0, "Updated its functions and views")

	if r := weirtest.RunCLI(t, settings, "no\n", "migrate", "down"); r.Status != 1 || !strings.Contains(r.Stderr, "nothing was removed") {
		t.Errorf("migrate down after no: status %d\n%s", r.Status, r.Stderr)
	}
	weirtest.RunCLI(t, settings, "", "migrate", "status").Says(0, "0001_schema.sql")
	weirtest.RunCLI(t, settings, "yes\n", "migrate", "down").Says(0, "Removed")
	weirtest.RunCLI(t, settings, "", "serve").Says(1, "does not have weir's schema")
	weirtest.RunCLI(t, settings, "", "migrate", "down", "--yes").Says(0, "Removed")
}

func TestCLIServeMigratesWhenAsked(t *testing.T) {
	t.Parallel()
	settings := []string{"WEIR_DATABASE_URL=" + weirtest.Empty(t).URL, "WEIR_ADDR=127.0.0.1:0"}
	c := weirtest.StartProgram(t, settings, weirtest.Program(t, "./cmd/weir"), "serve", "--migrate")
	weirtest.Eventually(t, "it serves", func() bool { return strings.Contains(c.Output.String(), "msg=serving") })
	if status := c.Stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, c.Output)
	}
}

func TestCLIAskedToEndANodeFinishesWhatItWasAskedBefore(t *testing.T) {
	t.Parallel()
	s, c := weirtest.StartServe(t, weirtest.New(t), "WEIR_DRAIN_SECONDS=6")
	waits := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 60})
	c.Signal(syscall.SIGTERM)
	if got := s.Answer(waits); len(got) != 0 {
		t.Errorf("the claim that waited got %v", got)
	}
	r, err := s.Send(t.Context(), http.MethodGet, "/readyz", nil)
	if err != nil || r.Status != http.StatusServiceUnavailable {
		t.Errorf("while it ends, /readyz says %v, %v", r, err)
	}
	if _, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs", obj{"kind": "k"}); err != nil {
		t.Errorf("while it drains, it takes no job: %v", err)
	}
	if status := c.Wait(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, c.Output)
	}
}

func TestCLIEnqueueAndLook(t *testing.T) {
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

func TestCLIMistakesAreSaidInOneLine(t *testing.T) {
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

func TestCLIDescribesItself(t *testing.T) {
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
		"dev", "serve", "migrate up", "migrate down", "migrate status", "work", "enqueue", "job", "job show", "job timeline", "job why", "job wait", "job children", "job cancel", "job retry", "queue",
		"queue list", "queue show", "queue pause", "queue resume", "queue purge", "queue set", "queues", "dead list", "dead show",
		"dead redrive", "dead purge", "operations list", "operations watch", "operations cancel", "schedules list", "schedules show", "schedules create", "schedules apply",
		"schedules preview", "schedules runs", "schedules pause", "schedules resume", "schedules trigger", "schedules delete", "openapi", "version",
	} {
		weirtest.RunCLI(t, nil, "", append(strings.Fields(command), "--help")...).Says(0, "Usage: weir "+command)
	}
	weirtest.RunCLI(t, nil, "").Says(0, "weir dev")
}
