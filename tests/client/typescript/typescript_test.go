// Package typescript runs the tests of client/typescript, which are in TypeScript, against nodes of their own.
package typescript

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }

func TestTypeScriptSDK(t *testing.T) {
	weirtest.Long(t, "it starts several weirs, and works tens of thousands of jobs")
	t.Parallel()
	if why := missing(t); why != "" {
		t.Skip(why)
	}
	folder, err := filepath.Abs("../../../client/typescript")
	if err != nil {
		t.Fatal(err)
	}
	install(t, folder)
	if err := os.RemoveAll(filepath.Join(folder, "build")); err != nil { // a test that was renamed would stay there
		t.Fatal(err)
	}
	run(t, folder, "node", "node_modules/typescript/bin/tsc")
	files, err := filepath.Glob(filepath.Join(folder, "build/test/*.test.js"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no compiled tests: %v", err)
	}
	// Two files at a time: each starts a PostgreSQL.
	run(t, folder, "node", append([]string{"--test", "--test-reporter=spec", "--test-concurrency=2"}, files...)...)
}

// missing says what these tests need and this machine does not have.
func missing(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		return "npm is missing: run scripts/setup node"
	}
	version, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		return "node is missing: run scripts/setup node"
	}
	var major int
	if _, err := fmt.Sscanf(string(version), "v%d.", &major); err != nil || major < 20 {
		return fmt.Sprintf("the SDK needs Node 20 or newer; this is %s", version)
	}
	return ""
}

// install installs what the lock file says, unless that is there.
func install(t *testing.T, folder string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(folder, "node_modules", "installed-lock.json")
	if have, err := os.ReadFile(installed); err == nil && bytes.Equal(have, want) {
		return
	}
	run(t, folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	if err := os.WriteFile(installed, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, folder, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "WEIR_BIN="+weirtest.Program(t, "./cmd/weir"))
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args[:1], err, output)
	}
	t.Logf("%s", output[max(0, len(output)-4000):])
}
