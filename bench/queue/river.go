package queue

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverQueue is River through its Go library. It works in its own way: a producer fetches for all its workers, and a
// completer collects what they have done.
type riverQueue struct {
	tuned   bool // 2,000 workers and 2 ms between fetches, as in its own benchmark
	dropGIN bool
	pool    *pgxpool.Pool
	client  *river.Client[pgx.Tx] // inserts only
}

func (q *riverQueue) Open(ctx context.Context, url string) (err error) {
	if q.pool, err = openPool(ctx, url, 32); err != nil {
		return err
	}
	driver := riverpgxv5.New(q.pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: onlyErrors})
	if err != nil {
		return err
	}
	if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	if q.dropGIN {
		if _, err = q.pool.Exec(ctx, "drop index river_job_args_index, river_job_metadata_index"); err != nil {
			return err
		}
	}
	q.client, err = river.NewClient(driver, q.config())
	return err
}

// config is the same for inserting and for working: the cooldown also bounds how often an insert notifies.
func (q *riverQueue) config() *river.Config {
	config := &river.Config{Logger: onlyErrors}
	if q.tuned {
		config.FetchCooldown = 2 * time.Millisecond
		config.FetchPollInterval = 20 * time.Millisecond
	}
	return config
}

func (q *riverQueue) Close(context.Context) error {
	q.pool.Close()
	return nil
}

func (q *riverQueue) Enqueue(ctx context.Context, jobs []Job) error {
	params := make([]river.InsertManyParams, len(jobs))
	for i, job := range jobs {
		params[i].Args = riverArgs{raw: job.Args}
	}
	_, err := q.client.InsertManyFast(ctx, params)
	return err
}

func (q *riverQueue) Left(ctx context.Context) (n int64, err error) {
	return n, q.pool.QueryRow(ctx, "select count(*) from river_job where state <> 'completed'").Scan(&n)
}

// TimeClaim calls what River's producer calls to fetch. Jobs claimed so stay running.
func (q *riverQueue) TimeClaim(ctx context.Context, limit int) (time.Duration, error) {
	start := time.Now()
	jobs, err := riverpgxv5.New(q.pool).GetExecutor().JobGetAvailable(ctx, &riverdriver.JobGetAvailableParams{
		ClientID: "bench", MaxAttemptedBy: 100, MaxToLock: limit, Queue: river.QueueDefault,
	})
	if err == nil && len(jobs.Jobs) == 0 {
		err = errors.New("there was nothing to claim")
	}
	return time.Since(start), err
}

func (q *riverQueue) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{ledger: ledger})
	config, width := q.config(), 100
	if q.tuned {
		width = 2000
	}
	if crew.Waiting > 0 {
		width = crew.Waiting
	}
	config.Workers = workers
	config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: width}}
	client, err := river.NewClient(riverpgxv5.New(q.pool), config)
	if err != nil {
		return nil, err
	}
	// It drops events when the receiver falls behind, and then the counts would not add up.
	events, unsubscribe := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: 500_000, Kinds: []river.EventKind{river.EventKindJobCompleted}})
	counted := make(chan error, 1)
	go func() { counted <- countEvents(events, ledger) }()
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	return func() error {
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		err := client.Stop(limited)
		unsubscribe()
		return errors.Join(err, <-counted)
	}, nil
}

func countEvents(events <-chan *river.Event, ledger *Ledger) (err error) {
	for event := range events {
		number, e := numberOf(event.Job.EncodedArgs)
		if e != nil {
			err = e
			continue
		}
		ledger.Completed(number)
	}
	return err
}

type riverArgs struct {
	raw    []byte
	number int64
}

func (riverArgs) Kind() string                   { return "bench" }
func (a riverArgs) MarshalJSON() ([]byte, error) { return json.RawMessage(a.raw).MarshalJSON() }

func (a *riverArgs) UnmarshalJSON(text []byte) (err error) {
	a.number, err = numberOf(text)
	return err
}

type riverWorker struct {
	river.WorkerDefaults[riverArgs]
	ledger *Ledger
}

func (w *riverWorker) Work(_ context.Context, job *river.Job[riverArgs]) error {
	w.ledger.Claimed(time.Now(), job.Args.number)
	return nil
}

// onlyErrors is the log of the systems that are Go libraries.
var onlyErrors = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
