// Package chores is the service's own background work, run by River: one node leads and starts what is due, any node works it, and each
// run leaves a record in the schema weir_river. What jobs need in order to move is no chore: every node does that itself (see jobs.Engine.Run).
//
// It imports jobs and db. A chore is a file: its arguments, its worker, how often it runs.
package chores

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/migrations"
)

// Config is how Chores are set up. DatabaseURL and Engine are required.
type Config struct {
	// DatabaseURL must reach PostgreSQL itself, or a pooler in session mode: River listens.
	DatabaseURL string
	Engine      *jobs.Engine
	Logger      *slog.Logger // defaults to slog.Default()
}

// Chores are this node's share of the background work.
type Chores struct {
	engine *jobs.Engine
	ending chan struct{} // closed when this node ends
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	log    *slog.Logger
}

// Open makes Chores. They start with Run.
func Open(ctx context.Context, c Config) (*Chores, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	pool, err := db.Open(ctx, c.DatabaseURL, db.Options{Application: "weir chores", MaxConns: 4})
	if err != nil {
		return nil, err
	}
	ending := make(chan struct{})
	workers := river.NewWorkers()
	river.AddWorker(workers, &retentionWorker{engine: c.Engine})
	river.AddWorker(workers, &rollupWorker{engine: c.Engine})
	river.AddWorker(workers, &sealWorker{engine: c.Engine, ending: ending})
	river.AddWorker(workers, &operationWorker{engine: c.Engine, ending: ending})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema:            migrations.RiverSchema,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}, operationQueue: {MaxWorkers: operationsAtOnce}},
		Workers:           workers,
		PeriodicJobs:      []*river.PeriodicJob{retentionPeriod(), rollupPeriod(), sealPeriod()},
		FetchPollInterval: 5 * time.Second,
		// River tells at Info of every start and stop of its parts; what it warns of is for our readers too.
		Logger: slog.New(atLeast{c.Logger.Handler(), slog.LevelWarn}),
	})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("setting up River: %w", err)
	}
	return &Chores{engine: c.Engine, ending: ending, pool: pool, client: client, log: c.Logger}, nil
}

// Run works chores until ctx ends, and then lets those under way finish for up to ten seconds. While the database is away it tries again.
func (c *Chores) Run(ctx context.Context) {
	defer c.pool.Close()
	for c.client.Start(context.WithoutCancel(ctx)) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
	}
	c.findOperations(ctx)
	close(c.ending)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.client.Stop(stop); err != nil {
		c.log.Warn("chores did not end in time", "error", err)
	}
}

// atLeast drops what is below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}
