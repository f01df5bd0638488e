//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram, when set in the environment, turns this test program into with-postgres.
const asProgram = "WEIR_WITH_POSTGRES_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// withPostgres returns a command that runs with-postgres, and the folder of its temporary files.
func withPostgres(t *testing.T, args ...string) (cmd *exec.Cmd, temp string) {
	t.Helper()
	temp, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(temp, 0o755); err != nil { // the server's user must be able to enter
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	cmd = exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+temp)
	// It has no terminal, even if the tests have one.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, temp
}

func leftIn(t *testing.T, temp string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(temp, "with-postgres-*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func status(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestCommandGetsAddressesAndItsStatusIsReturned(t *testing.T) {
	t.Parallel()
	cmd, temp := withPostgres(t, "--", "sh", "-c", `printf '%s\n' "$DATABASE_URL" "$WEIR_DATABASE_URL" "$WEIR_TEST_DATABASE_URL"; exit 7`)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if got := status(cmd.Run()); got != 7 {
		t.Errorf("the status is %d, want 7", got)
	}
	addresses := strings.Fields(out.String())
	if len(addresses) != 3 || addresses[0] != addresses[1] || addresses[1] != addresses[2] ||
		!strings.HasPrefix(addresses[0], "postgres://") || !strings.Contains(addresses[0], "/weir?") {
		t.Errorf("the addresses are %q", addresses)
	}
	if left := leftIn(t, temp); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestSignalEndsCommandAndServer(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			cmd, temp := withPostgres(t, "sh", "-c", "echo ready; exec sleep 600")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ready := make([]byte, 6)
			if _, err := out.Read(ready); err != nil {
				t.Fatal(err)
			}
			if len(leftIn(t, temp)) != 1 {
				t.Error("found no cluster in the temporary folder")
			}
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if got := status(cmd.Wait()); got != 128+int(s) {
				t.Errorf("the status is %d, want %d", got, 128+int(s))
			}
			if took := time.Since(began); took > 300*time.Second {
				t.Errorf("it took %s to end", took)
			}
			if left := leftIn(t, temp); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestSignalDuringPreparations(t *testing.T) {
	t.Parallel()
	for range 5 {
		if signalDuringPreparations(t) {
			return
		}
	}
	t.Error("the command ran before the signal, in five attempts")
}

// signalDuringPreparations reports whether the signal came before the command ran.
func signalDuringPreparations(t *testing.T) bool {
	t.Helper()
	cmd, temp := withPostgres(t, "sh", "-c", "echo it ran")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for len(leftIn(t, temp)) == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	got := status(cmd.Wait())
	if left := leftIn(t, temp); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if out.Len() > 0 {
		return false
	}
	if got == 0 {
		t.Error("the status is 0")
	}
	return true
}

func TestMissingCommand(t *testing.T) {
	t.Parallel()
	cmd, temp := withPostgres(t, "no-such-command-here")
	if got := status(cmd.Run()); got != 127 {
		t.Errorf("the status is %d, want 127", got)
	}
	if left := leftIn(t, temp); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
