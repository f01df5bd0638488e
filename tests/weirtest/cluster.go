//go:build unix

package weirtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
)

// cluster is the server that holds the tests' databases. All test processes of a run share it.
type cluster struct {
	url      string        // of the database for administration
	pool     *pgxpool.Pool // to that database
	leave    func() error  // says that this process no longer needs the server
	strategy string        // of create database: copying files is three times as fast as copying pages through the log

	template     sync.Once
	templateName string
	templateErr  error
}

// joined is the cluster that this process uses, or the reason why there is none.
var joined struct {
	sync.Mutex
	done    bool
	cluster *cluster
	err     error
}

// theCluster returns this process's cluster. The first call joins it.
func theCluster() (*cluster, error) {
	joined.Lock()
	defer joined.Unlock()
	if !joined.done {
		joined.done = true
		joined.cluster, joined.err = join(context.Background())
	}
	return joined.cluster, joined.err
}

func leaveTheCluster() error {
	joined.Lock()
	defer joined.Unlock()
	if joined.cluster == nil {
		return nil
	}
	c := joined.cluster
	joined.cluster, joined.err = nil, errors.New("the tests have ended")
	c.pool.Close()
	return c.leave()
}

// join connects to the server that the environment names, or else to the shared one.
func join(ctx context.Context) (*cluster, error) {
	if address := os.Getenv("WEIR_TEST_DATABASE_URL"); address != "" {
		c, err := open(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("the tests need PostgreSQL, and WEIR_TEST_DATABASE_URL leads to none: %w", err)
		}
		c.leave = func() error { return nil }
		return c, nil
	}
	address, leave, err := joinShared(ctx)
	if err != nil {
		return nil, fmt.Errorf("the tests need PostgreSQL: %w", err)
	}
	c, err := open(ctx, address)
	if err != nil {
		return nil, errors.Join(err, leave())
	}
	c.leave = leave
	return c, nil
}

// open connects to a server.
func open(ctx context.Context, address string) (*cluster, error) {
	if u, err := url.Parse(address); err != nil || u.Scheme == "" {
		return nil, errors.New("the address is not of the form postgres://user:password@host:port/database")
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 8 // at most this many databases are made or dropped at a time
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	c := &cluster{url: address, pool: pool}
	var chooses bool // PostgreSQL 14 has one strategy only
	if err := pool.QueryRow(ctx, "select current_setting('server_version_num')::int >= 150000").Scan(&chooses); err != nil {
		pool.Close()
		return nil, err
	}
	if chooses {
		c.strategy = " strategy file_copy"
	}
	return c, nil
}
