package preset

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// conditions say what each built-in preset finds, without any of the functions of filters.
var conditions = map[string]string{
	"cancelled_today":       "j.state = 'cancelled' and j.finished_at >= date_trunc('day', now(), 'UTC')",
	"enqueued_lately":       "j.created_at >= now() - interval '15 minutes'",
	"failed_lately":         "j.state = 'dead' and j.finished_at >= now() - interval '1 hour'",
	"failed_today":          "j.state = 'dead' and j.finished_at >= date_trunc('day', now(), 'UTC')",
	"held":                  "j.state = 'held'",
	"high_priority_pending": "j.state in ('available', 'scheduled', 'retryable', 'held') and j.priority >= 8",
	"many_retries":          "j.attempt >= 4",
	"never_retried":         "j.attempt <= 1",
	"recently_completed":    "j.state = 'completed' and j.finished_at >= now() - interval '1 hour'",
	"retrying":              "j.state = 'retryable'",
	"slow_today":            "j.state = 'completed' and j.finished_at - j.started_at >= interval '5 minutes' and j.finished_at >= date_trunc('day', now(), 'UTC')",
	"stuck":                 "j.state = 'running' and j.started_at < now() - interval '1 hour'",
	"waiting_long":          "j.state = 'available' and greatest(j.created_at, (select max(e.at) from weir.job_event e where e.job_id = j.id)) < now() - interval '10 minutes'",
}

// fill makes some jobs that each preset finds and some that it does not. Times that presets compare are hours from now.
func fill(t *testing.T, d *weirtest.Database) {
	t.Helper()
	run := func(sql string) { t.Helper(); weirtest.Exec(t, d, sql) }
	run(`select weir.set_queue('q', '{"lease_seconds": 3600, "timeout_seconds": 86400, "retry": {"strategy": "fixed", "base_seconds": 0, "jitter": false}}')`)
	run(`select weir.enqueue('k', queue => 'q', priority => 1 + i % 10, max_attempts => 6, options => jsonb_build_object('tags', jsonb_build_array('t' || i % 2))) from generate_series(1, 200) i`)
	run(`select weir.enqueue('later', queue => 'later', priority => 1 + i % 10, run_at => now() + interval '1 day') from generate_series(1, 20) i`)
	run(`select weir.submit_workflow('{"name": "w", "steps": [{"name": "a", "kind": "s", "priority": 9}, {"name": "b", "kind": "s", "priority": 9, "depends_on": ["a"]}]}')`)
	for round := range 5 {
		for i, j := range weirtest.Claim(t, d, "q", 40) {
			switch {
			case i < 10:
				j.Call(t, d, `complete($1, $2)`)
			case i < 14:
				j.Call(t, d, `fail($1, $2, '{"message": "no"}', retry => false)`)
			case i < 26:
				j.Call(t, d, `fail($1, $2, '{"message": "again"}', retry_in => '0')`)
			case i < 30:
				j.Call(t, d, `fail($1, $2, '{"message": "later"}', retry_in => '1 day')`)
			case i < 36 || round > 0:
				j.Call(t, d, `release($1, $2)`)
			}
		}
		for weirtest.Value[int](t, d, "select promoted from weir.promote_due()") > 0 {
		}
	}
	run(`select weir.enqueue('stubborn', queue => 'stubborn', max_attempts => 6, options => jsonb_build_object('tags', jsonb_build_array('t' || i % 2))) from generate_series(1, 8) i`)
	for attempt := range 5 {
		for _, j := range weirtest.Claim(t, d, "stubborn", 8-attempt) {
			j.Call(t, d, `fail($1, $2, '{"message": "again"}', retry_in => '0')`)
		}
		for weirtest.Value[int](t, d, "select promoted from weir.promote_due()") > 0 {
		}
	}
	run(`select weir.cancel(id) from (select id from weir.jobs where kind = 'later' order by id limit 9) x`)
	// A third of what happened was long ago, and another one yesterday.
	run(`update weir.job_outcome set finished_at = finished_at - make_interval(hours => (job_id % 3)::int * 25), started_at = started_at - make_interval(hours => (job_id % 3)::int * 25, mins => (job_id % 2)::int * 7)`)
	run(`update weir.job_lease set leased_at = leased_at - make_interval(hours => 2 * (hashint8(job_id) & 1))`)
	run(`update weir.job set created_at = created_at - make_interval(hours => 2 * (id % 2)::int)`)
	run(`delete from weir.job_event where kind in ('released', 'failed') and job_id in (select id from weir.job where queue_id = (select id from weir.queue where name = 'q')) and job_id in (select id from weir.jobs where state = 'available')`)
}

