// Package chores is the service's own background work, run by River: one node leads and starts what is due, any node works it, and each
// run leaves a record in the schema weir_river. What jobs need in order to move is no chore: every node does that itself (see jobs.Engine.Run).
//
// It imports jobs and db. A chore is a file: its arguments, its worker, how often it runs.
package chores

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/migrations"
)

// Connections is the most connections that the chores take: a pool, and one on which River listens. River takes the latter out of the pool,
// which then replaces it.
const (
	Connections     = poolConnections + 1
	poolConnections = 4
)

// Config is how Chores are set up. DatabaseURL and Engine are required.
type Config struct {
	// DatabaseURL must reach PostgreSQL itself, or a pooler in session mode: River listens.
	DatabaseURL string
	Engine      *jobs.Engine
	// Sender sends to webhooks. Defaults to none: they are told when a node has one.
	Sender Sender
	Logger *slog.Logger // defaults to slog.Default()
}

// Chores are this node's share of the background work.
type Chores struct {
	engine *jobs.Engine
	ending chan struct{} // closed when this node ends
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	tells  bool // webhooks
	log    *slog.Logger
}

// Open makes Chores. They start with Run.
func Open(ctx context.Context, c Config) (*Chores, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	pool, err := db.Open(ctx, c.DatabaseURL, db.Options{Application: "weir chores", MaxConns: poolConnections})
	if err != nil {
		return nil, err
	}
	ending := make(chan struct{})
	workers := river.NewWorkers()
	river.AddWorker(workers, &retentionWorker{engine: c.Engine})
	river.AddWorker(workers, &rollupWorker{engine: c.Engine})
	river.AddWorker(workers, &sealWorker{engine: c.Engine, ending: ending})
	river.AddWorker(workers, &operationWorker{engine: c.Engine, ending: ending})
	queues := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 6}, operationQueue: {MaxWorkers: operationsAtOnce}}
	river.AddWorker(workers, &deliveryWorker{engine: c.Engine, sender: c.Sender, busy: map[jobs.ID]int{}})
	if c.Sender != nil {
		queues[webhookQueue] = river.QueueConfig{MaxWorkers: deliveriesAtOnce}
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema:            migrations.RiverSchema,
		Queues:            queues,
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
	return &Chores{engine: c.Engine, ending: ending, pool: pool, client: client, tells: c.Sender != nil, log: c.Logger}, nil
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
	var looking sync.WaitGroup
	looking.Go(func() { c.look(ctx, "operations", c.findOperations) })
	if c.tells {
		looking.Go(func() { c.look(ctx, "events to tell webhooks of", c.tellWebhooks) })
	}
	looking.Wait()
	close(c.ending)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.client.Stop(stop); err != nil {
		c.log.Warn("chores did not end in time", "error", err)
	}
}

// look runs a step again and again, which says how long to wait before the next, and gives River what it finds.
func (c *Chores) look(ctx context.Context, what string, step func(context.Context) (time.Duration, error)) {
	failures := 0
	for wait := time.Second; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		var err error
		wait, err = step(ctx)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() == nil:
			failures++
			wait = time.Second
			if failures == 1 || failures%60 == 0 {
				c.log.Warn("could not look for "+what+"; trying again", "failures", failures, "error", err)
			}
		}
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
