package scenario

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// continuous loads the system to saturation.
func continuous(ctx context.Context, s *stage) error {
	stop, err := s.queue.Work(ctx, s.crew(), s.ledger)
	if err != nil {
		return err
	}
	producing, end := context.WithCancel(ctx)
	defer end()
	produced := make(chan error, 1)
	go func() { produced <- s.produce(ctx, producing) }()

	err = s.awaitCompleted(ctx, 1) // some systems take seconds to start
	start, before := time.Now(), s.ledger.CountCompleted()
	var series, speeds []float64
	if err == nil {
		series, speeds, err = s.sample(ctx, s.Duration)
	}
	done, took := s.ledger.CountCompleted()-before, time.Since(start)
	end()
	if err := errors.Join(err, <-produced, stop()); err != nil {
		return err
	}
	s.result.Series, s.result.Speeds = series, speeds
	s.rate("jobs/s", done, took)
	s.result.Figures["slowest 5 s"] = slices.Min(windows(series))
	s.result.Figures["slowest 5 s %"] = slowest(series)
	s.result.Figures["slowest 5 s %, even machine"] = slowest(evened(series, speeds))
	tenth := max(1, len(series)/10)
	s.result.Figures["first tenth"] = mean(series[:min(tenth, len(series))])
	s.result.Figures["last tenth"] = mean(series[max(0, len(series)-tenth):])
	return nil
}

// pinned is continuous beside a transaction that holds back the xmin horizon.
func pinned(ctx context.Context, s *stage) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "select count(*) from pg_class"); err != nil { // the snapshot is taken by the first statement
		return err
	}
	err = continuous(ctx, s)
	return errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
}
