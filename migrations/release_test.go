//go:build unix

package migrations_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/embedded"
	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/tests/weirtest"
)

// releaseDump is the schema as the last release made it, with the rows that a migration writes. `make release-schema`
// writes it when a version is tagged.
const releaseDump = "testdata/release.sql"

var writeRelease = flag.Bool("write-release", false, "write "+releaseDump+" from this program's schema")

// A database that the last release made, brought up to date, is the same as a fresh one. Before the first release there is
// no dump in the repository; then the fresh schema's own dump stands in for it, and the test shows that a restored dump is
// complete.
func TestLastReleaseMigratesToTheFreshSchema(t *testing.T) {
	t.Parallel()
	fresh := weirtest.New(t)
	if *writeRelease {
		check(t, os.WriteFile(releaseDump, []byte(dump(t, fresh)), 0o644))
	}
	released, err := os.ReadFile(releaseDump)
	if errors.Is(err, fs.ErrNotExist) {
		released = []byte(dump(t, fresh))
	} else {
		check(t, err)
	}
	old := weirtest.Empty(t)
	restore(t, old, string(released))
	before, err := migrations.Read(t.Context(), old.URL)
	check(t, err)
	// A restored view prints with other aliases than the one that was dumped, so all files are applied again.
	_, err = old.Exec(t.Context(), "update weir.schema_source set checksum = ''")
	check(t, err)
	check(t, migrations.Up(t.Context(), old.URL))

	if got, want := describe(t, old), describe(t, fresh); got != want {
		t.Errorf("the last release, migrated, differs from a fresh schema:\n%s", difference(got, want))
	}
	if len(before.Stale) > 0 && before.Missing() == 0 {
		t.Errorf("functions changed since the last release (%v) and no numbered file is new: add one, which may be empty, "+
			"so that nodes of the last release leave the newer functions alone", before.Stale)
	}
}

// The schemas weir, weir_auth, weir_read and weir_river are all that a backup needs.
func TestRestoredDumpServes(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	_, err := d.Exec(t.Context(), "select weir.enqueue('kept', '{}')")
	check(t, err)
	restored := weirtest.Empty(t)
	restore(t, restored, dump(t, d))
	state, err := migrations.Read(t.Context(), restored.URL)
	check(t, err)
	if !state.Current() {
		t.Errorf("after the restore the schema is out of date: %+v", state)
	}
	var kind string
	check(t, restored.QueryRow(t.Context(), "select kind from weir.claim(array['default'], worker => 'w')").Scan(&kind))
	if kind != "kept" {
		t.Errorf("claimed a job of kind %q, want the one that was enqueued before the dump", kind)
	}
}

// dump returns what pg_dump writes of these schemas, as statements.
func dump(t *testing.T, d *weirtest.Database) string {
	t.Helper()
	bin, err := embedded.FindBinaries(os.Getenv("WEIR_POSTGRES_BIN"))
	check(t, err)
	command := exec.CommandContext(t.Context(), filepath.Join(bin, "pg_dump"), "--schema=weir", "--schema=weir_auth", "--schema=weir_read", "--schema="+migrations.RiverSchema,
		"--no-owner", "--inserts", "--exclude-table-data=weir.time_zone", d.URL)
	command.Stderr = os.Stderr
	text, err := command.Output()
	check(t, err)
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, `\`) { // a command of psql, such as \restrict
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func restore(t *testing.T, d *weirtest.Database, text string) {
	t.Helper()
	conn, err := d.Acquire(t.Context())
	check(t, err)
	_, err = conn.Exec(t.Context(), text)
	check(t, err)
	check(t, conn.Conn().Close(t.Context())) // the dump changed its settings
	conn.Release()
}

// describe lists all that the schema weir consists of, an object a line, whatever the order in which it was made.
func describe(t *testing.T, d *weirtest.Database) string {
	t.Helper()
	var text string
	check(t, d.QueryRow(t.Context(), `
		with things (line) as (
			select format('column %s.%s %s %s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attstorage,
				pg_get_expr(b.adbin, b.adrelid))
			from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef b on b.adrelid = c.oid and b.adnum = a.attnum
			where c.relnamespace = 'weir'::regnamespace and c.relkind in ('r', 'p', 'v', 'c') and a.attnum > 0 and not a.attisdropped
			union all select format('relation %s %s %s %s %s', c.relname, c.relkind, c.relpersistence, c.reloptions, pg_get_partkeydef(c.oid))
			from pg_class c where c.relnamespace = 'weir'::regnamespace and c.relkind not in ('i', 'I')
			union all select pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indexrelid where c.relnamespace = 'weir'::regnamespace
			union all select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'weir'::regnamespace
			union all select format('view %s %s', c.relname, pg_get_viewdef(c.oid)) from pg_class c where c.relnamespace = 'weir'::regnamespace and c.relkind = 'v'
			union all select case p.prokind when 'a' then format('aggregate %s %s', p.oid::regprocedure, (select g.agginitval from pg_aggregate g where g.aggfnoid = p.oid))
				else pg_get_functiondef(p.oid) end from pg_proc p where p.pronamespace = 'weir'::regnamespace
			union all select pg_get_triggerdef(g.oid) from pg_trigger g join pg_class c on c.oid = g.tgrelid where c.relnamespace = 'weir'::regnamespace and not g.tgisinternal
			union all select format('type %s %s', t.typname, array(select e.enumlabel from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder))
			from pg_type t where t.typnamespace = 'weir'::regnamespace and t.typtype in ('e', 'd')
			union all select format('comment %s %s', pg_describe_object(classoid, objoid, objsubid), description) from pg_description
			where pg_describe_object(classoid, objoid, objsubid) like '%weir.%'
		) select string_agg(line, e'\n' order by line) from things`).Scan(&text))
	return text
}

// difference lists the lines that only one of two texts has.
func difference(got, want string) string {
	count := map[string]int{}
	for line := range strings.Lines(got) {
		count[line]++
	}
	for line := range strings.Lines(want) {
		count[line]--
	}
	var b strings.Builder
	for line, n := range count {
		if n > 0 {
			b.WriteString("only after migrating: " + line)
		} else if n < 0 {
			b.WriteString("only in a fresh one: " + line)
		}
	}
	return b.String()
}
