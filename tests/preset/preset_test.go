package preset

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

type preset struct {
	Name, Tenant, Title, Description string
	Filter                           map[string]any
	BuiltIn                          bool       `json:"built_in"`
	CreatedAt                        *time.Time `json:"created_at"`
}

func savePreset(s *weirtest.Node, name string, filter obj) *weirtest.Response {
	s.T.Helper()
	return s.Post("/v1/presets", obj{"name": name, "title": "Of a test", "filter": filter})
}

func TestPeopleSavePresets(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("select weir.enqueue('k' || i % 3, queue => 'q' || i % 2, priority => 1 + i % 10) from generate_series(1, 60) i")
	body := obj{"name": "mine", "title": "My jobs", "description": "Those that I watch.", "filter": obj{"kind": []string{"k1", "k2"}, "min_priority": 5, "created_after": "-1h"}}
	made := weirtest.Decode[preset](s.Post("/v1/presets", body).Want(http.StatusCreated))
	if made.Title != "My jobs" || made.Description != "Those that I watch." || made.Filter["created_after"] != "-1h" || made.BuiltIn || made.CreatedAt == nil {
		t.Errorf("it is %+v", made)
	}
	s.Post("/v1/presets", body).Problem(http.StatusConflict, "preset_exists")
	count := func(query string) int { t.Helper(); return len(idsOf(s, query)) }
	if got, want := count("preset=mine"), s.Count("select count(*) from weir.jobs where kind <> 'k0' and priority >= 5"); got != want {
		t.Errorf("it lists %d jobs, want %d", got, want)
	}
	// A field that is given replaces the preset's, and others are added.
	if got, want := count("preset=mine&kind=k0&queue=q1"), s.Count("select count(*) from weir.jobs where kind = 'k0' and priority >= 5 and queue = 'q1'"); got != want {
		t.Errorf("with more fields it lists %d jobs, want %d", got, want)
	}
	s.Do(http.MethodPut, "/v1/presets/mine", obj{"title": "Fewer", "filter": obj{"kind": "k1"}}).Want(http.StatusOK)
	if got, want := count("preset=mine"), 20; got != want {
		t.Errorf("when it was replaced it lists %d jobs, want %d", got, want)
	}
	if got := weirtest.Decode[preset](s.Get("/v1/presets/mine").Want(http.StatusOK)); got.Title != "Fewer" || got.Description != "" || fmt.Sprint(got.Filter) != "map[kind:k1]" {
		t.Errorf("then it is %+v", got)
	}
	s.Do(http.MethodDelete, "/v1/presets/mine", nil).Want(http.StatusNoContent)
	s.Get("/v1/presets/mine").Problem(http.StatusNotFound, "preset_not_found")
	s.Do(http.MethodDelete, "/v1/presets/mine", nil).Problem(http.StatusNotFound, "preset_not_found")
	for _, path := range []string{"/v1/jobs?preset=mine", "/v1/jobs/facets?preset=mine"} {
		s.Get(path).Problem(http.StatusNotFound, "preset_not_found")
	}
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.preset_filter('mine')"), "WR093")
}

