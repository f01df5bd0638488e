package weir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/jobs/batch"
	"github.com/weirhq/weir/jobs/clock"
)

// SQL is a client that calls the functions of weir in PostgreSQL, with no node between: for programs that use the same database anyway. Its login
// needs access as a producer to enqueue and as a worker to work (weir.grant_access), or is weir's owner.
//
// Workers of the client claim through one connection, which is taken out of the pool while they run and waits for notifications; it should lead to
// PostgreSQL directly, because LISTEN does not pass a pooler in transaction mode, and without it a free worker looks once a second. Acks and single
// enqueues go through the pool, those that come together in one transaction.
//
// Scheduled jobs, retries, lost leases and limits take at least one node (weir serve) on the database, or a program that calls what docs/sql.md
// lists under "Without the service".
func SQL(pool *pgxpool.Pool, opts ...ClientOption) *Client {
	s := settingsOf(opts)
	t := &sqlTransport{pool: pool}
	t.claims = newSQLClaims(pool, s)
	t.enqueues = batch.New(batch.Config[*NewJob, Enqueued]{
		Run:     t.storeTogether,
		Weigh:   func(j *NewJob) int { return 1 + len(j.Args)/heavyBytes },
		Bytes:   func(j *NewJob) int { return len(j.Args) },
		Locked:  func(error) bool { return false },
		Away:    isAway,
		Aside:   make(chan struct{}, enqueueFlights),
		Size:    enqueueBatch,
		Flights: enqueueFlights,
		Queue:   ackInFlight,
		Gathers: true,
		Observe: func(int) {},
		Log:     s.log,
		Clock:   clock.Clock{},
	})
	return newClient(t, s)
}

const (
	enqueueBatch   = 1000 // single enqueues that are stored together
	enqueueFlights = 2
)

// sqlTransport calls the SQL contract.
type sqlTransport struct {
	pool     *pgxpool.Pool
	claims   *sqlClaims
	enqueues *batch.Group[*NewJob, Enqueued]
	onlyIDs  atomic.Bool // the login may not call enqueue_batch, which tells of duplicates
}

func (t *sqlTransport) close() { t.claims.close() }

// enqueue stores a job with those that come at the same time, unless it may have to wait for another transaction: the others would wait with it.
func (t *sqlTransport) enqueue(ctx context.Context, j *NewJob) (Enqueued, error) {
	if j.Unique != nil || j.idempotencyKey != "" && !j.keyMade {
		done, err := t.enqueueMany(ctx, []NewJob{*j})
		if err != nil {
			return Enqueued{}, alone(err)
		}
		return done[0], nil
	}
	done, err := t.enqueues.One(ctx, j)
	return done, alone(err)
}

// alone takes the place in an array out of the error of a single job.
func alone(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	const place = "jobs[0]."
	own := *e
	own.Field, own.Message = string(bytes.TrimPrefix([]byte(own.Field), []byte(place))), string(bytes.TrimPrefix([]byte(own.Message), []byte(place)))
	return &own
}

func (t *sqlTransport) storeTogether(ctx context.Context, jobs []*NewJob) ([]Enqueued, error) {
	text, err := arrayOf(len(jobs), func(i int) *NewJob { return jobs[i] })
	if err != nil {
		return nil, err
	}
	return t.store(ctx, text, len(jobs))
}

func (t *sqlTransport) enqueueMany(ctx context.Context, jobs []NewJob) ([]Enqueued, error) {
	text, err := arrayOf(len(jobs), func(i int) *NewJob { return &jobs[i] })
	if err != nil {
		return nil, err
	}
	return t.store(ctx, text, len(jobs))
}

// arrayOf is the JSON array of n jobs.
func arrayOf(n int, job func(int) *NewJob) ([]byte, error) {
	array := []byte{'['}
	for i := range n {
		if i > 0 {
			array = append(array, ',')
		}
		text, err := job(i).text()
		if err != nil {
			return nil, err
		}
		array = append(array, text...)
	}
	return append(array, ']'), nil
}

const (
	storeSQL   = "select job_id, duplicate from weir.enqueue_batch($1::jsonb)"
	storeIDSQL = "select id, false from weir.enqueue_many($1::jsonb) id"
)

