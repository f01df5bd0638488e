package jobs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// listener holds the one connection that LISTENs. While it is down, claimers poll; when it comes back, all of them look once.
type listener struct {
	url    string
	log    *slog.Logger
	woken  func(queues []string) // nil: any queue
	worker func(name string)
	alive  atomic.Bool
}

func (l *listener) up() bool { return l.alive.Load() }

func (l *listener) run(ctx context.Context) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		began := time.Now()
		err := l.listen(ctx)
		l.alive.Store(false)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("the connection that listens for wake-ups ended; polling until it is back", "error", err)
		l.woken(nil)
		if time.Since(began) > 10*time.Second {
			wait = 50 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (l *listener) listen(ctx context.Context) error {
	config, err := pgx.ParseConfig(l.url)
	if err != nil {
		return err
	}
	config.RuntimeParams["application_name"] = "weir listener"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "listen weir_ready; listen weir_worker"); err != nil {
		return err
	}
	l.alive.Store(true)
	l.woken(nil)
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		switch {
		case n.Channel == "weir_worker":
			l.worker(n.Payload)
		case n.Payload == "":
			l.woken(nil)
		default:
			l.woken(strings.Split(n.Payload, ","))
		}
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
