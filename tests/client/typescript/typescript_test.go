// Package typescript runs the tests of client/typescript and of its example, which are in TypeScript, against nodes of their own.
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

const (
	sdk     = "../../../client/typescript"
	example = "../../../examples/image-pipeline"
)

func TestTypeScriptSDK(t *testing.T) {
	prepare(t)
	t.Parallel()
	compile(t, sdk)
	files, err := filepath.Glob(filepath.Join(sdk, "build/test/*.test.js"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no compiled tests: %v", err)
	}
	for i, file := range files {
		files[i] = filepath.Join("build/test", filepath.Base(file))
	}
	// Two files at a time: each starts a PostgreSQL.
	run(t, sdk, "node", append([]string{"--test", "--test-reporter=spec", "--test-concurrency=2"}, files...)...)
}

// The example in examples/image-pipeline as its README describes it. One of the workers is killed in the middle.
func TestImagePipeline(t *testing.T) {
	prepare(t)
	t.Parallel()
	install(t, example)
	compile(t, example)
	run(t, example, "node", "--test", "--test-reporter=spec", "build/pipeline.test.js")
}

// built says that the SDK is built. Tests begin one after the other, so it needs no lock.
var built bool

// prepare installs and builds the SDK, or skips the test where its programs are missing.
func prepare(t *testing.T) {
	t.Helper()
	weirtest.Long(t, "it starts several weirs, and works tens of thousands of jobs")
	if why := missing(t); why != "" {
		t.Skip(why)
	}
	if built {
		return
	}
	install(t, sdk)
	run(t, sdk, "npm", "run", "build")
	built = true
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
	if err := os.WriteFile(installed, want, 0o600); err != nil {
		t.Fatal(err)
	}
}

func compile(t *testing.T, folder string) {
	t.Helper()
	// A test that was renamed would stay there.
	if err := os.RemoveAll(filepath.Join(folder, "build")); err != nil {
		t.Fatal(err)
	}
	run(t, folder, "node", "node_modules/typescript/bin/tsc")
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
