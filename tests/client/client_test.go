//go:build unix

// Package client_test drives the Go SDK against a real node and a real PostgreSQL, over REST and over SQL.
package client_test

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(driverVariable) != "" {
		drive(os.Args[1:])
		return
	}
	weirtest.Main(m)
}

// way is a client with the node that it talks to, or that does the upkeep of its database.
type way struct {
	*weir.Client
	T    *testing.T
	Node *weirtest.Node
	Pool *pgxpool.Pool // nil: over REST
}

// bothWays runs a test over REST, and over SQL as a login that has no more rights than it needs.
func bothWays(t *testing.T, test func(*testing.T, *way)) {
	t.Run("REST", func(t *testing.T) {
		t.Parallel()
		s := weirtest.StartNode(t)
		test(t, &way{Client: overREST(t, s), T: t, Node: s})
	})
	t.Run("SQL", func(t *testing.T) {
		t.Parallel()
		s := weirtest.StartNode(t)
		pool := loginPool(t, s.DB)
		test(t, &way{Client: overSQL(t, pool), T: t, Node: s, Pool: pool})
	})
}

func quiet() weir.ClientOption { return weir.WithLogger(slog.New(slog.DiscardHandler)) }

func overREST(t *testing.T, s *weirtest.Node, opts ...weir.ClientOption) *weir.Client {
	t.Helper()
	c, err := weir.HTTP(s.URL, append([]weir.ClientOption{quiet()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func overSQL(t *testing.T, pool *pgxpool.Pool) *weir.Client {
	t.Helper()
	c := weir.SQL(pool, quiet())
	t.Cleanup(c.Close)
	return c
}

// loginPool is a pool of a login that is a producer and a worker.
func loginPool(t *testing.T, d *weirtest.Database) *pgxpool.Pool {
	t.Helper()
	l := weirtest.Login(t, d, "app", "'producer'", "'worker'")
	config := l.Config()
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// work runs a worker until the test ends, or stop is called, which returns what Run did.
func (w *way) work(config weir.WorkerConfig, register func(*weir.Worker)) (stop func() error) {
	w.T.Helper()
	worker := weir.NewWorker(w.Client, config)
	register(worker)
	ctx, cancel := context.WithCancel(w.T.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(weirtest.Patience):
			w.T.Error("the worker does not end")
			return nil
		}
	})
	w.T.Cleanup(func() {
		if err := stop(); err != nil {
			w.T.Error(err)
		}
	})
	return stop
}

// enqueue enqueues one job.
func (w *way) enqueue(args any, opts ...weir.Option) weir.ID {
	w.T.Helper()
	done, err := w.Enqueue(w.T.Context(), args, opts...)
	if err != nil {
		w.T.Fatal(err)
	}
	return done.ID
}

// until waits for a job to be in a state, and returns it.
func (w *way) until(id weir.ID, state string) weirtest.Job {
	w.T.Helper()
	return w.Node.WaitForState(id.String(), state)
}

// Double is a job whose result is twice its number.
type Double struct{ N int }

func (Double) Kind() string { return "double" }

// Result ties the result to the job.
func (Double) Result() int { return 0 }

func double(_ context.Context, j *weir.Job[Double]) (int, error) { return 2 * j.Args.N, nil }
