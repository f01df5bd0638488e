package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// StatsInput says which numbers to read.
type StatsInput struct {
	WindowInput
	Queue string `query:"queue" maxLength:"128" doc:"Only this queue."`
	Kind  string `query:"kind" maxLength:"200" doc:"Only jobs of this kind."`
	TenantInput
}

// WindowInput says of which time to read them.
type WindowInput struct {
	WindowSeconds int    `query:"window_seconds" minimum:"60" maximum:"7776000" default:"3600" doc:"How far back, up to 90 days." example:"86400"`
	Compare       string `query:"compare" enum:"previous" doc:"previous: the same for the window before, too."`
}

// TenantInput says of whose jobs to read them.
type TenantInput struct {
	Tenant string `query:"tenant" maxLength:"200" doc:"Only jobs of this tenant."`
}

// WorkerStatsInput says of which workers to read them.
type WorkerStatsInput struct {
	WindowInput
	Tenant string `query:"tenant" maxLength:"200" doc:"Only workers that this tenant registered."`
}

// ForecastInput names a queue, and how far back its rates are counted.
type ForecastInput struct {
	QueuePath
	WindowSeconds int `query:"window_seconds" minimum:"60" maximum:"86400" default:"900" doc:"How far back the rates are counted." example:"3600"`
}

// ChartInput is StatsInput with buckets.
type ChartInput struct {
	StatsInput
	BucketSeconds int `query:"bucket_seconds" minimum:"60" maximum:"86400" doc:"The length of a bucket: a multiple of 60, or of 3600 where the numbers reach back three days. At most 500 buckets. Defaults to a length that makes at most 100." example:"900"`
}

func (in WindowInput) query() jobs.StatsQuery {
	return jobs.StatsQuery{WindowSeconds: in.WindowSeconds, Previous: in.Compare == "previous"}
}

func (in StatsInput) query() jobs.StatsQuery {
	q := in.WindowInput.query()
	q.Queue, q.Kind, q.Tenant = in.Queue, in.Kind, in.Tenant
	return q
}

func (in ChartInput) query() jobs.StatsQuery {
	q := in.StatsInput.query()
	q.BucketSeconds = in.BucketSeconds
	return q
}

type throughputOutput struct{ Body jobs.Throughput }

type timesOutput struct{ Body jobs.Times }

type failuresOutput struct{ Body jobs.Failures }

type overviewOutput struct{ Body jobs.Overview }

type distributionOutput struct{ Body jobs.Distribution }

type peaksOutput struct{ Body jobs.Peaks }

type retriesOutput struct{ Body jobs.Retries }

type scheduleStatsOutput struct{ Body jobs.ScheduleStats }

type workflowStatsOutput struct{ Body jobs.WorkflowStats }

type tenantStatsOutput struct{ Body jobs.TenantStats }

type workerStatsOutput struct{ Body jobs.FleetStats }

type forecastOutput struct{ Body jobs.Forecast }

