package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"reflect"
	"text/tabwriter"
	"time"

	"github.com/weirhq/weir/terminal"
)

// printer writes for people. Every text that it prints is first made safe for a terminal. It keeps the first error,
// which flush returns.
type printer struct {
	out   *bufio.Writer
	paint terminal.Painter
	now   time.Time
}

func newPrinter(s *Session) *printer {
	return &printer{out: bufio.NewWriter(s.Out), paint: s.Paint, now: time.Now()}
}

// safe is text that may hold colours: the printer prints it as it is.
type safe string

// state is a state in its colour.
func (p *printer) state(state string) safe { return safe(p.paint.State(state)) }

// line prints a line.
func (p *printer) line(format string, args ...any) {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = terminal.OneLine(text)
		}
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

// text prints a text of several lines.
func (p *printer) text(text string) { fmt.Fprintln(p.out, terminal.Printable(text)) }

func (p *printer) flush() error { return p.out.Flush() }

// cell is a value in a table: a time is relative to now, a duration rough, and what is absent a dash.
func (p *printer) cell(value any) string {
	switch v := value.(type) {
	case safe:
		return string(v)
	case string:
		if v = terminal.OneLine(v); v == "" {
			return "-"
		}
		return v
	case time.Time:
		return relative(p.now, v)
	case time.Duration:
		return roughly(v)
	}
	if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "-"
		}
		return p.cell(v.Elem().Interface())
	}
	return fmt.Sprint(value)
}

// table is a table under way. A cell with colours must be the last of its row: the others are aligned by their number
// of bytes.
type table struct {
	*printer
	rows *tabwriter.Writer
}

// table begins a table; without columns it has no header.
func (p *printer) table(columns ...string) *table {
	t := &table{p, tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)}
	if len(columns) > 0 {
		cells := make([]any, len(columns))
		for i, c := range columns {
			cells[i] = safe(c)
		}
		t.row(cells...)
	}
	return t
}

func (t *table) row(cells ...any) {
	for i, value := range cells {
		if i > 0 {
			fmt.Fprint(t.rows, "\t")
		}
		fmt.Fprint(t.rows, t.cell(value))
	}
	fmt.Fprintln(t.rows)
}

// property is a row of a name and a value.
func (t *table) property(name, format string, args ...any) {
	t.row(safe(name), fmt.Sprintf(format, args...))
}

func (t *table) end() { t.rows.Flush() }

// layout lays out a list as a table.
type layout[T any] struct {
	columns []string
	row     func(p *printer, item *T) []any
	footer  string // a line below the table
}

func (l layout[T]) print(p *printer, items []T) {
	t := p.table(l.columns...)
	for i := range items {
		t.row(l.row(p, &items[i])...)
	}
	t.end()
	if l.footer != "" {
		p.line("\n%s", l.footer)
	}
}

// section prints a list after an empty line, or nothing if the list is empty.
func (l layout[T]) section(p *printer, items []T) {
	if len(items) > 0 {
		p.line("")
		l.print(p, items)
	}
}

// settings prints those of an object's members that are named, in that order.
func (p *printer) settings(object map[string]json.RawMessage, names []string) {
	t := p.table()
	for _, name := range names {
		if value := object[name]; value != nil {
			t.row(safe(name), string(value))
		}
	}
	t.end()
}
