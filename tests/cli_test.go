package tests

import (
	"bytes"
	"context"
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

	"github.com/weirhq/weir/tests/pgtest"
)

// cliRun is a command that has ended.
type cliRun struct {
	t              *testing.T
	line           string
	stdout, stderr string
	status         int
}

// cli runs a command of weir to its end.
func cli(t *testing.T, settings []string, stdin string, args ...string) cliRun {
	t.Helper()
	program := serviceProgram(t, "./cmd/weir") // the first to ask for it waits until it is built
	ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "WEIR_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, settings...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cliRun{t: t, line: "weir " + strings.Join(args, " "), stdout: stdout.String(), stderr: stderr.String(), status: cmd.ProcessState.ExitCode()}
}

// cli runs a client command against this service.
func (s *service) cli(args ...string) cliRun {
	s.t.Helper()
	return cli(s.t, []string{"WEIR_URL=" + s.url}, "", args...)
}

// says fails the test unless the command ended with this status and wrote these words: to standard output if it went well, or else in one
// line to standard error.
func (r cliRun) says(status int, words ...string) cliRun {
	r.t.Helper()
	text := r.stdout
	if status != 0 {
		text = r.stderr
	}
	if r.status != status {
		r.t.Fatalf("%s: ended with %d, want %d\n%s%s", r.line, r.status, status, r.stdout, r.stderr)
	}
	if status != 0 && (strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "weir: ")) {
		r.t.Errorf("%s: want one line that says what is wrong\n%s", r.line, text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			r.t.Errorf("%s: does not say %q\n%s", r.line, word, text)
		}
	}
	return r
}

// stop asks a child to end and returns the status that it ends with.
func (c *serviceChild) stop() int {
	c.t.Helper()
	c.signal(syscall.SIGTERM)
	return c.wait()
}

// devFolder is a folder for `weir dev`, which the user that PostgreSQL runs as may enter.
func devFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "weir-dev-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// startDev starts `weir dev` on a folder and returns when it is ready.
func startDev(t *testing.T, folder string) (*service, *serviceChild) {
	t.Helper()
	settings := []string{"WEIR_ADDR=127.0.0.1:0", "WEIR_DATA_DIR=" + folder}
	if bin := os.Getenv("WEIR_POSTGRES_BIN"); bin != "" {
		settings = append(settings, "WEIR_POSTGRES_BIN="+bin)
	}
	c := startServiceChild(t, settings, serviceProgram(t, "./cmd/weir"), "dev")
	s := &service{t: t, client: newServiceClient(t)}
	serviceEventually(t, "weir dev says where it is", func() bool {
		select {
		case <-c.ended:
			t.Fatalf("weir dev has ended:\n%s", c.output)
		default:
		}
		found := regexp.MustCompile(`REST +(http://\S+)/v1`).FindStringSubmatch(c.output.String())
		if found != nil {
			s.url = found[1]
		}
		return found != nil
	})
	s.get("/readyz").want(http.StatusOK)
	return s, c
}

func TestCLIDevStartsFromNothingAndKeepsItsData(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(devFolder(t), "not there yet")
	s, dev := startDev(t, folder)
	id := s.enqueue(obj{"kind": "hello"})
	guide := dev.output.String()
	for _, word := range []string{"/docs", folder, "psql", "select weir.enqueue", "curl ", "weir work", "Ctrl-C"} {
		if !strings.Contains(guide, word) {
			t.Errorf("it does not say %q:\n%s", word, guide)
		}
	}
	if status := dev.stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, dev.output)
	}
	if _, err := os.Stat(filepath.Join(folder, "postgres", "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("PostgreSQL was not stopped cleanly: %v", err)
	}

	s, dev = startDev(t, folder)
	s.job(id)
	dev.kill()

	// After a kill, too.
	s, dev = startDev(t, folder)
	s.job(id)
	if status := dev.stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, dev.output)
	}
}

func TestCLIDevTellsHowToUsePsql(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("psql"); err != nil {
		t.Fatalf("this test needs psql: %v", err)
	}
	s, dev := startDev(t, devFolder(t))
	psql := regexp.MustCompile(`PGPASSWORD=.*psql .*`).FindString(dev.output.String())
	sql := regexp.MustCompile(`select weir\.enqueue.*`).FindString(dev.output.String())
	shell := exec.Command("sh", "-c", psql+` -Atc "$SQL"`)
	shell.Env = append(os.Environ(), "SQL="+sql)
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", psql, err, output)
	}
	if j := s.job(strings.TrimSpace(string(output))); j.Kind != "hello" {
		t.Errorf("the job is %+v", j)
	}
	dev.stop()
}

func TestCLIWithThePortInUseDevLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	folder := filepath.Join(devFolder(t), "data")
	cli(t, nil, "", "dev", "--addr", listener.Addr().String(), "--data-dir", folder).says(1, listener.Addr().String(), "in use", "--addr")
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made the data folder: %v", err)
	}
}

func TestCLIServeRefusesADatabaseThatIsNotMigrated(t *testing.T) {
	t.Parallel()
	d := pgtest.Empty(t)
	settings := []string{"WEIR_DATABASE_URL=" + d.URL, "WEIR_ADDR=127.0.0.1:0"}
	cli(t, settings, "", "serve").says(1, "weir migrate up", "--migrate")
	cli(t, settings, "", "migrate", "status").says(0, "not yet", "weir migrate up")
	cli(t, settings, "", "migrate", "up").says(0, "from version 0")
	cli(t, settings, "", "migrate", "up").says(0, "nothing to do")
	if r := cli(t, settings, "", "migrate", "status").says(0); strings.Contains(r.stdout, "not yet") {
		t.Errorf("after migrating:\n%s", r.stdout)
	}

	_, err := d.Pool().Exec(t.Context(), "update weir.schema_source set checksum = 'older' where name = 'functions/claim.sql'")
	if err != nil {
		t.Fatal(err)
	}
	cli(t, settings, "", "serve").says(1, "out of date", "1 files", "weir migrate up")
	cli(t, settings, "", "migrate", "up").says(0, "Updated its functions and views")

	if r := cli(t, settings, "no\n", "migrate", "down"); r.status != 1 || !strings.Contains(r.stderr, "nothing was removed") {
		t.Errorf("migrate down after no: status %d\n%s", r.status, r.stderr)
	}
	cli(t, settings, "", "migrate", "status").says(0, "0001_schema.sql")
	cli(t, settings, "yes\n", "migrate", "down").says(0, "Removed")
	cli(t, settings, "", "serve").says(1, "does not have weir's schema")
	cli(t, settings, "", "migrate", "down", "--yes").says(0, "Removed")
}

func TestCLIServeMigratesWhenAsked(t *testing.T) {
	t.Parallel()
	settings := []string{"WEIR_DATABASE_URL=" + pgtest.Empty(t).URL, "WEIR_ADDR=127.0.0.1:0"}
	c := startServiceChild(t, settings, serviceProgram(t, "./cmd/weir"), "serve", "--migrate")
	serviceEventually(t, "it serves", func() bool { return strings.Contains(c.output.String(), "msg=serving") })
	if status := c.stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, c.output)
	}
}

func TestCLIAskedToEndANodeFinishesWhatItWasAskedBefore(t *testing.T) {
	t.Parallel()
	s, c := startNode(t, pgtest.New(t).URL, "WEIR_DRAIN_SECONDS=6")
	waits := s.parked(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 60})
	c.signal(syscall.SIGTERM)
	if got := s.answerOf(waits); len(got) != 0 {
		t.Errorf("the claim that waited got %v", got)
	}
	r, err := s.send(t.Context(), http.MethodGet, "/readyz", nil)
	if err != nil || r.status != http.StatusServiceUnavailable {
		t.Errorf("while it ends, /readyz says %v, %v", r, err)
	}
	if _, err := s.send(t.Context(), http.MethodPost, "/v1/jobs", obj{"kind": "k"}); err != nil {
		t.Errorf("while it drains, it takes no job: %v", err)
	}
	if status := c.wait(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, c.output)
	}
}

