package schedule

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// The clock is moved from one due time to the next, over both nights of clock changes. The firings must equal the
// preview.
func TestPreviewEqualsFirings(t *testing.T) {
	weirtest.Long(t, "it fires a year of slots")
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

func TestPreviewExplainsClockChanges(t *testing.T) {
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
		{"", autumn, "24T00:30 10-24T02:30:00+02:00|25T00:30 10-25T02:30:00+02:00 this local time comes twice and runs only the first time|26T01:30 10-26T02:30:00+01:00"},
		{other, autumn, "24T00:30 10-24T02:30:00+02:00|25T00:30 10-25T02:30:00+02:00 this local time comes twice|25T01:30 10-25T02:30:00+01:00 this local time comes twice"},
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

// Clocks change by half an hour on Lord Howe Island, so an hourly schedule, which follows local time, cannot be even there.
func TestHourlyScheduleOnLordHoweIsNotEven(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, c := range []struct{ cron, from, want string }{
		{"0 * * * *", "2026-04-04T13:00:00Z", "13:00 14:00 15:30 16:30"},  // back by 30 minutes at 15:00
		{"30 * * * *", "2026-04-04T13:30:00Z", "13:30 14:30 15:00 16:00"}, // local 01:30 comes twice
		{"0 * * * *", "2026-10-03T13:30:00Z", "13:30 14:30 16:00 17:00"},  // forward by 30 minutes at 15:30
	} {
		got := weirtest.Value[string](t, d, `select string_agg(to_char(p.slot_at at time zone 'UTC', 'HH24:MI'), ' ' order by p.slot_at)
			from weir.preview_definition(jsonb_build_object('cron', $1::text, 'timezone', 'Australia/Lord_Howe'), 4, $2::timestamptz) p`,
			c.cron, c.from)
		if got != c.want {
			t.Errorf("%s from %s runs at %s UTC, want %s", c.cron, c.from, got, c.want)
		}
	}
}
