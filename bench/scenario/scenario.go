// Package scenario holds what is done to each system, and the one way in which every run is made, measured and audited.
package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirhq/weir/bench/cluster"
	"github.com/weirhq/weir/bench/queue"
)

// Options are the sizes of all scenarios.
type Options struct {
	Jobs        int           // of a burn-down
	Batch       int           // jobs an enqueueing transaction, a claim and a completion
	Connections int           // that enqueue, and that work
	ArgsSize    int           // bytes
	Duration    time.Duration // of continuous and pinned
	Offer       time.Duration // of offered and waiting
	Backlog     int           // jobs that wait in the scenario backlog
	Limit       time.Duration // of any run
	WAL         bool          // keep pg_waldump's count by type of record
}

// Scenario is something to do to a system. One with several sizes is several scenarios with one name.
type Scenario struct {
	Name string
	Case string // which size; empty where there is one only
	What string

	timed bool // the ledger keeps the moments of each job
	sized func(*Options)
	run   func(ctx context.Context, s *stage) error
}

// Scenarios lists all, in the order of the reports.
func Scenarios(o Options) []Scenario {
	list := []Scenario{
		{Name: "enqueue", run: enqueueOnly, What: fmt.Sprintf("%d jobs, enqueued by %d connections in batches of %d.", o.Jobs, o.Connections, o.Batch)},
		{Name: "burndown", run: burndown, What: fmt.Sprintf("%d jobs are enqueued by %d connections in batches of %d, then worked by %d connections in batches of %d "+
			"until none is left. A life is enqueue, claim and completion: lives/s is the number of jobs by the time of both parts.", o.Jobs, o.Connections, o.Batch, o.Connections, o.Batch)},
		{Name: "phases", run: phases, What: "As burndown, but all jobs are claimed before the first is completed, and each of the three steps is timed. " +
			"Only for systems whose claim and completion can be called separately."},
		{Name: "continuous", run: continuous, What: fmt.Sprintf("For %s, %d producers keep %d to %d jobs waiting while %d connections work: saturation without a growing backlog. "+
			"slowest 5 s %% is the worst 5 s in parts of the median 5 s. Even machine: each second's rate is taken by how fast the machine did a fixed piece of work just then, which on a shared machine differs from minute to minute.", o.Duration, producers, waterline, waterline+producers*o.Batch, o.Connections)},
		{Name: "pinned", run: pinned, What: fmt.Sprintf("As continuous, beside a REPEATABLE READ transaction that was opened before and stays open to the end, %s: "+
			"nothing that dies can be vacuumed.", o.Duration)},
		{Name: "offered", Case: "idle", timed: true, run: offered(10, 1), What: fmt.Sprintf("For %s, jobs come at a fixed rate, whatever the system does: 10 a second one by one (idle), "+
			"or every 10 ms a transaction with 10 or 50. Pickup is the time from commit (the answer to the producer) until a worker has the job. "+
			"Where jobs/s is below the rate the system cannot keep up, and the pickup grows with the length of the run.", o.Offer)},
		{Name: "offered", Case: "1000/s", timed: true, run: offered(1000, 10)},
		{Name: "offered", Case: "5000/s", timed: true, run: offered(5000, 50)},
		{Name: "backlog", Case: fmt.Sprintf("%d waiting", o.Backlog), run: backlog, What: "Claims of a batch are timed on a nearly empty queue and again with this backlog, each time after a vacuum and a checkpoint; " +
			"then the workers burn it down for 10 s."},
		{Name: "breaker", Case: fmt.Sprintf("%d held", o.Backlog), run: held, What: "Claims of a batch of jobs without a circuit breaker are timed, with all breakers closed, when another job's breaker is open, " +
			"and again when it holds this many jobs of the same queue, each time after a vacuum and a checkpoint. Held/s is how fast the first claims put them aside, back/s how fast they come back when the breaker has closed."},
		{Name: "keys", run: keys, What: fmt.Sprintf("Burn-downs of %d jobs, without limits and with 10,000 concurrency keys of which each may have 10 jobs in flight, in turns, twice. "+
			"keyed %% is the second rate in parts of the first.", o.Jobs)},
		{Name: "onekey", Case: fmt.Sprintf("%d waiting", o.Backlog), run: oneKey, What: "Claims of a batch of one key are timed, and again when this many jobs of another key of the same queue wait, which may have one in flight and has it, each time after a vacuum and a checkpoint."},
		{Name: "tenants", run: tenants, What: fmt.Sprintf("Ten tenants with weights 1 to 10 have %d jobs each; workers complete two fifths of them all. worst %% is how far the share of a tenant was from its due.", o.Jobs/10)},
		{Name: "late", Case: fmt.Sprintf("%d waiting", o.Backlog), run: late, What: "Workers work on this many jobs of one tenant when another enqueues ten. late ms is the time until the last of those is claimed."},
		{Name: "rate", run: rate, What: fmt.Sprintf("For %s, four nodes with four workers each work at a queue that may have 100 jobs a second, ten at once. over is the most that were claimed beyond what the rate gives, from any moment to any other.", o.Offer)},
		{Name: "never", run: never, What: fmt.Sprintf("For %s, 32 workers work at a queue in which each of 20 keys may have 3 jobs in flight. One claim in twenty is abandoned. "+
			"most is the most jobs of one key that an observer saw running at once.", o.Offer/3)},
		{Name: "args", Case: "100 B", run: burndown, sized: argsOf(100, 1), What: "A burn-down with args of other sizes: all the jobs with 100 B, a quarter of them with 2 KB, a fortieth with 20 KB."},
		{Name: "args", Case: "2 KB", run: burndown, sized: argsOf(2_000, 4)},
		{Name: "args", Case: "20 KB", run: burndown, sized: argsOf(20_000, 40)},
		{Name: "batches", Case: "of 100", run: burndown, sized: func(o *Options) { o.Batch = 100 }, What: "As burndown, in batches of other sizes, and by more connections."},
		{Name: "batches", Case: "of 100, 16 connections", run: burndown, sized: func(o *Options) { o.Batch, o.Connections = 100, 16 }},
		{Name: "batches", Case: "of 200", run: burndown, sized: func(o *Options) { o.Batch = 200 }},
		{
			Name: "singles", run: burndown, sized: func(o *Options) { o.Jobs, o.Batch, o.Connections = o.Jobs/20, 1, 64 },
			What: fmt.Sprintf("A burn-down of %d jobs by 64 connections, one job a transaction, a claim and a completion.", o.Jobs/20),
		},
		{
			Name: "fanout", run: workflows(fanShape(1000)), sized: func(o *Options) { o.Jobs /= 4 },
			What: fmt.Sprintf("Workflows of a step, 1,000 that depend on it and one that depends on all of those, with %d steps in all, are submitted by %d connections and then worked by %d in batches of %d. Steps/s is the number of steps by the time of both parts.", o.Jobs/4, o.Connections, o.Connections, o.Batch),
		},
		{
			Name: "chains", run: workflows(chainShape(10)), sized: func(o *Options) { o.Jobs /= 2 },
			What: fmt.Sprintf("The same with %d chains of ten steps, each of which depends on the one before.", o.Jobs/20),
		},
	}
	for _, workers := range []int{1, 16, 64, 256} {
		list = append(list, Scenario{Name: "waiting", Case: fmt.Sprintf("%d workers", workers), timed: true, run: waiting(workers)})
	}
	list[len(list)-4].What = fmt.Sprintf("This many workers wait, each for one job at a time: for %s nothing comes, then for %s 100 jobs a second, one by one.", o.Offer/4, o.Offer)
	return list
}

