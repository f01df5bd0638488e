package migrations

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/weirhq/weir/db"
)

// RiverSchema is where River keeps the service's background work.
const RiverSchema = "weir_river"

// riverUp brings River's schema to what the River in this program needs. River records its versions there. The caller
// holds the migration lock; River's migrator has none, and commits some of its steps separately.
func riverUp(ctx context.Context, databaseURL string) error {
	pool, err := db.OpenPgx(ctx, databaseURL, session)
	if err != nil {
		return fmt.Errorf("migrating River's schema: %w", err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "do $$ begin if to_regnamespace('"+RiverSchema+"') is null then create schema "+RiverSchema+"; end if; end $$"); err != nil {
		return fmt.Errorf("making the schema %s: %w", RiverSchema, err)
	}
	config := rivermigrate.Config{Schema: RiverSchema, Logger: slog.New(slog.DiscardHandler)}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &config)
	if err != nil {
		return fmt.Errorf("migrating River's schema: %w", err)
	}
	if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrating River's schema: %w", err)
	}
	return nil
}
