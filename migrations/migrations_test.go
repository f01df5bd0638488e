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

func TestUpThenDownLeavesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	before := objects(t, d)
	for range 2 { // what comes back up after a way down is whole
		check(t, migrations.Up(t.Context(), d.URL))
		if objects(t, d) == before {
			t.Fatal("the migrations made nothing")
		}
		check(t, migrations.Up(t.Context(), d.URL)) // a second time does nothing
		check(t, migrations.Down(t.Context(), d.URL, 0))
		if after := objects(t, d); after != before {
			t.Errorf("left behind:\n%s", after)
		}
	}
}

// objects lists what a database holds beyond PostgreSQL's own and the record of migrations.
func objects(t *testing.T, d *weirtest.Database) string {
	t.Helper()
	var list string
	err := d.Pool.QueryRow(t.Context(), `
		select coalesce(string_agg(line, e'\n' order by line), '') from (
			select 'schema ' || nspname from pg_namespace
			union all select 'relation ' || oid::regclass from pg_class where relname not like 'weir_migrations%'
			union all select 'function ' || oid::regprocedure from pg_proc
			union all select 'type ' || oid::regtype from pg_type where typname not like '%weir_migrations'
			union all select 'role ' || rolname from pg_roles
		) as o (line)
		where line not like 'role pg\_%' and line not like '% pg\_toast%' and line not like '% pg\_temp%'`).Scan(&list)
	check(t, err)
	return list
}

func TestUpFromEveryVersion(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	list, err := migrations.Status(t.Context(), d.URL)
	check(t, err)
	whole := objects(t, d)
	for i := len(list) - 1; i >= 0; i-- {
		var below int64
		if i > 0 {
			below = list[i-1].Version
		}
		check(t, migrations.Down(t.Context(), d.URL, below))
		if version, err := migrations.Version(t.Context(), d.URL); err != nil || version != below {
			t.Fatalf("the version is %d, %v; want %d", version, err, below)
		}
	}
	check(t, migrations.Up(t.Context(), d.URL))
	if again := objects(t, d); again != whole {
		t.Errorf("the schema has changed from\n%s\nto\n%s", whole, again)
	}
}

func TestFourNodesAtOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	files := fstest.MapFS{
		"0001_slow.sql":  file("create table slow as select 1 from pg_sleep(0.5)", "drop table slow"),
		"0002_after.sql": file("create table after_slow ()", "drop table after_slow"),
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
	check(t, d.Pool.QueryRow(t.Context(), "select count(*) from public.weir_migrations where version_id > 0").Scan(&applied))
	if applied != 2 {
		t.Errorf("%d migrations were recorded, want 2", applied)
	}
}

func TestAFailedMigrationIsNamedAndLeavesNothingOfItself(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	files := fstest.MapFS{
		"0001_good.sql": file("create table good ()", "drop table good"),
		"0002_bad.sql":  file("create table half ();\nselect 1/0", "drop table half"),
	}
	err := migrations.UpFrom(t.Context(), d.URL, files)
	var refusal *pgconn.PgError
	if err == nil || !strings.Contains(err.Error(), "0002_bad.sql") || !errors.As(err, &refusal) {
		t.Errorf("the error is %v", err)
	}
	var good, half bool
	check(t, d.Pool.QueryRow(t.Context(),
		"select to_regclass('good') is not null, to_regclass('half') is not null").Scan(&good, &half))
	if !good || half {
		t.Errorf("good is there: %t, half is there: %t", good, half)
	}
	list, err := migrations.StatusFrom(t.Context(), d.URL, files)
	check(t, err)
	if len(list) != 2 || list[0].AppliedAt.IsZero() || !list[1].AppliedAt.IsZero() {
		t.Errorf("the status is %+v", list)
	}
}

func TestAskingChangesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	pending, err := migrations.Pending(t.Context(), d.URL)
	check(t, err)
	version, err := migrations.Version(t.Context(), d.URL)
	check(t, err)
	if !pending || version != 0 {
		t.Errorf("pending: %t, version %d", pending, version)
	}
	var there bool
	check(t, d.Pool.QueryRow(t.Context(), "select to_regclass('public.weir_migrations') is not null").Scan(&there))
	if there {
		t.Error("asking has made the record")
	}
}

func TestTheStatusTellsWhenAndWhatIsUnknown(t *testing.T) {
	t.Parallel()
	d := weirtest.Empty(t)
	_, err := d.Pool.Exec(t.Context(), "do $$ begin execute format('alter database %I set timezone to ''Asia/Tokyo''', current_database()); end $$")
	check(t, err)
	newer := fstest.MapFS{
		"0001_one.sql": file("create table one ()", "drop table one"),
		"0010_two.sql": file("create table two ()", "drop table two"),
	}
	check(t, migrations.UpFrom(t.Context(), d.URL, newer))

	older := fstest.MapFS{"0001_one.sql": newer["0001_one.sql"]}
	list, err := migrations.StatusFrom(t.Context(), d.URL, older)
	check(t, err)
	if len(list) != 2 || list[0].Name != "0001_one.sql" || list[1].Version != 10 || list[1].Name != "" {
		t.Errorf("the status is %+v", list)
	}
	for _, m := range list {
		if age := time.Since(m.AppliedAt).Abs(); age > time.Minute {
			t.Errorf("version %d was applied %s ago", m.Version, age)
		}
	}
	check(t, migrations.UpFrom(t.Context(), d.URL, older)) // an older node starts on a newer schema
}

func file(up, down string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("-- +goose Up\n" + up + ";\n-- +goose Down\n" + down + ";\n")}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
