package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// slotAndDue is a slot of a preview or of a firing.
type slotAndDue struct {
	Name    string
	Slot    time.Time
	Due     time.Time
	Skipped bool
}

func TestSchedulesAreChangedAndListed(t *testing.T) {
	t.Parallel()
	t.Run("REST", schedulesAreChangedAndListedREST)
	t.Run("CLI", schedulesAreChangedAndListedCLI)
}

func schedulesAreChangedAndListedREST(t *testing.T) {
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

func schedulesAreChangedAndListedCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for time.Now().Minute() == 29 { // or a job due at half past two may run meanwhile
		time.Sleep(time.Second)
	}
	s.CLI("schedules").Says(0, "no such schedules")
	s.CLI("schedules", "create", "nightly", "report", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--queue", "reports", "--args", `{"day": "{{scheduled_date}}"}`, "--priority", "7", "--overlap", "skip").Says(0, "schedule nightly is active", "T02:30:00+0")
	s.CLI("schedules", "create", "nightly", "report", "--every", "1h").Says(1, "schedule 'nightly' exists already")
	s.CLI("schedules", "create", "beat", "ping", "--every", "90m", "--jitter", "1m", "--max-runs", "3", "--paused").Says(0, "schedule beat is paused")
	s.CLI("schedules", "create", "bad", "k", "--cron", "0 25 * * *").Says(1, "an hour that is not from 0 to 23")
	s.CLI("schedules", "create", "bad", "k").Says(1, "cron is required")
	s.CLI("schedules").Says(0, "SCHEDULE", "nightly", "30 2 * * *", "Europe/Berlin", "report", "beat", "every 90 min", "paused")
	if out := s.CLI("schedules", "list", "--state", "paused").Says(0, "beat").Stdout; strings.Contains(out, "nightly") {
		t.Errorf("those that are paused:\n%s", out)
	}
	s.CLI("schedules", "preview", "nightly", "--count", "2", "--from", "2026-03-28T12:00:00Z").Says(0, "2026-03-29T03:00:00+02:00", "2026-03-29T01:00:00Z", "moved: DST skips")
	s.CLI("schedules", "preview", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--dst-gap", "skip", "--from", "2026-03-28T12:00:00Z").Says(0, "skipped: the clocks go from 02:00 to 03:00")
	s.CLI("schedules", "preview").Says(2, "the name of a schedule")
	s.CLI("schedules", "preview", "nightly", "--cron", "* * * * *").Says(2, "not both")
	s.CLI("schedules", "runs", "nightly").Says(0, "No slot")
	s.CLI("schedules", "trigger", "nightly").Says(0, "job ", "is enqueued")
	s.CLI("schedules", "runs", "nightly").Says(0, "enqueued by hand", "available")
	s.CLI("schedules", "show", "nightly").Says(0, `"cron": "30 2 * * *"`, "LOCAL", "by hand")
	s.CLI("schedules", "pause", "nightly").Says(0, "schedule nightly is paused")
	s.CLI("schedules", "resume", "nightly").Says(0, "schedule nightly is active, next ")

	// The output of a listing can be applied again, here or elsewhere.
	file := filepath.Join(t.TempDir(), "schedules.json")
	if err := os.WriteFile(file, []byte(s.CLI("schedules", "list", "--json").Says(0).Stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := s.CLI("schedules", "delete", "nightly"); r.Status != 1 || !strings.Contains(r.Stderr, "nothing was deleted") {
			t.Errorf("not asked: %d\n%s", r.Status, r.Stderr)
		}
		s.CLI("schedules", "delete", "nightly", "--yes").Says(0, "schedule nightly is gone")
		s.CLI("schedules", "delete", "nightly", "--yes").Says(1, "does not exist")
		s.CLI("schedules", "apply", file).Says(0, "schedule nightly is active", "schedule beat is paused")
	}
	var again weirtest.Schedule
	if err := json.Unmarshal([]byte(s.CLI("schedules", "show", "nightly", "--json").Says(0).Stdout), &again); err != nil || again.Cron != "30 2 * * *" || again.Overlap != "skip" || again.Job.Priority != 7 {
		t.Errorf("applied again: %+v, %v", again, err)
	}
	if err := os.WriteFile(file, []byte(`[{"name": "a", "every_seconds": 60, "job": {"kind": "k"}}, {"cron": "* * * * *"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.CLI("schedules", "apply", file).Says(2, "without a name")
	s.CLI("schedules", "apply", filepath.Join(t.TempDir(), "none")).Says(1, "reading schedules")
}

func TestChangeTakesEffectAtOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	hour := hours(t, d)
	setSchedule(t, d, "s", hourly+"}")
	next := func(call string, args ...any) *time.Time {
		t.Helper()
		return weirtest.Value[*time.Time](t, d, call, args...)
	}
	const edit = "select weir.edit_schedule('s', $1::jsonb)"
	if got := next(edit, `{"job": {"kind": "other", "queue": "q"}}`); !got.Equal(hour(1)) {
		t.Errorf("another job puts the slot off to %v", got)
	}
	if got := next(edit, `{"cron": "30 * * * *"}`); got.Minute() != 30 {
		t.Errorf("another time of the hour comes at %v", got)
	}
	if got := next(edit, `{"timezone": "Asia/Kolkata"}`); got.Minute() != 0 {
		t.Errorf("in Kolkata it comes at %v", got)
	}
	if got := next(edit, fmt.Sprintf(`{"starts_at": %q}`, hour(5).Format(time.RFC3339))); !got.Equal(hour(5)) {
		t.Errorf("after its start it comes at %v", got)
	}
	if got := next(edit, `{"starts_at": null}`); got.After(hour(2)) {
		t.Errorf("without a start it comes at %v", got)
	}
	if got := next(edit, `{"every_seconds": 60}`); time.Until(*got) > 61*time.Second {
		t.Errorf("every minute, it comes at %v", got)
	}
	if ok := weirtest.Value[bool](t, d, "select not definition ? 'cron' and definition ? 'anchor' and definition #>> '{job,kind}' = 'other' from weir.schedules where name = 's'"); !ok {
		t.Error("an interval did not take the place of the expression")
	}
	weirtest.Exec(t, d, "select weir.pause_schedule('s')")
	if n := fireAt(t, d, hour(3)); n != 0 {
		t.Error("it fires while it is paused")
	}
	setSchedule(t, d, "s", hourly+"}") // a deployment does not end a pause
	if ok := weirtest.Value[bool](t, d, "select state = 'paused' and next_at is null from weir.schedules where name = 's'"); !ok {
		t.Error("replacing its definition ends a pause")
	}
	if got := next("select weir.resume_schedule('s')"); !got.Equal(hour(1)) {
		t.Errorf("resumed, it comes at %v", got)
	}
	fireAt(t, d, hour(1))
	if got := next(edit, `{"timezone": "UTC", "cron": "0 */1 * * *"}`); !got.Equal(hour(2)) {
		t.Errorf("a slot that has fired comes again: %v", got)
	}
	// A deleted schedule does not fire, and its name is free: a new one has no past.
	weirtest.Exec(t, d, "select weir.delete_schedule('s')")
	if n := fireAt(t, d, hour(2)); n != 0 {
		t.Error("it fires although it was deleted")
	}
	wantRefusal(t, weirtest.TryExec(d, "select weir.delete_schedule('s')"), "WR030", "")
	setSchedule(t, d, "s", hourly+"}")
	if runs := runsOf(t, d, "s"); len(runs) != 0 {
		t.Errorf("a new schedule has a past: %+v", runs)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where schedule = 's'"); n != 1 {
		t.Errorf("%d jobs say that it made them, want 1", n)
	}
}

// Two nodes fire while its times, its job and its pause change constantly.
func TestChangedScheduleFiresNoSlotTwice(t *testing.T) {
	weirtest.Long(t, "it changes a schedule while it fires")
	t.Parallel()
	s := weirtest.StartNode(t)
	weirtest.StartNodeOn(t, s.DB)
	d := s.DB
	setSchedule(t, d, "s", `{"cron": "* * * * * *", "job": {"kind": "k", "queue": "q"}}`)
	ctx, stop := context.WithTimeout(t.Context(), 6*time.Second)
	defer stop()
	var working sync.WaitGroup
	for range 3 {
		working.Go(func() {
			for ctx.Err() == nil {
				change := []string{
					`{"cron": "* * * * * *"}`, `{"cron": "*/1 * * * * *", "timezone": "Asia/Tokyo"}`, `{"every_seconds": 1, "anchor": "2026-01-01T00:00:00Z"}`, `{"job": {"kind": "other", "queue": "q"}}`,
					`{"max_runs": 1000000}`, `{"overlap": "allow"}`, `{"jitter_seconds": 0}`, `{"misfire": "all"}`, `{"misfire": "skip"}`,
				}[rand.IntN(9)]
				if err := weirtest.TryExec(s.DB, "select weir.edit_schedule('s', $1::jsonb)", change); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			}
		})
	}
	working.Wait()
	weirtest.Exec(t, d, "select weir.edit_schedule('s', '{\"paused\": true}')")
	if n := s.Count("select count(*) from (select from weir.job where schedule = 's' group by slot having count(*) > 1) x"); n != 0 {
		t.Errorf("%d slots fired twice", n)
	}
	made, lost := s.Count("select count(*) from weir.job where schedule = 's'"), s.Count(`select count(*) from (
		select slot - lag(slot) over (order by slot) as gap from weir.schedule_runs where schedule = 's') x where gap > interval '1 s'`)
	if made == 0 || lost > 0 {
		t.Errorf("%d slots made a job, and %d were lost", made, lost)
	}
	t.Logf("%d jobs", made)
}
