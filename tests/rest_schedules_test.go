package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTAScheduleIsMadeFiresAndGoes(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	made := weirtest.Decode[weirtest.Schedule](s.Post("/v1/schedules", `{"name": "tick", "every_seconds": 1, "job": {"kind": "k", "queue": "q", "args": {"at": "{{scheduled_at}}"}}}`).Want(http.StatusCreated))
	if made.State != "active" || made.NextAt == nil || made.EverySeconds != 1 || made.Overlap != "allow" || made.Job.Kind != "k" {
		t.Errorf("%+v", made)
	}
	jobs := s.ClaimAs("w", 2, "q")
	for _, j := range jobs {
		job := weirtest.Decode[struct {
			Schedule string
			Slot     time.Time
			Args     struct{ At time.Time }
		}](s.Get("/v1/jobs/" + j.ID).Want(http.StatusOK))
		if job.Schedule != "tick" || job.Slot.IsZero() || !job.Slot.Equal(job.Args.At) {
			t.Errorf("%+v", job)
		}
	}
	s.Eventually("the lateness is measured", func() bool { return s.Metric("weir_schedule_lateness_seconds_count") >= 2 })
	s.Post("/v1/schedules/tick/pause", nil).Want(http.StatusOK)
	before := s.Count("select count(*) from weir.job")
	run := weirtest.Decode[weirtest.ScheduleRun](s.Post("/v1/schedules/tick/trigger", nil).Want(http.StatusCreated))
	if !run.Manual || run.Outcome != "enqueued" || run.JobID == "" || run.JobState != "available" {
		t.Errorf("triggered: %+v", run)
	}
	if n := s.Count("select count(*) from weir.job"); n != before+1 {
		t.Errorf("%d jobs came after a pause, want 1 by hand", n-before)
	}
	// Runs in pages, each once, the latest first.
	var all []weirtest.ScheduleRun
	for cursor := ""; ; {
		page := weirtest.Decode[weirtest.Page[weirtest.ScheduleRun]](s.Get("/v1/schedules/tick/runs?limit=1&cursor=" + cursor).Want(http.StatusOK))
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			break
		}
		cursor = *page.NextCursor
	}
	missed := slices.DeleteFunc(slices.Clone(all), func(r weirtest.ScheduleRun) bool { return r.Outcome == "enqueued" }) // where the machine stalls for a minute
	if len(all)-len(missed) != before+1 || !all[0].Manual {
		t.Errorf("%d runs of %d, %+v", len(all), before+1, all)
	}
	for i := 1; i < len(all); i++ {
		if !all[i].Slot.Before(all[i-1].Slot) || all[i].LatenessSeconds < 0 {
			t.Errorf("%+v comes after %+v", all[i], all[i-1])
		}
	}
	if page := weirtest.Decode[weirtest.Page[weirtest.ScheduleRun]](s.Get("/v1/schedules/tick/runs?outcome=missed").Want(http.StatusOK)); len(page.Items) != len(missed) {
		t.Errorf("%+v were missed, of %+v", page.Items, all)
	}
	resumed := weirtest.Decode[weirtest.Schedule](s.Post("/v1/schedules/tick/resume", nil).Want(http.StatusOK))
	if resumed.State != "active" || resumed.Paused {
		t.Errorf("resumed: %+v", resumed)
	}
	s.Do(http.MethodDelete, "/v1/schedules/tick", nil).Want(http.StatusNoContent)
	for _, path := range []string{"", "/runs", "/preview"} {
		s.Get("/v1/schedules/tick"+path).Problem(http.StatusNotFound, "schedule_not_found")
	}
	for _, verb := range []string{"pause", "resume", "trigger"} {
		s.Post("/v1/schedules/tick/"+verb, nil).Problem(http.StatusNotFound, "schedule_not_found")
	}
	s.Do(http.MethodPatch, "/v1/schedules/tick", `{"max_runs": 1}`).Problem(http.StatusNotFound, "schedule_not_found")
}

