package api

import (
	"encoding/json"
	"time"

	"github.com/weirhq/weir/jobs"
)

// The examples of the OpenAPI document tell of one job: a receipt to be sent for order 42.

var (
	exampleTime  = time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)
	exampleLater = exampleTime.Add(30 * time.Second)
)

func exampleNewJob() jobs.NewJob {
	return jobs.NewJob{Kind: "send_receipt", Queue: "mail", Args: json.RawMessage(`{"order": 42}`), Priority: 8, Tags: []string{"receipts"}}
}

func exampleJob() jobs.Job {
	return jobs.Job{
		ID: 4711, Kind: "send_receipt", Queue: "mail", Args: json.RawMessage(`{"order": 42}`), Priority: 8, State: jobs.Available, MaxAttempts: 5, TimeoutSeconds: 300,
		CreatedAt: exampleTime, Errors: []jobs.AttemptError{}, Tags: []string{"receipts"}, Metadata: json.RawMessage(`{}`),
	}
}

func exampleCompletedJob() jobs.Job {
	job := exampleJob()
	job.State, job.Attempt, job.Worker = jobs.Completed, 2, "mailer-1"
	started, finished := exampleTime.Add(5*time.Second), exampleTime.Add(6*time.Second)
	job.StartedAt, job.FinishedAt = &started, &finished
	job.Result = json.RawMessage(`{"message_id": "m-1"}`)
	job.Errors = []jobs.AttemptError{{
		Attempt: 1, At: exampleTime.Add(time.Second), StartedAt: exampleTime, Kind: "failed", Worker: "mailer-2", Message: "connection refused", Type: "SMTPError",
	}}
	return job
}

func exampleClaimedJob() jobs.ClaimedJob {
	return jobs.ClaimedJob{
		ID: 4711, Token: jobs.Token{Number: 4711}, Kind: "send_receipt", Queue: "mail", Args: json.RawMessage(`{"order": 42}`), Attempt: 1, MaxAttempts: 5, Priority: 8,
		TimeoutSeconds: 300, LeaseExpiresAt: exampleLater, CreatedAt: exampleTime, Tags: []string{"receipts"}, Metadata: json.RawMessage(`{}`),
	}
}

func exampleDeadLetter() jobs.DeadLetter {
	job := exampleJob()
	job.State, job.Attempt, job.Worker, job.StartedAt, job.FinishedAt = jobs.Dead, 5, "mailer-1", &exampleTime, &exampleLater
	job.Error = json.RawMessage(`{"message": "connection refused", "type": "SMTPError"}`)
	job.Errors = []jobs.AttemptError{{Attempt: 5, At: exampleLater, Kind: "failed", Worker: "mailer-1", Message: "connection refused", Type: "SMTPError"}}
	return jobs.DeadLetter{Job: job, DiedAt: exampleLater}
}

func exampleOperation() jobs.Operation {
	return jobs.Operation{
		ID: 7, Kind: jobs.RedriveDead, State: "running", Filter: json.RawMessage(`{"queue": "mail", "error_type": "SMTPError"}`), By: "ann", RatePerSecond: 50,
		Total: 1200, Done: 400, CreatedAt: exampleTime, StartedAt: &exampleLater,
	}
}

func exampleNewWorkflow() jobs.NewWorkflow {
	return jobs.NewWorkflow{Name: "order", OnFailure: "compensate", DeadlineSeconds: 3600, Steps: []jobs.NewStep{
		{Name: "reserve", Kind: "reserve_stock", Args: json.RawMessage(`{"order": 42}`), Compensation: "unreserve"},
		{Name: "charge", Kind: "charge_card", Queue: "payments", Args: json.RawMessage(`{"order": 42}`), DependsOn: []string{"reserve"}},
		{Name: "approved", WaitFor: &jobs.WaitFor{Signal: "approved", TimeoutSeconds: new(600.0)}, DependsOn: []string{"charge"}},
		{Name: "unreserve", Kind: "unreserve_stock"},
	}}
}

func exampleWorkflow() jobs.Workflow {
	deadline := exampleTime.Add(time.Hour)
	return jobs.Workflow{
		ID: 4700, Name: "order", State: jobs.WorkflowRunning, OnFailure: "compensate", CreatedAt: exampleTime, DeadlineAt: &deadline, Progress: 33.3,
		Steps: 3, Completed: 1, Running: 1, Waiting: 1, Metadata: json.RawMessage(`{}`),
	}
}

func exampleWorkflowStep() jobs.WorkflowStep {
	return jobs.WorkflowStep{
		Name: "charge", JobID: 4711, State: jobs.Running, DependsOn: []string{"reserve"}, Needs: "completed", Kind: "charge_card", Queue: "payments", Attempt: 1, MaxAttempts: 5,
		StartedAt: &exampleLater, Worker: "payer-1",
	}
}

func exampleQueue() jobs.Queue {
	return jobs.Queue{
		Limits: &jobs.QueueLimits{Concurrency: new(20), PerKey: new(1), Rate: &jobs.Rate{PerSecond: 100, Burst: 10}},
		Name:   "mail", Priority: 5, MaxAttempts: 5, TimeoutSeconds: 300, LeaseSeconds: 30, RetentionSeconds: 604800, DeadRetention: 2592000, CreatedAt: exampleTime,
		Retry:     jobs.RetryPolicy{Strategy: "exponential", BaseSeconds: new(2.0), MaxSeconds: new(3600.0), Jitter: new(true)},
		Available: 1200, Running: 16, Scheduled: 40, Retryable: 3, Dead: 1, OldestAvailableSeconds: 12.5,
	}
}

