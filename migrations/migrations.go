// Package migrations carries weir's schema inside the program and brings a database to it.
//
// The schema has two parts. Tables, types, indexes and sequences change by numbered files, NNNN_topic.sql in this folder,
// each applied once, in order, through goose. Functions and views are files in sql/functions and sql/views; a file is
// applied whenever its checksum differs from the one that the database has recorded. So a numbered file never calls a
// function of weir, and changing a function needs no new file, except that:
//
//   - a function whose arguments or result change is dropped by a numbered file first. Arguments are only added at the
//     end, with defaults, so that older nodes can call newer functions;
//   - a release that changes any function has a new numbered file, even an empty one. An older program sees a version that
//     it does not know, and leaves the newer functions alone.
//
// weir owns the schema weir, with its record in weir.migration and weir.schema_source, weir_auth and weir_read, which are
// about who may use it, and weir_river, where River keeps its tables. Any number of nodes may call [Up] at once: one applies, the others wait. They wait for a session's advisory
// lock, so the address must reach PostgreSQL itself or a pooler in session mode.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/weirhq/weir/db"
)

// Files are the numbered changes of tables.
//
//go:embed *.sql
var Files embed.FS

const (
	// record is the table of applied versions. Its schema is spelt out: a search_path must not decide which record counts.
	record = "weir.migration"

	// legacyRecord is where development versions before 0.1 kept theirs. Their schemas cannot be upgraded.
	legacyRecord = "public.weir_migrations"
)

// schemas are those that weir makes and owns.
var schemas = []string{"weir", "weir_auth", "weir_read", RiverSchema}

// Migration is one numbered change.
type Migration struct {
	Version int64

	// Name is the file's name. It is empty for a version that the database has and this program does not know, because
	// a newer program applied it.
	Name string

	// AppliedAt is zero for a migration that the database does not have yet.
	AppliedAt time.Time
}

// State is what a database has of weir's schema.
type State struct {
	// Migrations lists the changes that this program or the database knows, in order.
	Migrations []Migration

	// Stale lists the files of functions and views that differ from this program's or are missing. It is empty where the
	// database is newer than this program, because Up leaves newer functions alone.
	Stale []string
}

// Version is the highest version that the database has, 0 for none.
func (s State) Version() int64 {
	for _, m := range slices.Backward(s.Migrations) {
		if !m.AppliedAt.IsZero() {
			return m.Version
		}
	}
	return 0
}

// Missing is how many migrations of this program the database does not have.
func (s State) Missing() (n int) {
	for _, m := range s.Migrations {
		if m.AppliedAt.IsZero() {
			n++
		}
	}
	return n
}

// Newer lists the versions that the database has and this program does not know.
func (s State) Newer() (versions []int64) {
	for _, m := range s.Migrations {
		if m.Name == "" {
			versions = append(versions, m.Version)
		}
	}
	return versions
}

// Current reports whether Up would change nothing.
func (s State) Current() bool { return s.Missing() == 0 && len(s.Stale) == 0 }

// Up brings a database to the schema of this program: tables, functions and views, the time zones that schedules use, and
// River's tables. It changes nothing where everything is current.
func Up(ctx context.Context, databaseURL string) error {
	return locked(ctx, databaseURL, func(conn *pgx.Conn) error {
		if err := up(ctx, conn, databaseURL, Files); err != nil {
			return err
		}
		if err := applySources(ctx, conn); err != nil {
			return err
		}
		if err := loadZones(ctx, conn); err != nil {
			return err
		}
		return riverUp(ctx, databaseURL)
	})
}

// Down drops weir's schemas, and every job with them.
func Down(ctx context.Context, databaseURL string) error {
	return locked(ctx, databaseURL, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "drop schema if exists "+strings.Join(schemas, ", ")+" cascade; drop table if exists "+legacyRecord)
		return explain("dropping weir's schemas", err)
	})
}

// Read returns what the database has. It changes nothing.
func Read(ctx context.Context, databaseURL string) (State, error) {
	return read(ctx, databaseURL, Files)
}

