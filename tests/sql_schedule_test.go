package tests

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/tests/weirtest"
)

// fired is a row of weir.schedule_runs.
type fired struct {
	Slot    time.Time
	Manual  bool
	Outcome string
	JobID   *int64
	Until   *time.Time
	Detail  *string
}

// setSchedule makes or replaces a schedule and returns its next slot.
func setSchedule(t testing.TB, q weirtest.Querier, name, definition string) *time.Time {
	t.Helper()
	return weirtest.Value[*time.Time](t, q, "select weir.set_schedule($1, $2::jsonb)", name, definition)
}

// fireAt has all that is due at a time fire, however often it takes to look, and returns how many slots made a job.
func fireAt(t testing.TB, q weirtest.Querier, at time.Time) (made int) {
	t.Helper()
	for {
		handled, n := 0, 0
		rows, err := q.Query(t.Context(), "select handled, fired from weir.fire_due(as_of => $1)", at)
		if err == nil {
			_, err = pgx.ForEachRow(rows, []any{&handled, &n}, func() error { return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
		made += n
		if handled == 0 {
			return made
		}
	}
}

// runsOf lists what became of a schedule's slots, in their order.
func runsOf(t testing.TB, q weirtest.Querier, name string) []fired {
	t.Helper()
	rows, err := q.Query(t.Context(), "select slot, manual, outcome, job_id, until_at, detail from weir.schedule_runs where schedule = $1 order by slot, manual", name)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[fired])
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// outcomes is those of runs, in words with spaces between.
func outcomes(runs []fired) string {
	var words []string
	for _, r := range runs {
		words = append(words, r.Outcome)
	}
	return strings.Join(words, " ")
}

// hours returns the full hours from the database's now on, by their number. They stay what they are when the next one begins; what goes by the
// database's clock does not, so none begins within the next minute.
func hours(t testing.TB, q weirtest.Querier) func(n int) time.Time {
	t.Helper()
	for weirtest.Value[bool](t, q, "select date_trunc('hour', clock_timestamp() + interval '1 minute') > date_trunc('hour', clock_timestamp())") {
		time.Sleep(time.Second)
	}
	base := weirtest.Value[time.Time](t, q, "select date_trunc('hour', clock_timestamp())").UTC()
	return func(n int) time.Time { return base.Add(time.Duration(n) * time.Hour) }
}

func endJob(t testing.TB, q weirtest.Querier, id *int64) {
	t.Helper()
	if id == nil {
		t.Fatal("no job was made")
	}
	weirtest.Exec(t, q, "select weir.cancel($1)", *id)
}

const hourly = `{"cron": "0 * * * *", "job": {"kind": "k", "queue": "q"}`

func TestASlotFiresOnceAndItsJobSaysSo(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	first := setSchedule(t, d, "s", `{"cron": "0 * * * *", "timezone": "Asia/Kolkata", "job": {"kind": "k", "queue": "q", "priority": 7, "tags": ["day {{scheduled_date}}"],
		"args": {"at": "{{scheduled_at}}", "local": "{{scheduled_local}}", "before": "{{previous_at}}", "text": "{{schedule}}: run {{run}} after <{{previous_at}}>", "mine": "{{name}}", "n": [1, {"{{schedule}}": null}]}}}`)
	slot := *first
	if slot.Minute() != 30 || slot.Before(time.Now()) {
		t.Fatalf("the first slot is %v", slot)
	}
	if n := fireAt(t, d, slot.Add(-time.Second)); n != 0 {
		t.Errorf("%d fired before their time", n)
	}
	for _, at := range []time.Time{slot, slot, slot.Add(time.Minute)} {
		fireAt(t, d, at)
	}
	fireAt(t, d, slot.Add(time.Hour))
	runs := runsOf(t, d, "s")
	if outcomes(runs) != "enqueued enqueued" || !runs[0].Slot.Equal(slot) || !runs[1].Slot.Equal(slot.Add(time.Hour)) {
		t.Fatalf("%+v", runs)
	}
	kolkata := time.FixedZone("", 5*3600+1800)
	for i, r := range runs {
		iso := func(n int) string { return slot.Add(time.Duration(n) * time.Hour).UTC().Format(time.RFC3339) }
		before, within := "null", ""
		if i > 0 {
			before, within = `"`+iso(i-1)+`"`, iso(i-1)
		}
		local := r.Slot.In(kolkata)
		want := fmt.Sprintf(`{"at": %q, "local": %q, "before": %s, "text": "s: run %d after <%s>", "mine": "{{name}}", "n": [1, {"s": null}]}`,
			iso(i), local.Format("2006-01-02T15:04:05-07:00"), before, i+1, within)
		if got := weirtest.Value[string](t, d, "select args::text from weir.jobs where id = $1", *r.JobID); !weirtest.SameJSON(t, []byte(got), []byte(want)) {
			t.Errorf("the args are %s, want %s", got, want)
		}
		if ok := weirtest.Value[bool](t, d, "select schedule = 's' and slot = $2 and priority = 7 and tags = array['day ' || $3] from weir.jobs where id = $1", *r.JobID, r.Slot, local.Format(time.DateOnly)); !ok {
			t.Errorf("job %d does not say what made it", *r.JobID)
		}
	}
	// Nobody says that of a job of his own.
	for _, job := range []string{`{"kind": "k", "schedule": "s"}`, `{"kind": "k", "slot": "2026-01-01T00:00:00Z"}`} {
		wantRefusal(t, weirtest.TryExec(d, "select weir.enqueue_many(jsonb_build_array($1::jsonb))", job), "WR010", "")
	}
}

// wantRefusal fails the test unless an error is of this SQLSTATE, and of this argument if one is named. It returns what the error says.
func wantRefusal(t testing.TB, err error, state, column string) string {
	t.Helper()
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != state || column != "" && pg.ColumnName != column {
		t.Errorf("the error is %v (column %s), want %s of %s", err, column, state, column)
		return ""
	}
	return pg.Message
}

func TestABadDefinitionIsRefusedWithItsFieldAndReason(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setSchedule(t, d, "there", hourly+`}`)
	for _, c := range []struct{ definition, field, reason string }{
		{`{"job": {"kind": "k"}}`, "cron", "is needed"},
		{`{"cron": "* * * * *", "every_seconds": 5, "job": {"kind": "k"}}`, "every_seconds", "another"},
		{`{"cron": "* * * *"}`, "cron", "4 fields where 5 or 6"},
		{`{"cron": "60 * * * *"}`, "cron", "a minute that is not from 0 to 59"},
		{`{"cron": "0 60 * * * *"}`, "cron", "a minute that is not from 0 to 59"},
		{`{"cron": "61 0 * * * *"}`, "cron", "a second that"},
		{`{"cron": "* 24 * * *"}`, "cron", "an hour that is not from 0 to 23"},
		{`{"cron": "* * 0 * *"}`, "cron", "a day of the month that is not from 1 to 31"},
		{`{"cron": "* * * 13 *"}`, "cron", "a month that"},
		{`{"cron": "* * * nov-feb *"}`, "cron", "ends before it begins"},
		{`{"cron": "* * * * mun"}`, "cron", "a day of the week that is not from 0 to 7 or a name from sun to sat"},
		{`{"cron": "* * * * 8"}`, "cron", "a day of the week"},
		{`{"cron": "*/0 * * * *"}`, "cron", "a step"},
		{`{"cron": "*/60 * * * *"}`, "cron", "a step that is not from 1 to 59"},
		{`{"cron": "1- * * * *"}`, "cron", "is not a list"},
		{`{"cron": "-1 * * * *"}`, "cron", "is not a list"},
		{`{"cron": ", * * * *"}`, "cron", "is not a list"},
		{`{"cron": "* * * * 5#6"}`, "cron", "# that is not from 1 to 5"},
		{`{"cron": "* * 5#1 * *"}`, "cron", "which only a day of the week may have"},
		{`{"cron": "* * * * L"}`, "cron", "5L is the last Friday"},
		{`{"cron": "* * L-31 * *"}`, "cron", "more than 30 days"},
		{`{"cron": "@fortnightly"}`, "cron", "none of yearly"},
		{`{"cron": "0 0 31 2,4,6 *"}`, "cron", "never comes about"},
		{`{"cron": 5}`, "cron", "a string"},
		{`{"cron": "* * * * *", "timezone": "europe/berlin"}`, "timezone", "did you mean Europe/Berlin?"},
		{`{"cron": "* * * * *", "timezone": "Europe/Atlantis"}`, "timezone", "IANA"},
		{`{"every_seconds": 0}`, "every_seconds", "1 to 31536000"},
		{`{"every_seconds": 1.5}`, "every_seconds", "whole"},
		{`{"every_seconds": 60, "jitter_seconds": 60}`, "jitter_seconds", "less than every_seconds"},
		{`{"every_seconds": 60, "dst_gap": "skip"}`, "dst_gap", "cron only"},
		{`{"every_seconds": 60, "anchor": "yesterday"}`, "anchor", "a time"},
		{`{"cron": "* * * * *", "anchor": "2026-01-01T00:00:00Z"}`, "anchor", "every_seconds only"},
		{`{"at": "2026-01-01T00:00:00Z"}`, "at", "past"},
		{`{"cron": "* * * * *", "starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"}`, "ends_at", "after starts_at"},
		{`{"cron": "* * * * *", "overlap": "queue"}`, "overlap", "allow, skip, wait or cancel"},
		{`{"cron": "* * * * *", "misfire": ["skip"]}`, "misfire", "skip, latest or all"},
		{`{"cron": "* * * * *", "misfire_limit": 5}`, "misfire_limit", "misfire all"},
		{`{"cron": "* * * * *", "max_runs": 0}`, "max_runs", "1 to"},
		{`{"cron": "* * * * *", "paused": 1}`, "paused", "true or false"},
		{`{"cron": "* * * * *", "colour": 1}`, "colour", "no field of a schedule"},
		{`{"cron": "* * * * *", "job": null}`, "job", "needed"},
		{`{"cron": "* * * * *", "job": {}}`, "job.kind", "1 to 200"},
		{`{"cron": "* * * * *", "job": {"kind": "k", "priority": 11}}`, "job.priority", "1 to 10"},
		{`{"cron": "* * * * *", "job": {"kind": "k", "run_at": "2030-01-01T00:00:00Z"}}`, "job.run_at", "no field of a schedule's job"},
		{`{"cron": "* * * * *", "job": {"kind": "k", "idempotency_key": "x"}}`, "job.idempotency_key", "no field"},
		{`{"cron": "* * * * *", "workflow": {"name": "w", "steps": []}}`, "workflow.steps", "at least one"},
		{`{"cron": "* * * * *", "workflow": {"name": "w", "steps": [{"name": "a", "kind": "k", "depends_on": ["b"]}]}}`, "workflow.steps[0].depends_on[0]", ""},
		{`[]`, "definition", "object"},
	} {
		definition := c.definition
		if strings.HasPrefix(definition, "{") && !strings.Contains(definition, `"job"`) && !strings.Contains(definition, `"workflow"`) {
			definition = `{"job": {"kind": "k"}, ` + definition[1:]
		}
		for _, call := range []string{"select weir.set_schedule('new', $1::jsonb)", "select weir.set_schedule('there', $1::jsonb)"} {
			if says := wantRefusal(t, weirtest.TryExec(d, call, definition), "WR010", c.field); !strings.Contains(says, c.reason) {
				t.Errorf("%s is refused with %q, want it to say %q", definition, says, c.reason)
			}
		}
	}
	for _, name := range []string{"", "a b", "-a", strings.Repeat("x", 129)} {
		wantRefusal(t, weirtest.TryExec(d, "select weir.set_schedule($1, $2::jsonb)", name, hourly+`}`), "WR010", "name")
	}
	if n := weirtest.Value[int](t, d, `select count(*) from weir.schedules where name = 'there' and definition = '{"cron": "0 * * * *", "timezone": "UTC", "misfire": "latest", "overlap": "allow", "job": {"kind": "k", "queue": "q"}}'`); n != 1 {
		t.Error("a refusal changed something")
	}
	for _, call := range []string{
		"select weir.edit_schedule('none', '{}')", "select weir.pause_schedule('none')", "select weir.resume_schedule('none')", "select weir.delete_schedule('none')",
		"select weir.trigger_schedule('none')", "select * from weir.preview_schedule('none')",
	} {
		wantRefusal(t, weirtest.TryExec(d, call), "WR030", "")
	}
	wantRefusal(t, weirtest.TryExec(d, "select weir.set_schedule('there', $1::jsonb, replace => false)", hourly+`}`), "WR031", "")
	wantRefusal(t, weirtest.TryExec(d, "select * from weir.preview_schedule('there', 1001)"), "WR010", "count")
	wantRefusal(t, weirtest.TryExec(d, "select weir.edit_schedule('there', '{\"cron\": \"x\"}')"), "WR010", "cron")
}

func TestAnIntervalKeepsItsAnchor(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const definition = `{"every_seconds": 86400, "job": {"kind": "k", "queue": "q"}}`
	first := *setSchedule(t, d, "s", definition)
	if ahead := time.Until(first); ahead < 23*time.Hour || ahead > 24*time.Hour {
		t.Errorf("the first slot of an interval comes in %v", ahead)
	}
	for range 2 { // applied at every deployment, it must not begin anew each time
		weirtest.Exec(t, d, "select pg_sleep(1.1)")
		if again := *setSchedule(t, d, "s", definition); !again.Equal(first) {
			t.Errorf("the same definition puts the slot off from %v to %v", first, again)
		}
	}
	if half := *weirtest.Value[*time.Time](t, d, `select weir.edit_schedule('s', '{"every_seconds": 43200}')`); !half.Equal(first.Add(-12 * time.Hour)) {
		t.Errorf("at twice the rate the next slot is %v", half)
	}
	// Whatever the clocks do, and counted both ways from the anchor.
	slots := weirtest.Values[time.Time](t, d, `select slot_at from weir.preview_definition('{"every_seconds": 86400, "anchor": "2026-03-20T12:00:00+01:00", "timezone": "Europe/Berlin"}', 4, '2026-03-27T11:00:00Z')`)
	for i, slot := range slots {
		if want := time.Date(2026, 3, 27+i, 11, 0, 0, 0, time.UTC); !slot.Equal(want) {
			t.Errorf("slot %d is %v, want %v", i, slot, want)
		}
	}
	if slots[0].Equal(slots[1]) || len(slots) != 4 {
		t.Error(slots)
	}
	if n := weirtest.Value[time.Time](t, d, `select slot_at from weir.preview_definition('{"every_seconds": 60, "anchor": "2030-01-01T00:00:00Z"}', 1)`); n.Year() != 2030 {
		t.Errorf("an interval begins at %v, before its anchor", n)
	}
}

func TestStartEndAndRunsBoundASchedule(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	onTheHour := hours(t, d)
	from, to := onTheHour(3), onTheHour(6)
	setSchedule(t, d, "span", fmt.Sprintf(hourly+`, "starts_at": %q, "ends_at": %q}`, from.Format(time.RFC3339), to.Format(time.RFC3339)))
	setSchedule(t, d, "runs", hourly+`, "max_runs": 2}`)
	setSchedule(t, d, "once", fmt.Sprintf(`{"at": %q, "job": {"kind": "k", "queue": "q"}}`, from.Format(time.RFC3339)))
	if n := weirtest.Value[int](t, d, "select count(*) from weir.preview_schedule('runs', 10)"); n != 2 {
		t.Errorf("a schedule of two runs shows %d", n)
	}
	for n := range 9 {
		fireAt(t, d, onTheHour(n))
	}
	for name, want := range map[string][]time.Time{"span": {from, onTheHour(4), onTheHour(5)}, "runs": {onTheHour(1), onTheHour(2)}, "once": {from}} {
		var got []time.Time
		for _, r := range runsOf(t, d, name) {
			got = append(got, r.Slot)
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("%s fired at %v, want %v", name, got, want)
		}
		if state := weirtest.Value[string](t, d, "select state from weir.schedules where name = $1", name); state != "finished" {
			t.Errorf("%s is %s", name, state)
		}
	}
	// A single time that has passed may be applied again: nothing comes of it.
	if next := setSchedule(t, d, "once", fmt.Sprintf(`{"at": %q, "job": {"kind": "k2", "queue": "q"}}`, from.Format(time.RFC3339))); next != nil {
		t.Errorf("it fires again at %v", next)
	}
	if next := weirtest.Value[*time.Time](t, d, `select weir.edit_schedule('runs', '{"max_runs": 3}')`); next == nil {
		t.Error("with one more run it does not go on")
	}
}

func TestJitterIsTheSameForASlotAndSpreadsSchedules(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	hours(t, d) // all are made within one
	weirtest.Exec(t, d, `select weir.set_schedule('s' || n, '{"cron": "0 * * * *", "jitter_seconds": 600, "job": {"kind": "k", "queue": "q"}}') from generate_series(1, 200) n`)
	var low, high, differ int
	rows, err := d.Query(t.Context(), `select count(*) filter (where due_at < next_at + interval '5 min'), count(*) filter (where due_at between next_at + interval '5 min' and next_at + interval '10 min'),
		count(*) filter (where due_at <> (select p.due_at from weir.preview_schedule(name, 1) p)) from weir.schedules`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&low, &high, &differ}, func() error { return nil })
	}
	if err != nil || low+high != 200 || low < 50 || high < 50 || differ != 0 {
		t.Errorf("%d fire in the first half of their jitter, %d in the second, %d not as the preview says; %v", low, high, differ, err)
	}
	at := *weirtest.Value[*time.Time](t, d, "select min(next_at) from weir.schedules")
	if n := fireAt(t, d, at.Add(5*time.Minute)); n != low {
		t.Errorf("%d fire in the first half, want %d", n, low)
	}
	if n := fireAt(t, d, at.Add(10*time.Minute)); n != high {
		t.Errorf("%d fire in the second half, want %d", n, high)
	}
}
