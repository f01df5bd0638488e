package chores

import (
	"context"
	"strconv"
	"time"

	"github.com/riverqueue/river"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/jobs/clock"
)

// AlertSender tells the targets of alerts.
type AlertSender interface {
	SendAlert(ctx context.Context, m jobs.AlertMessage) (problem string)
}

const (
	// alertsEvery is how often one node of all evaluates the rules of alerts.
	alertsEvery = 15 * time.Second

	alertQueue = "alerts"

	// alertSendsAtOnce bounds the messages about alerts that a node is sending.
	alertSendsAtOnce = 16
	alertSendsBatch  = 100

	// alertAttempts, with the back-off of 5 s, 10 s, 20 s, … 15 min, take about three hours. An alert that comes later is of no use.
	alertAttempts       = 20
	firstAlertBackOff   = 5 * time.Second
	longestAlertBackOff = 15 * time.Minute
)

type alertsArgs struct{}

func (alertsArgs) Kind() string { return "alerts" }

// InsertOpts: one at a time; the next run makes up for one that was missed.
func (alertsArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: alertsEvery}}
}

// alertsWorker evaluates the rules.
type alertsWorker struct {
	river.WorkerDefaults[alertsArgs]
	engine *jobs.Engine
}

func (w *alertsWorker) Work(ctx context.Context, _ *river.Job[alertsArgs]) error {
	return w.engine.EvaluateAlerts(ctx)
}

// Timeout is longer than a run of many slow rules; the next run waits for nothing.
func (*alertsWorker) Timeout(*river.Job[alertsArgs]) time.Duration { return 5 * time.Minute }

func alertsPeriod() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(alertsEvery),
		func() (river.JobArgs, *river.InsertOpts) { return alertsArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}

type alertSendArgs struct {
	ID   string `json:"id"`
	Take int    `json:"take"` // how many times it was handed to River
}

func (alertSendArgs) Kind() string { return "alert_delivery" }

// InsertOpts: River makes one attempt. The outbox hands it a delivery again for the next attempt.
func (alertSendArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: alertQueue, MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

// alertSendWorker makes one attempt to tell a target.
type alertSendWorker struct {
	river.WorkerDefaults[alertSendArgs]
	engine *jobs.Engine
	sender AlertSender
	clock  clock.Clock
}

func (w *alertSendWorker) Work(ctx context.Context, job *river.Job[alertSendArgs]) error {
	number, err := strconv.ParseInt(job.Args.ID, 10, 64)
	if err != nil {
		return river.JobCancel(err)
	}
	message, pending, err := w.engine.PendingAlert(ctx, jobs.ID(number), job.Args.Take)
	if err != nil || !pending {
		return err
	}
	problem := w.sender.SendAlert(ctx, message)
	if problem != "" && ctx.Err() != nil {
		return ctx.Err() // the node is stopping: not the target's fault
	}
	var next *time.Duration
	if message.Attempt < alertAttempts {
		wait := alertRetryIn(message.Attempt)
		next = new(wait + w.clock.Jitter(wait/10))
	}
	return w.engine.NoteAlertSent(ctx, message, job.Args.Take, problem, next)
}

// Timeout is longer than that of any target: a test of PagerDuty posts twice.
func (*alertSendWorker) Timeout(*river.Job[alertSendArgs]) time.Duration { return 75 * time.Second }

// alertRetryIn is the back-off after attempt n: 1, 2, …
func alertRetryIn(n int) time.Duration {
	return min(firstAlertBackOff<<min(n-1, 10), longestAlertBackOff)
}

// sendAlerts hands what is due in the outbox to River.
func (c *Chores) sendAlerts(ctx context.Context) (wait time.Duration, err error) {
	handed, err := c.hand(ctx, func(q *db.Queries) (args []river.JobArgs, err error) {
		due, err := q.DispatchAlertDeliveries(ctx, alertSendsBatch)
		for _, d := range due {
			args = append(args, alertSendArgs{ID: jobs.ID(d.ID).String(), Take: int(d.Take)})
		}
		return args, err
	})
	if handed == alertSendsBatch {
		return 0, err
	}
	return deliveriesEvery, err
}
