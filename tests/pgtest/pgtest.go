//go:build unix

// Package pgtest gives each test a migrated PostgreSQL database of its own.
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		pool := pgtest.New(t).Pool()
//		…
//	}
//
// The databases are clones of one migrated template in one cluster a test process, which starts when the first test
// asks for it and comes from the first of these that works:
//
//  1. WEIR_TEST_DATABASE_URL, the address of a superuser of a server that runs already
//  2. the machine's PostgreSQL programs; WEIR_POSTGRES_BIN names their folder, and defaults to what package embedded finds
//  3. a container, where a Docker engine answers
//
// Where none works the test fails; it is never skipped. A cluster of our own ends with the test process, however that
// ends, and its folder with it. A package that wants to see it end before the process does says so in its TestMain:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// patience bounds each thing that is asked of the cluster on a test's behalf: making a database, with all migrations the first time, or dropping it.
	patience = 3 * time.Minute

	// poolSize is the number of connections of a test's pool: more than any test works with at once, and few enough for
	// a dozen parallel tests to stay below max_connections.
	poolSize = 20
)

// Database is the database of one test.
type Database struct {
	// URL is the address for the superuser.
	URL string

	t    testing.TB
	open sync.Once
	pool *pgxpool.Pool
}

// New makes a migrated database for the test and drops it when the test ends.
func New(t testing.TB) *Database {
	t.Helper()
	return makeDatabase(t, true)
}

// Empty makes a database without weir's schema: for the tests of the migrations.
func Empty(t testing.TB) *Database {
	t.Helper()
	return makeDatabase(t, false)
}

func makeDatabase(t testing.TB, migrated bool) *Database {
	t.Helper()
	c, err := theCluster()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name, err := c.createDatabase(ctx, migrated)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.dropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return &Database{URL: withDatabase(c.url, name), t: t}
}

// Pool returns the test's pool, the same one each time. It is closed when the test ends, before the database is
// dropped; a connection that is still in use then is a mistake of the test's and fails it.
func (d *Database) Pool() *pgxpool.Pool {
	d.t.Helper()
	d.open.Do(func() {
		config, err := pgxpool.ParseConfig(d.URL)
		if err != nil {
			d.t.Fatal(err)
		}
		config.MaxConns = poolSize
		pool, err := pgxpool.NewWithConfig(context.Background(), config)
		if err != nil {
			d.t.Fatal(err)
		}
		d.t.Cleanup(func() { closePool(d.t, pool) })
		d.pool = pool
	})
	return d.pool
}

// closePool closes a pool, which waits for the connections in use, but not for ever.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() {
		pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Errorf("%d connections of the test's pool are still in use %s after its end", pool.Stat().AcquiredConns(), patience)
	}
}

// Main runs a package's tests, stops the cluster if there is one, and ends the process.
func Main(m *testing.M) {
	code := m.Run()
	if err := stopTheCluster(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// withDatabase returns the address of another database of the same server.
func withDatabase(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic("pgtest: " + err.Error()) // theCluster has parsed it before
	}
	u.Path = "/" + name
	return u.String()
}
