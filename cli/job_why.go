package cli

import (
	"context"

	"github.com/weirhq/weir/rest"
)

type explainJob struct{ jobFlags }

// Run shows each reason why the job does not run.
func (c *explainJob) Run(ctx context.Context, s *Session) error {
	type why struct {
		Reasons []struct{ Code, Message string }
	}
	return show(ctx, s, c.answerFlags, rest.Get(c.path("why")), func(p *printer, w *why) {
		t := p.table()
		for _, r := range w.Reasons {
			t.row(r.Code, r.Message)
		}
		t.end()
	})
}
