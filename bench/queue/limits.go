package queue

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Label says of a job, by its number, which concurrency key and tenant it has; empty: none.
type Label func(number int64) (key, tenant string)

// limits is what is the same of all systems that have them.
type limits struct {
	pool  *pgxpool.Pool // for the audit, too
	label Label
}

// Limit gives the queue limits, and a key of it a concurrency of its own, and returns when they are in force.
func (q *limits) Limit(ctx context.Context, settings, key string, concurrency int) error {
	if _, err := q.pool.Exec(ctx, "select weir.set_queue('default', jsonb_build_object('limits', $1::text::jsonb))", settings); err != nil {
		return err
	}
	if key != "" {
		if _, err := q.pool.Exec(ctx, "select weir.set_limit('default', key => $1, limits => jsonb_build_object('concurrency', $2::int))", key, concurrency); err != nil {
			return err
		}
	}
	for {
		var done bool
		err := q.pool.QueryRow(ctx, `select coalesce(case when q.governed then a.phase = 'open' and a.version = q.limits_version else a.queue_id is null end, false)
			from weir.queue q left join lateral (select x.* from weir.admission x where x.queue_id = q.id order by x.tick desc limit 1) a on true where q.name = 'default'`).Scan(&done)
		if done || err != nil {
			time.Sleep(250 * time.Millisecond) // so that nodes know, too
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Set changes settings of the queue.
func (q *limits) Set(ctx context.Context, settings string) error {
	_, err := q.pool.Exec(ctx, "select weir.set_queue('default', $1::text::jsonb)", settings)
	return err
}

// SetLabel labels the jobs that are enqueued from now on; nil: not at all.
func (q *limits) SetLabel(label Label) { q.label = label }

// Another is another node for the same database.
func (q *weirEngine) Another() Queue { return &weirEngine{} }

// Another is another node for the same database.
func (q *weirREST) Another() Queue { return &weirREST{program: q.program} }

// texts are jobs with their keys and tenants.
func (q *limits) texts(jobs []Job) []json.RawMessage {
	texts := make([]json.RawMessage, len(jobs))
	for i, job := range jobs {
		var key, tenant string
		if q.label != nil {
			key, tenant = q.label(job.Number)
		}
		texts[i] = weirJob(job, "", key, tenant)
	}
	return texts
}
