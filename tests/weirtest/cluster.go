//go:build unix

package weirtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"

	"github.com/weirhq/weir/embedded"
)

// image is the container that is used where there is neither a server nor PostgreSQL's programs.
const image = "postgres:18-alpine"

// settings are those of a cluster that lives for a test run. Nothing is forced to disk. What a client sees of a commit
// stays as it is in production (synchronous_commit is on), so a test may kill the server and count on what was committed.
// Autovacuum comes at every second instead of every minute, so that a plan that only holds until the next analyze, or a
// loop that vacuum trips up, shows in the tests.
var settings = map[string]string{
	"fsync":              "off",
	"full_page_writes":   "off",
	"autovacuum_naptime": "1",
	"max_connections":    "300",
	"shared_buffers":     "128MB",
	"max_wal_size":       "4GB",
}

// cluster is the server that the tests of this process share.
type cluster struct {
	url      string        // of a database to give orders from
	pool     *pgxpool.Pool // to that database
	stop     func() error
	strategy string // how databases are copied: as files, which is three times as fast as page by page through the log

	template     sync.Once
	templateName string
	templateErr  error
}

// shared is what this process has in common: one cluster, or the reason why there is none.
var shared struct {
	sync.Mutex
	started bool
	cluster *cluster
	err     error
}

// theCluster returns the process's cluster, starting it at the first call.
func theCluster() (*cluster, error) {
	shared.Lock()
	defer shared.Unlock()
	if !shared.started {
		shared.started = true
		shared.cluster, shared.err = findCluster(context.Background(), startPrograms, startContainer)
	}
	return shared.cluster, shared.err
}

func stopTheCluster() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		return nil
	}
	c := shared.cluster
	shared.cluster, shared.err = nil, errors.New("the tests have ended")
	c.pool.Close()
	return c.stop()
}

// start is a way to come by a cluster.
type start func(context.Context) (*cluster, error)

// findCluster tries the sources in turn. One that the environment asks for is the only one tried: falling back to
// another would test something else than was asked for.
func findCluster(ctx context.Context, programs, container start) (*cluster, error) {
	if address := os.Getenv("WEIR_TEST_DATABASE_URL"); address != "" {
		c, err := open(ctx, address, "the server of WEIR_TEST_DATABASE_URL", func() error { return nil })
		if err != nil {
			return nil, fmt.Errorf("the tests need PostgreSQL, and WEIR_TEST_DATABASE_URL leads to none: %w", err)
		}
		return c, nil
	}
	c, programsErr := programs(ctx)
	if programsErr == nil {
		return c, nil
	}
	if os.Getenv("WEIR_POSTGRES_BIN") != "" {
		return nil, fmt.Errorf("the tests need PostgreSQL, and WEIR_POSTGRES_BIN does not give it: %w", programsErr)
	}
	c, containerErr := container(ctx)
	if containerErr == nil {
		return c, nil
	}
	return nil, fmt.Errorf("the tests need PostgreSQL, and there is none:\n"+
		"- no running server: WEIR_TEST_DATABASE_URL is not set\n"+
		"- no cluster of our own: %w\n"+
		"- no container: %w", programsErr, containerErr)
}

// open connects to a cluster and tells on stderr what the tests run on.
func open(ctx context.Context, address, source string, stop func() error) (*cluster, error) {
	if u, err := url.Parse(address); err != nil || u.Scheme == "" {
		return nil, errors.New("the address is not of the form postgres://user:password@host:port/database")
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 8 // databases are made and dropped that many at a time
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	c := &cluster{url: address, pool: pool, stop: stop}
	var version string
	var chooses bool // PostgreSQL 14 has no other way
	if err := pool.QueryRow(ctx, "select current_setting('server_version'), current_setting('server_version_num')::int >= 150000").Scan(&version, &chooses); err != nil {
		pool.Close()
		return nil, err
	}
	if chooses {
		c.strategy = " strategy file_copy"
	}
	fmt.Fprintf(os.Stderr, "weirtest: PostgreSQL %s, %s\n", version, source)
	return c, nil
}

// startPrograms makes and starts a cluster with the machine's programs.
func startPrograms(ctx context.Context) (*cluster, error) {
	bin, err := embedded.FindBinaries(os.Getenv("WEIR_POSTGRES_BIN"))
	if err != nil {
		return nil, err
	}
	dir, err := newFolder()
	if err != nil {
		return nil, err
	}
	server, err := embedded.Start(ctx, embedded.Config{DataDir: dir.path, BinDir: bin, Settings: settings})
	if err != nil {
		return nil, errors.Join(err, dir.remove())
	}
	stop := func() error { return errors.Join(server.Stop(), dir.remove()) }
	c, err := open(ctx, server.URL("postgres"), "a cluster of our own from "+bin, stop)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return c, nil
}

// startContainer starts a cluster in a container, which testcontainers' reaper removes should this process die.
func startContainer(ctx context.Context) (c *cluster, err error) {
	// testcontainers panics on some machines without Docker.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("looking for a Docker engine: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // the image may have to be fetched
	defer cancel()

	command := []string{"postgres"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		command = append(command, "-c", name+"="+settings[name])
	}
	container, err := postgres.Run(ctx, image, postgres.BasicWaitStrategies(), testcontainers.WithCmd(command...))
	stop := func() error { return testcontainers.TerminateContainer(container) }
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	address, err := container.ConnectionString(ctx, "sslmode=disable")
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	if c, err = open(ctx, address, "in a container of "+image, stop); err != nil {
		return nil, errors.Join(err, stop())
	}
	return c, nil
}
