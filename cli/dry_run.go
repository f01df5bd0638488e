package cli

import (
	"strconv"
	"time"
)

// dryRun is what an enqueue would do.
type dryRun struct {
	Outcome string `json:"outcome"`
	Job     struct {
		Queue          string     `json:"queue"`
		Priority       int        `json:"priority"`
		MaxAttempts    int        `json:"max_attempts"`
		TimeoutSeconds int        `json:"timeout_seconds"`
		RunAt          *time.Time `json:"run_at"`
		State          string     `json:"state"`
	} `json:"job"`
	Notes []struct{ Code, Message string } `json:"notes"`
}

// outcomes are what the service says of an enqueue, as people say it.
var outcomes = map[string]string{
	"enqueued": "the job would be enqueued", "duplicate": "nothing would be stored: a key of the job is taken",
	"refused": "the job would be refused",
}

func printDryRun(p *printer, d *dryRun) {
	p.line("dry run: %s", outcomes[d.Outcome])
	t := p.table()
	t.property("queue", "%s, priority %d", d.Job.Queue, d.Job.Priority)
	if d.Job.State != "" {
		state := p.state(d.Job.State)
		if d.Job.RunAt != nil {
			state += ", runs " + safe(relative(p.now, *d.Job.RunAt))
		}
		t.row(safe("state"), state)
	}
	t.property("attempts", "%s, each of %d seconds at most", strconv.Itoa(d.Job.MaxAttempts), d.Job.TimeoutSeconds)
	for _, n := range d.Notes {
		t.row(n.Code, n.Message)
	}
	t.end()
}