func exampleQueueStats() jobs.QueueStats {
	return jobs.QueueStats{
		Queue:   exampleQueue(),
		Windows: []jobs.QueueWindow{{WindowSeconds: 60, Completed: 5400, Dead: 1, CompletedPerSecond: 90, MeanRunSeconds: 0.17, P95RunSeconds: 0.42}},
		Failures: []jobs.QueueFailure{{
			Kind: "send_receipt", Event: "failed", Type: "SMTPError", Message: "connection refused", Count: 7, LastAt: exampleTime, LastJobID: 4711,
		}},
	}
}

func exampleWorker() jobs.Worker {
	return jobs.Worker{
		Name: "mailer-1", State: jobs.WorkerActive, Hostname: "mail-a", Version: "1.4.2", Queues: []string{"mail"}, Labels: map[string]string{"zone": "eu-1"},
		Capacity: new(10), Running: 3, Load: new(0.75), RegisteredAt: exampleTime, LastSeenAt: exampleLater,
		Stats: &jobs.WorkerStats{WindowSeconds: 3600, Completed: 5400, Failed: 7, BusySeconds: 1850.5},
	}
}

func exampleAttempt() jobs.Attempt {
	return jobs.Attempt{
		JobID: 4711, Kind: "send_receipt", Queue: "mail", Attempt: 1, Outcome: "failed", StartedAt: exampleTime, EndedAt: exampleTime.Add(time.Second), Error: "connection refused",
	}
}

func exampleBreaker() jobs.Breaker {
	return jobs.Breaker{
		Name: "stripe", State: jobs.BreakerOpen, Since: exampleTime, NextProbeAt: &exampleLater, Openings: 1, TimesOpened: 3, WindowSucceeded: 4, WindowFailed: 5, Held: 1200, Policy: "hold",
		Queues: []string{}, FailureThreshold: 5, MinCalls: 10, WindowSeconds: 60, OpenSeconds: 60, MaxOpenSeconds: 900, HalfOpenProbes: 1, CloseAfter: 1,
		WhileOpen: jobs.WhileOpen{Policy: "hold"}, RampPerSecond: 10, RampFactor: 2, CreatedAt: exampleTime.Add(-24 * time.Hour),
	}
}

func exampleBreakerEvent() jobs.BreakerEvent {
	return jobs.BreakerEvent{
		ID: 17, At: exampleTime, Breaker: "stripe", Event: "opened", FromState: jobs.BreakerClosed, State: jobs.BreakerOpen, Reason: "5 of 9 calls failed within 60 seconds",
		Detail: json.RawMessage(`{"ok": 4, "failed": 5, "wait_seconds": 52.618}`),
	}
}

func exampleSchedule() jobs.Schedule {
	next := time.Date(2026, 2, 1, 1, 30, 0, 0, time.UTC)
	return jobs.Schedule{
		Name: "nightly-report", State: "active", NextAt: &next, NextLocal: "2026-02-01T02:30:00+01:00", DueAt: &next, LastAt: &exampleTime, Runs: 12, CreatedAt: exampleTime, UpdatedAt: exampleTime,
		ScheduleDefinition: jobs.ScheduleDefinition{
			Cron: "30 2 * * *", Timezone: "Europe/Berlin", Job: &jobs.NewJob{Kind: "report", Queue: "reports", Args: json.RawMessage(`{"day": "{{scheduled_date}}"}`)},
			Misfire: "latest", Overlap: "skip", Paused: new(false),
		},
	}
}

func exampleSlots() []jobs.ScheduleSlot {
	before, moved := time.Date(2026, 3, 28, 1, 30, 0, 0, time.UTC), time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	return []jobs.ScheduleSlot{
		{UTC: &before, Local: "2026-03-28T02:30:00+01:00", FiresAt: &before},
		{UTC: &moved, Local: "2026-03-29T03:00:00+02:00", FiresAt: &moved, Note: "moved: DST skips 2026-03-29 02:30:00"},
	}
}

func exampleScheduleRun() jobs.ScheduleRun {
	return jobs.ScheduleRun{Slot: exampleTime, Outcome: "enqueued", JobID: 4711, JobState: jobs.Completed, FiredAt: exampleTime.Add(12 * time.Millisecond), LatenessSeconds: 0.012}
}

func exampleWebhook() jobs.Webhook {
	return jobs.Webhook{
		Name: "billing", URL: "https://hooks.example.com/weir", Events: []string{"completed", "dead"}, Queues: []string{"mail"}, Kinds: []string{}, TimeoutSeconds: 10,
		DisableAfterSeconds: 259200, Enabled: true, CreatedAt: exampleTime,
	}
}

func exampleDelivery() jobs.Delivery {
	return jobs.Delivery{
		ID: 12, EventID: "4711-dead-5-1769853600000000", Event: "dead", JobID: 4711, State: "delivered", Attempts: 1, Status: 200, DurationSeconds: 0.12, CreatedAt: exampleTime, TriedAt: &exampleLater,
	}
}