func TestRESTSchedulesAreChangedAndListed(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for i := range 3 {
		s.Do(http.MethodPut, fmt.Sprintf("/v1/schedules/s%d", i), `{"cron": "0 4 * * *", "timezone": "Europe/Berlin", "max_runs": 5, "job": {"kind": "k", "priority": 7}}`).Want(http.StatusOK)
	}
	s.Post("/v1/schedules", `{"name": "s1", "cron": "* * * * *", "job": {"kind": "k"}}`).Problem(http.StatusConflict, "schedule_exists")
	s.Post("/v1/schedules/s1/pause", nil).Want(http.StatusOK)
	page := weirtest.Decode[weirtest.Page[weirtest.Schedule]](s.Get("/v1/schedules?limit=2").Want(http.StatusOK))
	if len(page.Items) != 2 || page.Items[0].Name != "s0" || page.NextCursor == nil {
		t.Fatalf("%+v", page)
	}
	if rest := weirtest.Decode[weirtest.Page[weirtest.Schedule]](s.Get("/v1/schedules?limit=2&cursor=" + *page.NextCursor).Want(http.StatusOK)); len(rest.Items) != 1 || rest.Items[0].Name != "s2" || rest.NextCursor != nil {
		t.Errorf("%+v", rest)
	}
	if paused := weirtest.Decode[weirtest.Page[weirtest.Schedule]](s.Get("/v1/schedules?state=paused").Want(http.StatusOK)); len(paused.Items) != 1 || paused.Items[0].Name != "s1" {
		t.Errorf("%+v", paused)
	}
	edited := weirtest.Decode[weirtest.Schedule](s.Do(http.MethodPatch, "/v1/schedules/s0", `{"every_seconds": 60, "max_runs": null, "overlap": "skip"}`).Want(http.StatusOK))
	if edited.Cron != "" || edited.EverySeconds != 60 || edited.MaxRuns != 0 || edited.Overlap != "skip" || edited.Timezone != "Europe/Berlin" || edited.Job.Priority != 7 {
		t.Errorf("%+v", edited)
	}
	put := weirtest.Decode[weirtest.Schedule](s.Do(http.MethodPut, "/v1/schedules/s0", `{"cron": "@daily", "job": {"kind": "k"}}`).Want(http.StatusOK))
	if put.EverySeconds != 0 || put.Overlap != "allow" || put.Timezone != "UTC" || put.Job.Priority != 0 || put.NextAt == nil || !strings.HasSuffix(put.NextLocal, "T00:00:00+00:00") {
		t.Errorf("%+v", put)
	}
}

