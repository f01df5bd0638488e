// Package jobs is the engine: it turns calls into the transactions of the SQL contract, and runs the loops that make jobs move.
// Each transition of a job exists once, as a function in the schema weir; this package batches, waits and wakes around them.
//
// It imports db, and knows nothing of HTTP. A file is a noun; the same stem names its queries in sql/ and its resource in api/.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/encryption"
	"github.com/weirhq/weir/jobs/batch"
	"github.com/weirhq/weir/jobs/claim"
	"github.com/weirhq/weir/jobs/clock"
	"github.com/weirhq/weir/jobs/listen"
	"github.com/weirhq/weir/jobs/loop"
)

// Config is how an Engine is set up. Only DatabaseURL is required.
type Config struct {
	DatabaseURL string
	// ListenURL is for what cannot go through a pooler in transaction mode: LISTEN, and the loops. Give it if, and only if, DatabaseURL leads to such
	// a pooler. Defaults to DatabaseURL.
	ListenURL string
	// MaxConns bounds the pool that serves calls; OwnConnections are separate from it. Defaults to 16.
	MaxConns int32
	// MaxQueued bounds how many enqueues, and how many acks, wait for the database; more are refused as Overloaded. Single ones and those of several
	// jobs are counted apart. Defaults to 10,000.
	MaxQueued int
	// MaxQueuedBytes bounds the bytes of the enqueues and acks that wait for the database; more are refused as Overloaded. Defaults to 64 MiB.
	MaxQueuedBytes int64
	// AuditRetentionDays is how long the audit trail is kept; months go as a whole. Defaults to 365.
	AuditRetentionDays int
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Metrics is where the figures are registered. Defaults to a registry of the engine's own.
	Metrics prometheus.Registerer
	// Keys encrypt what encrypted queues store. Defaults to none: such queues then take and give nothing here.
	Keys *encryption.Keys
	// Clock is where time and random numbers come from. Defaults to this machine's.
	Clock clock.Clock
}

// OwnConnections is the most connections that an Engine takes besides those that serve calls.
const (
	OwnConnections      = groupConnections + loopConnections + readConnections + probeConnections + listenerConnections + sealConnections
	groupConnections    = 2*manyFlights + 2*groupFlights + asideFlights // enqueues and acks, both several at once and single
	loopConnections     = 4
	readConnections     = 4 // lists and searches, so that they never take those of calls
	probeConnections    = 1 // readiness
	listenerConnections = 1
	sealConnections     = 2 // while this node seals a partition
)

// readsWaiting bounds the lists and searches that wait for a connection.
const readsWaiting = 128

const (
	callLockTimeout = 10 * time.Second // how long a call waits for a lock that another transaction holds
	callTimeout     = time.Minute      // the longest statement of a call,
	groupTimeout    = 30 * time.Second // of a group commit,
	readTimeout     = 5 * time.Second  // of a list or a search,
	readPatience    = 10 * time.Second // with the wait for its connection,
	probeTimeout    = 2 * time.Second  // of a question whether the database can be used,
	loopTimeout     = time.Hour        // and of a loop or a chore: a vacuum, or a partition that is rewritten
)

// Engine is one node. Any number of them share a database, and none keeps state that matters.
type Engine struct {
	node      string
	directURL string // reaches PostgreSQL itself
	pool      *db.Pool
	groupPool *db.Pool
	loopPool  *db.Pool
	readPool  *db.Pool
	probe     *db.Pool // asks whether the database can be used, whatever the other pools do
	share     *db.Share
	q         *db.Queries // for calls
	grouped   *db.Queries // for group commits, which do not wait long for a lock: every call in the group would wait with them
	loops     *db.Queries
	changes   *db.Queries // for calls that the audit trail records
	reads     *db.Queries // for lists and searches, which are bounded in time
	log       *slog.Logger
	clock     clock.Clock
	metrics   *metrics
	listener  *listen.Listener
	claims    *claim.Claimers
	enqueues  groups[enqueue, Enqueued]
	acks      groups[Ack, AckResult]
	watcher   *watcher
	seen      *lastSeen
	keyring   *keyring
	vault     *vault
	auditDays int32
	feed      *feed
	followed  *logFeed
	runner    *loop.Runner
	due       *dueWork
	watched   watched

	tickedAt clock.Stamp // when the frontier was last known to be up to date
	tickSoon loop.Signal // a claimer parked while transactions were writing
}