func TestBulkActionsAndExportsTakePresets(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.Exec("select weir.enqueue('k' || i % 3, queue => 'q' || i % 2) from generate_series(1, 60) i")
	savePreset(s, "mine", obj{"kind": "k1", "created_after": "today"}).Want(http.StatusCreated)
	o := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"preset": "mine"}}).ID)
	if lines := strings.Count(string(s.Get("/v1/operations/"+o.ID+"/result").Want(http.StatusOK).Body), "\n"); lines != 20 || o.Done != 20 {
		t.Errorf("%d jobs are exported: %+v", lines, o)
	}
	dry := weirtest.Decode[weirtest.Operation](s.Post("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{"preset": "mine", "queue": "q0"}, "dry_run": true}).Want(http.StatusOK))
	o = s.WaitForOperation(s.StartOperation("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{"preset": "mine", "queue": "q0"}}).ID)
	if n := s.Count("select count(*) from weir.jobs where state = 'cancelled' and kind = 'k1' and queue = 'q0'"); n != 10 || o.Done != 10 || dry.Total != 10 {
		t.Errorf("%d jobs are cancelled: %+v; before: %+v", n, o, dry)
	}
	if n := s.Count("select count(*) from weir.jobs where state = 'cancelled'"); n != 10 {
		t.Errorf("%d jobs are cancelled in all", n)
	}
	s.Post("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{"preset": "nope"}}).Problem(http.StatusNotFound, "preset_not_found")
	s.Post("/v1/jobs/export", obj{"filter": obj{"preset": "nope"}}).Problem(http.StatusNotFound, "preset_not_found")
}

func TestTimesOfPresetsAreRelative(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for value, want := range map[string]string{
		"-90s": "now() - interval '90 s'", "-15m": "now() - interval '15 minutes'", "-1h": "now() - interval '1 hour'", "-7d": "now() - interval '168 hours'",
		"-2w": "now() - interval '336 hours'", "-999999999w": "now() - interval '87600 hours'", "today": "date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'",
		"2026-01-31T09:30:00+01:00": "timestamptz '2026-01-31T08:30:00Z'",
	} {
		weirtest.Exec(t, d, "select weir.set_preset('p', jsonb_build_object('title', 'T', 'filter', jsonb_build_object('finished_before', $1::text)))", value)
		if off := weirtest.Value[float64](t, d, "select abs(extract(epoch from (weir.preset_filter('p') ->> 'finished_before')::timestamptz - ("+want+")))::float8"); off > 2 {
			t.Errorf("%s is %f seconds off", value, off)
		}
	}
	// Whatever the time zone of the session.
	got := weirtest.Value[bool](t, d, "select set_config('TimeZone', 'Pacific/Kiritimati', true) is not null and weir.preset_filter('failed_today') ->> 'finished_after' = to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"00:00:00.000000\"Z\"')")
	if !got {
		t.Error("today depends on the time zone of the session")
	}
}

func TestBadPresetsAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	filter := obj{"state": "dead"}
	for location, body := range map[string]obj{
		"body.name":                 {"name": "a/b", "title": "T", "filter": filter},
		"body.title":                {"name": "p", "title": "", "filter": filter},
		"body.description":          {"name": "p", "title": "T", "description": strings.Repeat("x", 1001), "filter": filter},
		"body.filter":               {"name": "p", "title": "T", "filter": []int{1}},
		"body.filter.state":         {"name": "p", "title": "T", "filter": obj{"state": "failed"}},
		"body.filter.nope":          {"name": "p", "title": "T", "filter": obj{"nope": 1}},
		"body.filter.bounds":        {"name": "p", "title": "T", "filter": obj{"bounds": obj{"tenant": "other"}}},
		"body.filter.preset":        {"name": "p", "title": "T", "filter": obj{"preset": "failed_today"}},
		"body.filter.created_after": {"name": "p", "title": "T", "filter": obj{"created_after": "tomorrow"}},
		"body.filter.priority":      {"name": "p", "title": "T", "filter": obj{"priority": "-1h"}},
		"body.nope":                 {"name": "p", "title": "T", "filter": filter, "nope": 1},
	} {
		p := s.Post("/v1/presets", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) == 0 || p.Errors[0].Location != location {
			t.Errorf("%v: %+v, want it at %s", body, p.Errors, location)
		}
		delete(body, "name")
		if location != "body.name" {
			s.Do(http.MethodPut, "/v1/presets/p", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		}
	}
	large := savePreset(s, "p", obj{"kind": slices.Repeat([]string{strings.Repeat("x", 199)}, 20), "args": obj{"x": strings.Repeat("x", 4060)}, "queue": []string{strings.Repeat("q", 128)}, "q": strings.Repeat("w", 199)})
	if p := large.Problem(http.StatusUnprocessableEntity, "invalid_argument"); p.Errors[0].Location != "body.filter" || !strings.Contains(p.Errors[0].Message, "8 KiB") {
		t.Errorf("a large filter: %+v", p.Errors)
	}
	for call, field := range map[string]string{
		`weir.set_preset('', '{"title": "T", "filter": {}}')`: "name", `weir.set_preset('p', '[]')`: "preset", `weir.set_preset('p', '{"filter": {}}')`: "title", `weir.set_preset('p', '{"title": "T"}')`: "filter",
		`weir.set_preset('p', '{"title": "T", "filter": {"finished_after": "-1x"}}')`: "filter.finished_after", `weir.set_preset('p', '{"title": "T", "filter": {}}', tenant => '')`: "tenant",
	} {
		err := weirtest.TryExec(s.DB, "select "+call)
		weirtest.WantSQLState(t, err, "WR010")
		if !strings.Contains(err.Error(), field+" ") {
			t.Errorf("%s: %v", call, err)
		}
	}
	s.Get("/v1/jobs?preset=").Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Get("/v1/jobs?created_after=-1h").Problem(http.StatusUnprocessableEntity, "invalid_argument") // only in presets
	if n := s.Count("select count(*) from weir.preset"); n != 0 {
		t.Errorf("%d presets were saved", n)
	}
}

// REST reads filters that SQL stored in other forms than its own.
func TestPresetsOfSQLAreReadOverREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("select weir.enqueue('k', queue => 'q', priority => 5)")
	s.Exec(`select weir.set_preset('odd', '{"title": "T", "filter": {"priority": 5.0, "min_attempts": null, "max_attempts": 1e1, "max_run_seconds": 2.50}}')`)
	if got := idsOf(s, "preset=odd"); len(got) != 0 { // it never ran
		t.Errorf("it lists %v", got)
	}
	s.Exec(`select weir.set_preset('odd', '{"title": "T", "filter": {"priority": 5.0, "min_attempts": null, "max_attempts": 1e1}}')`)
	if got := idsOf(s, "preset=odd"); len(got) != 1 {
		t.Errorf("it lists %v", got)
	}
	s.Exec(`select weir.set_preset('odd', '{"title": "T", "filter": {"parent_id": 1}}')`)
	if got := idsOf(s, "preset=odd"); len(got) != 0 {
		t.Errorf("it lists %v", got)
	}
}

func TestATenantHasTwoHundredPresets(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec(`select weir.set_preset('p' || i, '{"title": "T", "filter": {}}') from generate_series(1, 199) i`)
	done := make(chan int)
	for i := range 3 {
		go func() {
			r, err := s.Send(t.Context(), http.MethodPut, fmt.Sprintf("/v1/presets/last%d", i), obj{"title": "T", "filter": obj{}})
			if err != nil {
				t.Error(err)
				done <- 0
				return
			}
			done <- r.Status
		}()
	}
	statuses := []int{<-done, <-done, <-done}
	slices.Sort(statuses)
	if !slices.Equal(statuses, []int{200, 409, 409}) {
		t.Errorf("three at once: %v", statuses)
	}
	savePreset(s, "more", obj{}).Problem(http.StatusConflict, "too_many_names")
	s.Do(http.MethodPut, "/v1/presets/p7", obj{"title": "New", "filter": obj{}}).Want(http.StatusOK)
	s.Post("/v1/presets?tenant=acme", obj{"name": "theirs", "title": "T", "filter": obj{}}).Want(http.StatusCreated)
	var names []string
	for cursor := ""; ; {
		page := weirtest.Decode[weirtest.Page[preset]](s.Get("/v1/presets?limit=50" + cursor).Want(http.StatusOK))
		for _, p := range page.Items {
			names = append(names, p.Tenant+"/"+p.Name)
		}
		if page.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *page.NextCursor
	}
	if n := len(names); n != 201+len(conditions) || len(slices.Compact(names)) != n || !slices.IsSorted(names) {
		t.Errorf("%d presets are listed, want %d, each once and in order", n, 201+len(conditions))
	}
}

func TestPresetsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("select weir.enqueue('k' || i % 2, queue => 'q') from generate_series(1, 5) i")
	s.CLI("presets", "set", "mine", "--title", "My jobs", "--description", "Those of k1.", "--filter", `{"kind": "k1", "created_after": "-1d"}`).Says(0, "preset mine (saved): My jobs", "Those of k1.", `{"kind":"k1","created_after":"-1d"}`)
	r := s.CLI("presets").Says(0, "PRESET", "failed_today", "built in", "mine", "saved")
	t.Log("\n" + r.Stdout)
	s.CLI("presets", "show", "stuck").Says(0, "preset stuck (built in): Stuck over an hour", `"started_before":"-1h"`)
	if r := s.CLI("jobs", "--preset", "mine").Says(0, "k1"); strings.Contains(r.Stdout, "k0") {
		t.Errorf("it lists others:\n%s", r.Stdout)
	}
	s.CLI("jobs", "--preset", "mine", "--facet", "kind").Says(0, "k1", "3 jobs.")
	s.CLI("presets", "set", "stuck", "--title", "x", "--filter", "{}").Says(1, "built in")
	s.CLI("presets", "set", "bad", "--title", "x", "--filter", "{").Says(2, "not JSON")
	s.CLI("presets", "set", "bad", "--title", "x", "--filter", `{"state": "nope"}`).Says(1, "filter.state")
	s.CLI("presets", "delete", "mine", "--yes").Says(0, "preset mine is gone")
	s.CLI("jobs", "--preset", "mine").Says(1, "there is no preset")
}
