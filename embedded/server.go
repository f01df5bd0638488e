//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// fastPatience bounds a fast shutdown, which writes a checkpoint before it ends.
	fastPatience = 30 * time.Second

	// immediatePatience bounds an immediate shutdown, which writes nothing, and the end of killed processes.
	immediatePatience = 10 * time.Second

	// portAttempts bounds the free ports that a start tries. Another program can take a port before the server listens
	// on it.
	portAttempts = 5

	// logLimit is the size in bytes above which a start renames the log to postgres.log.old.
	logLimit = 10 << 20

	// tailLimit bounds the part of the log in an error, in bytes.
	tailLimit = 4 << 10
)

// launch starts the postmaster and waits until it accepts connections. It tries another port if the first is taken.
func (s *Server) launch(ctx context.Context, c Config, p programs, a *account, f *folder) error {
	for attempt := 1; ; attempt++ {
		s.port = c.Port
		if s.port == 0 {
			var err error
			if s.port, err = freePort(); err != nil {
				return err
			}
		}
		err := s.launchOnce(ctx, c, p, a, f)
		if err == nil {
			return nil
		}
		taken := strings.Contains(err.Error(), "Address already in use")
		if c.Port != 0 || !taken || attempt == portAttempts {
			return err
		}
	}
}

func (s *Server) launchOnce(ctx context.Context, c Config, p programs, a *account, f *folder) error {
	dir, discard, err := socketDir(f.path, a)
	if err != nil {
		return err
	}
	s.socketDir = dir
	log, err := f.openLog(a)
	if err != nil {
		discard()
		return err
	}
	defer log.Close() // the server has its own descriptor
	start, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		discard()
		return err
	}

	cmd := exec.Command(filepath.Join(p.dir, "postgres"), s.arguments(c)...)
	cmd.Dir = f.path
	cmd.Env = append(environment(), c.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{f.lock}
	cmd.SysProcAttr = a.sysProcAttr()
	endWithParent(cmd.SysProcAttr)
	if s.process, err = startProcess(cmd, discard); err != nil {
		discard()
		return a.explain(err, f.path, cmd.Path)
	}
	if err := s.awaitReady(ctx); err != nil {
		if !s.process.end(syscall.SIGQUIT, immediatePatience) {
			err = errors.Join(err, s.Kill())
		}
		return fmt.Errorf("%w; its log says:\n%s", err, f.tail(start))
	}
	return nil
}

// arguments is the command line of the server.
func (s *Server) arguments(c Config) []string {
	settings := map[string]string{
		"timezone":     "UTC", // initdb copies the machine's, and no result should depend on the machine
		"log_timezone": "UTC",
	}
	maps.Copy(settings, c.Settings)
	settings["listen_addresses"] = "127.0.0.1"
	settings["port"] = strconv.Itoa(s.port)
	settings["unix_socket_directories"] = s.socketDir
	settings["unix_socket_permissions"] = "0700"
	settings["logging_collector"] = "off"

	args := []string{"-D", s.dataDir}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// awaitReady returns when the server accepts a login. It uses the Unix socket, because another program could answer on
// the TCP port.
func (s *Server) awaitReady(ctx context.Context) error {
	config, err := pgx.ParseConfig(s.URL("postgres"))
	if err != nil {
		return err
	}
	config.Host = s.socketDir
	config.ConnectTimeout = 5 * time.Second
	for {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			return conn.Close(ctx)
		}
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && refusal.Code != "57P03" { // 57P03: the server is starting up
			return err
		}
		select {
		case <-s.process.done:
			return fmt.Errorf("the server ended before it was ready (%s)", s.process.state())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server to be ready: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop shuts the server down: it ends sessions, rolls back transactions, and writes a checkpoint. If the server has not
// ended after 30 s, Stop forces it to end, so that the next start needs a recovery, and returns an error. Stop does
// nothing if the server has ended.
func (s *Server) Stop() error {
	if s.process.ended() {
		return nil
	}
	if s.process.end(syscall.SIGINT, fastPatience) {
		s.logger.Info("PostgreSQL has stopped", "pid", s.Pid(), "folder", s.dataDir)
		return nil
	}
	err := fmt.Errorf("PostgreSQL in %s did not shut down within %s and was forced to stop", s.dataDir, fastPatience)
	if !s.process.end(syscall.SIGQUIT, immediatePatience) {
		return errors.Join(err, s.Kill())
	}
	return err
}

// Kill ends every process of the server at once, like a crash, and returns when the last one has ended. The next Start
// on the folder recovers all committed transactions.
//
// It is not enough to kill the postmaster: its children notice only when they next wait, so a running statement could
// still commit.
func (s *Server) Kill() error {
	if s.process.ended() {
		return nil
	}
	s.process.signal(syscall.SIGSTOP) // so that it cannot start more children
	pids, err := children(s.Pid())
	for _, pid := range pids {
		// A child that has ended stays a zombie while its parent is stopped, so no other process has its id.
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if !s.process.end(syscall.SIGKILL, immediatePatience) {
		return errors.Join(err, fmt.Errorf("PostgreSQL process %d did not end after SIGKILL", s.Pid()))
	}
	// A child that was missed holds the folder's lock until it ends.
	lock, lockErr := lockFolder(context.Background(), s.dataDir, immediatePatience)
	if lockErr != nil {
		return errors.Join(err, lockErr)
	}
	s.logger.Info("PostgreSQL was killed", "pid", s.Pid(), "folder", s.dataDir)
	return errors.Join(err, lock.Close())
}

// socketDir chooses the folder for the Unix socket: the data folder, or a temporary one if the socket's path would be too
// long (macOS allows 104 bytes with the terminating zero, Linux 108). discard removes a temporary folder.
func socketDir(dataDir string, a *account) (dir string, discard func(), err error) {
	if len(dataDir)+len("/.s.PGSQL.65535") < 104 {
		return dataDir, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "weir-socket-") // mode 0700
	if err != nil {
		return "", nil, err
	}
	if a != nil {
		if err := os.Chown(dir, a.uid, a.gid); err != nil {
			os.Remove(dir)
			return "", nil, err
		}
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// freePort finds a free port below the range for outgoing connections. In that range, a client that keeps trying to reach
// a stopped server can connect to itself, and the server then cannot have its port back.
func freePort() (int, error) {
	const low, high = 15000, 30000
	for range 100 {
		port := low + rand.IntN(high-low)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 between %d and %d", low, high)
}

// logFile is the server's log, in the data folder.
const logFile = "postgres.log"

// openLog opens the server's log for appending.
func (f *folder) openLog(a *account) (*os.File, error) {
	if info, err := f.root.Lstat(logFile); err == nil && info.Size() > logLimit {
		if err := f.root.Rename(logFile, logFile+".old"); err != nil {
			return nil, err
		}
	}
	return f.appendTo(logFile, a)
}

// tail returns the end of the log, at most tailLimit bytes, and nothing from before the offset.
func (f *folder) tail(offset int64) string {
	text, err := f.readFile(logFile)
	if err != nil {
		return err.Error()
	}
	text = text[min(int(offset), len(text)):]
	text = text[max(0, len(text)-tailLimit):]
	return strings.TrimSpace(text)
}
