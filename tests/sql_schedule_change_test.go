package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// slotAndDue is a slot of a preview, or of what fired.
type slotAndDue struct {
	Name    string
	Slot    time.Time
	Due     time.Time
	Skipped bool
}

// The clock is put on from one due time to the next, over both nights on which the clocks are changed; what fires is what was shown before.
func TestThePreviewEqualsWhatThenFires(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for name, definition := range map[string]string{
		"berlin":   `"cron": "30 2 * * *", "timezone": "Europe/Berlin"`,
		"new-york": `"cron": "30 1,2 * * 6-7", "timezone": "America/New_York", "dst_gap": "skip", "dst_overlap": "twice", "jitter_seconds": 300`,
		"lord":     `"cron": "15 2 * * *", "timezone": "Australia/Lord_Howe", "dst_overlap": "twice"`,
		"months":   `"cron": "0 0 12 L * ?", "timezone": "Asia/Tokyo", "max_runs": 9`,
		"interval": `"every_seconds": 100000, "jitter_seconds": 5000`,
		"once":     `"at": "` + time.Now().Add(5000*time.Hour).UTC().Format(time.RFC3339) + `"`,
	} {
		setSchedule(t, d, name, `{"job": {"kind": "k", "queue": "q"}, `+definition+`}`)
	}
	read := func(sql string) []slotAndDue {
		rows, err := d.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		slots, err := pgx.CollectRows(rows, pgx.RowToStructByPos[slotAndDue])
		if err != nil {
			t.Fatal(err)
		}
		return slots
	}
	horizon := time.Now().AddDate(1, 0, 3)
	shown := read("select s.name, p.slot_at, coalesce(p.due_at, p.slot_at), p.skipped from weir.schedules s, weir.preview_schedule(s.name, 400) p order by 3, 1")
	shown = slices.DeleteFunc(shown, func(s slotAndDue) bool { return s.Due.After(horizon) })
	for _, s := range shown {
		fireAt(t, d, s.Due)
	}
	shown = slices.DeleteFunc(shown, func(s slotAndDue) bool { return s.Skipped })
	fires := read("select schedule, slot, due_at, outcome <> 'enqueued' from weir.schedule_runs order by due_at, schedule")
	if len(shown) < 1000 || !slices.EqualFunc(shown, fires, func(a, b slotAndDue) bool {
		return a.Name == b.Name && a.Slot.Equal(b.Slot) && a.Due.Equal(b.Due) && !b.Skipped
	}) {
		t.Errorf("%d slots were shown, and %d fired", len(shown), len(fires))
		for i := range min(len(shown), len(fires)) {
			if a, b := shown[i], fires[i]; a.Name != b.Name || !a.Slot.Equal(b.Slot) || !a.Due.Equal(b.Due) {
				t.Fatalf("%+v was shown, %+v fired", a, b)
			}
		}
	}
}

func TestAChangeTakesEffectAtOnce(t *testing.T) {
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
	// What is deleted fires no more, and its name is free: another one has no past.
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

// Two nodes fire while its times, its job and its pause are changed all the time.
func TestNoSlotFiresTwiceHoweverItIsChanged(t *testing.T) {
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
