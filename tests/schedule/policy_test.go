package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// A slot that did not fire within a minute of its time is missed, and the policy decides whether it still runs. Slots
// are hours apart here, and no node ran for ten of them.
func TestMissedSlotsFollowTheirPolicy(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	hour := hours(t, d)
	for name, policy := range map[string]string{"default": "", "skip": `, "misfire": "skip"`, "latest": `, "misfire": "latest"`, "all": `, "misfire": "all"`, "three": `, "misfire": "all", "misfire_limit": 3`} {
		setSchedule(t, d, name, hourly+policy+"}")
	}
	fireAt(t, d, hour(10).Add(30*time.Minute))
	for name, want := range map[string]struct {
		outcomes    string
		first, last time.Time // those that made a job
	}{
		"default": {"missed enqueued", hour(10), hour(10)},
		"latest":  {"missed enqueued", hour(10), hour(10)},
		"skip":    {"missed", time.Time{}, time.Time{}},
		"all":     {strings.Repeat("enqueued ", 9) + "enqueued", hour(1), hour(10)},
		"three":   {"missed enqueued enqueued enqueued", hour(8), hour(10)},
	} {
		runs := runsOf(t, d, name)
		if got := outcomes(runs); got != want.outcomes {
			t.Errorf("%s: %s, want %s", name, got, want.outcomes)
			continue
		}
		if runs[0].Outcome == "missed" {
			if until := runs[0].Until; !runs[0].Slot.Equal(hour(1)) || until == nil || name != "skip" && !until.Equal(want.first) || name == "skip" && !until.Equal(hour(11)) {
				t.Errorf("%s: the slots from %v until %v are said to be missed", name, runs[0].Slot, until)
			}
			runs = runs[1:]
		}
		if len(runs) > 0 && (!runs[0].Slot.Equal(want.first) || !runs[len(runs)-1].Slot.Equal(want.last)) {
			t.Errorf("%s: slots %v to %v ran, want %v to %v", name, runs[0].Slot, runs[len(runs)-1].Slot, want.first, want.last)
		}
		if next := weirtest.Value[time.Time](t, d, "select next_at from weir.schedules where name = $1", name); !next.Equal(hour(11)) {
			t.Errorf("%s: the next slot is %v", name, next)
		}
	}
	// A slot that is a little late is not missed.
	fireAt(t, d, hour(11).Add(50*time.Second))
	if runs := runsOf(t, d, "skip"); outcomes(runs) != "missed enqueued" {
		t.Errorf("50 s late: %+v", runs)
	}
}

// A long absence costs a schedule of every second no more than a short one.
func TestLongAbsenceIsCaughtUpQuickly(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, misfire := range []string{"skip", "latest", "all"} {
		setSchedule(t, d, misfire, fmt.Sprintf(`{"cron": "* * * * * *", "misfire": %q, "job": {"kind": "k", "queue": "q"}}`, misfire))
	}
	later := time.Now().Add(400 * 24 * time.Hour).Truncate(time.Second)
	fireAt(t, d, later)
	for misfire, want := range map[string]int{"skip": 61, "latest": 1, "all": 100} { // the slots of the last minute are not missed
		made := 0
		for _, r := range runsOf(t, d, misfire) {
			if r.Outcome == "enqueued" {
				made++
			}
		}
		if made < want-1 || made > want {
			t.Errorf("%s: %d slots ran, want %d", misfire, made, want)
		}
	}
}

