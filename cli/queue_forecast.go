package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/weirhq/weir/rest"
)

type forecastQueue struct {
	queueFlags
	Window duration `help:"How far back to count the rates: 1m to 24h." default:"15m" placeholder:"TIME"`
}

// forecast is when the backlog of a queue is gone.
type forecast struct {
	Waiting           int64      `json:"waiting"`
	Exact             bool       `json:"exact"`
	EnqueuedPerSecond float64    `json:"enqueued_per_second"`
	EndedPerSecond    float64    `json:"ended_per_second"`
	Outlook           string     `json:"outlook"`
	GoneAt            *time.Time `json:"gone_at"`
	GoneWithoutMoreAt *time.Time `json:"gone_without_more_at"`
}

// Run shows when the backlog is gone.
func (c *forecastQueue) Run(ctx context.Context, s *Session) error {
	seconds := int(c.Window.seconds())
	if seconds < 60 || seconds > 86400 {
		return Usagef("--window must be 1m to 24h")
	}
	call := rest.Get(c.path("forecast")).With("window_seconds", strconv.Itoa(seconds))
	return show(ctx, s, c.answerFlags, call, func(p *printer, f *forecast) {
		waiting := strconv.FormatInt(f.Waiting, 10)
		if !f.Exact {
			waiting += "+"
		}
		t := p.table("WAITING", "COMING PER SECOND", "ENDING PER SECOND", "OUTLOOK", "GONE AT", "WITHOUT MORE JOBS")
		t.row(waiting, fmt.Sprintf("%.2f", f.EnqueuedPerSecond), fmt.Sprintf("%.2f", f.EndedPerSecond), f.Outlook, f.GoneAt, f.GoneWithoutMoreAt)
		t.end()
	})
}
