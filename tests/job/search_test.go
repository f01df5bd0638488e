package job

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Each batch of 2,000 jobs or dead letters takes longer than half the time that a page has.
func TestSearchSaysHowFarItHasSearched(t *testing.T) {
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
		"delete from weir.job_ready",
		"create function public.delay() returns void language sql as 'select pg_sleep(1.2)'",
	} {
		weirtest.Exec(t, s.DB, sql)
	}
	for _, f := range []string{"filter_job_ids(bigint[], jsonb, text[])", "filter_dead_letter_ids(bigint[], jsonb)"} {
		slow(t, s.DB, f)
	}
	for path, last := range map[string]string{
		"/v1/jobs?q=needle": "select created_at from weir.job order by id desc offset 3999 limit 1",
		"/v1/dead?q=needle": "select died_at from weir.job_dead order by died_at desc offset 3999 limit 1",
	} {
		type found struct {
			Items          []weirtest.Job
			NextCursor     *string    `json:"next_cursor"`
			SearchedBackTo *time.Time `json:"searched_back_to"`
		}
		page := weirtest.Decode[found](s.Get(path).Want(http.StatusOK))
		at := weirtest.Value[time.Time](t, s.DB, last)
		if len(page.Items) != 0 || page.NextCursor == nil || page.SearchedBackTo == nil || !page.SearchedBackTo.Equal(at) {
			t.Fatalf("%s: %+v, want nothing found back to %s", path, page, at)
		}
		page = weirtest.Decode[found](s.Get(path + "&cursor=" + url.QueryEscape(*page.NextCursor)).Want(http.StatusOK))
		if len(page.Items) != 1 || page.NextCursor != nil || page.SearchedBackTo != nil {
			t.Fatalf("%s, second page: %+v, want the last job and no more", path, page)
		}
	}
}

// slow makes a function of the schema wait before it answers.
func slow(t *testing.T, d weirtest.Querier, signature string) {
	t.Helper()
	weirtest.Exec(t, d, `do $do$ declare definition text := pg_get_functiondef('weir.`+signature+`'::regprocedure); begin
		execute regexp_replace(definition, E'\\nbegin\\n', E'\nbegin\n  perform public.delay();\n');
	end $do$`)
}
