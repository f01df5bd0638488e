package search

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type sortedPage struct {
	Items      []weirtest.Job
	NextCursor *string `json:"next_cursor"`
	SortedOf   int     `json:"sorted_of"`
}

func TestListsAreSorted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	fill(t, s.DB)
	for sort, key := range map[string]string{"finished_at": "j.finished_at", "run_seconds": run, "wait_seconds": wait, "attempt": "j.attempt", "priority": "j.priority"} {
		for _, falling := range []string{"", "-"} {
			for filter, where := range map[string]string{"state=completed,dead,cancelled": "j.state in ('completed', 'dead', 'cancelled')", "kind=resize&has_error=true": "j.kind = 'resize' and j.errors is not null and j.state in ('dead', 'completed')"} {
				if filter != "state=completed,dead,cancelled" {
					filter += "&state=dead,completed"
				}
				direction := map[string]string{"": "asc", "-": "desc"}[falling]
				want := weirtest.Values[string](t, s.DB, fmt.Sprintf("select j.id::text from weir.jobs j where %s order by %s %s nulls last, j.id desc", where, key, direction))
				var got []string
				for cursor := ""; ; {
					page := weirtest.Decode[sortedPage](s.Get("/v1/jobs?" + filter + "&limit=23&sort=" + falling + sort + "&cursor=" + url.QueryEscape(cursor)).Want(http.StatusOK))
					for _, j := range page.Items {
						got = append(got, j.ID)
					}
					if page.SortedOf != len(want) {
						t.Errorf("%s%s sorts %d jobs, want %d", falling, sort, page.SortedOf, len(want))
					}
					if page.NextCursor == nil || len(got) > 1000 {
						break
					}
					cursor = *page.NextCursor
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s sorted by %s%s: got %v, want %v", filter, falling, sort, got, want)
				}
			}
		}
	}
	first := weirtest.Decode[sortedPage](s.Get("/v1/jobs?sort=-attempt&limit=1").Want(http.StatusOK))
	for query, place := range map[string]string{
		"sort=ids": "query.sort", "sort=-nothing": "query.sort", "sort=attempt&cursor=" + *first.NextCursor: "query.cursor", "cursor=" + *first.NextCursor: "query.cursor",
	} {
		if p := s.Get("/v1/jobs?"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument"); len(p.Errors) == 0 || p.Errors[0].Location != place {
			t.Errorf("%s: at %+v, want %s", query, p.Errors, place)
		}
	}
}
