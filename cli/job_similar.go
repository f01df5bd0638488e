package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
)

type listSimilar struct {
	jobFlags
	Limit int `help:"How many jobs to show, up to 100." default:"10"`
}

// similarJobs are jobs that resemble one.
type similarJobs struct {
	Items []struct {
		ID        string                     `json:"id"`
		State     string                     `json:"state"`
		CreatedAt time.Time                  `json:"created_at"`
		Score     float64                    `json:"score"`
		Reasons   []struct{ Message string } `json:"reasons"`
	} `json:"items"`
	LookedAt int  `json:"looked_at"`
	Cut      bool `json:"cut"`
}

// Run lists the jobs that are most similar.
func (c *listSimilar) Run(ctx context.Context, s *Session) error {
	call := rest.Get(c.path("similar")).With("limit", strconv.Itoa(c.Limit))
	return show(ctx, s, c.answerFlags, call, func(p *printer, found *similarJobs) {
		if len(found.Items) == 0 {
			p.line("No similar job among %d.", found.LookedAt)
			return
		}
		t := p.table("SCORE", "ID", "CREATED", "WHY", "STATE")
		for _, j := range found.Items {
			var reasons []string
			for _, r := range j.Reasons {
				reasons = append(reasons, r.Message)
			}
			t.row(strconv.FormatFloat(j.Score, 'f', 3, 64), j.ID, j.CreatedAt, strings.Join(reasons, "; "), p.state(j.State))
		}
		t.end()
		if found.Cut {
			p.line("\nOf %d jobs that were looked at; there are others.", found.LookedAt)
		}
	})
}
