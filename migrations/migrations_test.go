//go:build unix

package migrations_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }

func TestDownLeavesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	before := objects(t, d)
	for range 2 { // the second round shows that a database can be migrated again after Down
		check(t, migrations.Up(t.Context(), d.URL))
		whole := objects(t, d)
		if whole == before {
			t.Fatal("the migrations made nothing")
		}
		check(t, migrations.Up(t.Context(), d.URL))
		if again := objects(t, d); again != whole {
			t.Errorf("a second Up changed the schema from\n%s\nto\n%s", whole, again)
		}
		check(t, migrations.Down(t.Context(), d.URL))
		if after := objects(t, d); after != before {
			t.Errorf("left behind:\n%s", after)
		}
	}
}

// objects lists what a database holds beyond PostgreSQL's own.
func objects(t *testing.T, d *weirtest.Database) string {
	t.Helper()
	var list string
	err := d.QueryRow(t.Context(), `
		select coalesce(string_agg(line, e'\n' order by line), '') from (
			select 'schema ' || nspname from pg_namespace
			union all select 'relation ' || oid::regclass from pg_class
			union all select 'function ' || oid::regprocedure || ' ' || md5(coalesce(prosrc, '')) from pg_proc
			union all select 'type ' || oid::regtype from pg_type
			union all select 'role ' || rolname from pg_roles
		) as o (line)
		where line not like 'role pg\_%' and line not like 'role %weir\_test\_%' -- of other tests
			 and line not like '% pg\_toast%' and line not like '% pg\_temp%'`).Scan(&list)
	check(t, err)
	return list
}

func TestUpAppliesAFunctionThatDiffers(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	pool := d.Pool
	whole := objects(t, d)
	_, err := pool.Exec(t.Context(), `
		create or replace function weir.lowest_bit(mask bigint) returns int language sql immutable as 'select 0';
		update weir.schema_source set checksum = 'other' where name = 'functions/cron.sql'`)
	check(t, err)
	state, err := migrations.Read(t.Context(), d.URL)
	check(t, err)
	if len(state.Stale) != 1 || state.Stale[0] != "functions/cron.sql" || state.Current() {
		t.Fatalf("the state is %+v, want functions/cron.sql alone to be stale", state)
	}
	check(t, migrations.Up(t.Context(), d.URL))
	if again := objects(t, d); again != whole {
		t.Errorf("Up did not restore the function:\n%s\nwant\n%s", again, whole)
	}
	state, err = migrations.Read(t.Context(), d.URL)
	check(t, err)
	if !state.Current() {
		t.Errorf("after Up the state is %+v, want nothing to do", state)
	}
}

func TestUpLeavesTheFunctionsOfANewerWeirAlone(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	_, err := d.Exec(t.Context(), `
		insert into weir.migration (version_id, is_applied) values (9999, true);
		update weir.schema_source set checksum = 'newer'`)
	check(t, err)
	check(t, migrations.Up(t.Context(), d.URL))
	var newer, all int
	check(t, d.QueryRow(t.Context(), "select count(*) filter (where checksum = 'newer'), count(*) from weir.schema_source").Scan(&newer, &all))
	if newer != all || all == 0 {
		t.Errorf("%d of %d files are as the newer weir left them, want all", newer, all)
	}
	state, err := migrations.Read(t.Context(), d.URL)
	check(t, err)
	if !state.Current() || len(state.Newer()) != 1 || state.Newer()[0] != 9999 {
		t.Errorf("the state is %+v, want current, with version 9999 newer", state)
	}
}

func TestUpRefusesADevelopmentSchema(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	_, err := d.Exec(t.Context(), "create schema weir; create table public.weir_migrations (id int)")
	check(t, err)
	if err := migrations.Up(t.Context(), d.URL); err == nil || !strings.Contains(err.Error(), "before 0.1") {
		t.Errorf("the error is %v, want one that says the schema is of a version before 0.1", err)
	}
	check(t, migrations.Down(t.Context(), d.URL))
	check(t, migrations.Up(t.Context(), d.URL))
}

func TestOfFourNodesOneMigrates(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	files := fstest.MapFS{
		"0001_slow.sql":  file("create table public.slow as select 1 from pg_sleep(0.5)"),
		"0002_after.sql": file("create table public.after_slow ()"),
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := migrations.UpFrom(t.Context(), d.URL, files); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var applied int
	check(t, d.QueryRow(t.Context(), "select count(*) from weir.migration where version_id > 0").Scan(&applied))
	if applied != 2 {
		t.Errorf("%d migrations were recorded, want 2", applied)
	}
}

func TestFailedMigrationIsNamedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	files := fstest.MapFS{
		"0001_good.sql": file("create table public.good ()"),
		"0002_bad.sql":  file("create table public.half ();\nselect 1/0"),
	}
	err := migrations.UpFrom(t.Context(), d.URL, files)
	var refusal *pgconn.PgError
	if err == nil || !strings.Contains(err.Error(), "0002_bad.sql") || !errors.As(err, &refusal) {
		t.Errorf("the error is %v", err)
	}
	var good, half bool
	check(t, d.QueryRow(t.Context(),
		"select to_regclass('good') is not null, to_regclass('half') is not null").Scan(&good, &half))
	if !good || half {
		t.Errorf("table good exists: %t, table half exists: %t; want true, false", good, half)
	}
	state, err := migrations.ReadFrom(t.Context(), d.URL, files)
	check(t, err)
	if list := state.Migrations; len(list) != 2 || list[0].AppliedAt.IsZero() || !list[1].AppliedAt.IsZero() {
		t.Errorf("the migrations are %+v", list)
	}
}

func TestReadChangesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	before := objects(t, d)
	state, err := migrations.Read(t.Context(), d.URL)
	check(t, err)
	if state.Current() || state.Version() != 0 {
		t.Errorf("the state of an empty database is %+v", state)
	}
	if after := objects(t, d); after != before {
		t.Errorf("reading made\n%s", after)
	}
}

func TestReadTellsTimesAndUnknownVersions(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	_, err := d.Exec(t.Context(), "do $$ begin execute format('alter database %I set timezone to ''Asia/Tokyo''', current_database()); end $$")
	check(t, err)
	newer := fstest.MapFS{
		"0001_one.sql": file("create table public.one ()"),
		"0010_two.sql": file("create table public.two ()"),
	}
	check(t, migrations.UpFrom(t.Context(), d.URL, newer))

	older := fstest.MapFS{"0001_one.sql": newer["0001_one.sql"]}
	state, err := migrations.ReadFrom(t.Context(), d.URL, older)
	check(t, err)
	list := state.Migrations
	if len(list) != 2 || list[0].Name != "0001_one.sql" || list[1].Version != 10 || list[1].Name != "" {
		t.Errorf("the migrations are %+v", list)
	}
	for _, m := range list {
		if age := time.Since(m.AppliedAt).Abs(); age > time.Hour {
			t.Errorf("version %d was applied %s ago", m.Version, age)
		}
	}
	check(t, migrations.UpFrom(t.Context(), d.URL, older)) // an older node starts on a newer schema
}

func file(up string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("-- +goose Up\n" + up + ";\n")}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
