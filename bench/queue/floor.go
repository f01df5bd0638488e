package queue

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// floor is the least that a queue in PostgreSQL can do: one table, one index, and a claim that forgets the job. It has no
// leases, so a job is lost when its worker dies, and it keeps nothing.
type floor struct {
	pool *pgxpool.Pool
}

func (q *floor) Open(ctx context.Context, url string) (err error) {
	if q.pool, err = openPool(ctx, url, 32); err != nil {
		return err
	}
	_, err = q.pool.Exec(ctx, "create table job (id bigint generated always as identity primary key, args jsonb not null)")
	return err
}

func (q *floor) Close(context.Context) error {
	q.pool.Close()
	return nil
}

func (q *floor) Enqueue(ctx context.Context, jobs []Job) error {
	args := make([]string, len(jobs))
	for i, job := range jobs {
		args[i] = string(job.Args)
	}
	_, err := q.pool.Exec(ctx, "insert into job (args) select unnest($1::text[])::jsonb", args)
	return err
}

func (q *floor) Left(ctx context.Context) (n int64, err error) {
	return n, q.pool.QueryRow(ctx, "select count(*) from job").Scan(&n)
}

func (q *floor) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	return workLoops(ctx, q, crew, ledger)
}

func (q *floor) Claimer(ctx context.Context, _ int) (Claimer, error) {
	conn, err := pgx.ConnectConfig(ctx, q.pool.Config().ConnConfig.Copy())
	return &floorClaimer{conn}, err
}

type floorClaimer struct {
	conn *pgx.Conn
}

func (c *floorClaimer) Claim(ctx context.Context, limit int) ([]Taken, error) {
	rows, err := c.conn.Query(ctx, `delete from job where id in (select id from job order by id limit $1 for update skip locked) returning id, args`, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Taken, err error) {
		var args []byte
		if err = row.Scan(&t.ID, &args); err != nil {
			return t, err
		}
		t.Number, err = numberOf(args)
		return t, err
	})
}

// Complete has nothing to do: the claim was the end of the job.
func (c *floorClaimer) Complete(_ context.Context, jobs []Taken) ([]int64, error) {
	numbers := make([]int64, len(jobs))
	for i, job := range jobs {
		numbers[i] = job.Number
	}
	return numbers, nil
}

func (c *floorClaimer) Wait(ctx context.Context) error { return pause(ctx, 10*time.Millisecond) }

func (c *floorClaimer) Close(ctx context.Context) error { return c.conn.Close(ctx) }
