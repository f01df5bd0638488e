package python

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// The tests in client/python/tests start a server of their own, as an application's tests do.
func TestPythonClient(t *testing.T) {
	weirtest.Long(t, "it runs the Python client's tests")
	t.Parallel()
	pytest(t, filepath.Join("client", "python", "tests"))
}

// The example in examples/data-pipeline as its README describes it.
func TestDataPipeline(t *testing.T) {
	weirtest.Long(t, "it runs the example in Python")
	t.Parallel()
	pytest(t, filepath.Join("examples", "data-pipeline"))
}

// pytest runs the tests of a folder of the repository.
func pytest(t *testing.T, folder string) {
	t.Helper()
	root := root(t)
	run := exec.CommandContext(t.Context(), python(t), "-m", "pytest", "-q", "-p", "no:cacheprovider", filepath.Join(root, folder))
	run.Dir = root
	run.Env = append(os.Environ(), "WEIR_PROGRAM="+weirtest.Program(t, "./cmd/weir"), "PYTHONDONTWRITEBYTECODE=1",
		"PYTHONPATH="+filepath.Join(root, "client", "python"))
	output, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Logf("%s", output)
}

func root(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// python returns a Python that has what the tests need.
func python(t *testing.T) string {
	t.Helper()
	found, err := exec.CommandContext(t.Context(), filepath.Join(root(t), "scripts", "setup"), "--where", "python").Output()
	if err != nil {
		t.Skip("Python with pip, setuptools, urllib3, psycopg, psycopg2 and pytest is missing: run scripts/setup python")
	}
	return strings.TrimSpace(string(found))
}

// install installs the package into a folder of the test's own, as a user does, without a look at the network.
func install(t *testing.T) string {
	t.Helper()
	source, installed := filepath.Join(t.TempDir(), "source"), filepath.Join(t.TempDir(), "installed")
	if err := os.CopyFS(source, os.DirFS(filepath.Join(root(t), "client", "python"))); err != nil { // the build writes there
		t.Fatal(err)
	}
	pip := exec.CommandContext(t.Context(), python(t), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", installed, source)
	if output, err := pip.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return installed
}