func TestRESTABadScheduleNamesTheFieldAndTheReason(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for body, want := range map[string][2]string{
		`{"name": "s", "cron": "61 * * * *", "job": {"kind": "k"}}`:                                    {"body.cron", "a minute that is not from 0 to 59"},
		`{"name": "s", "cron": "* * * * *", "timezone": "Mars/Base", "job": {"kind": "k"}}`:            {"body.timezone", "IANA"},
		`{"name": "s", "cron": "* * * * *"}`:                                                           {"body.job", "is needed"},
		`{"name": "s", "cron": "* * * * *", "job": {"kind": "k", "run_at": "2030-01-01T00:00:00Z"}}`:   {"body.job.run_at", "no field of a schedule's job"},
		`{"name": "s", "cron": "* * * * *", "job": {"kind": "k", "schedule": "x"}}`:                    {"body.job.schedule", "unexpected"},
		`{"name": "s", "cron": "* * * * *", "job": {"kind": "k"}, "dst_gap": "jump"}`:                  {"body.dst_gap", "one of"},
		`{"name": "a b", "cron": "* * * * *", "job": {"kind": "k"}}`:                                   {"body.name", ""},
		`{"name": "s", "cron": "* * * * *", "at": "2040-01-01T00:00:00Z", "job": {"kind": "k"}}`:       {"body.at", "another"},
		`{"name": "s", "cron": "* * * * *", "workflow": {"name": "w", "steps": [{"name": "secret"}]}}`: {"body.workflow.steps[0]", ""},
	} {
		p := s.Post("/v1/schedules", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Location, want[0]) || !strings.Contains(p.Errors[0].Message, want[1]) {
			t.Errorf("%s: %+v, want %v", body, p, want)
		}
	}
	for _, field := range []string{"schedule", "slot"} {
		s.Post("/v1/jobs", `{"kind": "k", "`+field+`": "x"}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.Post("/v1/schedules", obj{"name": "s", "cron": "* * * * *", "job": obj{"kind": "k", "args": strings.Repeat("x", 1<<20)}}).Problem(http.StatusRequestEntityTooLarge, "args_too_large")
	s.Get("/v1/schedules/s").Problem(http.StatusNotFound, "schedule_not_found")
}

func TestRESTAPreviewTellsOfBothNights(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	preview := func(policy, from string) (said []string) {
		body := `{"cron": "30 2 * * *", "timezone": "Europe/Berlin", "count": 3, "from": "` + from + `"` + policy + `}`
		for _, slot := range weirtest.Decode[weirtest.Page[weirtest.ScheduleSlot]](s.Post("/v1/schedules/preview", body).Want(http.StatusOK)).Items {
			utc := "-"
			if slot.UTC != nil {
				utc = slot.UTC.Format("02T15:04")
			}
			note, _, _ := strings.Cut(slot.Note, ":")
			said = append(said, strings.TrimSpace(utc+" "+strings.TrimPrefix(slot.Local, "2026-")+" "+note))
		}
		return said
	}
	const spring, autumn = "2026-03-28T00:00:00Z", "2026-10-24T00:00:00Z"
	const other = `, "dst_gap": "skip", "dst_overlap": "twice"`
	for _, c := range []struct{ policy, from, want string }{
		{"", spring, "28T01:30 03-28T02:30:00+01:00|29T01:00 03-29T03:00:00+02:00 moved|30T00:30 03-30T02:30:00+02:00"},
		{other, spring, "28T01:30 03-28T02:30:00+01:00|- 03-29T02:30:00 skipped|30T00:30 03-30T02:30:00+02:00|31T00:30 03-31T02:30:00+02:00"},
		{"", autumn, "24T00:30 10-24T02:30:00+02:00|25T00:30 10-25T02:30:00+02:00 this time comes twice, and runs the first time only|26T01:30 10-26T02:30:00+01:00"},
		{other, autumn, "24T00:30 10-24T02:30:00+02:00|25T00:30 10-25T02:30:00+02:00 this time comes twice|25T01:30 10-25T02:30:00+01:00 this time comes twice"},
	} {
		if got := strings.Join(preview(c.policy, c.from), "|"); got != c.want {
			t.Errorf("%s from %s:\n got %s\nwant %s", c.policy, c.from, got, c.want)
		}
	}
	s.Do(http.MethodPut, "/v1/schedules/s", `{"cron": "30 2 * * *", "timezone": "Europe/Berlin", "job": {"kind": "k"}}`).Want(http.StatusOK)
	saved := weirtest.Decode[weirtest.Page[weirtest.ScheduleSlot]](s.Get("/v1/schedules/s/preview?count=1&from=2026-03-29T00:00:00Z").Want(http.StatusOK))
	if len(saved.Items) != 1 || saved.Items[0].Local != "2026-03-29T03:00:00+02:00" || saved.Items[0].FiresAt == nil {
		t.Errorf("%+v", saved)
	}
	s.Get("/v1/schedules/s/preview?count=0").Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if n := len(weirtest.Decode[weirtest.Page[weirtest.ScheduleSlot]](s.Get("/v1/schedules/s/preview").Want(http.StatusOK)).Items); n != 20 {
		t.Errorf("%d slots are shown unless one says", n)
	}
}