// Open makes an Engine. It connects when it is first used; Run makes jobs move.
func Open(ctx context.Context, c Config) (*Engine, error) {
	if c.MaxConns == 0 {
		c.MaxConns = 16
	}
	if c.MaxQueued == 0 {
		c.MaxQueued = 10000
	}
	if c.MaxQueuedBytes == 0 {
		c.MaxQueuedBytes = 64 << 20
	}
	if c.AuditRetentionDays == 0 {
		c.AuditRetentionDays = 365
	}
	if c.ListenURL == "" {
		c.ListenURL = c.DatabaseURL
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	share, pooled := db.NewShare(c.Logger), c.ListenURL != c.DatabaseURL
	pools := make([]*db.Pool, 5)
	for i, p := range []struct {
		url string
		db.Options
	}{
		{c.DatabaseURL, db.Options{
			Application: "weir", MaxConns: c.MaxConns, LockTimeout: callLockTimeout, StatementTimeout: callTimeout, Indexed: true, Pooled: pooled, Share: share,
		}},
		{c.DatabaseURL, db.Options{
			Application: "weir groups", MaxConns: groupConnections, LockTimeout: groupLockTimeout, StatementTimeout: groupTimeout, Pooled: pooled, Share: share,
		}},
		{c.DatabaseURL, db.Options{
			Application: "weir reads", MaxConns: readConnections, LockTimeout: callLockTimeout, StatementTimeout: readTimeout, Patience: readPatience,
			MaxWaiting: readsWaiting, Indexed: true, Pooled: pooled, Share: share,
		}},
		{c.DatabaseURL, db.Options{
			Application: "weir probe", MaxConns: probeConnections, LockTimeout: probeTimeout, StatementTimeout: probeTimeout, Patience: probeTimeout, Pooled: pooled, Share: share,
		}},
		{c.ListenURL, db.Options{Application: "weir loops", MaxConns: loopConnections, StatementTimeout: loopTimeout, AsyncCommit: true, Share: share}},
	} {
		pool, err := db.Open(ctx, p.url, p.Options)
		if err != nil {
			for _, opened := range pools[:i] {
				opened.Close()
			}
			return nil, err
		}
		pools[i] = pool
	}
	pool, groupPool, readPool, probe, loopPool := pools[0], pools[1], pools[2], pools[3], pools[4]
	host, _ := os.Hostname()
	e := &Engine{
		node: host + "/" + uuid.NewString(), directURL: c.ListenURL, pool: pool, groupPool: groupPool, loopPool: loopPool, readPool: readPool, probe: probe, share: share,
		q: db.New(pool), changes: db.New(db.Acting{Pool: pool, Actor: actorOf}), grouped: db.New(groupPool), loops: db.New(loopPool), reads: db.New(readPool), log: c.Logger, clock: c.Clock,
		auditDays: int32(c.AuditRetentionDays),
		seen:      newLastSeen(c.Clock), tickSoon: loop.NewSignal(),
	}
	e.keyring = newKeyring(e)
	e.vault = newVault(e, c.Keys)
	e.watcher = newWatcher(e)
	e.feed = newFeed(e)
	e.followed = newLogFeed(e)
	e.due = newDueWork(e)
	e.metrics = newMetrics(e)
	e.runner = &loop.Runner{Clock: c.Clock, Log: c.Logger, Observe: e.metrics.step, Describe: func(err error) string { return string(CodeOf(err)) }}
	room := batch.NewRoom(c.MaxQueuedBytes)
	aside := make(chan struct{}, asideFlights)
	e.enqueues = newGroups(e, c.MaxQueued, room, aside, grouping[enqueue, Enqueued]{
		run: e.enqueueTogether, bytes: func(c enqueue) int { return len(c.job) }, keys: enqueueLocks, blames: blamesQuota, name: "enqueue",
	})
	e.acks = newGroups(e, c.MaxQueued, room, aside, grouping[Ack, AckResult]{run: e.ackTogether, bytes: Ack.bytes, keys: ackLocks, name: "ack"})
	e.listener = e.newListener(c.ListenURL)
	e.claims = claim.New(claim.Config{
		Store: e.q, Node: e.node, Log: e.log, Clock: e.clock, Observe: claimObserver{e.metrics}, Notified: e.listener.Up, Tick: e.tickNow, GiveBack: e.giveBack,
	})
	if err := c.Metrics.Register(e.metrics); err != nil {
		e.Close()
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return e, nil
}

// Run makes jobs move until ctx ends: it listens for notifications and runs the loops.
func (e *Engine) Run(ctx context.Context) {
	var g errgroup.Group
	g.Go(func() error { e.listener.Run(ctx); return nil })
	g.Go(func() error { e.runner.Run(ctx, e.newLoops()...); return nil })
	_ = g.Wait()
	e.forget(ctx)
}

func (e *Engine) newListener(url string) *listen.Listener {
	return &listen.Listener{
		URL: url, Log: e.log, Clock: e.clock,
		Share:  e.share,
		Missed: func() { e.vault.forget(""); e.claims.Wake(nil) },
		Handle: map[string]func(payload string){
			"weir_ready": func(queues string) {
				if queues == "" { // any queue
					e.claims.Wake(nil)
					return
				}
				e.claims.Wake(strings.Split(queues, ","))
			},
			"weir_worker": func(name string) { e.claims.WorkerChanged(name) },
			"weir_key":    e.keyring.forget,
			"weir_queue":  e.vault.forget,
		},
	}
}

// Drain ends all claims that wait, with what they have, and refuses new ones with Unavailable. It also ends all waits for the end of a job, and
// all streams. Everything else goes on.
func (e *Engine) Drain() {
	e.claims.Drain()
	e.watcher.drain()
	e.feed.drain()
	e.followed.drain()
}

// Close ends the connections. Call it when Run has returned and no call is under way.
func (e *Engine) Close() {
	e.pool.Close()
	e.groupPool.Close()
	e.loopPool.Close()
	e.readPool.Close()
	e.probe.Close()
}

// Ready says whether this node can serve calls: it is not shutting down, and the database answers and takes its writes.
func (e *Engine) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if e.claims.Draining() {
		return shuttingDown()
	}
	if err := e.usable(ctx); err != nil {
		return err
	}
	e.setDatabaseCheck(Check{Name: "database", At: e.clock.Now().UTC()})
	return nil
}

// usable says whether the database answers and takes the writes of calls.
func (e *Engine) usable(ctx context.Context) error {
	err := e.probe.Usable(ctx)
	var unusable db.Unusable
	if errors.As(err, &unusable) {
		return &Error{Code: Unavailable, Message: unusable.Reason, Hint: "Ask another node, or try again once that has changed."}
	}
	return fromDB("asking the database", err)
}

// Share is what the connections of this node are divided by, for pools that others open for it.
func (e *Engine) Share() *db.Share { return e.share }

// Node names this run of this node.
func (e *Engine) Node() string { return e.node }

// DatabaseVersion is the version of PostgreSQL, such as 15.8.
func (e *Engine) DatabaseVersion(ctx context.Context) (string, error) {
	version, err := db.New(e.probe).DatabaseVersion(ctx)
	return version, fromDB("asking the database's version", err)
}
