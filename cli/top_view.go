package cli

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/weirhq/weir/terminal"
)

// text is the whole screen.
func (m *topModel) text() string {
	if m.width == 0 || m.height == 0 {
		return ""
	}
	return strings.Join(m.frame(m.width, m.height), "\n")
}

// frame draws lines of a width, as many as there are rows; rows = 0: as many as it takes.
func (m *topModel) frame(width, rows int) []string {
	head := m.head()
	var body []string
	foot := m.foot()
	if m.once {
		foot = nil
	}
	left := rows - len(head) - len(foot)
	if rows == 0 {
		left = 1 << 20
	}
	switch {
	case m.help:
		body = strings.Split(topHelp, "\n")
	case m.detail != nil:
		body = m.detailBody(left)
	default:
		body = m.panes(width, left)
	}
	if rows > 0 {
		for len(body) < left {
			body = append(body, "")
		}
		body = body[:max(0, left)]
	}
	lines := append(append(head, body...), foot...)
	if rows > 0 && len(lines) > rows {
		lines = lines[:rows]
	}
	for i, line := range lines {
		lines[i] = strings.TrimRight(ansi.Truncate(line, width, "…"), " ")
	}
	return lines
}

// head says where the numbers are from, and sums up.
func (m *topModel) head() []string {
	s := m.snapshot
	first := m.paint.In(terminal.Bold, "weir top") + "  " + terminal.OneLine(m.url) + "  " + s.at.Local().Format("15:04:05")
	switch {
	case m.failed != nil:
		first += "  " + m.paint.In(terminal.Red, "no answer since "+m.failedAt.Local().Format("15:04:05")+": "+terminal.OneLine(m.failed.Error()))
	case m.paused:
		first += "  " + m.paint.In(terminal.Yellow, "paused: p goes on")
	case !m.once:
		first += "  every " + roughly(m.every)
	}
	var all topQueue
	all.Exact = true
	for i := range s.queues {
		q := &s.queues[i]
		all.Available += q.Available
		all.Running += q.Running
		all.Scheduled += q.Scheduled
		all.Retryable += q.Retryable
		all.Held += q.Held
		all.Dead += q.Dead
		all.Exact = all.Exact && q.Exact
	}
	jobs := fmt.Sprintf("jobs     %s waiting, %s running, %s scheduled, %s retryable, %s held, %s dead", all.number(all.Available),
		number(all.Running), all.number(all.Scheduled), all.number(all.Retryable), all.number(all.Held), all.number(all.Dead))
	rates := fmt.Sprintf("rates    %s in/s, %s out/s, %s %% of attempts fail", rate(s.total.in), rate(s.total.out), percent(s.total.failing()))
	if s.wait != nil && s.wait.Total.Count > 0 {
		rates += ", 95 % wait less than " + roughly(Seconds(s.wait.Total.P95))
	}
	return []string{first, jobs, rates}
}

func (m *topModel) foot() []string {
	if m.typing {
		return []string{m.paint.In(terminal.Bold, "filter: ") + terminal.OneLine(m.filter) + "▏ " + m.paint.In(terminal.Dim, "enter keeps it, esc clears it")}
	}
	keys := "q quit  tab pane  ↑↓ select  enter details  s sort  r reverse  / filter  p pause  ? help"
	switch {
	case m.help:
		keys = "any key goes back"
	case m.detail != nil:
		keys = "esc back  ↑↓ scroll  p pause"
	case m.filter != "":
		return []string{m.paint.In(terminal.Bold, "filter: "+terminal.OneLine(m.filter)) + "  " + m.paint.In(terminal.Dim, "esc clears it  "+keys)}
	}
	return []string{m.paint.In(terminal.Dim, keys)}
}

const topHelp = `
  q, ctrl-c        quit
  tab, shift-tab   next pane, pane before: queues, workers, what is slow or wrong
  ↑ ↓ k j          select a row; page up and down, home, end
  enter            details of the queue: why its jobs do not run, what ended, what failed
  s S              sort queues by the next column, the column before
  r                reverse the order
  /                filter all panes by a text in names; esc clears it
  p                stop asking the node; again: go on

  WAITING are jobs that a worker may claim, LATER scheduled and retryable ones. IN/S, OUT/S
  and FAIL % are of the last two minutes. P95 WAIT is of the last 15 minutes: 95 % of the attempts
  began sooner; the screen asks for two queues at a time, so it comes little by little.`

// panes draws the three panes. The one in focus gets the room that the others leave.
func (m *topModel) panes(width, left int) []string {
	queues, workers, troubles := drawRows(m, paneQueues, width, queueColumns, m.queues), drawRows(m, paneWorkers, width, workerColumns, m.workers), m.drawTroubles()
	drawn := [panes][]string{queues, workers, troubles}
	var heights [panes]int
	used := 0
	for i, lines := range drawn {
		heights[i] = min(len(lines), 4)
		if len(lines) == 1 {
			heights[i] = 2 // what says that there is nothing
		}
		used += heights[i]
	}
	for i := panes - 1; i >= 0 && used > left; i-- {
		for i != m.focus && heights[i] > 1 && used > left {
			heights[i]--
			used--
		}
	}
	for _, i := range []int{m.focus, paneQueues, paneTrouble, paneWorkers} {
		more := max(0, min(len(drawn[i])-heights[i], left-used))
		heights[i] += more
		used += more
	}
	var body []string
	for i, lines := range drawn {
		body = append(body, m.window(i, lines, heights[i])...)
	}
	return body
}

