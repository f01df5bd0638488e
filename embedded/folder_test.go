//go:build unix

package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/embedded"
)

func TestSecondServerOnFolderIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, dataDir(t))
	_, err := embedded.Start(t.Context(), config(s.DataDir()))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", s.Pid())) {
		t.Fatalf("second Start: %v, want a refusal that names process %d", err, s.Pid())
	}
	if got := query[int](t, s, "select 1"); got != 1 {
		t.Error("the first server was disturbed")
	}
}

func TestFolderWithOtherFilesIsRefusedAndUnchanged(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	letter := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(letter, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, config(dir), "holds no PostgreSQL cluster")

	// An interrupted initdb can leave this.
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, config(dir), "weir.password")

	if text, err := os.ReadFile(letter); err != nil || string(text) != "dear" {
		t.Errorf("the file reads %q, %v", text, err)
	}
}

func TestClusterOfAnotherMajorVersionIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, dataDir(t))
	stop(t, s)
	if err := os.WriteFile(filepath.Join(s.DataDir(), "PG_VERSION"), []byte("11\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, config(s.DataDir()), "made by PostgreSQL 11", s.Version(), "pg_upgrade")
}

func TestFolderIsUsableAfterCanceledStart(t *testing.T) {
	t.Parallel()
	for _, patience := range []time.Duration{50, 200, 800} { // ms; initdb takes a second or two
		dir := dataDir(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience*time.Millisecond)
		s, err := embedded.Start(ctx, config(dir))
		cancel()
		if err == nil {
			stop(t, s)
			break // this machine is fast
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Start = %v, want the context's error", err)
		}
		stop(t, start(t, dir))
	}
}

func TestErrorNamesFolderThatServerMayNotEnter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the server runs as another user only if the tests run as root")
	}
	t.Parallel()
	private := t.TempDir() // below a folder of mode 0700
	refused(t, config(filepath.Join(private, "data")), "may not enter", filepath.Dir(private))
}
