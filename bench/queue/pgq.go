package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pgQ is Skytools' event log. One consumer reads all that lies between two ticks as a batch: there are no leases, no retries
// of a single event, no priorities. It is here as the bound that a log sets.
type pgQ struct {
	pool    *pgxpool.Pool
	ticker  sync.WaitGroup
	end     context.CancelFunc
	tickErr error
}

// tickEvery is how often the ticker looks. pgqd, which usually does it, looks once a second.
const tickEvery = 20 * time.Millisecond

func (q *pgQ) Open(ctx context.Context, url string) (err error) {
	if q.pool, err = openPool(ctx, url, 32); err != nil {
		return err
	}
	if _, err = q.pool.Exec(ctx, "create extension pgq"); err != nil {
		q.pool.Close()
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && (refusal.Code == "58P01" || refusal.Code == "0A000") {
			return absent("PgQ is not installed (on Debian: postgresql-15-pgq3): %s", refusal.Message)
		}
		return err
	}
	_, err = q.pool.Exec(ctx, `select pgq.create_queue('bench'), pgq.set_queue_config('bench', 'ticker_max_lag', '0'), pgq.register_consumer('bench', 'worker')`)
	if err != nil {
		return err
	}
	ticking, end := context.WithCancel(ctx)
	q.end = end
	q.ticker.Go(func() { q.tickErr = q.tick(ticking) })
	return nil
}

func (q *pgQ) Close(context.Context) error {
	q.end()
	q.ticker.Wait()
	q.pool.Close()
	return q.tickErr
}

func (q *pgQ) tick(ctx context.Context) error {
	for pause(ctx, tickEvery) == nil {
		if _, err := q.pool.Exec(context.WithoutCancel(ctx), "select pgq.ticker('bench')"); err != nil {
			return err
		}
	}
	return nil
}

func (q *pgQ) Enqueue(ctx context.Context, jobs []Job) error {
	args := make([]string, len(jobs))
	for i, job := range jobs {
		args[i] = string(job.Args)
	}
	rows, err := q.pool.Query(ctx, "select pgq.insert_event('bench', 'bench', a) from unnest($1::text[]) a", args)
	if err != nil {
		return err
	}
	_, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	return err
}

func (q *pgQ) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	if crew.Waiting > 1 {
		return nil, unsuited("a queue of PgQ has one worker")
	}
	return workLoops(ctx, q, Crew{Connections: 1}, ledger)
}

// Left reads on from where the worker is, as a consumer of its own, and counts.
func (q *pgQ) Left(ctx context.Context) (n int64, err error) {
	_, err = q.pool.Exec(ctx, `select pgq.register_consumer_at('bench', 'audit', (select last_tick from pgq.get_consumer_info('bench', 'worker')))`)
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, 10*tickEvery); err != nil { // the last event needs a tick
		return 0, err
	}
	for {
		var batch *int64
		if err := q.pool.QueryRow(ctx, "select pgq.next_batch('bench', 'audit')").Scan(&batch); err != nil || batch == nil {
			return n, err
		}
		var events int64
		err := q.pool.QueryRow(ctx, "select count(*), pgq.finish_batch($1) from pgq.get_batch_events($1)", *batch).Scan(&events, nil)
		if err != nil {
			return n, err
		}
		n += events
	}
}

func (q *pgQ) Claimer(ctx context.Context, worker int) (Claimer, error) {
	if worker > 0 {
		return nil, unsuited("a queue of PgQ has one worker")
	}
	conn, err := pgx.ConnectConfig(ctx, q.pool.Config().ConnConfig.Copy())
	return &pgqClaimer{conn: conn}, err
}

type pgqClaimer struct {
	conn  *pgx.Conn
	batch *int64
}

// Claim returns all events between two ticks, whatever the limit.
func (c *pgqClaimer) Claim(ctx context.Context, _ int) ([]Taken, error) {
	for {
		if err := c.conn.QueryRow(ctx, "select pgq.next_batch('bench', 'worker')").Scan(&c.batch); err != nil || c.batch == nil {
			return nil, err
		}
		rows, err := c.conn.Query(ctx, "select ev_id, ev_data from pgq.get_batch_events($1)", *c.batch)
		if err != nil {
			return nil, err
		}
		events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Taken, err error) {
			var data []byte
			if err = row.Scan(&t.ID, &data); err != nil {
				return t, err
			}
			t.Number, err = numberOf(data)
			return t, err
		})
		if err != nil || len(events) > 0 {
			return events, err
		}
		if _, err := c.Complete(ctx, nil); err != nil {
			return nil, err
		}
	}
}

func (c *pgqClaimer) Complete(ctx context.Context, events []Taken) ([]int64, error) {
	_, err := c.conn.Exec(ctx, "select pgq.finish_batch($1)", *c.batch)
	numbers := make([]int64, len(events))
	for i, event := range events {
		numbers[i] = event.Number
	}
	return numbers, err
}

func (c *pgqClaimer) Wait(ctx context.Context) error { return pause(ctx, 5*time.Millisecond) }

func (c *pgqClaimer) Close(ctx context.Context) error { return c.conn.Close(ctx) }