func TestOverlapFollowsItsPolicy(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	hour := hours(t, d)
	for _, overlap := range []string{"allow", "skip", "wait", "cancel"} {
		setSchedule(t, d, overlap, fmt.Sprintf(hourly+`, "overlap": %q}`, overlap))
	}
	for n := 1; n <= 3; n++ {
		fireAt(t, d, hour(n))
	}
	for overlap, want := range map[string]string{"allow": "enqueued enqueued enqueued", "skip": "enqueued skipped skipped", "wait": "enqueued", "cancel": "enqueued enqueued enqueued"} {
		if got := outcomes(runsOf(t, d, overlap)); got != want {
			t.Errorf("%s: %s, want %s", overlap, got, want)
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where schedule = 'cancel' and state = 'cancelled'"); n != 2 {
		t.Errorf("%d runs were cancelled, want 2", n)
	}
	first := runsOf(t, d, "wait")[0].JobID
	if ok := weirtest.Value[bool](t, d, "select state = 'waiting' and waiting_for = $1 and next_at = $2 from weir.schedules where name = 'wait'", *first, hour(2)); !ok {
		t.Error("it is not seen what the second slot waits for")
	}
	if skipped := runsOf(t, d, "skip")[1]; skipped.Detail == nil || !strings.Contains(*skipped.Detail, fmt.Sprint(*runsOf(t, d, "skip")[0].JobID)) {
		t.Errorf("it is not said why a slot was skipped: %+v", skipped)
	}

	// When the previous run ends, the waiting slot fires. Of the slots that came meanwhile, the newest waits in turn.
	endJob(t, d, first)
	endJob(t, d, runsOf(t, d, "skip")[0].JobID)
	fireAt(t, d, hour(3).Add(10*time.Second))
	fireAt(t, d, hour(4))
	if got := outcomes(runsOf(t, d, "skip")); got != "enqueued skipped skipped enqueued" {
		t.Errorf("skip: %s", got)
	}
	runs := runsOf(t, d, "wait")
	if len(runs) != 2 || !runs[1].Slot.Equal(hour(2)) || runs[1].Detail == nil {
		t.Fatalf("wait: %+v", runs)
	}
	endJob(t, d, runs[1].JobID)
	fireAt(t, d, hour(4).Add(10*time.Second))
	if runs = runsOf(t, d, "wait"); outcomes(runs) != "enqueued enqueued enqueued" || !runs[2].Slot.Equal(hour(3)) {
		t.Errorf("wait: %+v", runs)
	}
}

// A job that cannot be enqueued stops no other schedule. Its slot is retried until the next one is due, for at most an
// hour.
func TestRefusedSlotIsRetriedAndBlocksNoOther(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	hour := hours(t, d)
	weirtest.Exec(t, d, `select weir.set_queue('full', '{"max_depth": 1}')`)
	blocker := weirtest.EnqueueOne(t, d, "full")
	weirtest.Settle(t, d)
	for _, name := range []string{"a", "b", "c"} {
		setSchedule(t, d, name, hourly+"}")
	}
	setSchedule(t, d, "full", `{"cron": "0 * * * *", "job": {"kind": "k", "queue": "full"}}`)
	setSchedule(t, d, "daily", fmt.Sprintf(`{"cron": "0 %d * * *", "job": {"kind": "k", "queue": "full"}}`, hour(1).Hour()))
	if n := fireAt(t, d, hour(1)); n != 3 {
		t.Errorf("%d of the three others fired", n)
	}
	if ok := weirtest.Value[bool](t, d, "select tries = 1 and problem like '%full%' and next_at = $1 and due_at > $1 from weir.schedules where name = 'full'", hour(1)); !ok {
		t.Error("it is not seen that the slot was refused")
	}
	fireAt(t, d, hour(1).Add(20*time.Minute))
	fireAt(t, d, hour(2))
	fireAt(t, d, hour(2).Add(time.Minute))
	for name, want := range map[string]string{"full": "refused", "daily": "refused", "a": "enqueued enqueued"} {
		if got := outcomes(runsOf(t, d, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	weirtest.Exec(t, d, "select weir.cancel($1)", blocker)
	weirtest.Settle(t, d)
	fireAt(t, d, hour(2).Add(3*time.Minute))
	runs := runsOf(t, d, "full")
	if outcomes(runs) != "refused enqueued" || !runs[1].Slot.Equal(hour(2)) {
		t.Errorf("when there is room: %+v", runs)
	}
}

// Two schedules whose jobs share a unique key make one job, and each says so.
func TestSlotWithTakenUniqueKeyIsDuplicate(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	hour := hours(t, d)
	for _, name := range []string{"a", "b"} {
		setSchedule(t, d, name, `{"cron": "0 * * * *", "job": {"kind": "k", "queue": "q", "unique": {"key": "report {{scheduled_at}}"}}}`)
	}
	fireAt(t, d, hour(1))
	fireAt(t, d, hour(2))
	var outcome []string
	for _, name := range []string{"a", "b"} {
		outcome = append(outcome, outcomes(runsOf(t, d, name)))
	}
	if all := strings.Join(outcome, " "); strings.Count(all, "enqueued") != 2 || strings.Count(all, "duplicate") != 2 {
		t.Errorf("%q", outcome)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs"); n != 2 {
		t.Errorf("there are %d jobs", n)
	}
}

func TestScheduleSubmitsWorkflows(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	hour := hours(t, d)
	const workflow = `"workflow": {"name": "nightly", "steps": [{"name": "a", "kind": "extract", "queue": "q", "args": {"at": "{{scheduled_at}}"}}, {"name": "b", "kind": "load", "queue": "q", "depends_on": ["a"]}]}`
	for _, overlap := range []string{"skip", "cancel"} {
		setSchedule(t, d, overlap, fmt.Sprintf(`{"cron": "0 * * * *", "overlap": %q, %s}`, overlap, workflow))
	}
	setSchedule(t, d, "job", hourly+"}")
	if n := weirtest.Value[int](t, d, "select (select count(*) from weir.workflow) + (select count(*) from weir.job)"); n != 0 {
		t.Errorf("looking at a definition made %d workflows and jobs", n)
	}
	fireAt(t, d, hour(1))
	fireAt(t, d, hour(2))
	for name, want := range map[string]string{"skip": "enqueued skipped", "cancel": "enqueued enqueued", "job": "enqueued enqueued"} {
		if got := outcomes(runsOf(t, d, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs j join weir.schedule_runs r on r.workflow_id = j.workflow_id where r.schedule = 'skip' and j.schedule = 'skip' and j.slot = r.slot"); n != 2 {
		t.Errorf("%d steps say what made them, want 2", n)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where kind = 'extract' and args ->> 'at' = to_char(slot at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"); n != 3 {
		t.Errorf("%d workflows know their slot, want 3", n)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where schedule = 'cancel' and state = 'cancelled'"); n != 2 {
		t.Errorf("%d steps of the run before were cancelled, want 2", n)
	}
	id := weirtest.Value[int64](t, d, "select weir.trigger_schedule('skip')")
	if ok := weirtest.Value[bool](t, d, "select manual and workflow_id = $1 from weir.schedule_runs where schedule = 'skip' and manual", id); !ok {
		t.Error("the trigger left no run")
	}
}
