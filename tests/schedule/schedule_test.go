package schedule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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

// setSchedule creates or replaces a schedule and returns its next slot.
func setSchedule(t testing.TB, q weirtest.Querier, name, definition string) *time.Time {
	t.Helper()
	return weirtest.Value[*time.Time](t, q, "select weir.set_schedule($1, $2::jsonb)", name, definition)
}

// fireAt fires everything that is due at a time, in as many steps as needed, and returns the number of slots that made
// a job.
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

// runsOf lists the outcomes of a schedule's slots, in order.
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

// outcomes returns the outcomes of runs, separated by spaces.
func outcomes(runs []fired) string {
	var words []string
	for _, r := range runs {
		words = append(words, r.Outcome)
	}
	return strings.Join(words, " ")
}

// hours returns the full hours from the database's present on, by number. They stay the same when the next hour begins;
// what depends on the database's clock does not, so hours waits until none begins within a minute.
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

func TestSlotFiresOnce(t *testing.T) {
	t.Parallel()
	t.Run("SQL", slotFiresOnceSQL)
	t.Run("REST", slotFiresOnceREST)
}

func slotFiresOnceSQL(t *testing.T) {
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
	// A producer cannot claim that a schedule made its job.
	for _, job := range []string{`{"kind": "k", "schedule": "s"}`, `{"kind": "k", "slot": "2026-01-01T00:00:00Z"}`} {
		wantRefusal(t, weirtest.TryExec(d, "select weir.enqueue_many(jsonb_build_array($1::jsonb))", job), "WR010", "")
	}
}

func slotFiresOnceREST(t *testing.T) {
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
	// Runs come in pages, each once, newest first.
	var all []weirtest.ScheduleRun
	for cursor := ""; ; {
		page := weirtest.Decode[weirtest.Page[weirtest.ScheduleRun]](s.Get("/v1/schedules/tick/runs?limit=1&cursor=" + cursor).Want(http.StatusOK))
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			break
		}
		cursor = *page.NextCursor
	}
	missed := slices.DeleteFunc(slices.Clone(all), func(r weirtest.ScheduleRun) bool { return r.Outcome == "enqueued" }) // if the machine stalls for a minute
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

func TestIntervalKeepsItsAnchor(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const definition = `{"every_seconds": 86400, "job": {"kind": "k", "queue": "q"}}`
	first := *setSchedule(t, d, "s", definition)
	if ahead := time.Until(first); ahead < 23*time.Hour || ahead > 24*time.Hour {
		t.Errorf("the first slot of an interval comes in %v", ahead)
	}
	for range 2 { // applied at every deployment, it must not start over each time
		weirtest.Exec(t, d, "select pg_sleep(1.1)")
		if again := *setSchedule(t, d, "s", definition); !again.Equal(first) {
			t.Errorf("the same definition puts the slot off from %v to %v", first, again)
		}
	}
	if half := *weirtest.Value[*time.Time](t, d, `select weir.edit_schedule('s', '{"every_seconds": 43200}')`); !half.Equal(first.Add(-12 * time.Hour)) {
		t.Errorf("at twice the rate the next slot is %v", half)
	}
	// Whatever the clocks do, counted in both directions from the anchor.
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

func TestStartEndAndRunsBoundSchedule(t *testing.T) {
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
	// A single time in the past may be applied again, without effect.
	if next := setSchedule(t, d, "once", fmt.Sprintf(`{"at": %q, "job": {"kind": "k2", "queue": "q"}}`, from.Format(time.RFC3339))); next != nil {
		t.Errorf("it fires again at %v", next)
	}
	if next := weirtest.Value[*time.Time](t, d, `select weir.edit_schedule('runs', '{"max_runs": 3}')`); next == nil {
		t.Error("with one more run it does not go on")
	}
}

func TestJitterIsStableAndSpreadsSchedules(t *testing.T) {
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

// Ten thousand schedules are due at the same second, on three nodes. One node is killed while they fire.
func TestTenThousandSchedulesFireOnceEach(t *testing.T) {
	weirtest.Long(t, "ten thousand schedules fire")
	t.Parallel()
	d := weirtest.New(t)
	const schedules = 10000
	setSchedule(t, d, "s0", `{"cron": "0 0 1 1 *", "job": {"kind": "k", "queue": "q", "args": {"at": "{{scheduled_at}}"}}}`)
	weirtest.Exec(t, d, `insert into weir.schedule select (jsonb_populate_record(s, jsonb_build_object('id', 1000000 + n, 'name', 's' || n))).* from weir.schedule s, generate_series(1, $1) n`, schedules-1)
	var nodes []*weirtest.Process
	var s *weirtest.Node
	for range 3 {
		var child *weirtest.Process
		s, child = weirtest.StartServe(t, d)
		nodes = append(nodes, child)
	}
	// All of them at a second soon: the definitions stay the same, only the due times are moved.
	weirtest.Exec(t, d, "update weir.schedule set (next_slot_at, due_at) = (select x, x from (select date_trunc('second', clock_timestamp()) + interval '4 s' as x) y)")
	s.Eventually("some have fired", func() bool { return s.Count("select count(*) from weir.schedule_slot") > schedules/10 })
	nodes[0].Kill()
	s.Eventually("all have fired", func() bool {
		return s.Count("select count(*) from weir.schedule_slot where outcome = 'enqueued'") == schedules
	})
	if n := s.Count("select count(distinct schedule) from weir.job where slot is not null"); n != schedules || s.Count("select count(*) from weir.job") != schedules {
		t.Errorf("%d schedules made %d jobs", n, s.Count("select count(*) from weir.job"))
	}
	if n := s.Count("select count(*) from weir.schedule where runs <> 1 or next_slot_at <> date_trunc('year', next_slot_at) or due_at <> next_slot_at"); n != 0 {
		t.Errorf("%d schedules are not where they should be", n)
	}
	late := weirtest.Value[float64](t, d, "select percentile_cont(0.99) within group (order by extract(epoch from j.created_at - j.slot))::float8 from weir.job j")
	t.Logf("99 of 100 jobs were there %v after their slot", time.Duration(late*float64(time.Second)).Round(time.Millisecond))
}
