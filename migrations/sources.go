package migrations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/sql"
)

// source is a file of functions or views, or of who may use them.
type source struct {
	name, text, checksum string
}

// sources returns the files in the order in which they are applied: functions before views, which call them.
func sources() ([]source, error) {
	var list []source
	for _, pattern := range []string{"functions/*.sql", "views/*.sql", "access/*.sql"} {
		names, err := fs.Glob(sql.Files, pattern)
		if err != nil {
			return nil, err
		}
		slices.Sort(names)
		for _, name := range names {
			text, err := fs.ReadFile(sql.Files, name)
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256(text)
			list = append(list, source{name, string(text), hex.EncodeToString(sum[:])})
		}
	}
	return list, nil
}

// applySources applies the functions and views that differ from what the database has, in one transaction, and makes the
// partitions that a new database needs. It leaves a database alone that a newer program has migrated. The caller holds
// the lock.
func applySources(ctx context.Context, conn *pgx.Conn) error {
	migrations, err := list(ctx, conn, Files)
	if err != nil || len(State{Migrations: migrations}.Newer()) > 0 {
		return err
	}
	all, err := sources()
	if err != nil {
		return err
	}
	stale, err := staleSources(ctx, conn)
	if err != nil || len(stale) == 0 {
		return explain("comparing functions and views", err)
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Bodies are not checked, so that the order of the files does not matter.
		if _, err := tx.Exec(ctx, "set local check_function_bodies = off; set local search_path = pg_catalog"); err != nil {
			return err
		}
		names := make([]string, 0, len(all))
		for _, s := range all {
			names = append(names, s.name)
			// Replacing a function forgets its settings, which the files of access make.
			if !slices.Contains(stale, s.name) && !strings.HasPrefix(s.name, "access/") {
				continue
			}
			if _, err := tx.Exec(ctx, s.text); err != nil {
				return fmt.Errorf("applying sql/%s: %w", s.name, err)
			}
			_, err := tx.Exec(ctx, `insert into weir.schema_source as x (name, checksum) values ($1, $2)
				on conflict (name) do update set checksum = excluded.checksum, applied_at = now()`, s.name, s.checksum)
			if err != nil {
				return fmt.Errorf("recording sql/%s: %w", s.name, err)
			}
		}
		if _, err := tx.Exec(ctx, "delete from weir.schema_source where name <> all ($1)", names); err != nil {
			return fmt.Errorf("recording functions and views: %w", err)
		}
		// The audit trail's too: a subscriber of all tables must have those that a node writes to.
		_, err := tx.Exec(ctx, `select weir.keep_partitions();
			select weir.make_audit_partition(now() + make_interval(months => n)) from generate_series(0, 2) n`)
		return explain("making partitions", err)
	})
}

// staleSources names the files that the database lacks or has with another text.
func staleSources(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	all, err := sources()
	if err != nil {
		return nil, err
	}
	recorded := map[string]string{}
	var exists bool
	if err := conn.QueryRow(ctx, "select to_regclass('weir.schema_source') is not null").Scan(&exists); err != nil {
		return nil, err
	}
	if exists {
		rows, err := conn.Query(ctx, "select name, checksum from weir.schema_source")
		if err != nil {
			return nil, err
		}
		var name, checksum string
		_, err = pgx.ForEachRow(rows, []any{&name, &checksum}, func() error {
			recorded[name] = checksum
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var stale []string
	for _, s := range all {
		if recorded[s.name] != s.checksum {
			stale = append(stale, s.name)
		}
	}
	return stale, nil
}
