//go:build unix

package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/embedded"
)

// unsynced makes clusters that only a crash of the machine can hurt.
var unsynced = map[string]string{"fsync": "off"}

func TestDataSurvivesAStopAndAStart(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, dir)
	execute(t, s, "create table kept as select 42 as answer")
	stop(t, s)
	stop(t, s) // a second time does nothing

	s = start(t, dir)
	if got := query[int](t, s, "select answer from kept"); got != 42 {
		t.Errorf("answer = %d, want 42", got)
	}
	if got := query[string](t, s, "show server_version"); !strings.HasPrefix(got, s.Version()) {
		t.Errorf("Version() = %q, the server says %q", s.Version(), got)
	}
	if got := query[string](t, s, "show data_directory"); got != s.DataDir() {
		t.Errorf("DataDir() = %q, the server says %q", s.DataDir(), got)
	}
}

func TestTheClusterIsMadeAsPromised(t *testing.T) {
	t.Parallel()
	s := start(t, dataDir(t))
	for setting, want := range map[string]string{
		"server_encoding": "UTF8", "data_checksums": "on", "listen_addresses": "127.0.0.1", "TimeZone": "UTC", "fsync": "off",
	} {
		if got := query[string](t, s, "show "+setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	if got := query[bool](t, s, "select 'Z' < 'a' and 'z' < 'ä'"); !got {
		t.Error("text does not sort by code point")
	}
}

func TestNobodyGetsInWithoutThePassword(t *testing.T) {
	t.Parallel()
	s := start(t, dataDir(t))
	u, err := url.Parse(s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), "guess")
	for name, host := range map[string]string{"tcp": "127.0.0.1", "socket": s.SocketDir()} {
		config, err := pgx.ParseConfig(u.String())
		if err != nil {
			t.Fatal(err)
		}
		config.Host = host
		_, err = pgx.ConnectConfig(t.Context(), config)
		var refusal *pgconn.PgError
		if !errors.As(err, &refusal) || refusal.Code != "28P01" {
			t.Errorf("%s: a wrong password gives %v, want error 28P01", name, err)
		}
	}
	info, err := os.Stat(filepath.Join(s.DataDir(), "weir.password"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the password file has mode %s", info.Mode())
	}
}

func TestASecondServerOnTheFolderIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, dataDir(t))
	_, err := embedded.Start(t.Context(), config(s.DataDir()))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", s.Pid())) {
		t.Fatalf("second Start: %v, want a refusal that names process %d", err, s.Pid())
	}
	if got := query[int](t, s, "select 1"); got != 1 {
		t.Error("the first server was disturbed")
	}
}

// A killed server must leave nothing that could still write, and must start again at once, on the same port, with all
// that was committed.
func TestStartAfterKill(t *testing.T) {
	t.Parallel()
	s := start(t, dataDir(t))
	execute(t, s, "create table kept (n bigint); create table doomed (n bigint)")
	execute(t, s, "insert into kept select generate_series(1, 1000)")
	running := make(chan error, 1)
	go func() {
		conn, err := pgx.Connect(context.Background(), s.URL("postgres"))
		if err == nil {
			_, err = conn.Exec(context.Background(), "insert into doomed select generate_series(1, 1000000000)")
		}
		running <- err
	}()
	waitFor(t, "the long statement", func() bool {
		return query[bool](t, s, "select exists (select from pg_stat_activity where query like 'insert into doomed%' and state = 'active')")
	})
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-running; err == nil {
		t.Error("the statement outlived the server")
	}

	c := config(s.DataDir())
	c.Port = s.Port()
	again := startWith(t, c)
	if again.URL("postgres") != s.URL("postgres") {
		t.Error("the address has changed")
	}
	if got := query[int](t, again, "select count(*) from kept"); got != 1000 {
		t.Errorf("%d rows are left of 1000", got)
	}
	if got := query[int](t, again, "select count(*) from doomed"); got != 0 {
		t.Errorf("%d rows of an uncommitted statement are there", got)
	}
}

func TestAFolderWithSomethingElseIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	letter := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(letter, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, config(dir), "no PostgreSQL cluster")

	// The beginning of a cluster, as an interrupted initdb might leave it.
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, config(dir), "weir.password")

	if text, err := os.ReadFile(letter); err != nil || string(text) != "dear" {
		t.Errorf("the letter reads %q, %v", text, err)
	}
}

func TestAClusterOfAnotherMajorVersionIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, dataDir(t))
	stop(t, s)
	if err := os.WriteFile(filepath.Join(s.DataDir(), "PG_VERSION"), []byte("11\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, config(s.DataDir()), "made by PostgreSQL 11", s.Version(), "pg_upgrade")
}

func TestAnEarlyDeathShowsTheLog(t *testing.T) {
	t.Parallel()
	c := config(dataDir(t))
	c.Settings = map[string]string{"fsync": "off", "shared_buffers": "a lot"}
	refused(t, c, "ended before it was ready", `invalid value for parameter "shared_buffers"`)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c.Settings = unsynced
	c.Port = taken.Addr().(*net.TCPAddr).Port
	refused(t, c, "Address already in use")

	c.Port = 0
	startWith(t, c) // a failed start leaves the cluster usable
}

func TestSettingsOfTheServersOwnAreRefused(t *testing.T) {
	t.Parallel()
	c := config(filepath.Join(dataDir(t), "unused"))
	c.Settings = map[string]string{"listen_addresses": "*"}
	refused(t, c, "listen_addresses")
	if _, err := os.Stat(c.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data folder was made for nothing: %v", err)
	}
}

func TestAnAbandonedStartLeavesAFolderToStartOn(t *testing.T) {
	t.Parallel()
	for _, patience := range []time.Duration{50, 200, 800} { // ms; initdb takes a second or two
		dir := dataDir(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience*time.Millisecond)
		s, err := embedded.Start(ctx, config(dir))
		cancel()
		if err == nil {
			stop(t, s)
			break // a fast machine
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Start = %v, want the context's error", err)
		}
		stop(t, start(t, dir))
	}
}

func TestALongPathGetsItsSocketElsewhere(t *testing.T) {
	t.Parallel()
	s := start(t, filepath.Join(dataDir(t), strings.Repeat("deep", 30)))
	if s.SocketDir() == s.DataDir() {
		t.Fatal("the socket is in the data folder")
	}
	c, err := pgx.ParseConfig(s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	c.Host = s.SocketDir()
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	stop(t, s)
	if _, err := os.Stat(s.SocketDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind: %v", s.SocketDir(), err)
	}
}

// The server is tied to this program's life through a thread, so that must be one that stays.
func TestTheServerOutlivesOtherThreads(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	for range 5 {
		s := start(t, dir)
		endThreads(200)
		time.Sleep(100 * time.Millisecond)
		if got := query[int](t, s, "select 1"); got != 1 {
			t.Error("the server does not answer")
		}
		stop(t, s)
	}
}

// endThreads ends n threads of this program, the idle ones among them: a thread that a goroutine has locked and not
// unlocked ends with the goroutine.
func endThreads(n int) {
	var started, ended sync.WaitGroup
	all := make(chan struct{})
	for range n {
		started.Add(1)
		ended.Go(func() {
			runtime.LockOSThread()
			started.Done()
			<-all
		})
	}
	started.Wait()
	close(all)
	ended.Wait()
}

// childDir, when set in the environment, turns this test program into one that starts a server and waits to be killed.
const childDir = "WEIR_EMBEDDED_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		s, err := embedded.Start(context.Background(), config(dir))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.Pid())
		select {}
	}
	os.Exit(m.Run())
}

func TestTheServerEndsWithAProgramThatIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ties a process to its parent's life")
	}
	t.Parallel()
	dir := dataDir(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, scanErr := fmt.Fscan(out, &pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	if scanErr != nil {
		t.Fatal(scanErr)
	}
	start(t, dir) // waits for the other server to end, and would be refused otherwise
	if err := syscall.Kill(pid, 0); err == nil && !zombie(pid) {
		t.Errorf("process %d still runs", pid)
	}
	text, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "database system is shut down") {
		t.Errorf("the server was not shut down in order:\n%s", text)
	}
}

// zombie tells whether a process has ended and waits for an init that never asks, as in many containers.
func zombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestRootIsToldWhichFolderIsInTheWay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as somebody else")
	}
	t.Parallel()
	private := t.TempDir() // below a folder of mode 0700
	refused(t, config(filepath.Join(private, "data")), "may not enter", filepath.Dir(private))
}

func TestFindBinaries(t *testing.T) {
	dir, err := embedded.FindBinaries(os.Getenv("WEIR_POSTGRES_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := embedded.FindBinaries(dir); err != nil || again != dir {
		t.Errorf("FindBinaries(%q) = %q, %v", dir, again, err)
	}
	empty := t.TempDir()
	if _, err := embedded.FindBinaries(empty); err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("an empty folder gives %v", err)
	}
}

// dataDir returns an empty folder that the server's user can reach, removed at the end of the test.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-embedded-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func config(dir string) embedded.Config {
	return embedded.Config{DataDir: dir, BinDir: os.Getenv("WEIR_POSTGRES_BIN"), Settings: unsynced}
}

func start(t *testing.T, dir string) *embedded.Server {
	t.Helper()
	return startWith(t, config(dir))
}

func startWith(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

// refused expects Start to fail with an error that says all of the words.
func refused(t *testing.T, c embedded.Config, words ...string) {
	t.Helper()
	s, err := embedded.Start(t.Context(), c)
	if err == nil {
		stop(t, s)
		t.Fatalf("Start succeeded, want an error about %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func execute(t *testing.T, s *embedded.Server, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func query[T any](t *testing.T, s *embedded.Server, sql string) (value T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func waitFor(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come within a minute", what)
		}
	}
}
