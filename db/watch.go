package db

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	watchEvery  = 250 * time.Millisecond
	doubtAfter  = 2500 * time.Millisecond // a server that is silent for longer while a statement runs is asked about it,
	probeWithin = 1250 * time.Millisecond // on another connection
)

// watch notices connections that were cut without a word, such as by a proxy or a firewall that forwards nothing any more. The kernel cannot tell:
// a proxy acknowledges what it does not forward. So where the server has been silent for a while, another connection asks it whether it is
// working on the statement. If not, the connection is closed, and its statement fails at once. A statement that waits or works for long is left alone.
type watch struct {
	stop context.CancelFunc
	ctx  context.Context

	mu    sync.Mutex
	conns map[*watched]struct{}
}

// watched is a connection that knows since when it waits for the server.
type watched struct {
	net.Conn
	watch   *watch
	backend atomic.Uint32 // the process of the server; 0: not known
	since   atomic.Int64  // when the read or write under way began, in Unix nanoseconds; 0: none is
}

func newWatch() *watch {
	ctx, stop := context.WithCancel(context.Background())
	return &watch{ctx: ctx, stop: stop, conns: map[*watched]struct{}{}}
}

func (w *watch) end() { w.stop() }

func (w *watch) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &watched{Conn: conn, watch: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = struct{}{}
	return c, nil
}

func (c *watched) Read(b []byte) (int, error) {
	c.since.Store(time.Now().UnixNano())
	defer c.since.Store(0)
	return c.Conn.Read(b)
}

func (c *watched) Write(b []byte) (int, error) {
	c.since.Store(time.Now().UnixNano())
	defer c.since.Store(0)
	return c.Conn.Write(b)
}

func (c *watched) Close() error {
	c.watch.mu.Lock()
	delete(c.watch.conns, c)
	c.watch.mu.Unlock()
	return c.Conn.Close()
}

// noteBackend tells a watched connection which process of the server serves it.
func noteBackend(conn *pgconn.PgConn, pid uint32) {
	c := conn.Conn()
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if c, ok := c.(*watched); ok {
		c.backend.Store(pid)
	}
}

// run closes dead connections of a pool until the watch ends.
func (w *watch) run(pool *pgxpool.Pool) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-ticker.C:
		}
		silent := w.silent()
		if len(silent) == 0 {
			continue
		}
		working, err := w.ask(pool, silent)
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			continue // it answers, but has no connection to ask on
		}
		closed := false
		for c, since := range silent {
			if !working[c.backend.Load()] && c.since.Load() == since {
				_ = c.Conn.Close() // the reader gets an error and closes the rest
				closed = true
			}
		}
		if closed {
			pool.Reset() // its idle connections went the same way
		}
	}
}

// silent returns the connections whose server has been silent for a while, and since when.
func (w *watch) silent() map[*watched]int64 {
	doubtful := time.Now().Add(-doubtAfter).UnixNano()
	w.mu.Lock()
	defer w.mu.Unlock()
	var silent map[*watched]int64
	for c := range w.conns {
		if since := c.since.Load(); since != 0 && since < doubtful && c.backend.Load() != 0 {
			if silent == nil {
				silent = map[*watched]int64{}
			}
			silent[c] = since
		}
	}
	return silent
}

const workingBackends = `select pid from pg_catalog.pg_stat_activity
where pid = any($1) and coalesce(state, '') not like 'idle%' and wait_event is distinct from 'ClientWrite'`

// ask returns which backends work on a statement. It asks on a connection of the pool and on a new one, and takes the first answer. An error that is not the
// server's own means that it cannot be reached at all.
func (w *watch) ask(pool *pgxpool.Pool, silent map[*watched]int64) (map[uint32]bool, error) {
	var pids []int32
	for c := range silent {
		pids = append(pids, int32(c.backend.Load()))
	}
	ctx, cancel := context.WithTimeout(w.ctx, probeWithin)
	defer cancel()
	type answer struct {
		pids []int32
		err  error
	}
	answers := make(chan answer, 2)
	go func() {
		rows, err := pool.Query(ctx, workingBackends, pids)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[int32])
		answers <- answer{found, err}
	}()
	go func() {
		found, err := askAnew(ctx, pool.Config().ConnConfig, pids)
		answers <- answer{found, err}
	}()
	var err error
	for range 2 {
		a := <-answers
		if a.err == nil {
			working := map[uint32]bool{}
			for _, pid := range a.pids {
				working[uint32(pid)] = true
			}
			return working, nil
		}
		err = errors.Join(err, a.err)
	}
	return nil, err
}

func askAnew(ctx context.Context, config *pgx.ConnConfig, pids []int32) ([]int32, error) {
	config = config.Copy()
	config.DialFunc, config.AfterConnect = dial, nil
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer closeSoon(conn)
	rows, err := conn.Query(ctx, workingBackends, pids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}
