package weir

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Tx is a transaction of the application on weir's database: a pgx.Tx (or a pgx connection or pool, each statement then commits alone), or a *sql.Tx
// of database/sql with any driver of PostgreSQL (or a *sql.Conn or *sql.DB). Types that embed one of these will do, such as those of sqlx.
type Tx any

type pgxTx interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

type sqlTx interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// queryText runs a statement that returns one text, or null.
func queryText(ctx context.Context, tx Tx, statement string, args ...any) (text string, err error) {
	var value *string
	switch t := tx.(type) {
	case pgxTx:
		err = t.QueryRow(ctx, statement, args...).Scan(&value)
	case sqlTx:
		err = t.QueryRowContext(ctx, statement, args...).Scan(&value)
	default:
		return "", fmt.Errorf("weir: %T is no transaction of pgx or database/sql", tx)
	}
	if value != nil {
		text = *value
	}
	return text, sqlError(err)
}

// EnqueueTx stores a job in the application's transaction: there is a job if and only if that commits. An error aborts the transaction. The login
// needs access as a producer. Errors: *[Error].
func EnqueueTx(ctx context.Context, tx Tx, args any, opts ...Option) (ID, error) {
	ids, err := EnqueueManyTx(ctx, tx, New(args, opts...))
	if err != nil {
		return 0, alone(err)
	}
	return ids[0], nil
}

// EnqueueManyTx is [EnqueueTx] for up to 10,000 jobs, in order.
func EnqueueManyTx(ctx context.Context, tx Tx, jobs ...NewJob) ([]ID, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	for i := range jobs {
		if jobs[i].err != nil {
			return nil, jobs[i].err
		}
	}
	array, err := arrayOf(len(jobs), func(i int) *NewJob { return &jobs[i] })
	if err != nil {
		return nil, err
	}
	const enqueue = "select json_agg(id::text order by n)::text from weir.enqueue_many($1::jsonb) with ordinality u(id, n)"
	text, err := queryText(ctx, tx, enqueue, string(array))
	if err != nil {
		return nil, err
	}
	var ids []ID
	if err := json.Unmarshal([]byte(text), &ids); err != nil || len(ids) != len(jobs) {
		return nil, fmt.Errorf("weir: %d jobs were enqueued and the answer is %q", len(jobs), text)
	}
	return ids, nil
}

// SubmitTx stores a workflow in the application's transaction. Errors: *[Error].
func SubmitTx(ctx context.Context, tx Tx, w *Workflow) (ID, error) {
	definition, err := w.text(w.definition.key)
	if err != nil {
		return 0, err
	}
	text, err := queryText(ctx, tx, "select weir.submit_workflow($1::jsonb)::text", string(definition))
	if err != nil {
		return 0, err
	}
	var id ID
	return id, id.UnmarshalText([]byte(text))
}

// CompleteTx completes the job in the application's transaction, which also has what the handler has done: both are there, or neither. result may be
// nil; then it is that of [RawJob.SetResult], if that was called. Commit, and return nil: the worker does not tell weir again. If the handler returns
// nil without a commit, the attempt fails. What [RawJob.Enqueue] and [RawJob.AddSteps] collected is stored with it.
//
// Call it last: it locks the job's lease until the commit, and lines that are logged later are lost. It takes the login that claimed the job over
// SQL, or weir's owner for a job that was claimed over REST without a key.
//
// Errors: [ErrLeaseLost] where another worker may have the job by now. The transaction is aborted then, and what was done in it is undone. Return the
// error.
func (j *RawJob) CompleteTx(ctx context.Context, tx Tx, result any) error {
	if _, err := token(j.run.job.Token); err != nil {
		return err
	}
	if result != nil {
		if err := j.SetResult(result); err != nil {
			return err
		}
	}
	j.run.sendLines()
	j.run.mu.Lock()
	j.run.inTx = true
	completion, err := j.run.adds.completion(j.ID, j.run.job.Token, j.run.result)
	j.run.mu.Unlock()
	if err == nil {
		_, err = queryText(ctx, tx, completeWithSQL, completion...)
	}
	if err != nil {
		j.run.mu.Lock()
		j.run.inTx = false
		j.run.mu.Unlock()
	}
	if errors.Is(err, ErrLeaseLost) {
		j.run.lose()
	}
	return err
}

// HoldTx keeps the job from being given to another worker until the application's transaction ends, even past its lease and its timeout. Call it at
// the beginning of a transaction whose work must not be lost. Errors: [ErrLeaseLost].
func (j *RawJob) HoldTx(ctx context.Context, tx Tx) error {
	n, err := token(j.run.job.Token)
	if err != nil {
		return err
	}
	_, err = queryText(ctx, tx, "select weir.assert_lease($1, $2)::text", int64(j.ID), n)
	return err
}
