package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/weirhq/weir/terminal"
)

// slot is what is printed of a slot to come.
type slot struct {
	UTC     *time.Time `json:"utc"`
	Local   string     `json:"local"`
	FiresAt *time.Time `json:"fires_at"`
	Note    string     `json:"note"`
}

type slotPage struct{ Items []slot }

var slotTable = layout[slot]{
	columns: []string{"LOCAL", "UTC", "FIRES", "NOTE"},
	row: func(_ *printer, s *slot) []any {
		utc, fires := "", ""
		if s.UTC != nil {
			utc = s.UTC.UTC().Format(time.RFC3339)
		}
		if s.FiresAt != nil {
			if fires = "on time"; s.UTC != nil && s.FiresAt.After(*s.UTC) {
				fires = roughly(s.FiresAt.Sub(*s.UTC)) + " later"
			}
		}
		return []any{s.Local, utc, fires, s.Note}
	},
}

// scheduleRun is what is printed of a past slot.
type scheduleRun struct {
	Slot            time.Time  `json:"slot"`
	Manual          bool       `json:"manual"`
	Outcome         string     `json:"outcome"`
	JobID           string     `json:"job_id"`
	JobState        string     `json:"job_state"`
	WorkflowID      string     `json:"workflow_id"`
	LatenessSeconds float64    `json:"lateness_seconds"`
	UntilAt         *time.Time `json:"until_at"`
	Detail          string     `json:"detail"`
}

// made is the job or workflow of a run.
func (r *scheduleRun) made() string {
	switch {
	case r.JobID != "":
		return "job " + r.JobID
	case r.WorkflowID != "":
		return "workflow " + r.WorkflowID
	}
	return ""
}

var scheduleRunTable = layout[scheduleRun]{
	columns: []string{"SLOT", "OUTCOME", "MADE", "LATE", "WHY", "STATE"},
	row: func(p *printer, r *scheduleRun) []any {
		outcome, late, why, state := r.Outcome, "", r.Detail, safe("-")
		if r.JobState != "" {
			state = p.state(r.JobState)
		}
		if r.Manual {
			outcome += " by hand"
		} else if r.made() != "" {
			late = roughly(Seconds(r.LatenessSeconds))
		}
		if r.UntilAt != nil {
			why = fmt.Sprintf("all before %s: %s", localTime(*r.UntilAt), why)
		}
		return []any{localTime(r.Slot), outcome, r.made(), late, terminal.Shorten(terminal.OneLine(why), 100), state}
	},
}

type listScheduleRuns struct {
	Outcome string `help:"Only slots with this outcome: ${enum}." enum:"enqueued,duplicate,skipped,missed,refused," default:"" placeholder:"OUTCOME"`
	Limit   limit  `help:"List at most this many." default:"20"`
	scheduleFlags
}

// Run lists the schedule's past slots, latest first.
func (c *listScheduleRuns) Run(ctx context.Context, s *Session) error {
	call := c.get("runs").With("outcome", c.Outcome)
	return list(ctx, s, c.answerFlags, call, int(c.Limit), "No slot has come yet.", scheduleRunTable)
}
