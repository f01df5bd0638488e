package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// colours of the systems. weir's are of one family, so that they stand out together.
var colours = map[string]string{
	"weir-sql": "#0b6e99", "weir-engine": "#3aa0c9", "weir-rest": "#8ccbe3", "weir-rest-key": "#b9dfee", "weir-go-sql": "#2f8f6b", "weir-go-http": "#7cc4a5",
	"river-tuned": "#c2571a", "river-nogin": "#e08a4f", "river-default": "#f0bd9a",
	"graphile": "#6a8f2f", "pgboss": "#8a5ea8", "pgq": "#9a9a9a", "floor": "#c4c4c4",
}

func colour(system string) string { return cmp.Or(colours[system], "#555555") }

const svgOpen = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13" fill="#222">
<title>%s</title>
<rect width="100%%" height="100%%" fill="#fff"/>
<text x="16" y="24" font-size="16" font-weight="600">%[3]s</text>
`

// bars draws one figure of all systems, the largest first, with its range over the rounds. It is empty where no system has the figure.
func bars(title, figure string, rows []row) string {
	var shown []row
	var top float64
	for _, r := range rows {
		if m, has := r.figures[figure]; has {
			shown = append(shown, r)
			top = max(top, m.High)
		}
	}
	if len(shown) == 0 || top == 0 {
		return ""
	}
	slices.SortStableFunc(shown, func(a, b row) int { return cmp.Compare(b.figures[figure].Mid, a.figures[figure].Mid) })
	const left, width, step = 150, 480, 28
	var b strings.Builder
	fmt.Fprintf(&b, svgOpen, 760, 52+step*len(shown), title)
	for i, r := range shown {
		m, y := r.figures[figure], 44+step*i
		at := func(v float64) float64 { return left + width*v/top }
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-10, y+14, r.system)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="18" fill="%s"/>`+"\n", left, y, at(m.Mid)-left, colour(r.system))
		fmt.Fprintf(&b, `<path d="M%.1f %d H%.1f" stroke="#222" stroke-width="1.5"/>`+"\n", at(m.Low), y+9, at(m.High))
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", at(m.High)+8, y+14, number(m.Mid))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
