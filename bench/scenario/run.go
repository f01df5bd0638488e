package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/weirhq/weir/bench/cluster"
	"github.com/weirhq/weir/bench/queue"
)

// Run does a scenario to a system in a new database of the cluster.
func Run(ctx context.Context, c *cluster.Cluster, system queue.System, scenario Scenario, o Options, round int) Result {
	result := Result{
		Scenario: scenario.Name, Case: scenario.Case, System: system.Name, Profile: c.Profile.Name, Round: round,
		Figures: map[string]float64{}, Latency: map[string]Spread{},
	}
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	err := runIn(ctx, c, system.New(), scenario, o, &result)
	switch {
	case errors.Is(err, queue.ErrAbsent), errors.Is(err, queue.ErrUnsuited):
		result.Absent = err.Error()
	case err != nil:
		result.Error = err.Error()
	}
	return result
}

func runIn(ctx context.Context, c *cluster.Cluster, q queue.Queue, scenario Scenario, o Options, result *Result) (err error) {
	url, drop, err := c.Database(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	if err := q.Open(ctx, url); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(ctx))) }()

	if scenario.sized != nil {
		scenario.sized(&o)
	}
	s := &stage{Options: o, cluster: c, queue: q, ledger: queue.NewLedger(scenario.timed), url: url, result: result}
	meter, err := c.Begin(ctx, url)
	if err != nil {
		return err
	}
	runErr := scenario.run(ctx, s)
	var meterErr error
	if result.Cost, meterErr = meter.End(ctx); runErr != nil || meterErr != nil {
		return errors.Join(runErr, meterErr)
	}
	if o.WAL {
		if result.WAL, err = c.WALByRecord(result.Cost.StartLSN, result.Cost.EndLSN); err != nil {
			result.WAL = err.Error()
		}
	}
	return s.audit(ctx)
}

// audit compares the ledger with the database.
func (s *stage) audit(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 5*time.Minute) // it counts millions of rows
	defer cancel()
	left, err := s.queue.Left(limited)
	if err != nil {
		return err
	}
	s.result.Books = Books{Enqueued: s.ledger.CountEnqueued(), Completed: s.ledger.CountCompleted(), Left: left}
	s.result.Jobs = s.result.Books.Completed
	if s.result.Jobs == 0 {
		s.result.Jobs = s.result.Books.Enqueued
	}
	return s.ledger.Balance(left)
}
