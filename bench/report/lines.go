package report

import (
	"fmt"
	"strings"
)

// lines draws the jobs completed in each second over time, a line a system. It is empty where no system has a series.
func lines(title string, rows []row) string {
	const left, right, top, bottom, width, height = 70, 150, 44, 40, 820, 400
	var longest int
	var highest float64
	for _, r := range rows {
		smooth := smoothed(r.series)
		longest = max(longest, len(smooth))
		for _, v := range smooth {
			highest = max(highest, v)
		}
	}
	if longest < 2 || highest == 0 {
		return ""
	}
	x := func(second int) float64 { return left + float64(width-left-right)*float64(second)/float64(longest-1) }
	y := func(v float64) float64 { return float64(height-bottom) - float64(height-bottom-top)*v/highest }
	var b strings.Builder
	fmt.Fprintf(&b, svgOpen, width, height, title)
	for i := range 5 {
		v := highest * float64(i) / 4
		fmt.Fprintf(&b, `<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y(v), width-right, left-8, y(v)+4, number(v))
		second := (longest - 1) * i / 4
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d s</text>`+"\n", x(second), height-bottom+20, second+1)
	}
	key := top + 8
	for _, r := range rows {
		smooth := smoothed(r.series)
		if len(smooth) == 0 {
			continue
		}
		var points []string
		for i, v := range smooth {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), y(v)))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour(r.system))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="14" height="4" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", width-right+12, key, colour(r.system), width-right+32, key+6, r.system)
		key += 20
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// smoothed is the mean of each second and its neighbours, over a sixtieth of the whole, so that a long run stays readable.
func smoothed(series []float64) []float64 {
	reach := max(1, len(series)/60) / 2
	out := make([]float64, len(series))
	for i := range series {
		part := series[max(0, i-reach):min(len(series), i+reach+1)]
		for _, v := range part {
			out[i] += v / float64(len(part))
		}
	}
	return out
}
