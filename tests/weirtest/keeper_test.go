//go:build unix

package weirtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// childVariable, when set in the environment, turns this test program into one that plays another test process.
const childVariable = "WEIR_WEIRTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		playTestProcess()
		return
	}
	Main(m)
}

// playTestProcess joins the cluster, makes a database, prints the server's address and the template's name, and lives
// until its input ends.
func playTestProcess() {
	c, err := theCluster()
	if err == nil {
		var name string
		if name, err = c.createDatabase(context.Background(), true); err == nil {
			err = c.dropDatabase(context.Background(), name)
		}
	}
	if err != nil {
		fmt.Printf("%q\n", err)
		return
	}
	fmt.Println(c.url, c.templateName)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// testProcess is another test process.
type testProcess struct {
	*exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
}

func startTestProcess(t *testing.T, env ...string) *testProcess {
	t.Helper()
	p := &testProcess{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.Env = append(append(os.Environ(), childVariable+"=1"), env...)
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	return p
}

// says returns the line that the process prints.
func (p *testProcess) says(t *testing.T) string {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("got %q from a test process, %v; want a line", line, err)
	}
	return strings.TrimSpace(line)
}

// end kills the process.
func (p *testProcess) end() {
	_ = p.Process.Kill()
	_ = p.Wait()
}

// ownTempFolder returns a folder for temporary files in which only the test's own processes meet.
func ownTempFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the server's user must pass through
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// dataFolders lists the data folders of servers under a folder for temporary files.
func dataFolders(t *testing.T, temp string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(temp, "*", "PG_VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wantEnded waits until no server runs and no data is left.
func wantEnded(t *testing.T, temp, address string) {
	t.Helper()
	Eventually(t, "the server ends and its data is removed", func() bool {
		_, err := pgx.Connect(t.Context(), address)
		return errors.Is(err, syscall.ECONNREFUSED) && len(dataFolders(t, temp)) == 0
	})
}

func TestProcessesShareOneServerUntilTheLastEnds(t *testing.T) {
	Long(t, "it starts a server and waits for its end")
	t.Parallel()
	temp := ownTempFolder(t)
	var processes []*testProcess
	for range 4 {
		processes = append(processes, startTestProcess(t, "TMPDIR="+temp, "WEIR_TEST_DATABASE_URL="))
	}
	var first string
	for i, p := range processes {
		if line := p.says(t); i == 0 {
			first = line
		} else if line != first {
			t.Errorf("got server and template %q, want %q of the first process", line, first)
		}
	}
	address, _, _ := strings.Cut(first, " ")
	for _, p := range processes[:3] {
		p.end() // as a test that runs into its time limit: nothing of it runs any more
	}
	if n := len(dataFolders(t, temp)); n != 1 {
		t.Errorf("got %d servers while a process lives, want 1", n)
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatalf("the server ended while a process uses it: %v", err)
	}
	conn.Close(t.Context())
	processes[3].end()
	wantEnded(t, temp, address)
}

func TestServerEndsWhenItsMeetingFolderIsGone(t *testing.T) {
	Long(t, "it starts a server")
	t.Parallel()
	temp := ownTempFolder(t)
	p := startTestProcess(t, "TMPDIR="+temp, "WEIR_TEST_DATABASE_URL=")
	address, _, _ := strings.Cut(p.says(t), " ")
	found, err := filepath.Glob(filepath.Join(temp, "*", keeperFile))
	if err != nil || len(found) != 1 {
		t.Fatalf("got the keepers %q, %v; want one", found, err)
	}
	if err := os.RemoveAll(filepath.Dir(found[0])); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, temp, address)
}

func TestProcessesReplaceAKilledKeeper(t *testing.T) {
	Long(t, "it starts two servers")
	t.Parallel()
	temp := ownTempFolder(t)
	env := []string{"TMPDIR=" + temp, "WEIR_TEST_DATABASE_URL="}
	first, _, _ := strings.Cut(startTestProcess(t, env...).says(t), " ")
	found, err := filepath.Glob(filepath.Join(temp, "*", keeperFile))
	if err != nil || len(found) != 1 {
		t.Fatalf("got the keepers %q, %v; want one", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the keeper's lock is free", func() bool { return !keeperRuns(filepath.Dir(found[0])) })
	p := startTestProcess(t, env...)
	second, _, _ := strings.Cut(p.says(t), " ")
	if second == first || !strings.HasPrefix(second, "postgres://") {
		t.Errorf("got %q after the keeper of %q was killed, want the address of another server", second, first)
	}
	p.end()
}

func TestProcessesShareTheTemplateOfAGivenServer(t *testing.T) {
	Long(t, "it starts a server")
	t.Parallel()
	s := NewServer(t)
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	first := startTestProcess(t, "WEIR_TEST_DATABASE_URL="+s.URL("postgres"))
	_, template, _ := strings.Cut(first.says(t), " ")
	Exec(t, conn, "drop database "+template)
	// A process that was killed while it made the template, and the template of another schema.
	for _, name := range []string{template + "_making", "weir_template_000000000000"} {
		Exec(t, conn, "create database "+name)
	}
	var processes []*testProcess
	for range 3 {
		processes = append(processes, startTestProcess(t, "WEIR_TEST_DATABASE_URL="+s.URL("postgres")))
	}
	for _, p := range processes {
		if _, got, _ := strings.Cut(p.says(t), " "); got != template {
			t.Errorf("got template %s, want %s", got, template)
		}
	}
	if names := Values[string](t, conn, "select datname::text from pg_database where datname like 'weir\\_t%'"); len(names) != 2 {
		t.Errorf("got the databases %q, want two templates", names)
	}
}

func TestMissingPostgreSQLNamesAllReasons(t *testing.T) {
	no := func(reason string) start {
		return func(context.Context) (*server, error) { return nil, errors.New(reason) }
	}
	t.Setenv("WEIR_POSTGRES_BIN", "")
	_, err := startAny(t.Context(), no("no programs"), no("no engine"))
	wantWords(t, fmt.Sprint(err), "WEIR_TEST_DATABASE_URL is not set", "no programs", "no engine")
}

func TestPostgreSQLOfTheEnvironmentIsNotReplaced(t *testing.T) {
	t.Parallel()
	p := startTestProcess(t, "TMPDIR="+ownTempFolder(t), "WEIR_POSTGRES_BIN="+t.TempDir(), "WEIR_TEST_DATABASE_URL=")
	wantWords(t, p.says(t), "WEIR_POSTGRES_BIN names no usable PostgreSQL")
	p = startTestProcess(t, "WEIR_TEST_DATABASE_URL=postgres://noone@127.0.0.1:1/none")
	wantWords(t, p.says(t), "WEIR_TEST_DATABASE_URL", "refused")
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("got %q, want it to contain %q", text, word)
		}
	}
}