func TestCLIEnqueueAndLook(t *testing.T) {
	t.Parallel()
	s := startService(t)
	said := s.cli("enqueue", "mail", "--queue", "post", "--args", `{"to": "you"}`, "--priority", "8", "--delay", "90s", "--max-attempts", "2",
		"--unique-key", "u", "--tag", "a,b", "--tag", "c").says(0, "in post", "scheduled", "runs in").stdout
	id := strings.Fields(said)[1]
	j := s.job(id)
	if j.Kind != "mail" || j.Queue != "post" || j.Priority != 8 || j.MaxAttempts != 2 || j.UniqueKey != "u" || len(j.Tags) != 2 || j.RunAt == nil {
		t.Errorf("the job is %+v", j)
	}
	s.cli("enqueue", "mail", "--unique-key", "u").says(0, "job "+id, "already")
	s.cli("job", id).says(0, "mail", "post, priority 8", "0 of 2", "a,b, c", "you")

	var shown servedJob
	if err := json.Unmarshal([]byte(s.cli("job", id, "--json").says(0).stdout), &shown); err != nil || shown.ID != id {
		t.Errorf("--json shows %+v, %v", shown, err)
	}
	var page servedPage[struct{ Name string }]
	if err := json.Unmarshal([]byte(s.cli("queues", "--json").says(0).stdout), &page); err != nil || !slices.ContainsFunc(page.Items, func(q struct{ Name string }) bool { return q.Name == "post" }) {
		t.Errorf("--json shows %+v, %v", page, err)
	}
	s.cli("queues").says(0, "QUEUE", "post")

	file := filepath.Join(t.TempDir(), "args.json")
	if err := os.WriteFile(file, []byte("[1]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := []string{"WEIR_URL=" + s.url}
	for _, args := range [][]string{{"--args", "@" + file}, {"--args", "-"}, {"--args=[1]"}} {
		r := cli(t, settings, " [1]", append([]string{"enqueue", "k", "--json"}, args...)...).says(0)
		var made servedJob
		if err := json.Unmarshal([]byte(r.stdout), &made); err != nil || string(made.Args) != "[1]" {
			t.Errorf("%v: %s", args, r.stdout)
		}
	}
}

func TestCLIMistakesAreSaidInOneLine(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.cli("job", "4711").says(1, "there is no job 4711")
	s.cli("enqueue", "k", "--priority", "77").says(1, "priority")
	s.cli("enqueue", "k", "--args", "{").says(2, "not JSON")
	s.cli("enqueue", "k", "--args", "@/nonexistent").says(1, "/nonexistent")
	s.cli("enqueue", "k", "--delay", "soon").says(2, "soon")
	s.cli("enqueue", "k", "--delay", "1", "--run-at", "2030-01-01T00:00:00Z").says(2, "--delay", "--run-at")
	s.cli("enqueue").says(2, "kind")
	s.cli("frobnicate").says(2, "frobnicate")
	s.cli("work", "--queue", "q").says(2, "command")
	s.cli("work", "--queue", "q", "--", "no-such-program").says(2, "no-such-program")
	s.cli("work", "--", "cat").says(2, "--queue")
	s.cli("work", "--queue", "q", "--concurrency", "0", "--", "cat").says(2, "--concurrency")
	s.cli("serve").says(2, "--database-url")
	s.cli("openapi", "--version", "2.0").says(2, "3.0")
	cli(t, []string{"WEIR_URL=http://127.0.0.1:1"}, "", "queues").says(1, "http://127.0.0.1:1", "weir dev", "--url")
	cli(t, []string{"WEIR_URL=nowhere"}, "", "queues").says(2, "nowhere")
	cli(t, []string{"WEIR_URL=" + s.url + "/docs"}, "", "queues").says(1, "/docs")
	cli(t, []string{"WEIR_DATABASE_URL=postgres://u:secret@127.0.0.1:1/d", "WEIR_ADDR=127.0.0.1:0"}, "", "serve").says(1, "127.0.0.1")
}

func TestCLIDescribesItself(t *testing.T) {
	t.Parallel()
	cli(t, nil, "", "version").says(0, "weir ", "go1.")
	for version, prefix := range map[string]string{"3.0": "3.0.", "3.1": "3.1."} {
		var document struct {
			OpenAPI string
			Paths   map[string]any
		}
		r := cli(t, nil, "", "openapi", "--version", version).says(0)
		if err := json.Unmarshal([]byte(r.stdout), &document); err != nil || !strings.HasPrefix(document.OpenAPI, prefix) || document.Paths["/v1/jobs"] == nil {
			t.Errorf("%s: %v, version %s, %d paths", version, err, document.OpenAPI, len(document.Paths))
		}
	}
	for _, command := range []string{
		"dev", "serve", "migrate up", "migrate down", "migrate status", "work", "enqueue", "job", "job show", "job timeline", "job why", "job wait", "job children", "job cancel", "job retry", "queue",
		"queue list", "queue show", "queue pause", "queue resume", "queue purge", "queue set", "queues", "dead list", "dead show",
		"dead redrive", "dead purge", "operations list", "operations watch", "operations cancel", "schedules list", "schedules show", "schedules create", "schedules apply",
		"schedules preview", "schedules runs", "schedules pause", "schedules resume", "schedules trigger", "schedules delete", "openapi", "version",
	} {
		cli(t, nil, "", append(strings.Fields(command), "--help")...).says(0, "Usage: weir "+command)
	}
	cli(t, nil, "").says(0, "weir dev")
}