func argsOf(size, fraction int) func(*Options) {
	return func(o *Options) { o.ArgsSize, o.Jobs = size, o.Jobs/fraction }
}

// Result is one run of one system.
type Result struct {
	Scenario string             `json:"scenario"`
	Case     string             `json:"case,omitempty"`
	System   string             `json:"system"`
	Profile  string             `json:"profile"`
	Round    int                `json:"round"`
	Jobs     int64              `json:"jobs"` // completed; in a scenario that completes none, enqueued
	Figures  map[string]float64 `json:"figures,omitempty"`
	Latency  map[string]Spread  `json:"latency,omitempty"`
	Series   []float64          `json:"series,omitempty"` // jobs completed in each second
	Speeds   []float64          `json:"speeds,omitempty"` // of the machine, in each second: how often it could have done a fixed piece of work
	Cost     cluster.Cost       `json:"cost"`
	Books    Books              `json:"books"`
	WAL      string             `json:"wal_by_record,omitempty"`
	Error    string             `json:"error,omitempty"`
	Absent   string             `json:"absent,omitempty"` // why the system was left out
}

// Books are the audit of a run: enqueued = completed + left.
type Books struct {
	Enqueued  int64 `json:"enqueued"`
	Completed int64 `json:"completed"`
	Left      int64 `json:"left"`
}

// stage is what a running scenario has.
type stage struct {
	Options
	cluster *cluster.Cluster
	queue   queue.Queue
	ledger  *queue.Ledger
	url     string
	result  *Result
	next    numbers
}

// rate notes a number of jobs a second.
func (s *stage) rate(name string, jobs int64, took time.Duration) {
	s.result.Figures[name] = float64(jobs) / took.Seconds()
}

// String is one line of progress.
func (r Result) String() string {
	name := fmt.Sprintf("%s %s %s, %s, round %d:", r.Scenario, r.Case, r.System, r.Profile, r.Round)
	switch {
	case r.Error != "":
		return name + " FAILED: " + r.Error
	case r.Absent != "":
		return name + " " + r.Absent
	}
	for _, figure := range slices.Sorted(maps.Keys(r.Figures)) {
		name += fmt.Sprintf(" %s %.0f;", figure, r.Figures[figure])
	}
	for what, spread := range r.Latency {
		name += fmt.Sprintf(" %s p50 %.1f p99 %.1f ms;", what, spread.P50, spread.P99)
	}
	jobs := float64(max(1, r.Jobs))
	return name + fmt.Sprintf(" a job: %.0f B of log, %.0f µs Postgres, %.0f µs service", float64(r.Cost.WAL)/jobs, r.Cost.PostgresCPU/jobs*1e6, r.Cost.ServiceCPU/jobs*1e6)
}
