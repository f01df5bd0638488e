package job

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// The search takes a millisecond for each job or dead letter, and so longer than the time that a page has.
func TestSearchSaysHowFarItHasSearched(t *testing.T) {
	weirtest.Long(t, "its searches run into their time limit")
	t.Parallel()
	s := weirtest.StartNode(t)
	batch := make([]obj, 5000)
	for i := range batch {
		batch[i] = obj{"kind": "k", "queue": "q", "max_attempts": 1}
	}
	batch[0]["kind"] = "needle"
	s.EnqueueAll(batch)
	for _, sql := range []string{
		`insert into weir.job_dead (job_id, queue_id, died_at)
			select j.id, j.queue_id, '2020-01-01'::timestamptz + make_interval(secs => j.id) from weir.job j`,
		"insert into weir.job_outcome (job_id, queue_id, state, attempt, finished_at) select d.job_id, d.queue_id, 'dead', 1, d.died_at from weir.job_dead d",
		"update weir.job set created_at = '2020-01-01'::timestamptz + make_interval(secs => id)",
		"delete from weir.job_ready",
	} {
		weirtest.Exec(t, s.DB, sql)
	}
	delaySearches(t, s.DB, time.Millisecond)
	for _, path := range []string{"/v1/jobs?q=needle", "/v1/dead?q=needle"} {
		type found struct {
			Items          []weirtest.Job
			NextCursor     *string    `json:"next_cursor"`
			SearchedBackTo *time.Time `json:"searched_back_to"`
		}
		back, cursor, seen := time.Now(), "", 0
		for n := 1; ; n++ {
			page := weirtest.Decode[found](s.Get(path + "&cursor=" + url.QueryEscape(cursor)).Want(http.StatusOK))
			seen += len(page.Items) // also on a page whose time was over just then
			if page.NextCursor == nil {
				if n == 1 || seen != 1 || page.SearchedBackTo != nil {
					t.Errorf("%s: %+v on page %d, and %d jobs in all, want the last job and no more, and not at once", path, page, n, seen)
				}
				break
			}
			if n > 20 || page.SearchedBackTo == nil || !page.SearchedBackTo.Before(back) {
				t.Fatalf("%s: %+v on page %d, want back beyond %s", path, page, n, back)
			}
			back, cursor = *page.SearchedBackTo, *page.NextCursor
		}
	}
}

// delaySearches makes a search wait for each job and dead letter that it looks at.
func delaySearches(t *testing.T, d weirtest.Querier, each time.Duration) {
	t.Helper()
	weirtest.Exec(t, d, fmt.Sprintf("create function public.delay(jobs int) returns void language sql as 'select pg_sleep(%f * jobs)'", each.Seconds()))
	for _, f := range []string{"filter_job_ids(bigint[], jsonb, text[])", "filter_dead_letter_ids(bigint[], jsonb)"} {
		weirtest.Exec(t, d, `do $do$ declare definition text := pg_get_functiondef('weir.`+f+`'::regprocedure); begin
			execute regexp_replace(definition, E'\\nbegin\\n', E'\nbegin\n  perform public.delay(cardinality(job_ids));\n');
		end $do$`)
	}
}
