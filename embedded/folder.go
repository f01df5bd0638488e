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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// passwordFile holds the superuser's password. It is written last when a cluster is made, so it also tells a finished
// cluster of ours from any other.
const passwordFile = "weir.password"

// lockPatience is how long Start waits for a server on the same folder to go away: one whose program has just died is
// still shutting down.
const lockPatience = 3 * time.Second

// folder is a data folder that this program holds the lock of.
type folder struct {
	path  string
	empty bool
	major int      // of the cluster in it; 0 when empty
	lock  *os.File // the folder itself, with a flock on it
}

// openFolder makes the data folder where there is none, locks it, and looks at what is in it.
func openFolder(ctx context.Context, path string) (*folder, error) {
	// The parents get the usual mode: as root, the server's user has to pass through them.
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
	if err := f.look(); err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

// look finds out whether the folder is empty or holds a cluster of ours, and refuses everything else.
func (f *folder) look() error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		f.empty = true
		return nil
	}
	text, err := os.ReadFile(filepath.Join(f.path, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not empty and no PostgreSQL cluster: use another data folder", f.path)
	} else if err != nil {
		return err
	}
	if f.major, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return fmt.Errorf("%s holds a cluster of an unknown version %q", f.path, text)
	}
	if _, err := os.Stat(filepath.Join(f.path, passwordFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds a PostgreSQL cluster without the file %s: either it was not made by weir, or its making "+
			"was interrupted; use another data folder", f.path, passwordFile)
	}
	return nil
}

// release gives up this program's hold on the lock. Server processes keep theirs until they end.
func (f *folder) release() { f.lock.Close() }

func (f *folder) password() (string, error) {
	text, err := os.ReadFile(filepath.Join(f.path, passwordFile))
	return strings.TrimSpace(string(text)), err
}

// initialise makes the cluster. The databases use UTF-8 and sort by code point on every version, so that an order seen
// in a test is the order everywhere. Pages carry checksums. noSync leaves writing to disk to the operating system.
func (f *folder) initialise(ctx context.Context, p programs, a *account, noSync bool) error {
	if a != nil {
		// Ours to give away: it is empty, and only initdb writes into it.
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
	// An initdb that is asked to end, not killed, leaves the folder empty again. Asked by SIGTERM: while it waits for a
	// program of its own, it ignores SIGINT.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		if cmd.ProcessState == nil || !cmd.ProcessState.Success() {
			return ctx.Err()
		}
		// It came too late: the cluster is made, and only lacks its password file to be used next time.
	} else if err != nil {
		return fmt.Errorf("initdb: %w\n%s", a.explain(err, f.path, cmd.Path), bytes.TrimSpace(out))
	}

	file, err := createPrivate(filepath.Join(f.path, passwordFile), os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = file.WriteString(password + "\n")
	return errors.Join(err, a.chown(file), file.Close())
}

// createPrivate opens a file in the data folder for appending, with mode 0600. It follows no symbolic link: the folder
// may belong to a user that root must not be led astray by.
func createPrivate(path string, flag int) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW|flag, 0o600)
}

// environment is this program's environment without what PostgreSQL's programs take for options (PGDATA, PGPORT and so
// on), and with messages that can be read by machine.
func environment() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") {
			env = append(env, variable)
		}
	}
	return append(env, "LC_ALL=C")
}

// lockFolder takes the flock of a folder, waiting for it as long as patience says.
func lockFolder(ctx context.Context, path string, patience time.Duration) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(patience)
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			// Some network file systems know no flock on a folder. PostgreSQL's own lock file still guards the cluster.
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

// runningPid names the process that the folder's lock file names, for an error message.
func runningPid(path string) string {
	text, err := os.ReadFile(filepath.Join(path, "postmaster.pid"))
	if err != nil {
		return ""
	}
	pid, _, _ := strings.Cut(string(text), "\n")
	return " (PostgreSQL, process " + pid + ")"
}