func (a *API) registerStats() {
	tags, problems := []string{tagStats}, []jobs.Code{jobs.QueueNotFound}
	register(a, huma.Operation{
		OperationID: "getOverview", Method: http.MethodGet, Path: "/v1/stats", Tags: tags,
		Summary: "Get the first page of a dashboard",
		Description: "Jobs by state, rates, times and failures of the window, the queues with most waiting and the oldest " +
			"waiting jobs, workers by state, open circuit breakers and schedules that are due, in one call.",
	}, documented{answer: exampleOverview(), problems: problems}, a.getOverview)
	register(a, huma.Operation{
		OperationID: "getDistribution", Method: http.MethodGet, Path: "/v1/stats/distribution", Tags: tags,
		Summary:     "Get the distribution over queues and kinds",
		Description: "What each queue and each kind did in the window: the fifty busiest, and the others added up.",
	}, documented{answer: exampleDistribution(), problems: problems}, a.getDistribution)
	register(a, huma.Operation{
		OperationID: "getPeaks", Method: http.MethodGet, Path: "/v1/stats/peaks", Tags: tags,
		Summary: "Get when most happened",
		Description: "The busiest minute of the window (the busiest hour where the numbers reach back about three days, or its " +
			"buckets would be hours), and the hours of the day.",
	}, documented{answer: examplePeaks(), problems: problems}, a.getPeaks)
	register(a, huma.Operation{
		OperationID: "getRetries", Method: http.MethodGet, Path: "/v1/stats/retries", Tags: tags,
		Summary:     "Get how many attempts succeed",
		Description: "How many attempts completed their job, and how many jobs a later attempt completed, in all and by kind.",
	}, documented{answer: exampleRetries(), problems: problems}, a.getRetries)
	register(a, huma.Operation{
		OperationID: "getScheduleStats", Method: http.MethodGet, Path: "/v1/stats/schedules", Tags: tags,
		Summary:     "Get how late schedules fire",
		Description: "How often each schedule fired in the window, and how late. Slots are kept for a week.",
	}, documented{answer: exampleScheduleStats()}, a.getScheduleStats)
	register(a, huma.Operation{
		OperationID: "getWorkflowStats", Method: http.MethodGet, Path: "/v1/stats/workflows", Tags: tags,
		Summary:     "Get how workflows ended",
		Description: "How many workflows of each name ended in the window, how, and how long they took. Retention takes them.",
	}, documented{answer: exampleWorkflowStats()}, a.getWorkflowStats)
	register(a, huma.Operation{
		OperationID: "getTenantStats", Method: http.MethodGet, Path: "/v1/stats/tenants", Tags: tags,
		Summary:     "Get what each tenant did",
		Description: "What each tenant did in the window: the fifty busiest, and the others added up.",
	}, documented{answer: exampleTenantStats(), problems: problems}, a.getTenantStats)
	register(a, huma.Operation{
		OperationID: "getWorkerStats", Method: http.MethodGet, Path: "/v1/stats/workers", Tags: tags,
		Summary: "Get what each worker did",
		Description: "The attempts of each worker that ended in the window, how long they ran, and how many ran at once: the " +
			"hundred busiest, and the others added up.",
	}, documented{answer: exampleWorkerStats()}, a.getWorkerStats)
	register(a, huma.Operation{
		OperationID: "getForecast", Method: http.MethodGet, Path: "/v1/queues/{name}/forecast", Tags: []string{tagQueues},
		Summary: "Get when the backlog of a queue is gone",
		Description: "Counts what waits, and divides it by the rates of the last minutes: jobs that ended, less jobs that came. " +
			"Both are means over the window.",
	}, documented{answer: exampleForecast(), problems: problems}, a.getForecast)
	register(a, huma.Operation{
		OperationID: "getThroughput", Method: http.MethodGet, Path: "/v1/stats/throughput", Tags: tags,
		Summary: "Get throughput over time",
		Description: "How many jobs were enqueued and how they ended, how many attempts failed, in each bucket of the window " +
			"and in all of it.",
	}, documented{answer: exampleThroughput(), problems: problems}, a.getThroughput)
	register(a, huma.Operation{
		OperationID: "getWaitTimes", Method: http.MethodGet, Path: "/v1/stats/wait-times", Tags: tags,
		Summary: "Get wait times over time",
		Description: "How long jobs were available before an attempt began. A wait belongs to the bucket in which the attempt " +
			"ended.",
	}, documented{answer: exampleTimes(), problems: problems}, a.getWaitTimes)
	register(a, huma.Operation{
		OperationID: "getRunTimes", Method: http.MethodGet, Path: "/v1/stats/run-times", Tags: tags,
		Summary:     "Get run times over time",
		Description: "How long the attempts ran that completed a job.",
	}, documented{answer: exampleTimes(), problems: problems}, a.getRunTimes)
	register(a, huma.Operation{
		OperationID: "getFailures", Method: http.MethodGet, Path: "/v1/stats/failures", Tags: tags,
		Summary: "Get failures by class",
		Description: "The attempts that failed, by kind of job and class of error, the most frequent first. Failures of more " +
			"than three days ago are kept by the hour.",
	}, documented{answer: exampleFailures(), problems: problems}, a.getFailures)
}

