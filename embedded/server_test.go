//go:build unix

package embedded_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestDataSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, dir)
	execute(t, s, "create table kept as select 42 as answer")
	stop(t, s)
	stop(t, s) // the second stop does nothing

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

func TestClusterHasPromisedSettings(t *testing.T) {
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

func TestLoginNeedsPassword(t *testing.T) {
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

// After Kill no process of the server may still write. The server must start again at once, on the same port, with all
// committed data.
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
	waitFor(t, "a running statement", func() bool {
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
		t.Errorf("found %d rows, want 1000", got)
	}
	if got := query[int](t, again, "select count(*) from doomed"); got != 0 {
		t.Errorf("found %d rows of an uncommitted statement", got)
	}
}

func TestFailedStartShowsLog(t *testing.T) {
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

func TestReservedSettingsAreRefused(t *testing.T) {
	t.Parallel()
	c := config(filepath.Join(dataDir(t), "unused"))
	c.Settings = map[string]string{"listen_addresses": "*"}
	refused(t, c, "listen_addresses")
	if _, err := os.Stat(c.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data folder was created: %v", err)
	}
}

func TestLongPathHasSocketElsewhere(t *testing.T) {
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
		t.Errorf("%s still exists: %v", s.SocketDir(), err)
	}
}
