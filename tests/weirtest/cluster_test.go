//go:build unix

package weirtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/sql"
)

// child, when set in the environment, turns this test program into one that plays another test process.
const child = "WEIR_WEIRTEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(child) {
	case "":
		Main(m)
	case "abandon": // prints its cluster's folder, and dies without stopping anything
		c, err := theCluster()
		if err != nil {
			panic(err)
		}
		var dir string
		if err := c.pool.QueryRow(context.Background(), "show data_directory").Scan(&dir); err != nil {
			panic(err)
		}
		fmt.Println(dir)
		panic("as a test that runs into its timeout does")
	case "share": // prints the template that it makes or finds
		c, err := theCluster()
		if err != nil {
			panic(err)
		}
		name, err := c.createDatabase(context.Background(), true)
		if err != nil {
			panic(err)
		}
		if err := c.dropDatabase(context.Background(), name); err != nil {
			panic(err)
		}
		fmt.Println(c.templateName)
	}
}

func TestTestsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var addresses []string
	t.Run("group", func(t *testing.T) {
		for i := range 12 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				d := New(t)
				mu.Lock()
				addresses = append(addresses, d.URL)
				mu.Unlock()
				if _, err := d.Exec(t.Context(), "create table mine as select $1::int as n", i); err != nil {
					t.Fatal(err)
				}
				var n int
				if err := d.QueryRow(t.Context(), "select n from mine").Scan(&n); err != nil || n != i {
					t.Errorf("n = %d, %v; want %d", n, err, i)
				}
				if state, err := migrations.Read(t.Context(), d.URL); err != nil || !state.Current() {
					t.Errorf("the schema is out of date: %+v, %v", state, err)
				}
			})
		}
	})
	for _, address := range addresses {
		if _, err := pgx.Connect(t.Context(), address); !HasSQLState(err, "3D000") { // invalid_catalog_name
			t.Errorf("the database is still there after its test: %v", err)
		}
	}
}

func TestEmptyIsEmpty(t *testing.T) {
	t.Parallel()
	var schemas int
	err := Empty(t).Pool.QueryRow(t.Context(), "select count(*) from pg_namespace where nspname = 'weir'").Scan(&schemas)
	if err != nil || schemas != 0 {
		t.Errorf("%d schemas weir, %v", schemas, err)
	}
}

func TestAnOpenConnectionDoesNotKeepTheDatabase(t *testing.T) {
	t.Parallel()
	var conn *pgx.Conn
	t.Run("test", func(t *testing.T) {
		var err error
		if conn, err = pgx.Connect(t.Context(), New(t).URL); err != nil {
			t.Fatal(err)
		}
	})
	if err := conn.Ping(context.Background()); err == nil {
		t.Error("the connection outlived its database")
	}
}

func TestAKilledServerComesBackWithWhatWasCommitted(t *testing.T) {
	t.Parallel()
	s := NewServer(t)
	conn, err := pgx.Connect(t.Context(), s.URL("weir"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("create table kept_%d ()", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	again := Restart(t, s)
	if again.URL("weir") != s.URL("weir") {
		t.Error("the address has changed")
	}
	if conn, err = pgx.Connect(t.Context(), again.URL("weir")); err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var kept int
	err = conn.QueryRow(t.Context(), "select count(*) from pg_class where relname like 'kept_%'").Scan(&kept)
	if err != nil || kept != 100 {
		t.Errorf("%d tables of 100 are left, %v", kept, err)
	}
}

func TestAFolderIsRemovedAlsoAfterAKill(t *testing.T) {
	t.Parallel()
	var dir string
	began := time.Now()
	t.Run("test", func(t *testing.T) {
		s := NewServer(t)
		dir = s.DataDir()
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
	})
	// It waits ten seconds for a server that lives, and not at all for one that was killed.
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("the removal of a killed server's folder took %s", took)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestAProcessThatDiesLeavesNothing(t *testing.T) {
	t.Parallel()
	out, _ := runChild(t, "abandon", "WEIR_TEST_DATABASE_URL=") // its panic is meant
	dir := strings.TrimSpace(out)
	if !strings.HasPrefix(dir, os.TempDir()) {
		t.Fatalf("the process printed %q, not its folder", dir)
	}
	for end := time.Now().Add(clusterPatience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	t.Errorf("%s is still there after %s", dir, clusterPatience)
}

func TestProcessesShareTheTemplateOfAServer(t *testing.T) {
	t.Parallel()
	s := NewServer(t)
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	hash, err := hashOf(migrations.Files, sql.Files)
	if err != nil {
		t.Fatal(err)
	}
	// What a process that died in the middle has left behind, and a template of other migrations.
	for _, name := range []string{"weir_template_" + hash + "_making", "weir_template_000000000000"} {
		if _, err := conn.Exec(t.Context(), "create database "+name); err != nil {
			t.Fatal(err)
		}
	}

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			out, err := runChild(t, "share", "WEIR_TEST_DATABASE_URL="+s.URL("postgres"))
			if err != nil || strings.TrimSpace(out) != "weir_template_"+hash {
				t.Errorf("the template is %q, %v", out, err)
			}
		})
	}
	wg.Wait()

	rows, err := conn.Query(t.Context(), "select datname from pg_database where datname like 'weir\\_t%' order by 1")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) != 2 {
		t.Errorf("the databases on the server are %q, %v; want two templates", names, err)
	}
}

// runChild runs this test program as another test process and returns what it prints.
func runChild(t *testing.T, part string, env ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), child+"="+part), env...)
	out, err := cmd.Output()
	return string(out), err
}

func TestWithoutPostgreSQLAllReasonsAreGiven(t *testing.T) {
	no := func(reason string) start {
		return func(context.Context) (*cluster, error) { return nil, errors.New(reason) }
	}
	t.Setenv("WEIR_TEST_DATABASE_URL", "")
	t.Setenv("WEIR_POSTGRES_BIN", "")
	_, err := findCluster(t.Context(), no("no programs"), no("no engine"))
	says(t, err, "WEIR_TEST_DATABASE_URL is not set", "no programs", "no engine")
}

func TestWhatTheEnvironmentAsksForIsNotReplaced(t *testing.T) {
	other := func(context.Context) (*cluster, error) { return &cluster{}, nil }
	t.Setenv("WEIR_POSTGRES_BIN", t.TempDir())
	t.Setenv("WEIR_TEST_DATABASE_URL", "")
	_, err := findCluster(t.Context(), startPrograms, other)
	says(t, err, "WEIR_POSTGRES_BIN")

	t.Setenv("WEIR_TEST_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
	_, err = findCluster(t.Context(), other, other)
	says(t, err, "WEIR_TEST_DATABASE_URL", "refused")
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func TestTheHashTellsMigrationsApart(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	seen := map[string]string{}
	for name, files := range map[string]fstest.MapFS{
		"one":     {"1.sql": file("a"), "2.sql": file("b")},
		"renamed": {"1.sql": file("a"), "3.sql": file("b")},
		"changed": {"1.sql": file("a"), "2.sql": file("c")},
		"shifted": {"1.sql": file("ab"), "2.sql": file("")},
	} {
		hash, err := hashOf(files)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[hash] = name
	}
}
