package migrations

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// RiverSchema is where River keeps the service's own background work.
const RiverSchema = "weir_river"

// riverUp brings River's schema to what the River in this program needs. River records its versions there itself.
func riverUp(ctx context.Context, databaseURL string) error {
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("migrating River's schema: %w", err)
	}
	defer pool.Close()
	// River's migrator does not wait for another's, and some of its steps must be committed one by one. So the nodes take turns here.
	err = pgx.BeginFunc(ctx, pool, func(turn pgx.Tx) error {
		if _, err := turn.Exec(ctx, "select pg_advisory_xact_lock($1)", lockID); err != nil {
			return err
		}
		if _, err := pool.Exec(ctx, "create schema if not exists "+RiverSchema); err != nil {
			return err
		}
		migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: RiverSchema, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("migrating River's schema: %w", err)
	}
	return nil
}

func riverDown(ctx context.Context, databaseURL string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("dropping River's schema: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "drop schema if exists "+RiverSchema+" cascade"); err != nil {
		return fmt.Errorf("dropping River's schema: %w", err)
	}
	return nil
}
