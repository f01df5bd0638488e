//go:build unix

package weirtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// CLIResult is a command that has ended.
type CLIResult struct {
	t              *testing.T
	Line           string
	Stdout, Stderr string
	Status         int
}

// RunCLI runs a command of weir to its end, with settings added to its environment.
func RunCLI(t *testing.T, settings []string, stdin string, args ...string) CLIResult {
	t.Helper()
	program := Program(t, "./cmd/weir") // the first to ask for it waits until it is built
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
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
	return CLIResult{t: t, Line: "weir " + strings.Join(args, " "), Stdout: stdout.String(), Stderr: stderr.String(), Status: cmd.ProcessState.ExitCode()}
}

// CLI runs a client command against this node.
func (s *Node) CLI(args ...string) CLIResult {
	s.T.Helper()
	return RunCLI(s.T, []string{"WEIR_URL=" + s.URL}, "", args...)
}

// Says fails the test unless the command ended with this status and wrote these words: to standard output after a
// success, or else in one line to standard error.
func (r CLIResult) Says(status int, words ...string) CLIResult {
	r.t.Helper()
	text := r.Stdout
	if status != 0 {
		text = r.Stderr
	}
	if r.Status != status {
		r.t.Fatalf("%s: ended with %d, want %d\n%s%s", r.Line, r.Status, status, r.Stdout, r.Stderr)
	}
	if status != 0 && (strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "weir: ")) {
		r.t.Errorf("%s: want one line that says what is wrong\n%s", r.Line, text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			r.t.Errorf("%s: does not say %q\n%s", r.Line, word, text)
		}
	}
	return r
}

// Stop sends SIGTERM and returns the exit status.
func (c *Process) Stop() int {
	c.t.Helper()
	c.Signal(syscall.SIGTERM)
	return c.Wait()
}
