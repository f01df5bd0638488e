package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"
)

// scheduleSlot is what people are shown of a slot that is to come.
type scheduleSlot struct {
	UTC     *time.Time `json:"utc"`
	Local   string     `json:"local"`
	FiresAt *time.Time `json:"fires_at"`
	Note    string     `json:"note"`
}

func printSlots(w io.Writer, slots []scheduleSlot) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LOCAL\tUTC\tFIRES\tNOTE")
	for _, s := range slots {
		slot, fires := "-", "-"
		if s.UTC != nil {
			slot = s.UTC.UTC().Format(time.RFC3339)
		}
		if s.FiresAt != nil {
			if fires = "then"; s.UTC != nil && s.FiresAt.After(*s.UTC) {
				fires = roughly(s.FiresAt.Sub(*s.UTC)) + " later"
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", oneLine(s.Local), slot, fires, oneLine(s.Note))
	}
	return table.Flush()
}

// scheduleRun is what people are shown of a slot that was dealt with.
type scheduleRun struct {
	Slot            time.Time  `json:"slot"`
	Manual          bool       `json:"manual"`
	Outcome         string     `json:"outcome"`
	JobID           string     `json:"job_id"`
	JobState        string     `json:"job_state"`
	WorkflowID      string     `json:"workflow_id"`
	FiredAt         time.Time  `json:"fired_at"`
	LatenessSeconds float64    `json:"lateness_seconds"`
	UntilAt         *time.Time `json:"until_at"`
	Detail          string     `json:"detail"`
}

// made is the job or workflow of a run.
func (r *scheduleRun) made() string {
	switch {
	case r.JobID != "":
		return "job " + oneLine(r.JobID)
	case r.WorkflowID != "":
		return "workflow " + oneLine(r.WorkflowID)
	}
	return "-"
}

func printRuns(w io.Writer, items []json.RawMessage) error {
	paint := newPainter(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SLOT\tOUTCOME\tMADE\tSTATE\tLATE\tWHY")
	for _, item := range items {
		var r scheduleRun
		if err := json.Unmarshal(item, &r); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		outcome, state, late, why := oneLine(r.Outcome), "-", "-", r.Detail
		if r.JobState != "" {
			state = paint.state(oneLine(r.JobState))
		}
		if r.Manual {
			outcome += " by hand"
		} else if r.JobID != "" || r.WorkflowID != "" {
			late = roughly(time.Duration(r.LatenessSeconds * float64(time.Second)))
		}
		if r.UntilAt != nil {
			why = fmt.Sprintf("all before %s: %s", localTime(*r.UntilAt), why)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", localTime(r.Slot), outcome, r.made(), state, late, orDash(shorten(why, 100)))
	}
	return table.Flush()
}

type runsOfScheduleCommand struct {
	Outcome string `help:"Only slots that were ${enum}." enum:"enqueued,duplicate,skipped,missed,refused," default:"" placeholder:"OUTCOME"`
	Limit   int    `help:"At most so many." default:"20"`
	scheduleFlags
}

// Validate is called by kong.
func (c *runsOfScheduleCommand) Validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit must be at least 1")
	}
	return nil
}

// Run lists what became of the schedule's slots, the latest first.
func (c *runsOfScheduleCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.Outcome != "" {
		query.Set("outcome", c.Outcome)
	}
	page, err := listSome(ctx, weir, c.path("/runs"), query, c.Limit)
	if err != nil {
		return err
	}
	if c.JSON {
		text, err := json.Marshal(page)
		if err != nil {
			return err
		}
		return printJSON(std.out, text)
	}
	if len(page.Items) == 0 {
		fmt.Fprintln(std.out, "No slot of it was dealt with yet.")
		return nil
	}
	return printRuns(std.out, page.Items)
}
