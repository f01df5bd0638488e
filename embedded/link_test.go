//go:build unix

package embedded_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// asRoot skips a test of what another user could have root do.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the server runs as another user only if the tests run as root")
	}
}

// ownedByRoot fails the test if a file was given away.
func ownedByRoot(t *testing.T, path string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("%s belongs to the user %d now", path, uid)
	}
}

func TestRootGivesNoFolderAwayThroughALink(t *testing.T) {
	asRoot(t)
	t.Parallel()
	dir := dataDir(t)
	target := filepath.Join(dir, "target")
	link := filepath.Join(dir, "postgres")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	refused(t, config(link), "symbolic link")
	ownedByRoot(t, target)
	if entries, err := os.ReadDir(target); err != nil || len(entries) > 0 {
		t.Errorf("the target has %v: %v", entries, err)
	}
}

func TestRootStartsNoClusterInAStrangersFolder(t *testing.T) {
	asRoot(t)
	t.Parallel()
	dir := dataDir(t)
	if err := os.Chown(dir, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	refused(t, config(dir), "4711")
}

func TestRootGivesNoFileAwayThroughALink(t *testing.T) {
	asRoot(t)
	t.Parallel()
	s := start(t, dataDir(t))
	stop(t, s)
	victim := filepath.Join(filepath.Dir(s.DataDir()), filepath.Base(s.DataDir())+"-victim")
	if err := os.WriteFile(victim, []byte("victim"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(victim) })
	log := filepath.Join(s.DataDir(), "postgres.log")
	for name, plant := range map[string]func() error{
		"hard link": func() error { return os.Link(victim, log) },
		"symlink":   func() error { return os.Symlink(victim, log) },
		"pipe":      func() error { return syscall.Mkfifo(log, 0o600) },
		"of root":   func() error { return os.WriteFile(log, nil, 0o600) },
	} {
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		refused(t, config(s.DataDir()), "")
		ownedByRoot(t, victim)
		if text, err := os.ReadFile(victim); err != nil || string(text) != "victim" {
			t.Errorf("%s: the file reads %q, %v", name, text, err)
		}
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, s.DataDir()))
}

// The server may run as another user, who can read its environment.
func TestServerGetsNoSecretsOfTheEnvironment(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("this system does not show the environment of processes")
	}
	t.Setenv("SOME_CLOUD_SECRET", "s3cr3t")
	t.Setenv("PGPASSWORD", "s3cr3t")
	s := start(t, dataDir(t))
	text, err := os.ReadFile("/proc/" + strconv.Itoa(s.Pid()) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "s3cr3t") || !strings.Contains(string(text), "PATH=") {
		t.Errorf("the environment is %q", text)
	}
	stop(t, s)
}
