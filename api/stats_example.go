package api

import (
	"time"

	"github.com/weirhq/weir/jobs"
)

func exampleSpan() jobs.StatsSpan {
	return jobs.StatsSpan{Since: exampleTime.Add(-time.Minute), Until: exampleLater}
}

func exampleThroughput() jobs.Throughput {
	first, second := jobs.ThroughputCounts{Enqueued: 600, Completed: 570, Dead: 1, Failed: 30}, jobs.ThroughputCounts{Enqueued: 300, Completed: 300, CompletedLater: 20}
	return jobs.Throughput{ThroughputPart: jobs.ThroughputPart{
		StatsSpan: exampleSpan(), Total: jobs.ThroughputTotal{
			ThroughputCounts:  jobs.ThroughputCounts{Enqueued: 900, Completed: 870, CompletedLater: 20, Dead: 1, Failed: 30},
			EnqueuedPerSecond: 10, CompletedPerSecond: 9.67, FailureRatio: 0.033,
		}, Buckets: []jobs.ThroughputBucket{{At: exampleTime.Add(-time.Minute), ThroughputCounts: first}, {At: exampleTime, ThroughputCounts: second}},
	}, StatsFrame: jobs.StatsFrame{BucketSeconds: 60, CountedUntil: exampleLater}}
}

func exampleTimes() jobs.Times {
	summary := jobs.TimesSummary{Count: 570, MeanSeconds: 0.21, P50Seconds: 0.17, P90Seconds: 0.34, P95Seconds: 0.42, P99Seconds: 1.1, LongestSeconds: 1.312}
	return jobs.Times{TimesPart: jobs.TimesPart{
		StatsSpan: exampleSpan(), Total: summary, Buckets: []jobs.TimesBucket{{At: exampleTime.Add(-time.Minute), TimesSummary: summary}, {At: exampleTime}},
	}, StatsFrame: jobs.StatsFrame{BucketSeconds: 60, CountedUntil: exampleLater}, PercentileError: jobs.PercentileError}
}

func exampleFailures() jobs.Failures {
	return jobs.Failures{FailuresPart: jobs.FailuresPart{StatsSpan: exampleSpan(), Attempts: 30, Classes: []jobs.FailureClass{{
		Kind: "send_receipt", Event: "failed", Type: "SMTPError", Attempts: 30, FirstSeenAt: exampleTime.Add(-time.Minute), LastSeenAt: exampleTime, ExampleJobID: 4711,
	}}}, CountedUntil: exampleLater}
}

func exampleOverview() jobs.Overview {
	open, times := int64(1), exampleTimes().Total
	waiting := []jobs.WaitingIn{{Queue: "mail", Available: 120, OldestAvailableSeconds: 4.2}}
	return jobs.Overview{
		OverviewPart: jobs.OverviewPart{StatsSpan: exampleSpan(), Throughput: exampleThroughput().Total, WaitTimes: times, RunTimes: times},
		StatsFrame:   jobs.StatsFrame{BucketSeconds: 60, CountedUntil: exampleLater}, PercentileError: jobs.PercentileError,
		Jobs: &jobs.DepthByState{Available: 120, Running: 8, Scheduled: 40, Retryable: 3, Dead: 1, Exact: true}, MostWaiting: waiting, OldestWaiting: waiting,
		Workers: jobs.WorkersStates{Active: 4, Draining: 1}, BreakersOpen: &open, Version: "0.1.0",
	}
}

func exampleDistribution() jobs.Distribution {
	total := exampleThroughput().Total
	return jobs.Distribution{DistributionPart: jobs.DistributionPart{
		StatsSpan: exampleSpan(), Queues: []jobs.Share{{Name: "mail", Share: 1, RunSeconds: 180.5, ThroughputTotal: total}},
		Kinds: []jobs.Share{{Name: "send_receipt", Share: 1, RunSeconds: 180.5, ThroughputTotal: total}},
	}, StatsFrame: jobs.StatsFrame{BucketSeconds: 60, CountedUntil: exampleLater}}
}

