//go:build unix

package scripts_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/embedded"
)

// The tests need a program that scripts/setup finds on PATH only, so that they can hide it: Java.

func TestSetupPrintsNothingIfNothingIsMissing(t *testing.T) {
	t.Parallel()
	if status, out := run(t, os.Getenv("PATH"), "go"); status != 0 || out != "" {
		t.Errorf("status %d, output %q", status, out)
	}
}

func TestSetupFindsPostgresThatWeirAccepts(t *testing.T) {
	t.Parallel()
	status, out := run(t, os.Getenv("PATH"), "--where", "postgres")
	if status != 0 {
		t.Fatalf("status %d, output %q", status, out)
	}
	if dir := strings.TrimSpace(out); dir != "" {
		if found, err := embedded.FindBinaries(dir); err != nil || found != dir {
			t.Errorf("FindBinaries(%q) = %q, %v", dir, found, err)
		}
	}
}

// With apt-get, test-clean tries it for real.
func TestSetupInstallsWithPackageManager(t *testing.T) {
	t.Parallel()
	for manager, want := range map[string]string{
		"dnf":  "install -y -q java-latest-openjdk-headless",
		"brew": "install --quiet openjdk",
	} {
		t.Run(manager, func(t *testing.T) {
			t.Parallel()
			path := stubs(t, "0")
			// The stub installs Java as soon as it is asked to install anything.
			stub(t, path, manager, `echo "$*" >>`+path+`/calls
case "$*" in *install*) printf '#!/bin/sh\n' >`+path+`/java; chmod 755 `+path+`/java ;; esac`)
			status, out := run(t, path, "java")
			calls, _ := os.ReadFile(filepath.Join(path, "calls"))
			if status != 0 || !strings.Contains(string(calls), want) {
				t.Errorf("status %d, calls %q, want %q; output %q", status, calls, want, out)
			}
			if status, out := run(t, path, "java"); status != 0 || out != "" {
				t.Errorf("a second run: status %d, output %q", status, out)
			}
		})
	}
}

func TestSetupNamesMissingProgramAndCommand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ manager, want string }{
		"no package manager": {"", "setup: missing: Java; install it with the package manager of this system\n"},
		"no rights":          {"apt-get", "/setup java\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := stubs(t, "1000")
			if c.manager != "" {
				stub(t, path, c.manager, "exit 1")
			}
			status, out := run(t, path, "java")
			if status != 1 || !strings.HasPrefix(out, "setup: missing: Java; ") || !strings.HasSuffix(out, c.want) ||
				strings.Count(out, "\n") != 1 {
				t.Errorf("status %d, output %q", status, out)
			}
			status, out = run(t, path, "--optional", "java")
			if status != 0 || !strings.HasPrefix(out, "setup: missing: Java, so its tests will not run; ") {
				t.Errorf("optional: status %d, output %q", status, out)
			}
		})
	}
}

func TestPostgresDownloadLeavesOtherFoldersAlone(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{{"./postgres-from-npm", "18"}, {"./postgres-from-debian"}} {
		dir := t.TempDir()
		file := filepath.Join(dir, "PG_VERSION")
		if err := os.WriteFile(file, []byte("15\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(command[0], append(command[1:], dir)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "left alone") {
			t.Errorf("%s: %v, output %q", command[0], err, out)
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != "15\n" {
			t.Errorf("%s changed the folder: %q, %v", command[0], text, err)
		}
	}
}

// run runs scripts/setup with a PATH and no terminal, and returns its status and all of its output.
func run(t *testing.T, path string, args ...string) (status int, out string) {
	t.Helper()
	cmd := exec.Command("./setup", args...)
	cmd.Env = []string{"PATH=" + path, "HOME=" + t.TempDir()}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), output.String()
}

// stubs returns a folder for PATH with the programs that scripts/setup itself uses, for a user with this id.
func stubs(t *testing.T, uid string) string {
	t.Helper()
	path := t.TempDir()
	for _, name := range []string{"sh", "cat", "chmod", "dirname", "ls", "mkdir", "mktemp", "rm", "rmdir", "tr"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	stub(t, path, "id", "echo "+uid)
	stub(t, path, "uname", "echo Linux")
	return path
}

func stub(t *testing.T, path, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}
