package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/migrations"
)

// weirSQL is weir as a Postgres driver sees it: the functions of the SQL contract, and an upkeep loop that does what a
// node of the service does for its database.
type weirSQL struct {
	pool    *pgxpool.Pool
	upkeep  *weirUpkeep
	breaker string // of the jobs that are enqueued
}

func (q *weirSQL) Open(ctx context.Context, url string) (err error) {
	if err = migrations.Up(ctx, url); err != nil {
		return err
	}
	if q.pool, err = openPool(ctx, url, 32); err != nil {
		return err
	}
	q.upkeep, err = startUpkeep(ctx, url)
	return err
}

func (q *weirSQL) Close(context.Context) error {
	err := q.upkeep.stop()
	q.pool.Close()
	return err
}

func (q *weirSQL) Enqueue(ctx context.Context, jobs []Job) error {
	texts := make([]json.RawMessage, len(jobs))
	for i, job := range jobs {
		texts[i] = weirJob(job, q.breaker, "", "")
	}
	rows, err := q.pool.Query(ctx, "select weir.enqueue_many($1)", string(weirArray(texts)))
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err == nil && len(ids) != len(jobs) {
		err = fmt.Errorf("%d jobs were enqueued and %d ids came back", len(jobs), len(ids))
	}
	return err
}

// weirJob is a job as the SQL contract and the REST API take it. What is empty is left out.
func weirJob(job Job, breaker, key, tenant string) json.RawMessage {
	text := make([]byte, 0, len(job.Args)+96)
	text = append(append(text, `{"kind":"bench","args":`...), job.Args...)
	for _, field := range [][2]string{{"breaker", breaker}, {"concurrency_key", key}, {"tenant", tenant}} {
		if field[1] != "" {
			text = fmt.Appendf(text, `,%q:%q`, field[0], field[1])
		}
	}
	return append(text, '}')
}

// weirArray is the JSON array of some jobs.
func weirArray(jobs []json.RawMessage) []byte {
	array := make([]byte, 0, len(jobs)*(len(jobs[0])+1)+1)
	for _, job := range jobs {
		array = append(append(array, ','), job...)
	}
	array[0] = '['
	return append(array, ']')
}

// Depend makes the jobs that are enqueued from now on depend on something whose circuit breaker is open.
func (q *weirSQL) Depend(ctx context.Context, on bool) error {
	q.breaker = ""
	if !on {
		return nil
	}
	q.breaker = "down"
	_, err := q.pool.Exec(ctx, `select weir.set_breaker('down', '{"ramp_per_second": 10000}'), weir.pin_breaker('down', 'open')`)
	return err
}

// LetGo closes the circuit breaker and does what a node does until all its jobs are back.
func (q *weirSQL) LetGo(ctx context.Context) error {
	if _, err := q.pool.Exec(ctx, "select weir.pin_breaker('down', 'closed')"); err != nil {
		return err
	}
	for held := true; held; {
		if err := q.pool.QueryRow(ctx, "select t.moved > 0 or exists (select from weir.job_held) from weir.tick_breakers(2000) t").Scan(&held); err != nil {
			return err
		}
	}
	return nil
}

func (q *weirSQL) Left(ctx context.Context) (int64, error) { return weirLeft(ctx, q.pool) }

func weirLeft(ctx context.Context, pool *pgxpool.Pool) (n int64, err error) {
	return n, pool.QueryRow(ctx, "select (select count(*) from weir.job) - (select count(*) from weir.job_outcome where state = 'completed')").Scan(&n)
}

func (q *weirSQL) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	return workLoops(ctx, q, crew, ledger)
}

func (q *weirSQL) Claimer(ctx context.Context, worker int) (Claimer, error) {
	conn, err := pgx.ConnectConfig(ctx, q.pool.Config().ConnConfig.Copy())
	return &weirClaimer{conn: conn, name: workerName(worker)}, err
}

type weirClaimer struct {
	conn      *pgx.Conn
	name      string
	listening bool
	parked    time.Time
}

func (c *weirClaimer) Claim(ctx context.Context, limit int) ([]Taken, error) {
	rows, err := c.conn.Query(ctx, "select job_id, token, kind, args, attempt from weir.claim('{default}', $1, $2)", c.name, limit)
	if err != nil {
		return nil, err
	}
	jobs := make([]Taken, 0, limit)
	for rows.Next() {
		var t Taken
		var kind string
		var args []byte
		var attempt int16
		if err := rows.Scan(&t.ID, &t.Token, &kind, &args, &attempt); err != nil {
			rows.Close()
			return nil, err
		}
		if t.Number, err = numberOf(args); err != nil {
			rows.Close()
			return nil, err
		}
		jobs = append(jobs, t)
	}
	return jobs, rows.Err()
}

func (c *weirClaimer) Complete(ctx context.Context, jobs []Taken) ([]int64, error) {
	ids, tokens, numbers := make([]int64, len(jobs)), make([]int64, len(jobs)), make(map[int64]int64, len(jobs))
	for i, job := range jobs {
		ids[i], tokens[i], numbers[job.ID] = job.ID, job.Token, job.Number
	}
	rows, err := c.conn.Query(ctx, "select weir.complete_many($1, $2)", ids, tokens)
	if err != nil {
		return nil, err
	}
	accepted, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	for i, id := range accepted {
		accepted[i] = numbers[id]
	}
	return accepted, err
}

// Wait parks as the SQL contract says: listen, park, look once more, then wait for the notification.
func (c *weirClaimer) Wait(ctx context.Context) error {
	const parkFor = 30 * time.Second
	if !c.listening {
		c.listening = true
		if _, err := c.conn.Exec(context.WithoutCancel(ctx), "listen weir_ready"); err != nil {
			return err
		}
	}
	if time.Since(c.parked) > parkFor/2 {
		c.parked = time.Now()
		_, err := c.conn.Exec(context.WithoutCancel(ctx), "select weir.park('{default}', $1, $2)", c.name, int(parkFor.Seconds()))
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, err := c.conn.WaitForNotification(limited)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (c *weirClaimer) Close(ctx context.Context) error { return c.conn.Close(ctx) }