func (a *API) getThroughput(ctx context.Context, in *ChartInput) (*throughputOutput, error) {
	t, err := a.engine.Throughput(ctx, in.query())
	if err != nil {
		return nil, err
	}
	return &throughputOutput{Body: t}, nil
}

func (a *API) getWaitTimes(ctx context.Context, in *ChartInput) (*timesOutput, error) {
	return timesAnswer(a.engine.WaitTimes(ctx, in.query()))
}

func (a *API) getRunTimes(ctx context.Context, in *ChartInput) (*timesOutput, error) {
	return timesAnswer(a.engine.RunTimes(ctx, in.query()))
}

func timesAnswer(t jobs.Times, err error) (*timesOutput, error) {
	if err != nil {
		return nil, err
	}
	return &timesOutput{Body: t}, nil
}

func (a *API) getFailures(ctx context.Context, in *StatsInput) (*failuresOutput, error) {
	f, err := a.engine.Failures(ctx, in.query())
	if err != nil {
		return nil, err
	}
	return &failuresOutput{Body: f}, nil
}

func (a *API) getOverview(ctx context.Context, in *StatsInput) (*overviewOutput, error) {
	o, err := a.engine.Overview(ctx, in.query())
	if err != nil {
		return nil, err
	}
	o.Version = a.version
	return &overviewOutput{Body: o}, nil
}

func (a *API) getDistribution(ctx context.Context, in *StatsInput) (*distributionOutput, error) {
	d, err := a.engine.Distribution(ctx, in.query())
	if err != nil {
		return nil, err
	}
	return &distributionOutput{Body: d}, nil
}

func (a *API) getPeaks(ctx context.Context, in *StatsInput) (*peaksOutput, error) {
	p, err := a.engine.Peaks(ctx, in.query())
	if err != nil {
		return nil, err
	}
	return &peaksOutput{Body: p}, nil
}

func (a *API) getRetries(ctx context.Context, in *StatsInput) (*retriesOutput, error) {
	r, err := a.engine.Retries(ctx, in.query())
	if err != nil {
		return nil, err
	}
	return &retriesOutput{Body: r}, nil
}

func (a *API) getScheduleStats(ctx context.Context, in *WindowInput) (*scheduleStatsOutput, error) {
	s, err := a.engine.ScheduleStats(ctx, in.query())
	if err != nil {
		return nil, err
	}
	return &scheduleStatsOutput{Body: s}, nil
}

func (a *API) getWorkflowStats(ctx context.Context, in *WindowInput) (*workflowStatsOutput, error) {
	s, err := a.engine.WorkflowStats(ctx, in.query())
	if err != nil {
		return nil, err
	}
	return &workflowStatsOutput{Body: s}, nil
}

func (a *API) getTenantStats(ctx context.Context, in *StatsInput) (*tenantStatsOutput, error) {
	s, err := a.engine.TenantStats(ctx, in.query())
	if err != nil {
		return nil, err
	}
	return &tenantStatsOutput{Body: s}, nil
}

func (a *API) getWorkerStats(ctx context.Context, in *WorkerStatsInput) (*workerStatsOutput, error) {
	q := in.query()
	q.Tenant = in.Tenant
	s, err := a.engine.FleetStats(ctx, q)
	if err != nil {
		return nil, err
	}
	return &workerStatsOutput{Body: s}, nil
}

func (a *API) getForecast(ctx context.Context, in *ForecastInput) (*forecastOutput, error) {
	f, err := a.engine.Forecast(ctx, in.Name, in.WindowSeconds)
	if err != nil {
		return nil, err
	}
	return &forecastOutput{Body: f}, nil
}
