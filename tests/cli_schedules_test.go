package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCLIASchedulesLife(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for time.Now().Minute() == 29 { // or what runs at half past two may do so meanwhile
		time.Sleep(time.Second)
	}
	s.CLI("schedules").Says(0, "no such schedules")
	s.CLI("schedules", "create", "nightly", "report", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--queue", "reports", "--args", `{"day": "{{scheduled_date}}"}`, "--priority", "7", "--overlap", "skip").Says(0, "schedule nightly is active", "T02:30:00+0")
	s.CLI("schedules", "create", "nightly", "report", "--every", "1h").Says(1, "there is a schedule 'nightly' already")
	s.CLI("schedules", "create", "beat", "ping", "--every", "90m", "--jitter", "1m", "--max-runs", "3", "--paused").Says(0, "schedule beat is paused")
	s.CLI("schedules", "create", "bad", "k", "--cron", "0 25 * * *").Says(1, "an hour that is not from 0 to 23")
	s.CLI("schedules", "create", "bad", "k").Says(1, "cron is needed")
	s.CLI("schedules").Says(0, "SCHEDULE", "nightly", "30 2 * * *", "Europe/Berlin", "report", "beat", "every 90 min", "paused")
	if out := s.CLI("schedules", "list", "--state", "paused").Says(0, "beat").Stdout; strings.Contains(out, "nightly") {
		t.Errorf("those that are paused:\n%s", out)
	}
	s.CLI("schedules", "preview", "nightly", "--count", "2", "--from", "2026-03-28T12:00:00Z").Says(0, "2026-03-29T03:00:00+02:00", "2026-03-29T01:00:00Z", "moved: the clocks leave out")
	s.CLI("schedules", "preview", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--dst-gap", "skip", "--from", "2026-03-28T12:00:00Z").Says(0, "skipped: the clocks go from 02:00 to 03:00")
	s.CLI("schedules", "preview").Says(2, "the name of a schedule")
	s.CLI("schedules", "preview", "nightly", "--cron", "* * * * *").Says(2, "not both")
	s.CLI("schedules", "runs", "nightly").Says(0, "No slot")
	s.CLI("schedules", "trigger", "nightly").Says(0, "job ", "is enqueued")
	s.CLI("schedules", "runs", "nightly").Says(0, "enqueued by hand", "available")
	s.CLI("schedules", "show", "nightly").Says(0, `"cron": "30 2 * * *"`, "LOCAL", "by hand")
	s.CLI("schedules", "pause", "nightly").Says(0, "schedule nightly is paused")
	s.CLI("schedules", "resume", "nightly").Says(0, "schedule nightly is active, next ")

	// What a listing prints can be applied again, there or elsewhere.
	file := filepath.Join(t.TempDir(), "schedules.json")
	if err := os.WriteFile(file, []byte(s.CLI("schedules", "list", "--json").Says(0).Stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := s.CLI("schedules", "delete", "nightly"); r.Status != 1 || !strings.Contains(r.Stderr, "nothing was deleted") {
			t.Errorf("not asked: %d\n%s", r.Status, r.Stderr)
		}
		s.CLI("schedules", "delete", "nightly", "--yes").Says(0, "schedule nightly is gone")
		s.CLI("schedules", "delete", "nightly", "--yes").Says(1, "there is no schedule")
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