func TestBuiltInPresetsFindWhatAPlainCountFinds(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fill(t, d)
	s := weirtest.StartNodeOn(t, d)
	listed := weirtest.Decode[weirtest.Page[preset]](s.Get("/v1/presets?limit=100").Want(http.StatusOK)).Items
	if len(listed) != len(conditions) {
		t.Errorf("%d presets are built in, and %d are checked", len(listed), len(conditions))
	}
	for _, p := range listed {
		if !p.BuiltIn || p.Title == "" || p.Description == "" {
			t.Errorf("preset %+v", p)
		}
		where := conditions[p.Name]
		if where == "" {
			t.Errorf("%s is not checked", p.Name)
			continue
		}
		wanted := weirtest.Values[string](t, d, "select j.id::text from weir.jobs j where "+where+" order by j.id desc")
		if len(wanted) == 0 || len(wanted) == weirtest.Value[int](t, d, "select count(*)::int from weir.job") {
			t.Errorf("%s finds %d jobs, which shows nothing", p.Name, len(wanted))
		}
		if got := idsOf(s, "preset="+p.Name); !slices.Equal(got, wanted) {
			t.Errorf("%s lists %d jobs, want %d: %v", p.Name, len(got), len(wanted), got)
		}
		if n := weirtest.Value[int](t, d, "select total::int from weir.count_jobs(weir.preset_filter($1))", p.Name); n != len(wanted) {
			t.Errorf("in SQL %s counts %d jobs, want %d", p.Name, n, len(wanted))
		}
		if n := weirtest.Decode[struct{ Counted int }](s.Get("/v1/jobs/facets?facet=state&preset=" + p.Name).Want(http.StatusOK)).Counted; n != len(wanted) {
			t.Errorf("facets of %s count %d jobs, want %d", p.Name, n, len(wanted))
		}
		more := weirtest.Values[string](t, d, "select j.id::text from weir.jobs j where "+where+" and 't1' = any (j.tags) order by j.id desc")
		if got := idsOf(s, "tag=t1&preset="+p.Name); !slices.Equal(got, more) {
			t.Errorf("%s with a tag lists %d jobs, want %d", p.Name, len(got), len(more))
		}
	}
}

// idsOf lists the ids of the jobs that a query finds, page by page.
func idsOf(s *weirtest.Node, query string) []string {
	s.T.Helper()
	ids := []string{}
	for cursor := ""; ; {
		page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?limit=100&" + query + cursor).Want(http.StatusOK))
		for _, j := range page.Items {
			ids = append(ids, j.ID)
		}
		if page.NextCursor == nil {
			return ids
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

func TestBuiltInPresetsStay(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	body := obj{"title": "Mine", "filter": obj{"state": "dead"}}
	s.Do(http.MethodPut, "/v1/presets/failed_today", body).Problem(http.StatusConflict, "preset_builtin")
	s.Do(http.MethodDelete, "/v1/presets/failed_today", nil).Problem(http.StatusConflict, "preset_builtin")
	body["name"] = "failed_today"
	s.Post("/v1/presets", body).Problem(http.StatusConflict, "preset_builtin")
	s.Post("/v1/presets?tenant=acme", body).Problem(http.StatusConflict, "preset_builtin")
	for _, call := range []string{`set_preset('stuck', '{"title": "x", "filter": {}}')`, `delete_preset('stuck')`} {
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir."+call), "WR094")
	}
	if n := s.Count("select count(*) from weir.preset"); n != 0 {
		t.Errorf("%d presets were saved", n)
	}
	got := weirtest.Decode[preset](s.Get("/v1/presets/failed_today").Want(http.StatusOK))
	if !got.BuiltIn || fmt.Sprint(got.Filter) != fmt.Sprint(map[string]any{"state": "dead", "finished_after": "today"}) {
		t.Errorf("it is %+v", got)
	}
}
