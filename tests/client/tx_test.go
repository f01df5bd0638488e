//go:build unix

package client_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

// doors are the transactions that the SDK takes.
var doors = map[string]func(t *testing.T, w *way, do func(weir.Tx) error) error{
	"pgx": func(t *testing.T, w *way, do func(weir.Tx) error) error {
		return pgx.BeginFunc(context.WithoutCancel(t.Context()), w.Pool, func(tx pgx.Tx) error { return do(tx) })
	},
	"database/sql": func(t *testing.T, w *way, do func(weir.Tx) error) error {
		db := stdlib.OpenDBFromPool(w.Pool)
		defer db.Close()
		tx, err := db.BeginTx(context.WithoutCancel(t.Context()), &sql.TxOptions{})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if err := do(tx); err != nil {
			return err
		}
		return tx.Commit()
	},
}

// eachDoor runs a test with a client over SQL and each sort of transaction.
func eachDoor(t *testing.T, test func(t *testing.T, w *way, in func(func(weir.Tx) error) error)) {
	for name, door := range doors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weirtest.StartNode(t)
			pool := loginPool(t, s.DB)
			w := &way{Client: overSQL(t, pool), T: t, Node: s, Pool: pool}
			test(t, w, func(do func(weir.Tx) error) error { return door(t, w, do) })
		})
	}
}

var errUndo = errors.New("roll back")

func TestEnqueueIsPartOfTransaction(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *way, in func(func(weir.Tx) error) error) {
		var kept, undone weir.ID
		var workflow weir.ID
		err := in(func(tx weir.Tx) (err error) {
			if kept, err = weir.EnqueueTx(t.Context(), tx, Double{N: 1}, weir.Queue("q"), weir.Priority(9)); err != nil {
				return err
			}
			flow := weir.NewWorkflow("f")
			weir.AddStep(flow, "one", Double{N: 2})
			workflow, err = weir.SubmitTx(t.Context(), tx, flow)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = in(func(tx weir.Tx) (err error) {
			ids, err := weir.EnqueueManyTx(t.Context(), tx, weir.New(Double{N: 2}), weir.New(Double{N: 3}))
			undone = ids[1]
			return errors.Join(err, errUndo)
		})
		if !errors.Is(err, errUndo) {
			t.Fatal(err)
		}
		if j := w.Node.Job(kept.String()); j.Queue != "q" || j.Priority != 9 {
			t.Errorf("the job is %+v", j)
		}
		if n := w.Node.Count("select count(*) from weir.job where id = $1", int64(undone)); n != 0 || undone == 0 {
			t.Error("a job is there whose transaction was rolled back")
		}
		if n := w.Node.Count("select count(*) from weir.job where workflow_id = $1", int64(workflow)); n != 1 {
			t.Errorf("the workflow has %d steps", n)
		}
		var e *weir.Error
		err = in(func(tx weir.Tx) error {
			_, err := weir.EnqueueTx(t.Context(), tx, Double{}, weir.Priority(11))
			return err
		})
		if !errors.As(err, &e) || e.Code != "invalid_argument" {
			t.Errorf("the error is %v", err)
		}
		if _, err := weir.EnqueueTx(t.Context(), 1, Double{}); err == nil {
			t.Error("a number passes as a transaction")
		}
	})
}

func TestCompletionCommitsWithEffectsAndIsNotSentAgain(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *way, in func(func(weir.Tx) error) error) {
		endings := make(chan weir.Ending, 1)
		hooks := weir.Hooks{Ended: func(_ context.Context, _ *weir.RawJob, e weir.Ending) { endings <- e }}
		var effects weir.ID
		w.work(weir.WorkerConfig{Hooks: hooks}, func(worker *weir.Worker) {
			weir.Register(worker, func(ctx context.Context, j *weir.Job[Double]) error {
				j.Log().Info("about to complete")
				return in(func(tx weir.Tx) (err error) {
					if err := j.HoldTx(ctx, tx); err != nil {
						return err
					}
					if effects, err = weir.EnqueueTx(ctx, tx, Double{}, weir.Queue("effects")); err != nil {
						return err
					}
					return j.CompleteTx(ctx, tx, 7)
				})
			})
		})
		id := w.enqueue(Double{})
		if e := <-endings; e.Outcome != "complete" || e.Err != nil {
			t.Errorf("the ending is %+v", e)
		}
		if got, err := weir.Await[int](t.Context(), w.Client, id); err != nil || got != 7 {
			t.Errorf("the result is %d, %v", got, err)
		}
		if n := w.Node.Count("select count(*) from weir.job where id = $1", int64(effects)); n != 1 {
			t.Error("the effect is missing")
		}
		if n := w.Node.Count("select count(*) from weir.job_logs where job_id = $1", int64(id)); n != 1 {
			t.Errorf("the log has %d lines", n)
		}
	})
}

func TestCompletionOfLostLeaseRollsBack(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *way, in func(func(weir.Tx) error) error) {
		errs := make(chan error, 1)
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Register(worker, func(ctx context.Context, j *weir.Job[Double]) error {
				if _, err := w.Node.DB.Exec(ctx, "update weir.job_lease set token = token + 1000 where job_id = $1", int64(j.ID)); err != nil {
					return err
				}
				err := in(func(tx weir.Tx) error {
					if _, err := weir.EnqueueTx(ctx, tx, Double{}, weir.Queue("effects")); err != nil {
						return err
					}
					return j.CompleteTx(ctx, tx, nil)
				})
				errs <- err
				return err
			})
		})
		w.enqueue(Double{})
		if err := <-errs; !errors.Is(err, weir.ErrLeaseLost) {
			t.Errorf("the error is %v", err)
		}
		if n := w.Node.Count("select count(*) from weir.jobs where queue = 'effects'"); n != 0 {
			t.Error("the effect is there")
		}
	})
}

func TestHandlerThatForgetsToCommitFails(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *way, in func(func(weir.Tx) error) error) {
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) {
			weir.Register(worker, func(ctx context.Context, j *weir.Job[Double]) error {
				err := in(func(tx weir.Tx) error { return errors.Join(j.CompleteTx(ctx, tx, nil), errUndo) })
				if !errors.Is(err, errUndo) {
					return err
				}
				return nil
			})
		})
		if j := w.until(w.enqueue(Double{}, weir.MaxAttempts(1)), "dead"); j.Errors[0].Type != "uncommitted" {
			t.Errorf("the error is %+v", j.Errors[0])
		}
	})
}
