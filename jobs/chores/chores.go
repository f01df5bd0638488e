// Package chores is the service's upkeep. A chore runs through River: one node of all starts it when it is due, any node works it, and each
// run leaves a record in the schema weir_river. (A loop runs on every node, and moves jobs: see jobs/loop.)
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
	"github.com/weirhq/weir/jobs/clock"
	"github.com/weirhq/weir/jobs/loop"
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
	// Sender posts to webhooks. Defaults to none: events wait until a node has one.
	Sender Sender
	// Alerts tells the targets of alerts. Defaults to none: messages wait until a node has one.
	Alerts AlertSender
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Clock defaults to this machine's.
	Clock clock.Clock
}

// Chores are this node's share of the upkeep.
type Chores struct {
	engine *jobs.Engine
	ending chan struct{} // closed when this node ends
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	posts  bool // this node posts to webhooks
	alerts bool // and tells the targets of alerts
	log    *slog.Logger
	runner *loop.Runner
}

// stopWithin is how long chores under way may take to finish.
const stopWithin = 10 * time.Second

// statementTimeout leaves room for the rewrite of a large partition.
const statementTimeout = time.Hour

// Open makes Chores. They start with Run.
func Open(ctx context.Context, c Config) (*Chores, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	pool, err := db.OpenPgx(ctx, c.DatabaseURL, db.Options{
		Application: "weir chores", MaxConns: poolConnections, StatementTimeout: statementTimeout, Share: c.Engine.Share(),
	})
	if err != nil {
		return nil, err
	}
	ending := make(chan struct{})
	workers := river.NewWorkers()
	river.AddWorker(workers, &retentionWorker{engine: c.Engine})
	river.AddWorker(workers, &rollupWorker{engine: c.Engine})
	river.AddWorker(workers, &sealWorker{engine: c.Engine, ending: ending})
	river.AddWorker(workers, &operationWorker{engine: c.Engine, clock: c.Clock, ending: ending})
	queues := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 6}, operationQueue: {MaxWorkers: operationsAtOnce}}
	river.AddWorker(workers, &deliveryWorker{engine: c.Engine, sender: c.Sender, clock: c.Clock, busy: map[jobs.ID]int{}})
	if c.Sender != nil {
		queues[webhookQueue] = river.QueueConfig{MaxWorkers: deliveriesAtOnce}
	}
	river.AddWorker(workers, &alertsWorker{engine: c.Engine})
	river.AddWorker(workers, &alertSendWorker{engine: c.Engine, sender: c.Alerts, clock: c.Clock})
	if c.Alerts != nil {
		queues[alertQueue] = river.QueueConfig{MaxWorkers: alertSendsAtOnce}
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema:            migrations.RiverSchema,
		Queues:            queues,
		Workers:           workers,
		PeriodicJobs:      []*river.PeriodicJob{retentionPeriod(), rollupPeriod(), sealPeriod(), alertsPeriod()},
		FetchPollInterval: 5 * time.Second,
		// At Info River reports every start and stop of its parts. Its warnings are for our readers too.
		Logger: slog.New(atLeast{c.Logger.Handler(), slog.LevelWarn}),
	})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("setting up River: %w", err)
	}
	runner := &loop.Runner{Clock: c.Clock, Log: c.Logger, Observe: func(string, time.Duration, error) {}}
	return &Chores{engine: c.Engine, ending: ending, pool: pool, client: client, posts: c.Sender != nil, alerts: c.Alerts != nil, log: c.Logger, runner: runner}, nil
}

// Run works chores until ctx ends, and then lets those under way finish for up to ten seconds. While River cannot start it tries again; the
// engine's health says so.
func (c *Chores) Run(ctx context.Context) {
	defer c.pool.Close()
	defer c.engine.Watch("chores", c.runner.Problem)()
	if !c.start(ctx) {
		return
	}
	loops := []loop.Loop{{Name: "operations", Step: c.findOperations}}
	if c.posts {
		loops = append(loops, loop.Loop{Name: "deliveries", Step: c.noteDeliveries})
	}
	if c.alerts {
		loops = append(loops, loop.Loop{Name: "alerts", Step: c.sendAlerts})
	}
	c.runner.Run(ctx, loops...)
	close(c.ending)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if err := c.client.Stop(stop); err != nil {
		c.log.Warn("chores did not end in time", "error", err)
	}
}

// start starts River, however many attempts that takes. It returns false if ctx ended first.
func (c *Chores) start(ctx context.Context) (started bool) {
	starting, done := context.WithCancel(ctx)
	defer done()
	c.runner.Run(starting, loop.Loop{Name: "start", Step: func(context.Context) (time.Duration, error) {
		// River lives as long as the context that it starts with.
		if err := c.client.Start(context.WithoutCancel(ctx)); err != nil {
			return 0, fmt.Errorf("starting River: %w", err)
		}
		started = true
		done()
		return 0, nil
	}})
	return started
}

// atLeast drops records below a level.
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

// hand gives River what is due, in the transaction that takes it from an outbox, and returns how much that was.
func (c *Chores) hand(ctx context.Context, due func(*db.Queries) ([]river.JobArgs, error)) (handed int, err error) {
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		args, err := due(db.New(tx))
		if err != nil || len(args) == 0 {
			return err
		}
		handed = len(args)
		params := make([]river.InsertManyParams, len(args))
		for i, a := range args {
			params[i].Args = a
		}
		_, err = c.client.InsertManyTx(ctx, tx, params)
		return err
	})
	return handed, err
}
