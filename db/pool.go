// Package db is weir's way to PostgreSQL: the queries of sql/queries, as sqlc generates them, and the connections that run them.
// It knows nothing of jobs or HTTP.
package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	pingAfter  = time.Second     // a connection that was idle for longer is tried before it is used
	pingWithin = 2 * time.Second // if it does not answer, no idle connection is trusted
	refusedMin = 20 * time.Millisecond
	refusedMax = 500 * time.Millisecond
)

// Pool runs statements on a few connections. It is a DBTX, and has three things that a pgxpool.Pool lacks: callers wait their turn, in order, where
// PostgreSQL grants fewer connections than the pool may have; a connection that was cut without a word is noticed within seconds; and a
// session has the settings that weir depends on.
type Pool struct {
	pgx   *pgxpool.Pool
	gate  *gate
	share *Share
	watch *watch

	patience time.Duration // see Options
}

var _ DBTX = (*Pool)(nil)

// Open makes a Pool. It connects when it is first used.
func Open(ctx context.Context, url string, o Options) (*Pool, error) {
	w := newWatch()
	pool, err := open(ctx, url, o, w)
	if err != nil {
		return nil, err
	}
	p := &Pool{pgx: pool, gate: newGate(int(o.MaxConns)), share: o.Share, watch: w, patience: o.Patience}
	p.gate.longest = o.MaxWaiting
	if p.share == nil {
		p.share = NewShare(nil)
	}
	p.share.add(member{pool: p, pgx: pool, max: int(o.MaxConns)})
	go w.run(pool)
	return p, nil
}

// OpenPgx makes a pool for a library that needs pgx's own. Its sessions have the same settings, and it counts in the Share, but it does not wait
// where PostgreSQL grants fewer connections.
func OpenPgx(ctx context.Context, url string, o Options) (*pgxpool.Pool, error) {
	pool, err := open(ctx, url, o, nil)
	if err == nil && o.Share != nil {
		o.Share.add(member{pgx: pool, max: int(o.MaxConns)})
	}
	return pool, err
}

func open(ctx context.Context, url string, o Options, w *watch) (pool *pgxpool.Pool, err error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	config.MaxConns = o.MaxConns
	configure(config.ConnConfig, o, w)
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		conn.TypeMap().RegisterType(&pgtype.Type{Name: "jsonb", OID: pgtype.JSONBOID, Codec: &pgtype.JSONBCodec{Marshal: json.Marshal, Unmarshal: readJSON}})
		return nil
	}
	config.ShouldPing = func(ctx context.Context, idle pgxpool.ShouldPingParams) bool {
		if idle.IdleDuration < pingAfter {
			return false
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingWithin)
		defer cancel()
		if idle.Conn.Ping(ctx) == nil {
			return false
		}
		pool.Reset()
		return true // it is closed now, so a ping fails at once and the next connection is tried
	}
	if pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("opening a pool: %w", err)
	}
	return pool, nil
}

// Close ends the connections, once they are released.
func (p *Pool) Close() {
	p.watch.end()
	p.share.remove(p.pgx)
	p.pgx.Close()
}

// acquire waits for a turn and then for a connection. Where PostgreSQL refuses another connection, the pool makes do with those that it has.
func (p *Pool) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	for pause := refusedMin; ; pause = min(2*pause, refusedMax) {
		if err := p.gate.enter(ctx); err != nil {
			return nil, err
		}
		conn, err := p.pgx.Acquire(ctx)
		if err == nil {
			return conn, nil
		}
		p.gate.leave()
		if !isFull(err) {
			return nil, err
		}
		p.share.refused()
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

func (p *Pool) release(conn *pgxpool.Conn) {
	if p.share.short.Load() && int(p.pgx.Stat().TotalConns()) > p.gate.most() {
		closeSoon(conn.Conn())
	}
	conn.Release()
	p.gate.leave()
}

// bound gives a statement, with the wait for its connection, the time that the pool allows.
func (p *Pool) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.patience == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.patience)
}

// hold acquires a connection for one statement.
func (p *Pool) hold(ctx context.Context) (context.Context, held, error) {
	ctx, end := p.bound(ctx)
	conn, err := p.acquire(ctx)
	if err != nil {
		end()
		return ctx, held{}, err
	}
	return ctx, held{p, conn, ctx, end}, nil
}

// Exec runs a statement that returns no rows.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	ctx, h, err := p.hold(ctx)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	defer h.release()
	return h.conn.Exec(ctx, sql, args...)
}

// Query runs a statement whose rows must be closed.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	ctx, h, err := p.hold(ctx)
	if err != nil {
		return nil, err
	}
	r, err := h.conn.Query(ctx, sql, args...)
	if err != nil {
		h.release()
		return nil, err
	}
	return &rows{Rows: r, held: h, page: pageOf(ctx)}, nil
}

// QueryRow runs a statement whose one row must be scanned.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	ctx, h, err := p.hold(ctx)
	if err != nil {
		return failedRow{err}
	}
	return &row{Row: h.conn.QueryRow(ctx, sql, args...), held: h}
}

// Begin starts a transaction.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) {
	conn, err := p.acquire(ctx)
	if err != nil {
		return nil, err
	}
	h := held{p, conn, ctx, func() {}}
	t, err := conn.Begin(ctx)
	if err != nil {
		h.release()
		return nil, err
	}
	return &tx{Tx: t, held: h}, nil
}

// Stat is how a pool is used.
type Stat struct {
	Idle, Used, Max int           // connections, and how many it may have at the moment
	Waits           int64         // how often a caller had to wait for its turn
	WaitTime        time.Duration // how long callers waited for a connection, in all
}

// Stat returns how the pool is used.
func (p *Pool) Stat() Stat {
	s := p.pgx.Stat()
	waits, waited := p.gate.waits()
	return Stat{
		Idle: int(s.IdleConns()), Used: int(s.AcquiredConns()), Max: p.gate.most(), Waits: waits, WaitTime: waited + s.AcquireDuration(),
	}
}

// closeSoon closes a connection, and tells the server if it can do so within a second.
func closeSoon(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
