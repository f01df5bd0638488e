package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/weirhq/weir/terminal"
)

// The panes of the screen, from top to bottom.
const (
	paneQueues = iota
	paneWorkers
	paneTrouble
	panes
)

// topModel is the state of the screen.
type topModel struct {
	ctx    context.Context
	reader *topReader
	every  time.Duration
	url    string
	paint  terminal.Painter
	once   bool // all rows, no keys

	width, height int
	snapshot      *topSnapshot
	failed        error // of the last refresh
	failedAt      time.Time
	refused       error // why it ends
	reading       bool

	queues   []topQueue // that pass the filter, sorted
	workers  []worker
	troubles []trouble

	focus    int
	selected [panes]string // the name of the row
	offset   [panes]int    // the first row that is shown
	sort     int           // of queueColumns
	reversed bool
	filter   string
	typing   bool // the filter
	paused   bool
	help     bool
	detail   *queueDetail
	scroll   int // of the detail
}

// take takes an answer of the node, or why there is none.
func (m *topModel) take(snapshot *topSnapshot, err error) {
	if err != nil {
		if m.failed == nil {
			m.failedAt = time.Now()
		}
		m.failed = err
		return
	}
	m.failed, m.snapshot = nil, snapshot
	m.arrange()
}

// arrange filters and sorts the rows.
func (m *topModel) arrange() {
	passes := func(names ...string) bool {
		return m.filter == "" || slices.ContainsFunc(names, func(name string) bool {
			return strings.Contains(strings.ToLower(name), strings.ToLower(m.filter))
		})
	}
	m.queues, m.workers, m.troubles = nil, nil, nil
	for _, q := range m.snapshot.queues {
		if passes(q.Name) {
			m.queues = append(m.queues, q)
		}
	}
	column := queueColumns[m.sort]
	slices.SortStableFunc(m.queues, func(a, b topQueue) int {
		order := cmp.Or(column.compare(&a, &b), cmp.Compare(a.Name, b.Name))
		if m.reversed {
			return -order
		}
		return order
	})
	for _, w := range m.snapshot.workers {
		if passes(append(w.Queues, w.Name, w.Hostname)...) {
			m.workers = append(m.workers, w)
		}
	}
	slices.SortStableFunc(m.workers, func(a, b worker) int {
		return cmp.Or(-cmp.Compare(a.Running, b.Running), cmp.Compare(a.Name, b.Name))
	})
	for _, t := range m.snapshot.troubles() {
		if passes(t.name, t.text) {
			m.troubles = append(m.troubles, t)
		}
	}
}

// rows are the names of the rows of a pane.
func (m *topModel) rows(pane int) (names []string) {
	switch pane {
	case paneQueues:
		for i := range m.queues {
			names = append(names, m.queues[i].Name)
		}
	case paneWorkers:
		for i := range m.workers {
			names = append(names, m.workers[i].Name)
		}
	case paneTrouble:
		for i := range m.troubles {
			names = append(names, m.troubles[i].name)
		}
	}
	return names
}

// cursor is the selected row of a pane.
func (m *topModel) cursor(pane int) int { return max(0, slices.Index(m.rows(pane), m.selected[pane])) }

// wanted are the queues whose waits are worth a call: those on the screen that do something.
func (m *topModel) wanted() (names []string) {
	most := max(m.height, 20)
	for i := range m.queues {
		q := &m.queues[i]
		if len(names) < most && (q.Available > 0 || q.Running > 0 || q.out > 0) {
			names = append(names, q.Name)
		}
	}
	return names
}

// sortBy chooses the column that queues are sorted by.
func (m *topModel) sortBy(key string) {
	m.sort = max(0, slices.IndexFunc(queueColumns, func(c queueColumn) bool { return c.key == key }))
}

// press takes a key.
func (m *topModel) press(key, text string) tea.Cmd {
	switch {
	case key == "ctrl+c":
		return tea.Quit
	case m.typing:
		m.typeFilter(key, text)
	case m.help:
		m.help = false
	case m.detail != nil:
		return m.pressInDetail(key)
	default:
		return m.pressInPanes(key)
	}
	return nil
}

func (m *topModel) typeFilter(key, text string) {
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if runes := []rune(m.filter); len(runes) > 0 {
			m.filter = string(runes[:len(runes)-1])
		}
	default:
		m.filter = terminal.Shorten(m.filter+terminal.Printable(text), 60)
	}
	m.arrange()
}

func (m *topModel) pressInDetail(key string) tea.Cmd {
	switch key {
	case "esc", "enter", "backspace", "q", "left":
		m.detail, m.scroll = nil, 0
	case "up", "k":
		m.scroll--
	case "down", "j":
		m.scroll++
	case "pgup":
		m.scroll -= m.height / 2
	case "pgdown", "space":
		m.scroll += m.height / 2
	case "p":
		m.paused = !m.paused
	case "?":
		m.help = true
	}
	m.scroll = max(0, m.scroll)
	return nil
}

func (m *topModel) pressInPanes(key string) tea.Cmd {
	switch key {
	case "q":
		return tea.Quit
	case "tab", "right":
		m.focus = (m.focus + 1) % panes
	case "shift+tab", "left":
		m.focus = (m.focus + panes - 1) % panes
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup":
		m.move(-10)
	case "pgdown", "space":
		m.move(10)
	case "home", "g":
		m.move(-1 << 30)
	case "end", "G":
		m.move(1 << 30)
	case "s":
		m.sort = (m.sort + 1) % len(queueColumns)
		m.arrange()
	case "S":
		m.sort = (m.sort + len(queueColumns) - 1) % len(queueColumns)
		m.arrange()
	case "r":
		m.reversed = !m.reversed
		m.arrange()
	case "/":
		m.typing = true
	case "esc":
		m.filter = ""
		m.arrange()
	case "p":
		m.paused = !m.paused
	case "?", "h":
		m.help = true
	case "enter":
		return m.open()
	}
	return nil
}

// move moves the cursor of the pane in focus.
func (m *topModel) move(by int) {
	if rows := m.rows(m.focus); len(rows) > 0 {
		m.selected[m.focus] = rows[min(max(0, m.cursor(m.focus)+by), len(rows)-1)]
	}
}

// open shows the selected queue alone.
func (m *topModel) open() tea.Cmd {
	name := ""
	switch m.focus {
	case paneQueues:
		if len(m.queues) > 0 {
			name = m.queues[m.cursor(paneQueues)].Name
		}
	case paneTrouble:
		if len(m.troubles) > 0 {
			name = m.troubles[m.cursor(paneTrouble)].queue
		}
	}
	if name == "" {
		return nil
	}
	m.detail, m.scroll = &queueDetail{name: name}, 0
	return m.readDetail()
}
