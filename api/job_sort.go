package api

import (
	"context"
	"fmt"

	"github.com/weirhq/weir/jobs"
)

// listSorted lists jobs in another order than that of their ids.
func (a *API) listSorted(ctx context.Context, in *jobsInput, filter jobs.Filter) (*jobPageOutput, error) {
	list := "jobs by " + in.Sort
	position, err := in.position(ctx, list)
	if err != nil {
		return nil, err
	}
	var from jobs.SortPosition
	if position != "" {
		if n, err := fmt.Sscanf(position, "%d %d %g %d", &from.Top, &from.Bottom, &from.Key, &from.ID); err != nil || n != 4 || from.Top < 1 || from.Bottom < 1 || from.ID < 1 {
			return nil, badCursor(ctx)
		}
	}
	page, err := a.engine.Sorted(ctx, filter, jobs.Sort(in.Sort), from, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &jobPageOutput{Body: JobPage{Items: page.Jobs, SearchedBackTo: page.SearchedBackTo, SortedOf: &page.Of, EncryptedSkipped: page.EncryptedSkipped}}
	if p := page.Next; p != nil {
		out.Body.NextCursor = cursorTo(list, fmt.Sprintf("%d %d %g %d", p.Top, p.Bottom, p.Key, p.ID))
	}
	return out, nil
}
