//go:build unix

package weirtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"

	"github.com/weirhq/weir/embedded"
)

// image is the container used where the machine has no PostgreSQL programs.
const image = "postgres:18-alpine"

// settings are those of a server that lives for a test run. Nothing is forced to disk. Commits keep their meaning
// (synchronous_commit is on), so a test may kill the server and count on what was committed. Autovacuum runs every
// second instead of every minute, so that a plan which holds only until the next analyze shows in the tests. Compiling
// the tests' own queries costs more than running them; weir's sessions turn jit off themselves.
var settings = map[string]string{
	"fsync":              "off",
	"full_page_writes":   "off",
	"autovacuum_naptime": "1",
	"max_connections":    "600",
	"shared_buffers":     "128MB",
	"max_wal_size":       "1GB",
	"jit":                "off",
}

// server is a running PostgreSQL.
type server struct {
	url  string
	stop func() error
}

// start is a way to get a server.
type start func(context.Context) (*server, error)

// startAny tries the machine's programs, then a container. If the environment names the programs, only they are
// tried: a fallback would test another PostgreSQL than was asked for.
func startAny(ctx context.Context, programs, container start) (*server, error) {
	s, programsErr := programs(ctx)
	if programsErr == nil {
		return s, nil
	}
	if os.Getenv("WEIR_POSTGRES_BIN") != "" {
		return nil, fmt.Errorf("WEIR_POSTGRES_BIN names no usable PostgreSQL: %w", programsErr)
	}
	s, containerErr := container(ctx)
	if containerErr == nil {
		return s, nil
	}
	return nil, fmt.Errorf("none was found:\n"+
		"- no running server: WEIR_TEST_DATABASE_URL is not set\n"+
		"- no programs: %w\n"+
		"- no container: %w", programsErr, containerErr)
}

// startPrograms makes and starts a cluster with the machine's programs.
func startPrograms(ctx context.Context) (*server, error) {
	bin, err := embedded.FindBinaries(os.Getenv("WEIR_POSTGRES_BIN"))
	if err != nil {
		return nil, err
	}
	dir, err := newFolder()
	if err != nil {
		return nil, err
	}
	s, err := embedded.Start(ctx, embedded.Config{DataDir: dir.path, BinDir: bin, Settings: settings})
	if err != nil {
		return nil, errors.Join(err, dir.remove())
	}
	return &server{
		url:  s.URL("postgres"),
		stop: func() error { return errors.Join(s.Stop(), dir.remove()) },
	}, nil
}

// startContainer starts a cluster in a container, which testcontainers' reaper removes if this process dies.
func startContainer(ctx context.Context) (s *server, err error) {
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
	return &server{url: address, stop: stop}, nil
}
