// Package queue holds the systems that are measured, each behind the same small interface. It must not import the
// scenarios: a system does not know which one it is in.
package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Queue is one system on one empty database.
type Queue interface {
	// Open brings the system's schema into the database at url, and connects. An error that wraps ErrAbsent says that
	// the system cannot be had on this machine.
	Open(ctx context.Context, url string) error

	// Enqueue commits jobs, all in one transaction. Several goroutines call it.
	Enqueue(ctx context.Context, jobs []Job) error

	// Work starts the system's workers, which tell the ledger what they claim and complete, until stop is called. Stop
	// lets them finish what they have, and returns what went wrong since the start.
	Work(ctx context.Context, crew Crew, ledger *Ledger) (stop func() error, err error)

	// Left counts the jobs in the database that are not completed.
	Left(ctx context.Context) (int64, error)

	// Close ends all that Open began.
	Close(ctx context.Context) error
}

// Crew says how to work. Where a system has no such notion, it works as its documentation advises.
type Crew struct {
	Connections int // that claim
	Batch       int // jobs a claim and a completion
	Waiting     int // in place of both: the number of workers, each with one job at a time
}

// ErrAbsent is wrapped by the errors of systems that this machine does not have.
var ErrAbsent = errors.New("left out")

// absent makes such an error.
func absent(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrAbsent, fmt.Errorf(format, args...))
}

// ErrUnsuited is wrapped by the errors of scenarios that cannot be done to a system.
var ErrUnsuited = errors.New("does not apply")

func unsuited(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnsuited, fmt.Errorf(format, args...))
}

// System is an entry of the table of systems.
type System struct {
	Name string
	What string
	New  func() Queue
}

// Systems lists all systems in the order of the reports. The program is `weir`; where it is empty, the checkout's is built.
func Systems(program string) []System {
	weir := sync.OnceValues(func() (string, error) {
		if program != "" {
			return program, nil
		}
		return buildWeir()
	})
	return []System{
		{"weir-sql", "weir's SQL functions from Go (pgx), no service in between", func() Queue { return &weirSQL{} }},
		{"weir-engine", "weir's engine as a Go package in the benchmark's process", func() Queue { return &weirEngine{} }},
		{"weir-rest", "weir's service over HTTP; a batch of one is a single call", func() Queue { return &weirREST{program: weir} }},
		{"weir-rest-key", "the same with an API key in each call", func() Queue { return &weirREST{program: weir, withKey: true} }},
		{"weir-go-sql", "a worker of weir's Go SDK over SQL, 1,000 handlers at once", func() Queue { return &weirGoSQL{} }},
		{"weir-go-http", "the same over HTTP to weir's service", func() Queue { return &weirGoHTTP{weirREST: weirREST{program: weir}} }},
		{"river-tuned", "River, 2,000 workers, 2 ms fetch cooldown, indexes as shipped", func() Queue { return &riverQueue{tuned: true} }},
		{"river-nogin", "the same without its two GIN indexes", func() Queue { return &riverQueue{tuned: true, dropGIN: true} }},
		{"river-default", "River, 100 workers, all else as shipped", func() Queue { return &riverQueue{} }},
		{"graphile", "Graphile Worker 0.18 in Node, local queue of 500, completions in batches", func() Queue {
			return &nodeQueue{peer: "graphile", left: "select count(*) from graphile_worker.jobs"}
		}},
		{"pgboss", "pg-boss 12 in Node, loops of fetch and complete in batches", func() Queue {
			return &nodeQueue{peer: "pgboss", left: "select count(*) from pgboss.job where state <> 'completed'"}
		}},
		{"pgq", "PgQ 3.5, an event log with one consumer, ticks every 20 ms", func() Queue { return &pgQ{} }},
		{"floor", "a bare table: multi-row insert, delete … skip locked … returning; no leases, nothing kept", func() Queue { return &floor{} }},
	}
}
