// Package listen holds the one connection of a node that LISTENs for notifications.
//
// It imports db, and does not know jobs: what to do about a notification comes in as functions.
package listen

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/clock"
)

const (
	shortestWait = 50 * time.Millisecond // before connecting again; it doubles with each failure,
	longestWait  = 2 * time.Second       // up to this
	steadyAfter  = 10 * time.Second      // a connection that lasted this long is no failure
	quietFor     = 2 * time.Second       // after this long without a notification the connection is pinged,
	pongWithin   = 2 * time.Second       // and given up if no answer arrives
	warnEvery    = 30 * time.Second
)

// Listener keeps a connection that LISTENs. While it is down, claimers poll; when it is back, all of them claim once.
type Listener struct {
	URL   string
	Log   *slog.Logger
	Clock clock.Clock
	// Share is what the pools of the node divide their connections by.
	Share *db.Share
	// Handle has, for each channel, what to do with the payload of a notification.
	Handle map[string]func(payload string)
	// Missed is called when notifications may have been missed.
	Missed func()

	up       atomic.Bool
	warnedAt time.Time // only Run touches it
}

// Up says whether notifications arrive.
func (l *Listener) Up() bool { return l.up.Load() }

// Run listens until ctx ends, and connects again when the connection is lost.
func (l *Listener) Run(ctx context.Context) {
	for wait := shortestWait; ctx.Err() == nil; wait = min(2*wait, longestWait) {
		began := l.Clock.Now()
		err := l.listen(ctx)
		wasUp := l.up.Swap(false)
		if ctx.Err() != nil {
			return
		}
		if now := l.Clock.Now(); wasUp || now.Sub(l.warnedAt) > warnEvery {
			l.warnedAt = now
			l.Log.Warn("the connection that listens for notifications is down; polling", "error", err)
		}
		l.Missed()
		if l.Clock.Since(began) > steadyAfter {
			wait = shortestWait
		}
		_ = l.Clock.Sleep(ctx, wait)
	}
}

func (l *Listener) listen(ctx context.Context) error {
	conn, err := db.Connect(ctx, l.URL, db.Options{Application: "weir listener", Share: l.Share})
	if err != nil {
		return err
	}
	defer closeSoon(conn)
	for channel := range l.Handle {
		if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
			return err
		}
	}
	l.up.Store(true)
	l.Missed()
	for {
		if err := l.next(ctx, conn); err != nil {
			return err
		}
	}
}

// next handles one notification. If none arrives for a while it makes sure that the connection still works: a connection that was cut without a
// word looks like one on which nothing happens.
func (l *Listener) next(ctx context.Context, conn *pgx.Conn) error {
	quiet, cancel := context.WithTimeout(ctx, quietFor)
	n, err := conn.WaitForNotification(quiet)
	cancel()
	switch {
	case err == nil:
		if handle := l.Handle[n.Channel]; handle != nil {
			handle(n.Payload)
		}
		return nil
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || conn.IsClosed():
		return err
	}
	pong, cancel := context.WithTimeout(ctx, pongWithin)
	defer cancel()
	return conn.Ping(pong)
}

// closeSoon tells the server that the connection ends, if it can do so within a second.
func closeSoon(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
