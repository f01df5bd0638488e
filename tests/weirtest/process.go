//go:build unix

package weirtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// DevFolder makes a folder for `weir dev` that the user of its PostgreSQL may enter.
func DevFolder(t *testing.T) string {
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

// StartDev starts `weir dev` on a folder, with settings added to its environment, and returns when it is ready.
func StartDev(t *testing.T, folder string, settings ...string) (*Node, *Process) {
	t.Helper()
	settings = append(settings, "WEIR_ADDR=127.0.0.1:0", "WEIR_DATA_DIR="+folder)
	if bin := os.Getenv("WEIR_POSTGRES_BIN"); bin != "" {
		settings = append(settings, "WEIR_POSTGRES_BIN="+bin)
	}
	c := StartProgram(t, settings, Program(t, "./cmd/weir"), "dev")
	s := &Node{T: t, Client: newHTTPClient(t)}
	Eventually(t, "weir dev says where it is", func() bool {
		select {
		case <-c.Ended:
			t.Fatalf("weir dev has ended:\n%s", c.Output)
		default:
		}
		found := regexp.MustCompile(`REST +(http://\S+)/v1`).FindStringSubmatch(c.Output.String())
		if found != nil {
			s.URL = found[1]
		}
		return found != nil
	})
	s.Get("/readyz").Want(http.StatusOK)
	return s, c
}

// StartWorker starts `weir work` against this node.
func (s *Node) StartWorker(flags []string, command ...string) *Process {
	s.T.Helper()
	args := append(append([]string{"work", "--log-level", "debug"}, flags...), "--")
	return StartProgram(s.T, []string{"WEIR_URL=" + s.URL}, Program(s.T, "./cmd/weir"), append(args, command...)...)
}

// WaitForState waits until a job is in a state, and returns the job.
func (s *Node) WaitForState(id, state string) Job {
	s.T.Helper()
	var j Job
	s.Eventually(fmt.Sprintf("job %s is %s", id, state), func() bool {
		j = s.Job(id)
		return j.State == state
	})
	return j
}

// Log collects what a process or node logs, and shows its end if the test fails.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func newLog(t *testing.T) *Log {
	l := &Log{}
	t.Cleanup(func() {
		if t.Failed() {
			text := l.String()
			t.Logf("the end of the log of a node:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return l
}

// programs holds what Program built in this process.
var programs struct {
	sync.Mutex
	outcome map[string]error
}

// Program builds a program of this module, such as ./cmd/weir, and returns its path. All test processes of a checkout
// share the file, which `go build` leaves alone while it is up to date. It has no race detector: the nodes that run in
// the test's own process have.
func Program(t *testing.T, pkg string) string {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	root, err := filepath.Abs(moduleRoot())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, ".cache", "test", filepath.Base(pkg))
	err, built := programs.outcome[pkg]
	if !built {
		if programs.outcome == nil {
			programs.outcome = map[string]error{}
		}
		err = build(root, pkg, path)
		programs.outcome[pkg] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(root, pkg, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	lock, err := openLock(filepath.Dir(path), "lock", syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build` does
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, output)
	}
	return nil
}

// moduleRoot is the folder of go.mod: a test runs in the folder of its package.
func moduleRoot() string {
	for folder := "."; ; folder = filepath.Join("..", folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
	}
}

// warden kills the programs that still run when this process ends, however it ends: a shell that waits for the end of
// its input.
var warden = sync.OnceValues(func() (*lockedWriter, error) {
	shell := exec.Command("sh", "-c", wardenScript, "weir-test-warden")
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C at the terminal is not meant for it
	input, err := shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &lockedWriter{w: input}, shell.Start()
})

const wardenScript = `
pids=
while read -r what pid; do
  case $what in
    +) pids="$pids $pid" ;;
    -) pids=$(for p in $pids; do [ "$p" = "$pid" ] || echo "$p"; done) ;;
  esac
done
[ -z "$pids" ] || kill -9 $pids`

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// Process is a program that a test started. It is killed when the test ends.
type Process struct {
	t      *testing.T
	Cmd    *exec.Cmd
	Output *Log
	Ended  chan struct{} // closed when it has ended
}

// StartProgram starts a program that Program built, with settings added to its environment.
func StartProgram(t *testing.T, settings []string, path string, args ...string) *Process {
	t.Helper()
	c := newProcess(t, settings, path, args...)
	c.Cmd.Stdout, c.Cmd.Stderr = c.Output, c.Output
	c.start(c.Cmd.Start)
	return c
}

func newProcess(t *testing.T, settings []string, path string, args ...string) *Process {
	c := &Process{t: t, Cmd: exec.Command(path, args...), Output: newLog(t), Ended: make(chan struct{})}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "WEIR_") {
			c.Cmd.Env = append(c.Cmd.Env, e)
		}
	}
	c.Cmd.Env = append(c.Cmd.Env, settings...)
	return c
}

// start starts the program, and has the warden kill it if this process ends first.
func (c *Process) start(start func() error) {
	c.t.Helper()
	w, err := warden()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := start(); err != nil {
		c.t.Fatal(err)
	}
	pid := c.Cmd.Process.Pid
	fmt.Fprintln(w, "+", pid)
	go func() {
		_ = c.Cmd.Wait()
		fmt.Fprintln(w, "-", pid)
		close(c.Ended)
	}()
	c.t.Cleanup(c.Kill)
}

// StartServe starts `weir serve` as a process, with settings added to its environment, and returns when it is ready.
func StartServe(t *testing.T, d *Database, settings ...string) (*Node, *Process) {
	t.Helper()
	s, c := StartServeUnready(t, d, settings...)
	s.Eventually("the node is ready", func() bool {
		r, err := s.Send(t.Context(), http.MethodGet, "/readyz", nil)
		return err == nil && r.Status == http.StatusOK
	})
	return s, c
}

// StartServeUnready is StartServe, but returns as soon as the node listens.
func StartServeUnready(t *testing.T, d *Database, settings ...string) (*Node, *Process) {
	t.Helper()
	settings = append([]string{"WEIR_DATABASE_URL=" + d.URL, "WEIR_LISTEN_DATABASE_URL=" + d.Direct, "WEIR_ADDR=127.0.0.1:0", "WEIR_LOG_FORMAT=json"}, settings...)
	c := StartProgram(t, settings, Program(t, "./cmd/weir"), "serve")
	s := &Node{T: t, Client: newHTTPClient(t), DB: d, Log: c.Output}
	Eventually(t, "weir serve says where it listens", func() bool {
		select {
		case <-c.Ended:
			t.Fatalf("weir serve has ended:\n%s", c.Output)
		default:
		}
		for line := range strings.SplitSeq(c.Output.String(), "\n") {
			var entry struct{ Msg, URL string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				s.URL = entry.URL
			}
		}
		return s.URL != ""
	})
	return s, c
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Signal sends a signal.
func (c *Process) Signal(s os.Signal) {
	c.t.Helper()
	if err := c.Cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// Kill sends SIGKILL, if the process still runs, and waits for its end.
func (c *Process) Kill() {
	_ = c.Cmd.Process.Kill()
	<-c.Ended
}

// Wait waits for the end and returns the exit status.
func (c *Process) Wait() int {
	c.t.Helper()
	select {
	case <-c.Ended:
	case <-time.After(5 * Patience):
		c.t.Fatalf("%s does not end:\n%s", c.Cmd, c.Output)
	}
	return c.Cmd.ProcessState.ExitCode()
}
