//go:build linux

package weirtest

import (
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirhq/weir/embedded"
)

//go:embed testdata/clock.c
var clockSource []byte

// NewServerWithClock is NewServer with a clock that the test may put forward and back by whole seconds. It needs a C compiler.
func NewServerWithClock(t *testing.T) (server *embedded.Server, shift func(time.Duration)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-clock-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // the server runs as another user where the test runs as root
		t.Fatal(err)
	}
	source, library, clock := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so"), filepath.Join(dir, "shift")
	if err := os.WriteFile(source, clockSource, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O2", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("compiling the clock: %v: %s", err, out)
	}
	shift = func(by time.Duration) {
		t.Helper()
		f, err := os.OpenFile(clock, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(by.Seconds()))), 0); err != nil {
			t.Fatal(err)
		}
	}
	shift(0)
	return newServer(t, embedded.Config{Env: []string{"WEIR_TEST_CLOCK=" + clock, "LD_PRELOAD=" + library}}), shift
}
