package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

// chartLabel is the width of what stands before and behind the bars.
const chartLabel = 42

// chart draws the numbers over the window, a bar for each bucket, as wide as the terminal has room for.
func (c *statsCommand) chart(ctx context.Context, s *Session) error {
	type bucket struct {
		At        time.Time `json:"at"`
		Enqueued  float64   `json:"enqueued"`
		Completed float64   `json:"completed"`
		Failed    float64   `json:"failed"`
		TimedOut  float64   `json:"timed_out"`
		Lost      float64   `json:"lost"`
		P95       float64   `json:"p95_seconds"`
	}
	type buckets struct {
		Buckets []bucket `json:"buckets"`
		Seconds float64  `json:"bucket_seconds"`
	}
	_, counts, err := read[buckets](ctx, s, c.answerFlags, c.call(rest.Get("/v1/stats/throughput")))
	if err != nil {
		return err
	}
	_, waits, err := read[buckets](ctx, s, c.answerFlags, c.call(rest.Get("/v1/stats/wait-times")))
	if err != nil {
		return err
	}
	columns, _ := terminal.Size(s.Out)
	p := newPrinter(s)
	p.line("\neach bar: %s", roughly(Seconds(counts.Seconds)))
	perSecond := func(n float64) string { return rate(n/counts.Seconds) + "/s" }
	for _, row := range []struct {
		name  string
		of    []bucket
		value func(b bucket) float64
		say   func(n float64) string
	}{
		{"enqueued", counts.Buckets, func(b bucket) float64 { return b.Enqueued }, perSecond},
		{"completed", counts.Buckets, func(b bucket) float64 { return b.Completed }, perSecond},
		{"failed", counts.Buckets, func(b bucket) float64 { return b.Failed + b.TimedOut + b.Lost }, perSecond},
		{"p95 wait", waits.Buckets, func(b bucket) float64 { return b.P95 }, func(n float64) string { return roughly(Seconds(n)) }},
	} {
		values := make([]float64, len(row.of))
		highest, at := 0.0, time.Time{}
		for i, b := range row.of {
			if values[i] = row.value(b); values[i] > highest {
				highest, at = values[i], b.At
			}
		}
		text := fmt.Sprintf("%-10s %s", row.name, bars(values, max(10, columns-chartLabel)))
		if highest > 0 {
			text += fmt.Sprintf("  at most %s at %s", row.say(highest), at.Local().Format("Jan 2 15:04"))
		}
		p.line("%s", safe(text))
	}
	return p.flush()
}

// bars draws numbers as bars, a character each. If there are more than most, each bar is the highest of several.
func bars(values []float64, most int) string {
	heights := []rune("▁▂▃▄▅▆▇█")
	group := max(1, (len(values)+most-1)/most)
	highest := 0.0
	for _, v := range values {
		highest = max(highest, v)
	}
	var drawn []rune
	for from := 0; from < len(values); from += group {
		top := 0.0
		for _, v := range values[from:min(len(values), from+group)] {
			top = max(top, v)
		}
		bar := ' '
		if top > 0 {
			bar = heights[int(top/highest*float64(len(heights)-1))]
		}
		drawn = append(drawn, bar)
	}
	return string(drawn)
}