func read(ctx context.Context, databaseURL string, files fs.FS) (State, error) {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return State{}, explain("reading the state of the schema", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var s State
	if s.Migrations, err = list(ctx, conn, files); err != nil {
		return State{}, explain("reading which migrations the database has", err)
	}
	if s.Stale, err = staleSources(ctx, conn); err != nil {
		return State{}, explain("comparing functions and views", err)
	}
	if len(s.Newer()) > 0 {
		s.Stale = nil
	}
	return s, nil
}

// up applies the numbered files through goose. The caller holds the lock.
func up(ctx context.Context, conn *pgx.Conn, databaseURL string, files fs.FS) error {
	if err := makeSchema(ctx, conn); err != nil {
		return err
	}
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return explain("migrating", err)
	}
	db.Configure(config, session) // goose records local times without their zone; list reads them as UTC
	pool := stdlib.OpenDB(*config)
	defer pool.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, pool, files,
		goose.WithTableName(record), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return explain("migrating", err)
	}
	_, err = provider.Up(ctx)
	return explain("migrating", err)
}

// makeSchema makes the schema weir, where goose keeps its record, unless it exists: then no right to make one is needed.
func makeSchema(ctx context.Context, conn *pgx.Conn) error {
	var exists, legacy bool
	err := refuseForeign(ctx, conn)
	if err == nil {
		err = conn.QueryRow(ctx, "select to_regclass($1) is not null, to_regclass($2) is not null and to_regnamespace('weir') is not null",
			record, legacyRecord).Scan(&exists, &legacy)
	}
	switch {
	case err != nil:
		return explain("reading the state of the schema", err)
	case exists:
		return nil
	case legacy:
		return errors.New("this database has the schema of a development version before 0.1, which cannot be upgraded: " +
			"export what you need, then run weir migrate down and weir migrate up")
	}
	_, err = conn.Exec(ctx, "do $$ begin if to_regnamespace('weir') is null then create schema weir; end if; end $$")
	return explain("making the schema weir", err)
}

// refuseForeign refuses a database in which another role can change what weir's schemas hold: such a role could have put
// tables or triggers there that would run with the rights of this one. Superusers and roles of which this one is a member
// may own them.
func refuseForeign(ctx context.Context, conn *pgx.Conn) error {
	var what, owner string
	err := conn.QueryRow(ctx, `
		with trusted as (select r.oid from pg_roles r where r.rolsuper or pg_has_role(r.oid, 'usage') or r.rolname = 'pg_database_owner'),
		spaces as (select n.* from pg_namespace n where n.nspname = any ($1))
		select x.what, x.owner::regrole::text from (
			select 'the schema ' || n.nspname, n.nspowner from spaces n
			union all select 'the right to make objects in the schema ' || n.nspname, a.grantee
				from spaces n cross join aclexplode(n.nspacl) a where a.privilege_type = 'CREATE'
			union all select c.oid::regclass::text, c.relowner from pg_class c join spaces n on n.oid = c.relnamespace
			union all select p.oid::regprocedure::text, p.proowner from pg_proc p join spaces n on n.oid = p.pronamespace
			union all select t.oid::regtype::text, t.typowner from pg_type t join spaces n on n.oid = t.typnamespace
		) x (what, owner) where x.owner not in (select oid from trusted) limit 1`, schemas).Scan(&what, &owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s has %s: weir runs as its own role what its schemas hold, so it takes none that another role can change. "+
		"Drop or reassign what that role has in %s", owner, what, strings.Join(schemas, ", "))
}

// explain names the file that failed, which goose's error does not.
func explain(doing string, err error) error {
	var partial *goose.PartialError
	switch {
	case err == nil:
		return nil
	case db.IsReadOnly(err):
		return fmt.Errorf("%s: the database takes no writes: it is a standby, or default_transaction_read_only is on", doing)
	case errors.As(err, &partial):
		return fmt.Errorf("%s: %s: %w", doing, path.Base(partial.Failed.Source.Path), partial.Err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// list reads the record itself instead of asking goose, which would make the table where there is none: a reader may lack
// the right to, and reading should change nothing.
func list(ctx context.Context, conn *pgx.Conn, files fs.FS) ([]Migration, error) {
	applied, err := applied(ctx, conn)
	if err != nil {
		return nil, err
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
func applied(ctx context.Context, conn *pgx.Conn) (map[int64]time.Time, error) {
	versions := map[int64]time.Time{}
	var recorded bool
	if err := conn.QueryRow(ctx, "select to_regclass($1) is not null", record).Scan(&recorded); err != nil || !recorded {
		return versions, err
	}
	// Version 0 is goose's mark that the record was begun.
	rows, err := conn.Query(ctx, "select version_id, tstamp at time zone 'UTC' from "+record+" where version_id > 0 and is_applied")
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
