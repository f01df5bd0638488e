package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/migrations"
)

// weirEngine is the service without its HTTP server: package jobs in this process, which batches single calls and serves all
// waiting workers with one claim.
type weirEngine struct {
	limits
	engine  *jobs.Engine
	end     context.CancelFunc
	running sync.WaitGroup
}

func (q *weirEngine) Open(ctx context.Context, url string) (err error) {
	if err = migrations.Up(ctx, url); err != nil {
		return err
	}
	if q.pool, err = openPool(ctx, url, 1); err != nil {
		return err
	}
	if q.engine, err = jobs.Open(ctx, jobs.Config{DatabaseURL: url, Logger: onlyErrors}); err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	q.end = end
	q.running.Go(func() { q.engine.Run(running) })
	return nil
}

func (q *weirEngine) Close(context.Context) error {
	q.end()
	q.running.Wait()
	q.engine.Close()
	q.pool.Close()
	return nil
}

func (q *weirEngine) Enqueue(ctx context.Context, all []Job) error {
	if len(all) == 1 {
		_, err := q.engine.Enqueue(ctx, jobs.NewJob{Kind: "bench", Args: all[0].Args})
		return err
	}
	_, err := q.engine.EnqueueBatch(ctx, q.texts(all))
	return err
}

func (q *weirEngine) Left(ctx context.Context) (int64, error) { return weirLeft(ctx, q.pool) }

func (q *weirEngine) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	return workLoops(ctx, patientEngine{q}, crew, ledger)
}

func (q *weirEngine) Claimer(_ context.Context, worker int) (Claimer, error) {
	return &engineClaimer{engine: q.engine, name: workerName(worker)}, nil
}

// patientEngine hands out claimers that wait where there is nothing to claim.
type patientEngine struct{ *weirEngine }

func (q patientEngine) Claimer(_ context.Context, worker int) (Claimer, error) {
	return &engineClaimer{engine: q.engine, name: workerName(worker), wait: claimPatience}, nil
}

// claimPatience is how long a claim waits on the service; a stop takes as long at most.
const claimPatience = time.Second

type engineClaimer struct {
	engine *jobs.Engine
	name   string
	wait   time.Duration
}

func (c *engineClaimer) Claim(ctx context.Context, limit int) ([]Taken, error) {
	claimed, err := c.engine.Claim(ctx, jobs.ClaimRequest{Worker: c.name, Queues: []string{"default"}, Limit: limit, Wait: c.wait})
	if err != nil {
		return nil, err
	}
	taken := make([]Taken, len(claimed))
	for i, job := range claimed {
		taken[i] = Taken{ID: int64(job.ID), Token: job.Token.Number}
		if taken[i].Number, err = numberOf(job.Args); err != nil {
			return nil, err
		}
	}
	return taken, nil
}

func (c *engineClaimer) Complete(ctx context.Context, taken []Taken) (numbers []int64, err error) {
	acks := make([]jobs.Ack, len(taken))
	for i, t := range taken {
		acks[i] = jobs.Ack{ID: jobs.ID(t.ID), Token: jobs.Token{Number: t.Token}, Outcome: jobs.Complete}
	}
	results := make([]jobs.AckResult, 1)
	if len(acks) == 1 {
		results[0], err = c.engine.AckOne(ctx, acks[0])
	} else {
		results, err = c.engine.Ack(ctx, acks)
	}
	if err != nil {
		return nil, err
	}
	for i, result := range results {
		if result.Status == jobs.AckOK {
			numbers = append(numbers, taken[i].Number)
		}
	}
	return numbers, nil
}

// Wait has nothing to do: the claim waits.
func (c *engineClaimer) Wait(context.Context) error { return nil }

func (c *engineClaimer) Close(context.Context) error { return nil }

func workerName(worker int) string { return fmt.Sprintf("bench-%d", worker) }
