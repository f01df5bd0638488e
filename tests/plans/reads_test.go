package plans

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// plannedCall is a call whose reads are counted.
type plannedCall struct {
	first  string // statements to run before it, not counted
	sql    string // returns one number
	want   int    // the number it returns
	rows   int    // the number of rows that it handles; 0: want
	viewed bool   // it reads a view, where nothing can be pinned: counted in a new session, after an analyze
}

// plannedRows and plannedOnce bound what a call may read by index: for each of its rows, and once.
const plannedRows, plannedOnce = 20, 60

// checkReads plans the calls of a session while the tables are empty, then fills them, and counts what each call reads,
// in the old session and in a new one. tables is a regular expression for those that grow.
func checkReads(t *testing.T, d *weirtest.Database, tables string, warmUp []string, calls []plannedCall, fill func()) {
	t.Helper()
	weirtest.Exec(t, d, `do $$ declare name text; begin
		for name in select relname from pg_class where relnamespace = 'weir'::regnamespace and relkind = 'r' and relname ~ '`+tables+`' loop
			execute format('alter table weir.%I set (autovacuum_enabled = false)', name);
		end loop;
	end $$`)
	weirtest.Exec(t, d, "analyze")
	old := d.Connect()
	for range 7 { // after five times a plan is kept
		_ = pgx.BeginFunc(t.Context(), old, func(tx pgx.Tx) error {
			for _, sql := range warmUp {
				weirtest.Exec(t, tx, sql)
			}
			for _, c := range calls {
				for sql := range strings.SplitSeq(c.first, ";") {
					weirtest.Exec(t, tx, sql)
				}
				_ = pgx.BeginFunc(t.Context(), tx, func(tx pgx.Tx) error { return weirtest.TryExec(tx, c.sql) }) // some are refused
			}
			return weirtest.ErrRolledBack
		})
	}
	fill()
	for _, name := range []string{"old", "new", "analyzed"} {
		conn := old
		if name == "analyzed" {
			weirtest.Exec(t, d, "analyze")
		}
		if name != "old" {
			conn = d.Connect()
		}
		total := 0
		for _, c := range calls {
			if c.viewed != (name == "analyzed") {
				continue
			}
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			weirtest.Exec(t, tx, "set local enable_seqscan = off") // as nodes have it
			for sql := range strings.SplitSeq(c.first, ";") {
				weirtest.Exec(t, tx, sql)
			}
			before := rowsReadOf(t, tx, tables)
			if n := weirtest.Value[int](t, tx, c.sql); n != c.want {
				t.Errorf("%s: %d, want %d; the case tests nothing", c.sql, n, c.want)
			}
			after := rowsReadOf(t, tx, tables)
			weirtest.Rollback(t, tx)
			byIndex, parts := 0, ""
			for table, n := range after {
				if read := n.byIndex - before[table].byIndex; read > 0 {
					byIndex += read
					parts += fmt.Sprintf(" %s %d", table, read)
				}
				if whole := n.whole - before[table].whole; whole > 1 { // one row: to see whether there is any
					t.Errorf("in the %s session, %s reads %d rows of %s by scans of the whole", name, c.sql, whole, table)
				}
			}
			total += byIndex
			if most := plannedRows*max(c.rows, c.want) + plannedOnce; byIndex > most {
				t.Errorf("in the %s session, %s reads %d rows by index, want at most %d:%s", name, c.sql, byIndex, most, parts)
			}
		}
		if total == 0 {
			t.Errorf("in the %s session, no read was counted", name)
		}
	}
}
