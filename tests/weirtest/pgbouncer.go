//go:build unix

package weirtest

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/embedded"
)

// pgBouncerVariable, when set in the environment, puts a PgBouncer in front of every database of New.
const pgBouncerVariable = "WEIR_TEST_PGBOUNCER"

func throughPgBouncer() bool { return os.Getenv(pgBouncerVariable) != "" }

// ThroughPgBouncer runs the tests of the calling test's package again, those whose names match run, with a PgBouncer in
// front of their databases.
func ThroughPgBouncer(t *testing.T, run string) {
	t.Helper()
	Long(t, "it runs the package's tests again")
	if findPgBouncer() == "" {
		t.Skip(noPgBouncer) // here, because this test does not show what its second run skips
	}
	args := []string{"-test.run=" + run, "-test.skip=^" + t.Name() + "$"}
	for _, name := range []string{"test.short", "test.parallel"} {
		args = append(args, fmt.Sprintf("-%s=%s", name, flag.Lookup(name).Value))
	}
	settings := []string{pgBouncerVariable + "=1"}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "WEIR_") {
			settings = append(settings, e)
		}
	}
	p := StartProgram(t, settings, os.Args[0], args...)
	<-p.Ended
	if text := p.Output.String(); !p.Cmd.ProcessState.Success() || strings.Contains(text, "no tests to run") {
		t.Errorf("through PgBouncer: %s\n%s", p.Cmd.ProcessState, text)
	}
}

const noPgBouncer = "PgBouncer is missing: run scripts/setup pgbouncer"

func findPgBouncer() string { return embedded.FindProgram("pgbouncer") }

// PgBouncer starts a PgBouncer in transaction mode in front of a database and returns the address through it. It has
// fewer connections to the server than tests have to it, so that state kept in a session shows. It ends with the test.
func PgBouncer(t testing.TB, databaseURL string) string {
	t.Helper()
	through, err := url.Parse(PgBouncerWith(t, databaseURL, "pool_mode = transaction", "default_pool_size = 10",
		"ignore_startup_parameters = extra_float_digits, synchronous_commit, lock_timeout, default_transaction_isolation, statement_timeout"))
	if err != nil {
		t.Fatal(err)
	}
	query := through.Query()
	query.Set("default_query_exec_mode", "cache_describe") // a prepared statement is not there on the next connection
	through.RawQuery = query.Encode()
	return through.String()
}

// PgBouncerWith starts a PgBouncer with these settings in front of a database and returns the address through it. It ends with the test.
func PgBouncerWith(t testing.TB, databaseURL string, settings ...string) string {
	t.Helper()
	for tries := 1; ; tries++ {
		through, problem := startPgBouncer(t, databaseURL, settings)
		if problem == "" {
			return through
		}
		if tries == 3 { // another process may have taken the port once
			t.Fatal(problem)
		}
	}
}

// startPgBouncer returns the address, or the reason why PgBouncer does not run.
func startPgBouncer(t testing.TB, databaseURL string, settings []string) (address, problem string) {
	t.Helper()
	program := findPgBouncer()
	if program == "" {
		t.Skip(noPgBouncer)
	}
	target, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	folder := t.TempDir()
	config := filepath.Join(folder, "pgbouncer.ini")
	lines := append([]string{
		"[databases]",
		fmt.Sprintf("%s = host=%s port=%d dbname=%s user=%s password='%s'", target.Database, target.Host, target.Port, target.Database, target.User, target.Password),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1", "listen_port = " + strconv.Itoa(port), "unix_socket_dir =", "auth_type = any", "max_client_conn = 500",
	}, settings...)
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-q", config)
	log := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 { // which it refuses to run as
		for _, path := range []string{filepath.Dir(folder), folder} {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		account, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting PgBouncer: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	through, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	through.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	query := through.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	through.RawQuery = query.Encode()
	for end := time.Now().Add(clusterPatience); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		config, err := pgx.ParseConfig(through.String())
		if err != nil {
			t.Fatal(err)
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		conn, err := pgx.ConnectConfig(ctx, config)
		cancel()
		if err == nil {
			_ = conn.Close(context.Background())
			return through.String(), ""
		}
		select {
		case <-ended:
			return "", fmt.Sprintf("PgBouncer has ended: %s\n%s", cmd.ProcessState, log)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("PgBouncer does not answer: %v\n%s", err, log)
		}
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
