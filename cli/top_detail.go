package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

// queueDetail is what is shown of one queue.
type queueDetail struct {
	name  string
	stats *struct {
		Queue    json.RawMessage `json:"queue"`
		Windows  []queueWindow   `json:"windows"`
		Failures []struct {
			Kind    string    `json:"kind"`
			Event   string    `json:"event"`
			Type    string    `json:"type"`
			Message string    `json:"message"`
			Count   int64     `json:"count"`
			LastAt  time.Time `json:"last_at"`
		} `json:"failures"`
	}
	why topWhy
}

// detail reads one queue.
func (r *topReader) detail(ctx context.Context, name string) (*queueDetail, error) {
	ctx, cancel := context.WithTimeout(ctx, topTimeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	calls := topCalls{ctx, r.weir, group}
	d := &queueDetail{name: name}
	calls.get(rest.Get(rest.Path("queues", name, "stats")), &d.stats, true)
	calls.get(rest.Get(rest.Path("queues", name, "why")), &d.why, true)
	return d, group.Wait()
}

// lines are the detail, one line each.
func (d *queueDetail) lines(paint terminal.Painter) []string {
	if d.stats == nil {
		return []string{"reading …"}
	}
	var lines []string
	title := func(text string) { lines = append(lines, "", paint.In(terminal.Bold, text)) }
	say := func(format string, args ...any) {
		lines = append(lines, terminal.OneLine(fmt.Sprintf(format, args...)))
	}
	if q, err := decode[queue](d.stats.Queue); err == nil {
		say("available %s, running %d, scheduled %s, retryable %s, held %s, dead %s",
			q.count(q.Available), q.Running, q.count(q.Scheduled), q.count(q.Retryable), q.count(q.Held), q.count(q.Dead))
		if q.Available > 0 {
			say("the oldest has waited for %s", roughly(Seconds(q.OldestAvailableSeconds)))
		}
	}
	title("WHY JOBS DO NOT RUN")
	for _, r := range d.why.Reasons {
		say("%s, %s: %s", r.Code, countOf(r.Jobs, "job"), r.Message)
	}
	title("WHAT ENDED")
	for _, w := range d.stats.Windows {
		say("last %s: %d completed (%s a second), %d dead, %d cancelled", roughly(Seconds(w.WindowSeconds)), w.Completed,
			strconv.FormatFloat(w.CompletedPerSecond, 'f', -1, 64), w.Dead, w.Cancelled)
	}
	title("FAILURES OF THE LAST DAY")
	if len(d.stats.Failures) == 0 {
		say("none")
	}
	for _, f := range d.stats.Failures {
		say("%s %s %s ×%d, last %s: %s", f.Kind, spaced(f.Event), f.Type, f.Count, relative(time.Now(), f.LastAt), terminal.Shorten(f.Message, 200))
	}
	title("SETTINGS")
	if settings, err := decode[map[string]json.RawMessage](d.stats.Queue); err == nil {
		for _, name := range queueSettings {
			if value := (*settings)[name]; value != nil {
				say("%-24s %s", name, string(value))
			}
		}
	}
	return lines
}
