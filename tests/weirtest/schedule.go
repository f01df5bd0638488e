//go:build unix

package weirtest

import (
	"time"
)

// Schedule is a schedule as clients see it.
type Schedule struct {
	Name, State, Cron, Timezone, Overlap, Problem string
	EverySeconds                                  int        `json:"every_seconds"`
	NextAt                                        *time.Time `json:"next_at"`
	NextLocal                                     string     `json:"next_local"`
	LastAt                                        *time.Time `json:"last_at"`
	MaxRuns                                       int        `json:"max_runs"`
	Runs                                          int
	Paused                                        bool
	Job                                           Job
}

// ScheduleSlot is a slot of a schedule's preview as clients see it.
type ScheduleSlot struct {
	UTC     *time.Time
	Local   string
	FiresAt *time.Time `json:"fires_at"`
	Skipped bool
	Note    string
}

// ScheduleRun is a firing of a schedule as clients see it.
type ScheduleRun struct {
	Slot            time.Time
	Manual          bool
	Outcome         string
	JobID           string  `json:"job_id"`
	JobState        string  `json:"job_state"`
	LatenessSeconds float64 `json:"lateness_seconds"`
}
