package cli

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestDevStartsFromNothingAndKeepsItsData(t *testing.T) {
	weirtest.Long(t, "it starts PostgreSQL twice")
	t.Parallel()
	folder := filepath.Join(weirtest.DevFolder(t), "not there yet")
	s, dev := weirtest.StartDev(t, folder)
	id := s.Enqueue(obj{"kind": "hello"})
	guide := dev.Output.String()
	for _, word := range []string{"/docs", folder, "psql", "select weir.enqueue", "curl ", "weir work", "Ctrl-C"} {
		if !strings.Contains(guide, word) {
			t.Errorf("it does not say %q:\n%s", word, guide)
		}
	}
	if status := dev.Stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, dev.Output)
	}
	if _, err := os.Stat(filepath.Join(folder, "postgres", "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("PostgreSQL was not stopped cleanly: %v", err)
	}

	keyFile := filepath.Join(folder, "admin.key")
	key := readKey(t, keyFile)

	s, dev = weirtest.StartDev(t, folder, "WEIR_AUTH=true")
	s.Get("/v1/keys").Problem(http.StatusUnauthorized, "unauthenticated")
	s = s.As(key)
	s.Job(id)
	s.Get("/v1/keys").Want(http.StatusOK)
	if guide := dev.Output.String(); !strings.Contains(guide, "export WEIR_TOKEN_FILE="+"'"+keyFile+"'") || strings.Contains(guide, key) {
		t.Errorf("the guide must say where the key is, and not show it:\n%s", guide)
	}
	dev.Kill()

	// After a kill, too.
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	s, dev = weirtest.StartDev(t, folder, "WEIR_AUTH=true")
	s.As(key).Get("/v1/keys").Problem(http.StatusUnauthorized, "unauthenticated") // its file is gone
	s.As(readKey(t, keyFile)).Job(id)
	if status := dev.Stop(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, dev.Output)
	}
}

// readKey reads the key that weir dev has made, which its user alone may read.
func readKey(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has the mode %v", info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestDevExplainsPsql(t *testing.T) {
	weirtest.Long(t, "it starts PostgreSQL")
	t.Parallel()
	if _, err := exec.LookPath("psql"); err != nil {
		t.Fatalf("this test needs psql: %v", err)
	}
	s, dev := weirtest.StartDev(t, weirtest.DevFolder(t))
	psql := regexp.MustCompile(`PGPASSWORD=.*psql .*`).FindString(dev.Output.String())
	sql := regexp.MustCompile(`select weir\.enqueue.*`).FindString(dev.Output.String())
	shell := exec.Command("sh", "-c", psql+` -Atc "$SQL"`)
	shell.Env = append(os.Environ(), "SQL="+sql)
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", psql, err, output)
	}
	if j := s.Job(strings.TrimSpace(string(output))); j.Kind != "hello" {
		t.Errorf("the job is %+v", j)
	}
	dev.Stop()
}

func TestDevWithPortInUseLeavesNothing(t *testing.T) {
	weirtest.Long(t, "it starts PostgreSQL")
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	folder := filepath.Join(weirtest.DevFolder(t), "data")
	weirtest.RunCLI(t, nil, "", "dev", "--addr", listener.Addr().String(), "--data-dir", folder).Says(1, listener.Addr().String(), "in use", "--addr")
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made the data folder: %v", err)
	}
}

func TestDevsNodeIsNoSuperuser(t *testing.T) {
	weirtest.Long(t, "it starts PostgreSQL")
	t.Parallel()
	s, dev := weirtest.StartDev(t, weirtest.DevFolder(t))
	s.Eventually("the node is connected", func() bool { return s.Get("/v1/jobs").Status == http.StatusOK })
	psql := regexp.MustCompile(`PGPASSWORD=.*psql .*`).FindString(dev.Output.String())
	shell := exec.Command("sh", "-c", psql+` -Atc "select distinct r.rolname, r.rolsuper, r.rolcreaterole, r.rolcreatedb from pg_stat_activity a join pg_roles r on r.rolname = a.usename where a.application_name like 'weir%'"`)
	output, err := shell.CombinedOutput()
	if got := strings.TrimSpace(string(output)); err != nil || got != "weir|f|f|f" {
		t.Errorf("the node's sessions are of %s: %v", got, err)
	}
	dev.Stop()
}
