package queue

import (
	"context"
	"errors"
	"time"

	weir "github.com/weirhq/weir/client/go"
)

// weirGoSQL is a worker of the Go SDK straight over SQL; jobs are enqueued as by weirSQL.
type weirGoSQL struct{ weirSQL }

func (q *weirGoSQL) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	return workSDK(ctx, weir.SQL(q.pool, weir.WithLogger(onlyErrors)), crew, ledger)
}

// weirGoHTTP is a worker of the Go SDK over HTTP; jobs are enqueued as by weirREST.
type weirGoHTTP struct{ weirREST }

func (q *weirGoHTTP) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	client, err := weir.HTTP(q.url, weir.WithLogger(onlyErrors))
	if err != nil {
		return nil, err
	}
	return workSDK(ctx, client, crew, ledger)
}

// sdkSlots is how many handlers run at once, unless the scenario says: half of what River's own benchmark has.
const sdkSlots = 1000

// benchJob is the args of the jobs.
type benchJob struct {
	_      struct{} `weir:"bench"`
	number int64
}

func (a *benchJob) UnmarshalJSON(text []byte) (err error) {
	a.number, err = numberOf(text)
	return err
}

func workSDK(ctx context.Context, client *weir.Client, crew Crew, ledger *Ledger) (func() error, error) {
	slots := sdkSlots
	if crew.Waiting > 0 {
		slots = crew.Waiting
	}
	worker := weir.NewWorker(client, weir.WorkerConfig{Concurrency: slots, Hooks: weir.Hooks{Ended: func(_ context.Context, j *weir.RawJob, e weir.Ending) {
		if number, err := numberOf(j.RawArgs); err == nil && e.Outcome == "complete" {
			ledger.Completed(number)
		}
	}}})
	weir.Register(worker, func(_ context.Context, j *weir.Job[benchJob]) error {
		ledger.Claimed(time.Now(), j.Args.number)
		return nil
	})
	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(running) }()
	return func() error {
		end()
		defer client.Close()
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Minute):
			return errors.New("the worker does not end")
		}
	}, nil
}
