package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/weirhq/weir/rest"
)

// statsEvery is how often weir stats --watch asks.
const statsEvery = 2 * time.Second

type statsCommand struct {
	Window duration `help:"How far back to count: 15m, 1h, 24h, up to 2160h (90 days)." default:"1h" placeholder:"TIME"`
	Queue  string   `help:"Only this queue." placeholder:"QUEUE"`
	Kind   string   `help:"Only jobs of this kind." placeholder:"KIND"`
	Tenant string   `help:"Only jobs of this tenant." placeholder:"TENANT"`
	Watch  bool     `help:"Print the numbers again every two seconds, until you interrupt it."`
	answerFlags
}

// statsCounts are what happened in a window.
type statsCounts struct {
	Enqueued           int64   `json:"enqueued"`
	Completed          int64   `json:"completed"`
	CompletedLater     int64   `json:"completed_later"`
	Dead               int64   `json:"dead"`
	Cancelled          int64   `json:"cancelled"`
	EnqueuedPerSecond  float64 `json:"enqueued_per_second"`
	CompletedPerSecond float64 `json:"completed_per_second"`
	FailureRatio       float64 `json:"failure_ratio"`
}

// statsTimes sum up how long jobs waited or ran.
type statsTimes struct {
	Name    string  `json:"-"`
	Count   int64   `json:"count"`
	Mean    float64 `json:"mean_seconds"`
	P50     float64 `json:"p50_seconds"`
	P95     float64 `json:"p95_seconds"`
	P99     float64 `json:"p99_seconds"`
	Longest float64 `json:"longest_seconds"`
}

// waitingQueue is a queue in which jobs wait.
type waitingQueue struct {
	Queue     string  `json:"queue"`
	Paused    bool    `json:"paused"`
	Available int64   `json:"available"`
	Oldest    float64 `json:"oldest_available_seconds"`
}

// jobsByState counts the jobs that have not ended, and the dead letters.
type jobsByState struct {
	Available int64 `json:"available"`
	Running   int64 `json:"running"`
	Scheduled int64 `json:"scheduled"`
	Retryable int64 `json:"retryable"`
	Held      int64 `json:"held"`
	Dead      int64 `json:"dead"`
	Exact     bool  `json:"exact"`
}

// stats is what is printed of the first page of a dashboard.
type stats struct {
	Until         time.Time      `json:"until"`
	CountedUntil  time.Time      `json:"counted_until"`
	Throughput    statsCounts    `json:"throughput"`
	WaitTimes     statsTimes     `json:"wait_times"`
	RunTimes      statsTimes     `json:"run_times"`
	Jobs          *jobsByState   `json:"jobs"`
	OldestWaiting []waitingQueue `json:"oldest_waiting"`
	Workers       struct {
		Active   int64 `json:"active"`
		Paused   int64 `json:"paused"`
		Draining int64 `json:"draining"`
		Lost     int64 `json:"lost"`
	} `json:"workers"`
	BreakersOpen *int64 `json:"breakers_open"`
	SchedulesDue int64  `json:"schedules_due"`
	Version      string `json:"version"`
}

var jobsTable = layout[jobsByState]{
	columns: []string{"AVAILABLE", "RUNNING", "SCHEDULED", "RETRYABLE", "HELD", "DEAD"},
	row: func(_ *printer, j *jobsByState) []any {
		count := func(n int64) string {
			text := strconv.FormatInt(n, 10)
			if !j.Exact && n > 0 {
				text += "+"
			}
			return text
		}
		return []any{count(j.Available), j.Running, count(j.Scheduled), count(j.Retryable), count(j.Held), count(j.Dead)}
	},
}

var countsTable = layout[statsCounts]{
	columns: []string{"ENQUEUED", "PER SECOND", "COMPLETED", "PER SECOND", "AFTER A RETRY", "DIED", "CANCELLED", "FAILURES"},
	row: func(_ *printer, c *statsCounts) []any {
		return []any{
			c.Enqueued, fmt.Sprintf("%.2f", c.EnqueuedPerSecond), c.Completed, fmt.Sprintf("%.2f", c.CompletedPerSecond), c.CompletedLater,
			c.Dead, c.Cancelled, fmt.Sprintf("%.1f %%", 100*c.FailureRatio),
		}
	},
}

var timesTable = layout[statsTimes]{
	columns: []string{"TIME", "COUNT", "MEAN", "P50", "P95", "P99", "LONGEST"},
	row: func(_ *printer, t *statsTimes) []any {
		row := []any{t.Name, t.Count}
		for _, seconds := range []float64{t.Mean, t.P50, t.P95, t.P99, t.Longest} {
			if t.Count == 0 {
				row = append(row, "")
			} else {
				row = append(row, Seconds(seconds))
			}
		}
		return row
	},
}

var waitingTable = layout[waitingQueue]{
	columns: []string{"QUEUE", "AVAILABLE", "OLDEST", "STATE"},
	row: func(p *printer, q *waitingQueue) []any {
		state := safe("active")
		if q.Paused {
			state = p.state("paused")
		}
		return []any{q.Queue, q.Available, Seconds(q.Oldest), state}
	},
}

// Run prints the numbers once, or again and again.
func (c *statsCommand) Run(ctx context.Context, s *Session) error {
	if c.Window.seconds() < 60 || c.Window.seconds() > 7776000 {
		return Usagef("--window must be 1m to 2160h")
	}
	for {
		err := show(ctx, s, c.answerFlags, c.call(rest.Get("/v1/stats")), c.print)
		if err == nil && s.Screen && !c.JSON {
			err = c.chart(ctx, s)
		}
		if err != nil || !c.Watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(statsEvery):
		}
		if !c.JSON {
			fmt.Fprintln(s.Out)
		}
	}
}

// call asks for the window, the queue, the kind and the tenant.
func (c *statsCommand) call(call rest.Call) rest.Call {
	return call.With("window_seconds", strconv.Itoa(int(c.Window.seconds()))).
		With("queue", c.Queue).With("kind", c.Kind).With("tenant", c.Tenant)
}

func (c *statsCommand) print(p *printer, o *stats) {
	p.line("weir %s at %s, the last %s", o.Version, localTime(o.Until), roughly(time.Duration(c.Window)))
	if o.Jobs != nil {
		jobsTable.section(p, []jobsByState{*o.Jobs})
	}
	countsTable.section(p, []statsCounts{o.Throughput})
	o.WaitTimes.Name, o.RunTimes.Name = "wait", "run"
	timesTable.section(p, []statsTimes{o.WaitTimes, o.RunTimes})
	waitingTable.section(p, o.OldestWaiting)
	p.line("\nworkers: %d active, %d paused, %d draining, %d lost", o.Workers.Active, o.Workers.Paused, o.Workers.Draining, o.Workers.Lost)
	if o.BreakersOpen != nil {
		p.line("circuit breakers that are not closed: %d", *o.BreakersOpen)
	}
	p.line("schedules due: %d", o.SchedulesDue)
	if o.CountedUntil.Before(o.Until) {
		p.line("What happened in the last %s is not counted yet: the roll-ups are behind.", roughly(o.Until.Sub(o.CountedUntil)))
	}
}