// window is the part of a pane that fits: its head, and rows with the cursor among them.
func (m *topModel) window(pane int, lines []string, height int) []string {
	if len(lines) == 1 {
		nothing := [panes]string{"no queues", "no workers", "nothing is slow or wrong"}[pane]
		lines = append(lines, m.paint.In(terminal.Dim, nothing))
	}
	room, rows := max(0, height-1), len(lines)-1
	cursor := m.cursor(pane)
	if cursor < m.offset[pane] {
		m.offset[pane] = cursor
	}
	if cursor >= m.offset[pane]+room {
		m.offset[pane] = cursor - room + 1
	}
	m.offset[pane] = max(0, min(m.offset[pane], rows-room))
	from := m.offset[pane]
	return append(lines[:1:1], lines[1+from:1+min(rows, from+room)]...)
}

// drawRows draws the head and the rows of a table. A narrow screen leaves out the least important columns.
func drawRows[T any](m *topModel, pane, width int, columns []column[T], rows []T) []string {
	shown := fitting(columns, width)
	first := shown[0].width
	for i := range rows {
		first = max(first, min(ansi.StringWidth(shown[0].cell(&rows[i])), 40))
	}
	used := 0
	for _, c := range shown[1:] {
		used += c.width + 2
	}
	first = max(shown[0].width, min(first, width-used))
	var head strings.Builder
	for i, c := range shown {
		title := c.title
		if pane == paneQueues && c.key == queueColumns[m.sort].key {
			title = sortMark(m.reversed) + title
		}
		head.WriteString(pad(title, widthOf(i, c.width, first), c.left, i == 0))
	}
	style := terminal.Bold
	if pane == m.focus && !m.once {
		style = terminal.Focus
	}
	lines := []string{m.paint.In(style, fmt.Sprintf("%-*s", width, head.String()))}
	selected := m.cursor(pane)
	for r := range rows {
		var line strings.Builder
		marked := pane == m.focus && r == selected && !m.once
		for i, c := range shown {
			cell := pad(terminal.OneLine(c.cell(&rows[r])), widthOf(i, c.width, first), c.left, i == 0)
			if c.style != nil && !marked {
				cell = m.paint.In(c.style(&rows[r]), cell)
			}
			line.WriteString(cell)
		}
		lines = append(lines, m.mark(marked, line.String()))
	}
	return lines
}

func widthOf(i, width, first int) int {
	if i == 0 {
		return first
	}
	return width
}

func sortMark(reversed bool) string {
	if reversed {
		return "▴"
	}
	return "▾"
}

// mark shows that a row is selected.
func (m *topModel) mark(marked bool, line string) string {
	if !marked {
		return line
	}
	line += strings.Repeat(" ", max(0, m.width-ansi.StringWidth(line)))
	return terminal.Painter(true).In(terminal.Reverse, line) // no colour, so it is for terminals without colours too
}

// fitting are the columns that fit into a width: without the highest ranks.
func fitting[T any](columns []column[T], width int) []column[T] {
	for rank := 9; ; rank-- {
		var shown []column[T]
		used := 0
		for _, c := range columns {
			if c.rank <= rank {
				shown = append(shown, c)
				used += c.width + 2
			}
		}
		if used-2 <= width || rank == 0 {
			return shown
		}
	}
}

// pad brings a text to a width, with two spaces before it unless it is the first.
func pad(text string, width int, left, first bool) string {
	text = ansi.Truncate(text, width, "…")
	gap := strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
	between := "  "
	if first {
		between = ""
	}
	if left {
		return between + text + gap
	}
	return between + gap + text
}

func (m *topModel) drawTroubles() []string {
	style := terminal.Bold
	if m.focus == paneTrouble && !m.once {
		style = terminal.Focus
	}
	lines := []string{m.paint.In(style, fmt.Sprintf("%-*s", max(m.width, 13), "SLOW OR WRONG"))}
	selected := m.cursor(paneTrouble)
	for i, t := range m.troubles {
		marked := m.focus == paneTrouble && i == selected && !m.once
		text := t.text
		if !marked {
			text = m.paint.In(t.style, text)
		}
		lines = append(lines, m.mark(marked, text))
	}
	return lines
}

func (m *topModel) detailBody(left int) []string {
	lines := append([]string{m.paint.In(terminal.Focus, "QUEUE "+terminal.OneLine(m.detail.name))}, m.detail.lines(m.paint)...)
	m.scroll = max(0, min(m.scroll, len(lines)-left))
	return lines[m.scroll:]
}
