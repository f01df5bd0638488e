package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

// watchFlags are those of a list that can be watched.
type watchFlags struct {
	Watch bool     `help:"List again and again, until you interrupt it: in place on a terminal, otherwise only what is new or has changed."`
	Every duration `help:"With --watch: how often to ask the node, 1s or longer." default:"2s" placeholder:"TIME"`
}

// Validate is called by kong.
func (w watchFlags) Validate() error {
	if time.Duration(w.Every) < time.Second {
		return Usagef("--every must be at least 1s")
	}
	return nil
}

// watcher shows a list again and again.
type watcher[T any] struct {
	*Session
	f      answerFlags
	every  time.Duration
	empty  string
	table  layout[T]
	away   error             // why the node did not answer; nil: it did
	lines  []string          // the list, as the terminal has it
	drawn  int               // lines on the terminal
	known  map[string]string // the items of the last list, by id
	widths []int             // of the columns so far
}

// watchOrList is list, or with --watch a list that follows what changes.
func watchOrList[T any](
	ctx context.Context, s *Session, f answerFlags, w watchFlags, call rest.Call, limit int, empty string, table layout[T],
) error {
	if !w.Watch {
		return list(ctx, s, f, call, limit, empty, table)
	}
	weir, err := f.Client(s)
	if err != nil {
		return err
	}
	one := &watcher[T]{Session: s, f: f, every: time.Duration(w.Every), empty: empty, table: table}
	for first := true; ; first = false {
		page, err := rest.List(ctx, weir, call, limit)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || rest.Refused(err)):
			return err
		}
		if err := one.show(page, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(one.every):
		}
	}
}

// show shows a page, or that the node is away.
func (w *watcher[T]) show(page rest.Page, away error) error {
	was := w.away
	w.away = away
	if w.Screen && !w.f.JSON {
		return w.draw(page)
	}
	switch {
	case away == nil && was != nil:
		fmt.Fprintln(w.Err, "weir: connected again")
	case away != nil && was == nil:
		fmt.Fprintf(w.Err, "weir: %s; trying again\n", terminal.OneLine(away.Error()))
	}
	if away != nil {
		return nil
	}
	return w.append(page)
}

// draw draws the list over the one before, as much of it as the terminal has room for.
func (w *watcher[T]) draw(page rest.Page) error {
	columns, rows := terminal.Size(w.Out)
	if w.away == nil {
		items, err := decodeItems[T](page)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		s := *w.Session
		s.Out = &text
		p := newPrinter(&s)
		if len(items) == 0 {
			p.line("%s", w.empty)
		} else {
			w.table.print(p, items)
		}
		if err := p.flush(); err != nil {
			return err
		}
		w.lines = strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	}
	foot := "every " + roughly(w.every) + ", " + time.Now().Format("15:04:05") + "; Ctrl-C ends it"
	if w.away != nil {
		foot = w.Paint.In(terminal.Red, "trying again: "+terminal.OneLine(w.away.Error()))
	}
	shown := append(slices.Clone(w.lines[:max(0, min(len(w.lines), rows-2))]), foot)
	var frame strings.Builder
	if w.drawn > 0 {
		frame.WriteString(ansi.CursorUp(w.drawn) + "\r")
	}
	for _, line := range shown {
		frame.WriteString(ansi.Truncate(line, columns, "…") + ansi.EraseLineRight + "\n")
	}
	frame.WriteString(ansi.EraseScreenBelow)
	w.drawn = len(shown)
	_, err := fmt.Fprint(w.Out, frame.String())
	return err
}

// append prints the items that are new or have changed, the oldest first.
func (w *watcher[T]) append(page rest.Page) error {
	known := map[string]string{}
	var changed []json.RawMessage
	for _, item := range slices.Backward(page.Items) {
		one, err := decode[struct{ ID, Name string }](item)
		if err != nil {
			return err
		}
		key := one.ID + one.Name
		if known[key] = string(item); w.known[key] != string(item) {
			changed = append(changed, item)
		}
	}
	first := w.known == nil
	w.known = known
	if w.f.JSON {
		for _, item := range changed {
			if err := w.writeJSON(item); err != nil {
				return err
			}
		}
		return nil
	}
	items, err := decodeItems[T](rest.Page{Items: changed})
	if err != nil {
		return err
	}
	p := newPrinter(w.Session)
	var rows [][]string
	if first {
		rows = append(rows, w.table.columns)
	}
	for i := range items {
		var cells []string
		for _, value := range w.table.row(p, &items[i]) {
			cells = append(cells, p.cell(value))
		}
		rows = append(rows, cells)
	}
	w.printRows(p, rows)
	return p.flush()
}

// printRows prints rows in columns that only get wider.
func (w *watcher[T]) printRows(p *printer, rows [][]string) {
	for _, cells := range rows {
		for i, cell := range cells {
			if i == len(w.widths) {
				w.widths = append(w.widths, 0)
			}
			w.widths[i] = max(w.widths[i], ansi.StringWidth(cell))
		}
	}
	for _, cells := range rows {
		line := ""
		for i, cell := range cells {
			line += cell
			if i < len(cells)-1 {
				line += strings.Repeat(" ", w.widths[i]-ansi.StringWidth(cell)+2)
			}
		}
		p.line("%s", safe(line))
	}
}
