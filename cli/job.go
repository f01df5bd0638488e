package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

type jobCommand struct {
	Show     showJobCommand    `cmd:"" default:"withargs" help:"Show a job; weir job ID does too."`
	Timeline timelineCommand   `cmd:"" help:"Show what happened to a job."`
	Why      whyCommand        `cmd:"" help:"Show why a job does not run now."`
	Wait     waitCommand       `cmd:"" help:"Wait for the end of a job. The status is 0 if it completed."`
	Children childrenCommand   `cmd:"" help:"List the children of a job."`
	Cancel   cancelJobsCommand `cmd:"" help:"Cancel jobs."`
	Retry    retryJobsCommand  `cmd:"" help:"Run jobs again now that have ended or wait for a time."`
}

// jobFlags are those of the commands about one job.
type jobFlags struct {
	ID string `arg:"" help:"The job's id."`
	answerFlags
}

// path is the job's, or that of something below it.
func (f jobFlags) path(below string) string { return jobPath(f.ID) + below }

func jobPath(id string) string { return "/v1/jobs/" + url.PathEscape(id) }

type showJobCommand struct{ jobFlags }

// job is what people are shown of a job.
type job struct {
	ID              string          `json:"id"`
	Kind            string          `json:"kind"`
	Queue           string          `json:"queue"`
	Args            json.RawMessage `json:"args"`
	Priority        int             `json:"priority"`
	State           string          `json:"state"`
	HeldReason      string          `json:"held_reason"`
	Attempt         int             `json:"attempt"`
	MaxAttempts     int             `json:"max_attempts"`
	CreatedAt       time.Time       `json:"created_at"`
	RunAt           *time.Time      `json:"run_at"`
	StartedAt       *time.Time      `json:"started_at"`
	FinishedAt      *time.Time      `json:"finished_at"`
	Worker          string          `json:"worker"`
	LeaseExpiresAt  *time.Time      `json:"lease_expires_at"`
	CancelRequested bool            `json:"cancel_requested"`
	Result          json.RawMessage `json:"result"`
	Tags            []string        `json:"tags"`
	ParentID        string          `json:"parent_id"`
	UniqueKey       string          `json:"unique_key"`
	Duplicate       bool            `json:"duplicate"`
	Progress        *struct {
		Percent float64 `json:"percent"`
		Message string  `json:"message"`
	} `json:"progress"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
	Errors []struct {
		Attempt int       `json:"attempt"`
		At      time.Time `json:"at"`
		Kind    string    `json:"kind"`
		Worker  string    `json:"worker"`
		Message string    `json:"message"`
	} `json:"errors"`
}

// Run shows one job.
func (c *showJobCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.get(ctx, c.path(""), &answer); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(j job) error { return j.print(std.out, time.Now()) })
}

// show prints an answer as it is, or has it read and printed for people.
func show[T any](f answerFlags, w io.Writer, answer json.RawMessage, print func(T) error) error {
	if f.JSON {
		return printJSON(w, answer)
	}
	var x T
	if err := json.Unmarshal(answer, &x); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return print(x)
}

// showList does the same with a whole list, whose items it hands to print.
func showList[T any](f answerFlags, w io.Writer, all listPage, print func([]T) error) error {
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return show(f, w, text, func(page struct{ Items []T }) error { return print(page.Items) })
}

// when adds to the state what time it has to do with.
func (j *job) when(now time.Time) string {
	switch {
	case j.HeldReason != "":
		return ", waits for " + oneLine(j.HeldReason)
	case j.RunAt != nil:
		return ", runs " + relative(now, *j.RunAt)
	case j.FinishedAt != nil:
		return ", " + relative(now, *j.FinishedAt)
	case j.CancelRequested:
		return ", asked to stop"
	}
	return ""
}

func (j *job) print(w io.Writer, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	row("job", "%s", j.ID)
	row("kind", "%s", j.Kind)
	row("queue", "%s, priority %d", j.Queue, j.Priority)
	fmt.Fprintf(table, "state\t%s%s\n", newPainter(w).state(j.State), j.when(now))
	row("attempt", "%d of %d", j.Attempt, j.MaxAttempts)
	row("created", "%s, %s", relative(now, j.CreatedAt), localTime(j.CreatedAt))
	if j.StartedAt != nil {
		row("started", "%s, by %s%s", relative(now, *j.StartedAt), j.Worker, j.ranFor())
	}
	if j.State == "running" && j.LeaseExpiresAt != nil {
		row("lease", "ends %s", relative(now, *j.LeaseExpiresAt))
	}
	if j.Progress != nil {
		row("progress", "%s %% %s", strconv.FormatFloat(j.Progress.Percent, 'f', -1, 64), j.Progress.Message)
	}
	if j.UniqueKey != "" {
		row("unique", "%s", j.UniqueKey)
	}
	if j.ParentID != "" {
		row("parent", "job %s", j.ParentID)
	}
	if len(j.Tags) > 0 {
		row("tags", "%s", strings.Join(j.Tags, ", "))
	}
	row("args", "%s", shorten(string(j.Args), 2000))
	if j.Result != nil {
		row("result", "%s", shorten(string(j.Result), 2000))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, e := range j.Errors {
		fmt.Fprintf(w, "\nattempt %d %s %s, on %s:\n  %s\n", e.Attempt, strings.ReplaceAll(oneLine(e.Kind), "_", " "), relative(now, e.At), oneLine(e.Worker), indent(e.Message))
	}
	if j.Error != nil && (len(j.Errors) == 0 || j.Errors[len(j.Errors)-1].Message != j.Error.Message) {
		fmt.Fprintf(w, "\nerror:\n  %s\n", indent(j.Error.Message))
	}
	return nil
}

// ranFor is how long the last attempt took, if it has ended.
func (j *job) ranFor() string {
	if j.FinishedAt == nil || j.FinishedAt.Before(*j.StartedAt) {
		return ""
	}
	return ", ran for " + roughly(j.FinishedAt.Sub(*j.StartedAt))
}

func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// indent sets the lines of a text that has several below the first.
func indent(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(printable(text)), "\n", "\n  ")
}
