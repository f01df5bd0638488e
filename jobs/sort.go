package jobs

import (
	"context"
	"encoding/json"
	"math"

	"github.com/weirhq/weir/db"
)

// Sort is the order of a list of jobs other than by their ids, for which there are List and Oldest.
type Sort string

// SortPosition is a place in a sorted list. The zero value is the beginning.
type SortPosition struct {
	Top, Bottom ID // the jobs that are sorted have ids below Top, and from Bottom on
	Key         float64
	ID          ID // of the last job; 0: none
}

// SortedPage is one page of a sorted list of jobs.
type SortedPage struct {
	Page
	Of   int           // how many jobs are sorted
	Next *SortPosition // where the next page begins; nil: there is none
}

// sortMost is how many matches are sorted.
const sortMost = 10_000

// Sorted lists up to limit jobs that match a filter, in an order other than that of their ids, from a position. It sorts the newest matches, as
// many as it finds in the time of a list, and at most sortMost. SearchedBackTo is set if there may be more.
func (e *Engine) Sorted(ctx context.Context, f Filter, sort Sort, from SortPosition, limit int) (SortedPage, error) {
	f, err := f.withPreset(ctx, e)
	if err != nil {
		return SortedPage{}, err
	}
	filter, err := f.encode(ctx)
	if err != nil {
		return SortedPage{}, err
	}
	if err := e.checkFilter(ctx, filter); err != nil {
		return SortedPage{}, err
	}
	if from.Top == 0 {
		from.Top = math.MaxInt64
	}
	ids, reached, err := e.matches(ctx, filter, newStride(f.Text != "" || f.Error != ""), from)
	if err != nil {
		return SortedPage{}, err
	}
	page := SortedPage{Page: Page{Jobs: []Job{}, EncryptedSkipped: f.skipsEncrypted(ctx, e.vault)}, Of: len(ids)}
	if reached != 0 {
		if page.SearchedBackTo, err = e.createdFrom(ctx, reached); err != nil {
			return SortedPage{}, err
		}
	}
	params := db.SortJobIDsParams{Ids: ids, Sort: string(sort), Most: int32(limit + 1)}
	if from.ID != 0 {
		params.AfterKey, params.AfterID = &from.Key, int64(from.ID)
	}
	keys, err := e.reads.SortJobIDs(ctx, params)
	if err != nil {
		return SortedPage{}, fromDB("sorting jobs", err)
	}
	more := len(keys) > limit
	keys = keys[:min(limit, len(keys))]
	shown := make([]int64, len(keys))
	for i, k := range keys {
		shown[i] = k.ID
	}
	rows, err := e.reads.JobsInOrder(ctx, shown)
	if err != nil {
		return SortedPage{}, fromDB("listing jobs", err)
	}
	for _, r := range rows {
		job, err := e.jobFromRow(ctx, r)
		if err != nil {
			return SortedPage{}, err
		}
		page.Jobs = append(page.Jobs, job)
	}
	if n := len(page.Jobs); n > 0 && (more || IsCut(ctx)) {
		last := keys[n-1]
		if from.Top == math.MaxInt64 {
			from.Top = ID(ids[0]) + 1
		}
		page.Next = &SortPosition{Top: from.Top, Bottom: max(reached, from.Bottom, 1), Key: last.Key, ID: ID(last.ID)}
	}
	return page, nil
}

// matches collects the newest jobs that match. reached: older ones were not looked at; 0: all were.
func (e *Engine) matches(ctx context.Context, filter json.RawMessage, size *stride, from SortPosition) (ids []int64, reached ID, err error) {
	before := from.Top
	for began := e.clock.Now(); ; {
		since := e.clock.Now()
		step, err := e.reads.SearchStep(ctx, db.SearchStepParams{Filter: filter, Start: int64(before), MaxIds: int32(size.size)})
		var found []int64
		if err == nil && len(step.Ids) > 0 {
			found, err = e.reads.FilterJobIDs(ctx, db.FilterJobIDsParams{Ids: step.Ids, Filter: filter})
		}
		if size.failed(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, 0, fromDB("sorting jobs", err)
		}
		size.took(e.clock.Since(since))
		for _, id := range found {
			if id >= int64(from.Bottom) && len(ids) < sortMost {
				ids = append(ids, id)
			}
		}
		before = ID(step.Reached)
		switch {
		case len(ids) == sortMost:
			return ids, ID(ids[sortMost-1]), nil
		case before == 0:
			return ids, 0, nil
		case from.Bottom > 1 && before <= from.Bottom:
			return ids, from.Bottom, nil
		case from.Bottom == 0 && e.clock.Since(began) > listFor:
			return ids, before, nil
		}
	}
}