func (t *sqlTransport) store(ctx context.Context, array []byte, n int) ([]Enqueued, error) {
	sql := storeSQL
	if t.onlyIDs.Load() {
		sql = storeIDSQL
	}
	rows, _ := t.pool.Query(ctx, sql, string(array))
	done, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Enqueued])
	switch {
	case sqlState(err) == "42501" && sql == storeSQL:
		t.onlyIDs.Store(true)
		return t.store(ctx, array, n)
	case err != nil:
		return nil, sqlError(err)
	case len(done) != n:
		return nil, fmt.Errorf("weir: %d jobs were enqueued and %d ids came back", n, len(done))
	}
	return done, nil
}

func (t *sqlTransport) claim(stop context.Context, r claimRequest) ([]*claimedJob, error) {
	return t.claims.claim(stop, r)
}

// token is the number of a lease. Tokens of claims over SQL are numbers; one with a seal belongs to a claim over REST with a key.
func token(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a job that was claimed over REST with a key cannot be settled over SQL: %w", ErrUnsupported)
	}
	return n, nil
}

// ackArrays are the acks of one outcome.
type ackArrays struct {
	places  []int // in the batch
	ids     []int64
	tokens  []int64
	texts   []*string // results or errors
	delays  []*float64
	retries []bool
	cancels []bool
}

func (a *ackArrays) add(place int, k ack) error {
	n, err := token(k.Token)
	if err != nil {
		return err
	}
	var text *string
	switch {
	case k.Error != nil:
		encoded, err := json.Marshal(k.Error)
		if err != nil {
			return err
		}
		text = new(string(encoded))
	case k.Result != nil:
		text = new(string(k.Result))
	}
	delay := k.DelaySeconds
	if delay == nil {
		delay = k.RetryInSeconds
	}
	a.places, a.ids, a.tokens = append(a.places, place), append(a.ids, int64(k.ID)), append(a.tokens, n)
	a.texts, a.delays, a.retries = append(a.texts, text), append(a.delays, delay), append(a.retries, k.Retry == nil || *k.Retry)
	a.cancels = append(a.cancels, k.Cancel)
	return nil
}

// intervals turns the nth parameter, seconds or null, into intervals.
func intervals(n int) string {
	return fmt.Sprintf("(select array_agg(make_interval(secs => s) order by n) from unnest($%d::float8[]) with ordinality u(s, n))", n)
}

var (
	completeSQL = "select id from weir.complete_many($1, $2, $3::text[]::jsonb[]) id"
	failSQL     = "select job_id from weir.fail_many($1, $2, $3::text[]::jsonb[], " + intervals(4) + ", $5, $6)"
	snoozeSQL   = "select id from weir.snooze_many($1, $2, " + intervals(3) + ") id"
	releaseSQL  = "select id from weir.release_many($1, $2) id"
)

// ack sends acks in one transaction: a batch of statements without begin and commit.
func (t *sqlTransport) ack(ctx context.Context, acks []ack) ([]ackStatus, error) {
	sorts := map[string]*ackArrays{}
	for i, a := range acks {
		if sorts[a.Outcome] == nil {
			sorts[a.Outcome] = &ackArrays{}
		}
		if err := sorts[a.Outcome].add(i, a); err != nil {
			return nil, err
		}
	}
	statuses := make([]ackStatus, len(acks))
	b := &pgx.Batch{}
	for _, outcome := range []string{ackComplete, ackFail, ackSnooze, ackRelease} {
		a := sorts[outcome]
		if a == nil {
			continue
		}
		var queued *pgx.QueuedQuery
		switch outcome {
		case ackComplete:
			queued = b.Queue(completeSQL, a.ids, a.tokens, a.texts)
		case ackFail:
			queued = b.Queue(failSQL, a.ids, a.tokens, a.texts, a.delays, a.retries, a.cancels)
		case ackSnooze:
			queued = b.Queue(snoozeSQL, a.ids, a.tokens, a.delays)
		case ackRelease:
			queued = b.Queue(releaseSQL, a.ids, a.tokens)
		}
		queued.Query(func(rows pgx.Rows) error {
			accepted, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			places := make(map[int64]int, len(a.ids))
			for i, id := range a.ids {
				places[id] = a.places[i]
			}
			for _, id := range accepted {
				statuses[places[id]].accepted = true
			}
			return err
		})
	}
	if err := t.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, sqlError(err)
	}
	return statuses, nil
}

