package cli

import (
	"context"
	"time"

	"github.com/weirhq/weir/rest"
)

// jobFacets are counts of jobs by some of their facts.
type jobFacets struct {
	Facets map[string][]struct {
		Value string `json:"value"`
		Count int64  `json:"count"`
	} `json:"facets"`
	Other          map[string]int64 `json:"other"`
	Counted        int64            `json:"counted"`
	Estimated      bool             `json:"estimated"`
	SearchedBackTo *time.Time       `json:"searched_back_to"`
}

// facetOrder is the order in which facets are printed.
var facetOrder = []string{"state", "queue", "kind", "error_type", "tenant", "worker", "tag", "priority"}

// showFacets prints how many of the jobs that match have which facts.
func (c *searchJobs) showFacets(ctx context.Context, s *Session) error {
	call, err := c.filter(rest.Get("/v1/jobs/facets"))
	if err != nil {
		return err
	}
	for _, name := range c.Facet {
		call = call.With("facet", name)
	}
	return show(ctx, s, c.answerFlags, call, func(p *printer, f *jobFacets) {
		t := p.table("FACET", "VALUE", "JOBS")
		for _, name := range facetOrder {
			for _, v := range f.Facets[name] {
				t.row(name, v.Value, v.Count)
			}
			if n := f.Other[name]; n > 0 {
				t.row(name, safe("(other)"), n)
			}
		}
		t.end()
		switch {
		case f.SearchedBackTo != nil:
			p.line("\n%d jobs were counted, and there may be more: the search ended at those enqueued %s.", f.Counted, p.cell(*f.SearchedBackTo))
		case f.Estimated:
			p.line("\n%d jobs were counted, and there are more.", f.Counted)
		default:
			p.line("\n%d jobs.", f.Counted)
		}
	})
}
