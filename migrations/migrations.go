// Package migrations carries weir's schema inside the program, and brings a database to it and back.
//
// Everything weir owns is in the schema weir, which migration 1 makes; River's tables are in weir_river. What has been applied is recorded outside of it,
// in the table public.weir_migrations, so that the record outlives the schema.
//
// Any number of nodes may call [Up] at once: one applies, the others wait for it. The waiting rests on a session's
// advisory lock, so the address must reach PostgreSQL itself, or a pooler in session mode.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Files are the migrations, NNNN_topic.sql, each with its way up and down.
//
//go:embed *.sql
var Files embed.FS

// table records the applied versions. Its schema is spelt out: a search_path must not decide which record counts.
const table = "public.weir_migrations"

// lockID is the advisory lock of whoever migrates: "weir" in ASCII. It is not goose's own, because another application
// in the same database may use that.
const lockID = 0x77656972

// lockSeconds is how long to wait for another node that migrates. It bounds the longest migration.
const lockSeconds = 15 * 60

// Migration is one step of the schema's history.
type Migration struct {
	Version int64

	// Name is the file's name. It is empty for a version that the database has and this program does not know, because
	// a newer program made it.
	Name string

	// AppliedAt is zero for a migration that the database has not had yet.
	AppliedAt time.Time
}

// Up applies all migrations that the database has not had yet, River's included, and brings the time zones that schedules go by.
func Up(ctx context.Context, databaseURL string) error {
	if err := up(ctx, databaseURL, Files); err != nil {
		return err
	}
	if err := zonesUp(ctx, databaseURL); err != nil {
		return err
	}
	return riverUp(ctx, databaseURL)
}

// Down takes back, newest first, every migration above the given version. Version 0 leaves nothing of weir but the
// empty record, and takes all jobs with it.
func Down(ctx context.Context, databaseURL string, version int64) error {
	if err := down(ctx, databaseURL, version, Files); err != nil || version > 0 {
		return err
	}
	return riverDown(ctx, databaseURL)
}

// Status lists the migrations that this program or the database knows, in order. It changes nothing.
func Status(ctx context.Context, databaseURL string) ([]Migration, error) {
	return status(ctx, databaseURL, Files)
}

// Pending tells whether Up would apply anything. It changes nothing.
func Pending(ctx context.Context, databaseURL string) (bool, error) {
	list, err := Status(ctx, databaseURL)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(m Migration) bool { return m.AppliedAt.IsZero() }), nil
}

// Version returns the highest version that the database has had, 0 for none. It changes nothing.
func Version(ctx context.Context, databaseURL string) (int64, error) {
	list, err := Status(ctx, databaseURL)
	if err != nil {
		return 0, err
	}
	for _, m := range slices.Backward(list) {
		if !m.AppliedAt.IsZero() {
			return m.Version, nil
		}
	}
	return 0, nil
}

func up(ctx context.Context, databaseURL string, files fs.FS) error {
	provider, err := connect(databaseURL, files)
	if err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	defer provider.Close()
	_, err = provider.Up(ctx)
	return explain("migrating up", err)
}

func down(ctx context.Context, databaseURL string, version int64, files fs.FS) error {
	provider, err := connect(databaseURL, files)
	if err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	defer provider.Close()
	_, err = provider.DownTo(ctx, version)
	return explain("migrating down", err)
}

// connect returns goose for a database. Closing it closes its connections.
func connect(databaseURL string, files fs.FS) (*goose.Provider, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, err
	}
	// goose records local times without their zone; status reads them as UTC.
	config.RuntimeParams["timezone"] = "UTC"
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID), lock.WithLockTimeout(1, lockSeconds))
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*config)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(table), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return provider, nil
}

// explain names the file that failed, which goose's error does not.
func explain(doing string, err error) error {
	var partial *goose.PartialError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &partial):
		return fmt.Errorf("%s: %s: %w", doing, path.Base(partial.Failed.Source.Path), partial.Err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// status reads the record itself instead of asking goose, which would make the table where there is none: a reader may
// lack the right to, and asking should change nothing.
func status(ctx context.Context, databaseURL string, files fs.FS) ([]Migration, error) {
	applied, err := applied(ctx, databaseURL)
	if err != nil {
		return nil, fmt.Errorf("reading which migrations the database has had: %w", err)
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var list []Migration
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		list = append(list, Migration{Version: version, Name: name, AppliedAt: applied[version]})
		delete(applied, version)
	}
	for version, at := range applied {
		list = append(list, Migration{Version: version, AppliedAt: at})
	}
	slices.SortFunc(list, func(a, b Migration) int { return int(a.Version - b.Version) })
	return list, nil
}

// applied returns the versions in the record and when each was applied.
func applied(ctx context.Context, databaseURL string) (map[int64]time.Time, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	versions := map[int64]time.Time{}
	var recorded bool
	if err := conn.QueryRow(ctx, "select to_regclass($1) is not null", table).Scan(&recorded); err != nil || !recorded {
		return versions, err
	}
	// Version 0 is goose's mark that the record was begun.
	rows, err := conn.Query(ctx, "select version_id, tstamp at time zone 'UTC' from "+table+" where version_id > 0 and is_applied")
	if err != nil {
		return nil, err
	}
	var version int64
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&version, &at}, func() error {
		versions[version] = at
		return nil
	})
	return versions, err
}