const beatSQL = "select job_id, cancel_requested from weir.heartbeat($1, $2, $3, $4::text[]::jsonb[])"

func (t *sqlTransport) heartbeat(ctx context.Context, beats []beat, leaseSeconds int) (map[ID]beatAnswer, error) {
	ids, tokens, told := make([]int64, len(beats)), make([]int64, len(beats)), make([]*string, len(beats))
	for i, b := range beats {
		n, err := token(b.token)
		if err != nil {
			return nil, err
		}
		ids[i], tokens[i] = int64(b.id), n
		if b.progress != nil {
			text, err := json.Marshal(b.progress)
			if err != nil {
				return nil, err
			}
			told[i] = new(string(text))
		}
	}
	rows, _ := t.pool.Query(ctx, beatSQL, ids, tokens, leaseSeconds, told)
	held := make(map[ID]beatAnswer, len(beats))
	var id int64
	var a beatAnswer
	_, err := pgx.ForEachRow(rows, []any{&id, &a.cancelRequested}, func() error {
		held[ID(id)] = a
		return nil
	})
	return held, sqlError(err)
}

func (t *sqlTransport) appendLog(ctx context.Context, j *claimedJob, lines []logLine) error {
	n, err := token(j.Token)
	if err != nil {
		return err
	}
	text, err := json.Marshal(lines)
	if err != nil {
		return err
	}
	_, err = t.pool.Exec(ctx, "select weir.log($1, $2, $3::jsonb)", int64(j.ID), n, string(text))
	return sqlError(err)
}

func (t *sqlTransport) registerWorker(ctx context.Context, name string, s workerSettings) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = t.pool.Exec(ctx, "select weir.register_worker($1, $2::jsonb)", name, string(text))
	return sqlError(err)
}

func (t *sqlTransport) heartbeatWorker(ctx context.Context, name string, load float64) (state string, err error) {
	var registered bool
	err = sqlError(t.pool.QueryRow(ctx, "select state, registered from weir.worker_heartbeat($1, $2)", name, load).Scan(&state, &registered))
	if errors.Is(err, ErrNotFound) || err == nil && !registered {
		return "", nil
	}
	return state, err
}

// removeWorker takes access as an operator, or weir's owner.
func (t *sqlTransport) removeWorker(ctx context.Context, name string) error {
	_, err := t.pool.Exec(ctx, "select weir.remove_worker($1)", name)
	return sqlError(err)
}

// pollEvery is how often the state of a job is read that a caller waits for.
const pollEvery = 100 * time.Millisecond

const jobSQL = `select jsonb_build_object('id', id::text, 'kind', kind, 'queue', queue, 'args', args, 'state', state, 'attempt', attempt,
  'max_attempts', max_attempts, 'priority', priority, 'created_at', created_at, 'run_at', run_at, 'started_at', started_at,
  'finished_at', finished_at, 'worker', worker, 'progress', progress, 'result', result, 'error', error, 'tags', tags,
  'metadata', metadata, 'workflow_id', workflow_id::text, 'step', step)::text from weir_read.jobs where id = $1`

func (t *sqlTransport) job(ctx context.Context, id ID, wait time.Duration) (*JobState, error) {
	for deadline := time.Now().Add(wait); ; {
		var text string
		err := t.pool.QueryRow(ctx, jobSQL, int64(id)).Scan(&text)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, &Error{Code: "job_not_found", Message: "there is no job " + id.String()}
		}
		if err != nil {
			return nil, sqlError(err)
		}
		s := &JobState{}
		if err := json.Unmarshal([]byte(text), s); err != nil {
			return nil, fmt.Errorf("weir: reading job %s: %w", id, err)
		}
		if s.Ended() || !time.Now().Before(deadline) || !sleep(ctx, pollEvery) {
			return s, ctx.Err()
		}
	}
}

func (t *sqlTransport) cancelJob(ctx context.Context, id ID) error {
	_, err := t.pool.Exec(ctx, "select weir.cancel($1)", int64(id))
	return sqlError(err)
}
