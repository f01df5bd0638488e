package weir

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	parkFor   = 30 * time.Second // of the parking: for 30 s statements that make jobs available notify
	lookEvery = time.Second      // claims that wait look again, because no notification tells of a transaction that was open when they parked
	idleFor   = 5 * time.Second  // without a claim, before the connection is given up
	claimIn   = 30 * time.Second // a claim statement takes no longer
)

// sqlClaims is the one connection through which all workers of a client claim, one statement at a time. Claims that find nothing wait together for a
// notification.
type sqlClaims struct {
	pool *pgxpool.Pool
	log  *slog.Logger

	mu      sync.Mutex
	waiting []*sqlClaim
	nudge   context.CancelFunc // ends the wait for notifications; nil: it does not wait
	runs    bool
	closed  bool
	over    sync.WaitGroup

	// Only run touches these.
	listens     bool
	parkedUntil time.Time
	parked      []string // the queues that are parked
}

// sqlClaim is one claim.
type sqlClaim struct {
	claimRequest
	stop     context.Context
	until    time.Time // when its wait is over
	woken    bool      // there may be something for it; guarded by the mutex
	answered chan sqlAnswer
}

type sqlAnswer struct {
	jobs []*claimedJob
	err  error
}

func newSQLClaims(pool *pgxpool.Pool, s *settings) *sqlClaims {
	return &sqlClaims{pool: pool, log: s.log}
}

// claim has the connection claim.
func (c *sqlClaims) claim(stop context.Context, r claimRequest) ([]*claimedJob, error) {
	q := &sqlClaim{
		claimRequest: r, stop: stop, woken: true, answered: make(chan sqlAnswer, 1),
		until: time.Now().Add(time.Duration(r.WaitSeconds * float64(time.Second))),
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errClosed
	}
	c.waiting = append(c.waiting, q)
	if !c.runs {
		c.runs = true
		c.over.Go(c.run)
	}
	c.wake()
	c.mu.Unlock()
	defer context.AfterFunc(stop, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wake()
	})()
	a := <-q.answered // a claim is not broken off: what it takes must not be lost
	return a.jobs, a.err
}

// wake ends the wait for notifications. The mutex is held.
func (c *sqlClaims) wake() {
	if c.nudge != nil {
		c.nudge()
	}
}

func (c *sqlClaims) close() {
	c.mu.Lock()
	c.closed = true
	c.wake()
	c.mu.Unlock()
	c.over.Wait()
}

// run serves claims until there have been none for a while.
func (c *sqlClaims) run() {
	for {
		conn, err := c.connect()
		if err == nil {
			err = c.serve(conn)
			c.leave(conn, err)
		}
		if c.finish(err) {
			return
		}
	}
}

// finish answers all claims after an error, and says whether run may end.
func (c *sqlClaims) finish(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.closed {
		for _, q := range c.waiting {
			q.answered <- sqlAnswer{err: sqlError(err)}
		}
		c.waiting = nil
	}
	c.runs = len(c.waiting) > 0
	return !c.runs
}

// connect takes a connection out of the pool. It does not come back, because it listens.
func (c *sqlClaims) connect() (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), claimIn)
	defer cancel()
	pooled, err := c.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	c.listens, c.parkedUntil, c.parked = false, time.Time{}, nil
	return pooled.Hijack(), nil
}

// leave closes the connection.
func (c *sqlClaims) leave(conn *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err == nil && time.Now().Before(c.parkedUntil) {
		_, _ = conn.Exec(ctx, "select weir.unpark($1, $2)", c.parked, c.node(conn))
	}
	_ = conn.Close(ctx)
}

// node is the name under which the connection parks.
func (c *sqlClaims) node(conn *pgx.Conn) string {
	return "client-" + strconv.FormatUint(uint64(conn.PgConn().PID()), 10)
}

// serve runs claims one after the other, until there have been none for a while, or an error.
func (c *sqlClaims) serve(conn *pgx.Conn) error {
	idle := time.Now()
	for {
		q, any, closed := c.next()
		switch {
		case closed:
			return nil
		case q != nil:
			idle = time.Now()
			jobs, err := c.take(conn, q)
			if err != nil && (conn.IsClosed() || isAway(err)) {
				q.answered <- sqlAnswer{err: sqlError(err)}
				return err
			}
			c.answer(q, jobs, err)
		case any:
			idle = time.Now()
			if err := c.wait(conn); err != nil {
				return err
			}
		case time.Since(idle) > idleFor:
			return nil
		default:
			if err := c.notified(conn, idleFor); err != nil {
				return err
			}
		}
	}
}

