//go:build unix

package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// passwordFile holds the superuser's password. It is written last when a cluster is made, so only a complete cluster made
// by this package has it.
const passwordFile = "weir.password"

// lockPatience is how long Start waits for a server on the same folder to end. A server whose program has just died may
// still be shutting down.
const lockPatience = 3 * time.Second

// folder is a data folder that this program has locked.
type folder struct {
	path  string
	empty bool
	major int      // of the cluster in it; 0 when empty
	lock  *os.File // the folder itself, with a flock on it
	root  *os.Root // its files
}

// openFolder creates the data folder if it does not exist, locks it, and checks its contents.
func openFolder(ctx context.Context, path string) (*folder, error) {
	// The parents get the usual mode: if this program runs as root, the server's user must be able to enter them.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f := &folder{path: path}
	var err error
	if f.lock, err = lockFolder(ctx, path, lockPatience); err != nil {
		return nil, err
	}
	if f.root, err = within(f.lock); err != nil {
		f.lock.Close()
		return nil, err
	}
	if err := f.inspect(); err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

// inspect returns an error unless the folder is empty or holds a cluster made by this package.
func (f *folder) inspect() error {
	entries, err := f.lock.ReadDir(-1)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		f.empty = true
		return nil
	}
	text, err := f.readFile("PG_VERSION")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not empty and holds no PostgreSQL cluster: use another data folder", f.path)
	} else if err != nil {
		return err
	}
	if f.major, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
		return fmt.Errorf("%s holds a cluster of an unknown version %q", f.path, text)
	}
	if _, err := f.root.Lstat(passwordFile); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds a PostgreSQL cluster without the file %s: weir did not make it, or was interrupted while "+
			"making it; use another data folder", f.path, passwordFile)
	}
	return nil
}

// release gives up this program's share of the lock. Server processes keep theirs until they end.
func (f *folder) release() {
	f.root.Close()
	f.lock.Close()
}

func (f *folder) password() (string, error) {
	text, err := f.readFile(passwordFile)
	return strings.TrimSpace(text), err
}

// initialise makes the cluster. Its databases use UTF-8 and sort by code point on every version, so the order in a test
// is the order everywhere. Pages have checksums. With noSync, initdb does not wait for the disk.
func (f *folder) initialise(ctx context.Context, p programs, a *account, noSync bool) error {
	if a != nil {
		// The folder is empty, so only initdb's files will change owner.
		if err := a.chown(f.lock); err != nil {
			return err
		}
	}
	password := rand.Text()
	source, err := os.CreateTemp("", "weir-initdb-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(source.Name())
	_, err = source.WriteString(password)
	if err := errors.Join(err, a.chown(source), source.Close()); err != nil {
		return err
	}

	args := []string{
		"--pgdata=" + f.path, "--username=" + superuser, "--pwfile=" + source.Name(), "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions",
	}
	if p.major >= 17 {
		args = append(args, "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
	}
	if noSync {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.dir, "initdb"), args...)
	cmd.Dir = f.path
	cmd.Env = environment()
	cmd.SysProcAttr = a.sysProcAttr()
	// Unlike SIGKILL, SIGTERM lets initdb empty the folder again. It ignores SIGINT while it waits for a child.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		if cmd.ProcessState == nil || !cmd.ProcessState.Success() {
			return ctx.Err()
		}
		// The signal came too late: the cluster is complete except for its password file.
	} else if err != nil {
		return fmt.Errorf("initdb: %w\n%s", a.explain(err, f.path, cmd.Path), bytes.TrimSpace(out))
	}

	file, err := f.createPrivate(passwordFile, a)
	if err != nil {
		return err
	}
	_, err = file.WriteString(password + "\n")
	return errors.Join(err, file.Close())
}

// inherited are the variables that PostgreSQL's programs get. The others may configure them (PGDATA, PGPORT), or be secrets: the server may run
// as another user than this program.
var inherited = []string{"PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"}

// environment is that of PostgreSQL's programs. Messages are untranslated, because this package reads some of them.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); slices.Contains(inherited, name) {
			env = append(env, variable)
		}
	}
	return env
}

// lockFolder takes the flock on a folder. It waits up to patience for another holder.
func lockFolder(ctx context.Context, path string, patience time.Duration) (*os.File, error) {
	dir, err := openDir(path)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(patience)
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			// Some network file systems have no flock on folders. PostgreSQL's own lock file still protects the cluster.
			return dir, nil
		}
		if time.Now().After(deadline) {
			dir.Close()
			return nil, fmt.Errorf("%s is in use by another server%s: stop it first", path, runningPid(path))
		}
		select {
		case <-ctx.Done():
			dir.Close()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// runningPid returns the process in PostgreSQL's lock file, as part of an error message.
func runningPid(path string) string {
	text, err := os.ReadFile(filepath.Join(path, "postmaster.pid"))
	if err != nil {
		return ""
	}
	pid, _, _ := strings.Cut(string(text), "\n")
	if _, err := strconv.Atoi(pid); err != nil {
		return ""
	}
	return " (PostgreSQL, process " + pid + ")"
}
