//go:build unix

package weirtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// The test processes of a checkout share one server, whose keeper is a process of its own: the first test process runs
// its own program again as the keeper. They meet in a folder with three locks, which the kernel frees when their holder
// ends, however it ends:
//
//	lock    held while a process joins, and while the keeper stops the server
//	users   shared by all processes that use the server
//	keeper  held by the keeper as long as it lives; the file has its process id
//
// The order is lock before users. The keeper stops the server once no process has used it for a while.
const (
	lockFile, usersFile, keeperFile = "lock", "users", "keeper"

	addressFile = "address" // written when the server runs
	errorFile   = "error"   // written if it could not be started
)

// keeperVariable names the folder in the environment of a keeper.
const keeperVariable = "WEIR_TEST_KEEPER"

// linger is how long the server outlives its last user: the packages of a run start one after the other.
const linger = 10 * time.Second

func init() {
	if dir := os.Getenv(keeperVariable); dir != "" {
		os.Unsetenv(keeperVariable)
		if err := keep(dir); err != nil {
			fmt.Fprintln(os.Stderr, "keeping the tests' PostgreSQL:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// joinShared returns the address of the shared server, which it starts if need be. The server runs until leave is
// called or this process ends.
func joinShared(ctx context.Context) (address string, leave func() error, err error) {
	dir, err := meetingFolder()
	if err != nil {
		return "", nil, err
	}
	lock, err := openLock(dir, lockFile, syscall.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer lock.Close()
	users, err := openLock(dir, usersFile, syscall.LOCK_SH)
	if err != nil {
		return "", nil, err
	}
	if address, err = keptAddress(ctx, dir); err != nil {
		users.Close()
		return "", nil, err
	}
	return address, users.Close, nil
}

// meetingFolder is where the processes of this user, checkout and PostgreSQL meet. It is readable by the user alone, as
// the address has the server's password.
func meetingFolder() (string, error) {
	root, err := filepath.Abs(moduleRoot())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(fmt.Sprint(root, "\n", os.Getenv("WEIR_POSTGRES_BIN"), "\n", settings)))
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("weir-test-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6])))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(stat.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a folder of this user alone", dir)
	}
	return dir, nil
}

// keptAddress returns the address of the running server, or starts a keeper and waits for its server.
func keptAddress(ctx context.Context, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute) // a container's image may have to be fetched
	defer cancel()
	for started := 0; ; {
		runs := keeperRuns(dir)
		if text, err := os.ReadFile(filepath.Join(dir, addressFile)); err == nil && runs {
			return string(text), nil
		}
		if !runs {
			if reason, err := os.ReadFile(filepath.Join(dir, errorFile)); err == nil && started > 0 {
				return "", errors.New(string(reason))
			}
			if started == 3 {
				return "", fmt.Errorf("the keeper in %s ended %d times without a reason", dir, started)
			}
			if err := startKeeper(dir); err != nil {
				return "", err
			}
			started++
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for the shared server: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func keeperRuns(dir string) bool {
	f, err := openLock(dir, keeperFile, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return true
	}
	f.Close()
	return false
}

// startKeeper runs this program as the keeper, and returns when it holds its lock.
func startKeeper(dir string) error {
	for _, name := range []string{addressFile, errorFile} { // of a keeper that was killed
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	keeper := exec.Command(program)
	keeper.Env = append(os.Environ(), keeperVariable+"="+dir)
	keeper.Dir = "/"
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C at the terminal is not meant for it
	// Not this process's output: `go test` waits until every process has closed it.
	ready, err := keeper.StdoutPipe()
	if err != nil {
		return err
	}
	if err := keeper.Start(); err != nil {
		return err
	}
	_, err = io.ReadFull(ready, make([]byte, 1))
	go func() { _ = keeper.Wait() }() // only now: it closes the pipe
	if err != nil {
		return fmt.Errorf("the keeper of the shared server did not start: %w", err)
	}
	return nil
}

// keep starts a server and stops it when no process uses it any more.
func keep(dir string) error {
	alive, err := openLock(dir, keeperFile, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return err
	}
	defer alive.Close()
	if err := os.WriteFile(alive.Name(), fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return err
	}
	if _, err := os.Stdout.Write([]byte{1}); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	s, err := startAny(ctx, startPrograms, startContainer)
	if err != nil {
		return errors.Join(err, writeFile(dir, errorFile, err.Error()))
	}
	if err := prepare(ctx, s.url); err != nil {
		return errors.Join(err, writeFile(dir, errorFile, err.Error()), s.stop())
	}
	if err := writeFile(dir, addressFile, s.url); err != nil {
		return errors.Join(err, s.stop())
	}
	lock := waitForNoUsers(ctx, dir, s.url)
	err = errors.Join(os.Remove(filepath.Join(dir, addressFile)), s.stop())
	alive.Close() // before lock, or a process that joins would take this keeper for one that works
	if lock != nil {
		lock.Close()
	}
	return err
}

// prepare makes a new server ready for the tests.
func prepare(ctx context.Context, address string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	return errors.Join(speedUpLogins(ctx, conn), conn.Close(ctx))
}

// waitForNoUsers returns the lock, with which no process can join any more, or nil if the keeper must stop at once.
func waitForNoUsers(ctx context.Context, dir, address string) *os.File {
	used := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil // no process can meet it here again
		}
		if !unused(dir) {
			used = time.Now()
			if !answers(ctx, address) {
				return nil
			}
			continue
		}
		if time.Since(used) < linger {
			continue
		}
		lock, err := openLock(dir, lockFile, syscall.LOCK_EX)
		if err != nil || unused(dir) {
			return lock
		}
		lock.Close()
		used = time.Now()
	}
}

// unused reports whether no process uses the server.
func unused(dir string) bool {
	f, err := openLock(dir, usersFile, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// answers reports whether the server lives. Being too busy to answer counts as living.
func answers(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return !errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = conn.Close(ctx)
	return true
}

// openLock opens a file of the folder and takes a flock on it, which is held until the file is closed.
func openLock(dir, name string, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
	}
}

// writeFile makes a file appear with its whole text.
func writeFile(dir, name, text string) error {
	unfinished := filepath.Join(dir, name+".new")
	if err := os.WriteFile(unfinished, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, filepath.Join(dir, name))
}
