package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// columns is the order of the figures. The first that a scenario has is shown with its range.
var columns = []string{
	"keyed %", "worst %", "late ms", "most", "steps/s", "held/s", "lives/s", "jobs/s", "over", "claim, empty p50 ms", "claim, alone p50 ms", "claim, alone p99 ms",
	"claim, beside a long line p50 ms", "claim, beside a long line p99 ms", "claim, all closed p50 ms", "claim, all closed p99 ms", "claim, open, none held p50 ms", "claim, open, none held p99 ms", "claim, open, many held p50 ms", "claim, open, many held p99 ms",
	"plain lives/s", "keyed lives/s", "looks", "vanished", "back/s", "submit steps/s", "burn steps/s", "enqueue/s", "burn/s", "claim/s", "complete/s", "slowest 5 s", "slowest 5 s %", "slowest 5 s %, even machine", "first tenth", "last tenth",
	"idle Postgres CPU %", "pickup p50 ms", "pickup p95 ms", "pickup p99 ms", "claim, empty p99 ms", "claim, backlog p50 ms", "claim, backlog p99 ms",
	"WAL B/job", "Postgres CPU µs/job", "service CPU µs/job", "CPU bound/s", "dead tuples", "tables MB", "indexes MB", "Postgres MB", "service MB", "other CPU %",
}

// table writes the rows of a scenario as markdown.
func table(rows []row) string {
	var shown []string
	for _, name := range columns {
		if slices.ContainsFunc(rows, func(r row) bool { _, has := r.figures[name]; return has }) {
			shown = append(shown, name)
		}
	}
	cased := slices.ContainsFunc(rows, func(r row) bool { return r.variant != "" })
	var b strings.Builder
	header := []string{"system"}
	if cased {
		header = append([]string{"case"}, header...)
	}
	header = append(header, shown...)
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	var notes []string
	for _, r := range rows {
		notes = append(notes, r.notes()...)
		if len(r.figures) == 0 {
			continue
		}
		cells := []string{r.system}
		if cased {
			cells = append([]string{r.variant}, cells...)
		}
		for i, name := range shown {
			cells = append(cells, r.cell(name, i == 0))
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	slices.Sort(notes)
	for _, note := range slices.Compact(notes) {
		fmt.Fprintf(&b, "\n- %s", note)
	}
	return b.String()
}

// notes are what the table cannot show.
func (r row) notes() (notes []string) {
	name := strings.TrimSpace(r.system + " " + r.variant)
	if r.absent != "" {
		notes = append(notes, fmt.Sprintf("%s: %s.", r.system, strings.TrimRight(r.absent, ". \n")))
	}
	for _, err := range r.errors {
		notes = append(notes, fmt.Sprintf("**%s failed**: %s", name, err))
	}
	return notes
}

func (r row) cell(name string, ranged bool) string {
	m, has := r.figures[name]
	switch {
	case !has:
		return "–"
	case ranged && m.Low != m.High:
		return fmt.Sprintf("**%s** (%s–%s)", number(m.Mid), number(m.Low), number(m.High))
	case ranged:
		return "**" + number(m.Mid) + "**"
	default:
		return number(m.Mid)
	}
}

// number writes three significant digits, and commas in what is large.
func number(v float64) string {
	switch size := math.Abs(v); {
	case v == 0:
		return "0"
	case size < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case size < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size < 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	digits := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	text := strconv.FormatFloat(math.Round(v/digits)*digits, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