func examplePeaks() jobs.Peaks {
	return jobs.Peaks{PeaksPart: jobs.PeaksPart{
		StatsSpan: exampleSpan(), Enqueued: &jobs.CountPeak{At: exampleTime, Count: 600, PerSecond: 10}, LongestWait: &jobs.TimePeak{At: exampleTime, Seconds: 1.312},
		Hours: []jobs.HourOfDay{{Hour: 9, Enqueued: 900, Completed: 870, Failed: 30}},
	}, StatsFrame: jobs.StatsFrame{BucketSeconds: 60, CountedUntil: exampleLater}}
}

func exampleRetries() jobs.Retries {
	total := jobs.RetriesOfKind{Attempts: 900, Succeeded: 870, SuccessRatio: 0.967, CompletedFirst: 850, CompletedLater: 20, Dead: 1, RecoveryRatio: 0.952, AttemptsPerDone: 1.034}
	kind := total
	kind.Kind = "send_receipt"
	return jobs.Retries{RetriesPart: jobs.RetriesPart{StatsSpan: exampleSpan(), Total: total, Kinds: []jobs.RetriesOfKind{kind}}, StatsFrame: jobs.StatsFrame{BucketSeconds: 60, CountedUntil: exampleLater}}
}

func exampleScheduleStats() jobs.ScheduleStats {
	return jobs.ScheduleStats{ScheduleStatsPart: jobs.ScheduleStatsPart{StatsSpan: exampleSpan(), Schedules: []jobs.ScheduleLateness{{
		Name: "nightly-report", Runs: 7, Manual: 1, MeanSeconds: 0.2, P50Seconds: 0.1, P95Seconds: 0.9, LongestSeconds: 0.9,
	}}}}
}

func exampleWorkflowStats() jobs.WorkflowStats {
	return jobs.WorkflowStats{WorkflowStatsPart: jobs.WorkflowStatsPart{StatsSpan: exampleSpan(), Ended: 42, Workflows: []jobs.WorkflowsEnds{{
		Name: "order", Completed: 40, Failed: 2, MeanSeconds: 31.4, P50Seconds: 28, P95Seconds: 60.5, LongestSeconds: 93,
	}}}}
}

func exampleTenantStats() jobs.TenantStats {
	total := exampleThroughput().Total
	return jobs.TenantStats{
		TenantStatsPart: jobs.TenantStatsPart{StatsSpan: exampleSpan(), Tenants: []jobs.Share{{Name: "acme", Share: 1, RunSeconds: 182.7, ThroughputTotal: total}}},
		StatsFrame:      jobs.StatsFrame{BucketSeconds: 60, CountedUntil: exampleLater},
	}
}

func exampleWorkerStats() jobs.FleetStats {
	capacity := int32(20)
	return jobs.FleetStats{FleetStatsPart: jobs.FleetStatsPart{StatsSpan: exampleSpan(), Workers: []jobs.WorkerShare{{
		Name: "mailer-1", State: "active", Version: "2.4.1", Capacity: &capacity, Running: 8, CompletedPerSecond: 9.67, Utilization: 2.03, MeanSeconds: 0.21, P95Seconds: 0.42, LongestSeconds: 1.312,
		WorkerCounts: jobs.WorkerCounts{Completed: 870, Failed: 30, BusySeconds: 182.7, FailureRatio: 0.033},
	}}}, StatsFrame: jobs.StatsFrame{BucketSeconds: 60, CountedUntil: exampleLater}, PercentileError: jobs.PercentileError}
}

func exampleForecast() jobs.Forecast {
	gone := exampleLater.Add(20 * time.Minute)
	sooner := exampleLater.Add(10 * time.Minute)
	return jobs.Forecast{
		StatsSpan: exampleSpan(), Queue: "mail", Waiting: 12000, Exact: true, EnqueuedPerSecond: 10, EndedPerSecond: 20, Outlook: "shrinking", GoneAt: &gone, GoneWithoutMoreAt: &sooner,
	}
}
