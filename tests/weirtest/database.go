//go:build unix

package weirtest

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Database is a test's database. Tests use it as any program would, through the functions and views of the schema
// weir. When the test ends, every job must be in exactly one place.
type Database struct {
	*pgxpool.Pool // as the superuser

	URL    string // for the superuser; through PgBouncer where the test asks for one
	Direct string // past PgBouncer, if there is one
	T      testing.TB
}

// New makes a migrated database. It is checked and dropped when the test ends.
func New(t testing.TB) *Database {
	t.Helper()
	d := &Database{Direct: makeDatabase(t, true), T: t}
	d.URL = d.Direct
	if throughPgBouncer() {
		d.URL = PgBouncer(t, d.Direct)
	}
	d.Pool = openPool(t, d.URL)
	t.Cleanup(d.CheckPlaces)
	return d
}

// Empty makes a database without weir's schema, for tests of the migrations.
func Empty(t testing.TB) *Database {
	t.Helper()
	d := &Database{Direct: makeDatabase(t, false), T: t}
	d.URL = d.Direct
	d.Pool = openPool(t, d.URL)
	return d
}

// Open opens a database that the test brings along. It is neither checked nor dropped when the test ends.
func Open(t testing.TB, url string) *Database {
	t.Helper()
	return &Database{Pool: openPool(t, url), URL: url, Direct: url, T: t}
}

// openPool opens a pool and closes it when the test ends. A connection still in use then fails the test.
func openPool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// Tx starts a transaction on a connection of its own. It is rolled back at the end of the test if it is still open.
func (d *Database) Tx() pgx.Tx {
	d.T.Helper()
	tx, err := d.Begin(context.Background())
	if err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() { tx.Rollback(context.Background()) })
	return tx
}

// Connect opens a connection outside the pool.
func (d *Database) Connect() *pgx.Conn {
	d.T.Helper()
	conn, err := pgx.Connect(context.Background(), d.URL)
	if err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// ConnectWithLockTimeout opens a connection whose statements fail instead of waiting for a lock.
func (d *Database) ConnectWithLockTimeout() *pgx.Conn {
	d.T.Helper()
	conn := d.Connect()
	Exec(d.T, conn, "set lock_timeout = '3s'") // longer than an autovacuum that is in the way takes to give way
	return conn
}

// makeDatabase makes a database, drops it when the test ends, and returns its address.
func makeDatabase(t testing.TB, migrated bool) string {
	t.Helper()
	c, err := theCluster()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	defer cancel()
	name, err := c.createDatabase(ctx, migrated)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
		defer cancel()
		if err := c.dropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return withDatabase(c.url, name)
}

// closePool closes a pool. It waits for connections in use, up to clusterPatience.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() {
		pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(clusterPatience):
		t.Errorf("%d connections of the test's pool are still in use %s after its end", pool.Stat().AcquiredConns(), clusterPatience)
	}
}

// withDatabase returns the address of another database of the same server.
func withDatabase(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic("weirtest: " + err.Error()) // theCluster has parsed it before
	}
	u.Path = "/" + name
	return u.String()
}
