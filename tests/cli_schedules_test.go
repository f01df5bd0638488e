package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCLIASchedulesLife(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for time.Now().Minute() == 29 { // or what runs at half past two may do so meanwhile
		time.Sleep(time.Second)
	}
	s.cli("schedules").says(0, "no such schedules")
	s.cli("schedules", "create", "nightly", "report", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--queue", "reports", "--args", `{"day": "{{scheduled_date}}"}`, "--priority", "7", "--overlap", "skip").says(0, "schedule nightly is active", "T02:30:00+0")
	s.cli("schedules", "create", "nightly", "report", "--every", "1h").says(1, "there is a schedule 'nightly' already")
	s.cli("schedules", "create", "beat", "ping", "--every", "90m", "--jitter", "1m", "--max-runs", "3", "--paused").says(0, "schedule beat is paused")
	s.cli("schedules", "create", "bad", "k", "--cron", "0 25 * * *").says(1, "an hour that is not from 0 to 23")
	s.cli("schedules", "create", "bad", "k").says(1, "cron is needed")
	s.cli("schedules").says(0, "SCHEDULE", "nightly", "30 2 * * *", "Europe/Berlin", "report", "beat", "every 90 min", "paused")
	if out := s.cli("schedules", "list", "--state", "paused").says(0, "beat").stdout; strings.Contains(out, "nightly") {
		t.Errorf("those that are paused:\n%s", out)
	}
	s.cli("schedules", "preview", "nightly", "--count", "2", "--from", "2026-03-28T12:00:00Z").says(0, "2026-03-29T03:00:00+02:00", "2026-03-29T01:00:00Z", "moved: the clocks leave out")
	s.cli("schedules", "preview", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--dst-gap", "skip", "--from", "2026-03-28T12:00:00Z").says(0, "skipped: the clocks go from 02:00 to 03:00")
	s.cli("schedules", "preview").says(2, "the name of a schedule")
	s.cli("schedules", "preview", "nightly", "--cron", "* * * * *").says(2, "not both")
	s.cli("schedules", "runs", "nightly").says(0, "No slot")
	s.cli("schedules", "trigger", "nightly").says(0, "job ", "is enqueued")
	s.cli("schedules", "runs", "nightly").says(0, "enqueued by hand", "available")
	s.cli("schedules", "show", "nightly").says(0, `"cron": "30 2 * * *"`, "LOCAL", "by hand")
	s.cli("schedules", "pause", "nightly").says(0, "schedule nightly is paused")
	s.cli("schedules", "resume", "nightly").says(0, "schedule nightly is active, next ")

	// What a listing prints can be applied again, there or elsewhere.
	file := filepath.Join(t.TempDir(), "schedules.json")
	if err := os.WriteFile(file, []byte(s.cli("schedules", "list", "--json").says(0).stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := s.cli("schedules", "delete", "nightly"); r.status != 1 || !strings.Contains(r.stderr, "nothing was deleted") {
			t.Errorf("not asked: %d\n%s", r.status, r.stderr)
		}
		s.cli("schedules", "delete", "nightly", "--yes").says(0, "schedule nightly is gone")
		s.cli("schedules", "delete", "nightly", "--yes").says(1, "there is no schedule")
		s.cli("schedules", "apply", file).says(0, "schedule nightly is active", "schedule beat is paused")
	}
	var again servedSchedule
	if err := json.Unmarshal([]byte(s.cli("schedules", "show", "nightly", "--json").says(0).stdout), &again); err != nil || again.Cron != "30 2 * * *" || again.Overlap != "skip" || again.Job.Priority != 7 {
		t.Errorf("applied again: %+v, %v", again, err)
	}
	if err := os.WriteFile(file, []byte(`[{"name": "a", "every_seconds": 60, "job": {"kind": "k"}}, {"cron": "* * * * *"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cli("schedules", "apply", file).says(2, "without a name")
	s.cli("schedules", "apply", filepath.Join(t.TempDir(), "none")).says(1, "reading schedules")
}
