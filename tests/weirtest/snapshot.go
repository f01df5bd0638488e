//go:build unix

package weirtest

import (
	"fmt"
	"strings"
)

// Snapshot returns every row of every table but the claimers' bookkeeping and what nodes write of themselves. A row that
// was rewritten with the same values differs too. Of a time zone it gives the name alone, as the rest is long.
func (d *Database) Snapshot() string {
	d.T.Helper()
	tables := Values[string](d.T, d, `select c.relname from pg_class c where c.relnamespace = 'weir'::regnamespace
		and c.relkind in ('r', 'p') and not c.relispartition and c.relname not in ('watermark', 'frontier', 'worker_seen', 'health_check') order by 1`)
	var parts []string
	for _, name := range tables {
		row := "to_jsonb(x)"
		if name == "time_zone" {
			row = "x.name"
		}
		parts = append(parts, fmt.Sprintf("select '%[1]s ' || x.xmin || ' ' || %[2]s as line from weir.%[1]s x", name, row))
	}
	return Value[string](d.T, d, "select coalesce(string_agg(line, e'\n' order by line), '') from ("+strings.Join(parts, " union all ")+") s")
}

// Unchanged fails the test if f changes a row.
func (d *Database) Unchanged(what string, f func()) {
	d.T.Helper()
	before := d.Snapshot()
	f()
	if after := d.Snapshot(); after != before {
		d.T.Errorf("%s changed something:\n%s", what, Difference(before, after))
	}
}

// Difference lists the lines that two texts do not share.
func Difference(before, after string) string {
	had, has := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(before) {
		had[strings.TrimSpace(line)] = true
	}
	for line := range strings.Lines(after) {
		has[strings.TrimSpace(line)] = true
	}
	var text strings.Builder
	for line := range had {
		if !has[line] {
			fmt.Fprintln(&text, "-", line)
		}
	}
	for line := range has {
		if !had[line] {
			fmt.Fprintln(&text, "+", line)
		}
	}
	return text.String()
}