// next takes a claim that may find something out of the line, and answers those whose time is over. any says that others wait.
func (c *sqlClaims) next() (q *sqlClaim, any, closed bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, true
	}
	left := c.waiting[:0]
	for _, w := range c.waiting {
		switch {
		case w.stop.Err() != nil:
			w.answered <- sqlAnswer{err: w.stop.Err()}
		case q == nil && w.woken:
			q = w
		case !w.woken && now.After(w.until):
			w.answered <- sqlAnswer{}
		default:
			left = append(left, w)
		}
	}
	clear(c.waiting[len(left):])
	c.waiting = left
	return q, len(left) > 0, false
}

// answer answers a claim, or puts it back in line where it found nothing and may wait.
func (c *sqlClaims) answer(q *sqlClaim, jobs []*claimedJob, err error) {
	if err == nil && len(jobs) == 0 && time.Now().Before(q.until) && q.stop.Err() == nil {
		q.woken = false
		c.mu.Lock()
		c.waiting = append(c.waiting, q)
		c.mu.Unlock()
		return
	}
	q.answered <- sqlAnswer{jobs, sqlError(err)}
}

const claimSQL = `select job_id, token::text, kind, queue, args, attempt, max_attempts, priority, timeout_seconds, created_at,
  coalesce(tags, '{}'), metadata, dependencies, degraded from weir.claim($1, worker => $2, max_jobs => $3, lease_seconds => $4)`

// take runs a claim statement.
func (c *sqlClaims) take(conn *pgx.Conn, q *sqlClaim) ([]*claimedJob, error) {
	ctx, cancel := context.WithTimeout(context.Background(), claimIn)
	defer cancel()
	var lease *int
	if q.LeaseSeconds > 0 {
		lease = &q.LeaseSeconds
	}
	began := time.Now()
	rows, _ := conn.Query(ctx, claimSQL, q.Queues, q.Worker, q.Limit, lease)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*claimedJob, error) {
		j := &claimedJob{claimedAt: began}
		var id int64
		err := row.Scan(&id, &j.Token, &j.Kind, &j.Queue, &j.Args, &j.Attempt, &j.MaxAttempts, &j.Priority, &j.TimeoutSeconds, &j.CreatedAt,
			&j.Tags, &j.Metadata, &j.Dependencies, &j.Degraded)
		j.ID = ID(id)
		return j, err
	})
}

// wait waits for jobs: it listens, parks, looks once more, and then waits for a notification.
func (c *sqlClaims) wait(conn *pgx.Conn) error {
	queues := c.queues()
	if now := time.Now(); now.After(c.parkedUntil.Add(-parkFor/2)) || slices.ContainsFunc(queues, func(q string) bool { return !slices.Contains(c.parked, q) }) {
		ctx, cancel := context.WithTimeout(context.Background(), claimIn)
		defer cancel()
		if !c.listens {
			if _, err := conn.Exec(ctx, "listen weir_ready"); err != nil {
				return err
			}
			c.listens = true
		}
		if _, err := conn.Exec(ctx, "select weir.park($1, $2, $3)", queues, c.node(conn), int(parkFor.Seconds())); err != nil {
			return err
		}
		c.parkedUntil, c.parked = now.Add(parkFor), queues
		c.rouse(nil) // no notification tells of what came before
		return nil
	}
	return c.notified(conn, lookEvery)
}

// queues are those that claims wait for.
func (c *sqlClaims) queues() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.waiting {
		names = append(names, q.Queues...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// rouse has the claims for some queues look again; nil: all claims.
func (c *sqlClaims) rouse(queues []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.waiting {
		q.woken = q.woken || queues == nil || slices.ContainsFunc(q.Queues, func(name string) bool { return slices.Contains(queues, name) })
	}
}

// notified waits for a notification, a new claim or the end of a time, whichever comes first, and wakes those that it concerns.
func (c *sqlClaims) notified(conn *pgx.Conn, most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	c.mu.Lock()
	if slices.ContainsFunc(c.waiting, func(q *sqlClaim) bool { return q.woken || q.stop.Err() != nil }) || c.closed {
		c.mu.Unlock()
		return nil
	}
	c.nudge = cancel
	c.mu.Unlock()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			c.mu.Lock()
			c.nudge = nil
			c.mu.Unlock()
			if conn.IsClosed() {
				return err
			}
			if ctx.Err() == context.DeadlineExceeded {
				c.rouse(nil)
			}
			return nil
		}
		var queues []string
		if n.Payload != "" {
			queues = strings.Split(n.Payload, ",")
		}
		c.rouse(queues)
		cancel() // and take the others that have come
	}
}
