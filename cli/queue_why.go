package cli

import (
	"context"

	"github.com/weirhq/weir/rest"
)

type explainQueue struct{ queueFlags }

// Run shows each reason why jobs of the queue do not run.
func (c *explainQueue) Run(ctx context.Context, s *Session) error {
	type why struct {
		Reasons []struct {
			Code, Message string
			Jobs          int64
		}
	}
	return show(ctx, s, c.answerFlags, rest.Get(c.path("why")), func(p *printer, w *why) {
		t := p.table("REASON", "JOBS", "WHY")
		for _, r := range w.Reasons {
			t.row(r.Code, r.Jobs, r.Message)
		}
		t.end()
	})
}
