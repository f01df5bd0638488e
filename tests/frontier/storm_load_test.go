package frontier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// produce enqueues in short and long transactions. Some roll back, some are prepared first.
func (r *frontierRun) produce(ctx context.Context, rng *rand.Rand) {
	bg := context.Background()
	conn := r.d.Connect()
	for ctx.Err() == nil {
		time.Sleep(weirtest.RandomDuration(rng, 30*time.Millisecond))
		if rng.IntN(3) == 0 {
			r.ended(r.some(conn, rng), true)
			continue
		}
		pause := []time.Duration{2 * time.Millisecond, 30 * time.Millisecond, 800 * time.Millisecond}[rng.IntN(3)]
		tx, err := conn.Begin(bg)
		if err != nil {
			r.t.Error(err)
			return
		}
		var ids []int64
		for range 1 + rng.IntN(4) {
			switch rng.IntN(4) {
			case 0: // rolled back, then again
				weirtest.Exec(r.t, tx, "savepoint s")
				r.ended(r.some(tx, rng), false)
				time.Sleep(weirtest.RandomDuration(rng, pause))
				weirtest.Exec(r.t, tx, "rollback to s")
				time.Sleep(weirtest.RandomDuration(rng, pause))
			case 1:
				weirtest.Exec(r.t, tx, "savepoint s")
				ids = append(ids, r.some(tx, rng)...)
				weirtest.Exec(r.t, tx, "release s")
			default:
				ids = append(ids, r.some(tx, rng)...)
			}
			time.Sleep(weirtest.RandomDuration(rng, pause))
		}
		commits := rng.IntN(4) != 0
		end := map[bool]string{true: "commit", false: "rollback"}[commits]
		if rng.IntN(4) == 0 {
			r.mu.Lock()
			r.prepared++
			name := fmt.Sprintf("p%d", r.prepared)
			r.mu.Unlock()
			weirtest.Exec(r.t, tx, "prepare transaction '"+name+"'")
			tx.Rollback(bg)
			time.Sleep(weirtest.RandomDuration(rng, 3*pause))
			if rng.IntN(2) == 0 {
				weirtest.Exec(r.t, conn, end+" prepared '"+name+"'")
			} else {
				weirtest.Exec(r.t, r.d, end+" prepared '"+name+"'")
			}
		} else if commits {
			weirtest.Commit(r.t, tx)
		} else {
			weirtest.Rollback(r.t, tx)
		}
		r.ended(ids, commits)
	}
}

// produceCalmly enqueues single jobs in short transactions.
func (r *frontierRun) produceCalmly(ctx context.Context, rng *rand.Rand) {
	conn := r.d.Connect()
	for ctx.Err() == nil {
		time.Sleep(weirtest.RandomDuration(rng, 40*time.Millisecond))
		tx, err := conn.Begin(context.Background())
		if err != nil {
			r.t.Error(err)
			return
		}
		ids := []int64{weirtest.EnqueueOne(r.t, tx, frontierQueues[rng.IntN(4)])}
		if rng.IntN(2) == 0 {
			time.Sleep(weirtest.RandomDuration(rng, 40*time.Millisecond))
			ids = append(ids, weirtest.EnqueueOne(r.t, tx, frontierQueues[rng.IntN(4)]))
		}
		weirtest.Commit(r.t, tx)
		r.ended(ids, true)
	}
}

// work claims, alone or in transactions that sometimes roll back, and ends the jobs in different ways.
func (r *frontierRun) work(ctx context.Context, rng *rand.Rand) {
	conn := r.d.Connect()
	for ctx.Err() == nil {
		if r.calm.Load() {
			time.Sleep(weirtest.RandomDuration(rng, 200*time.Millisecond))
			jobs := weirtest.Claim(r.t, conn, strings.Join(frontierQueues, ","), 20)
			weirtest.Complete(r.t, conn, jobs...)
			r.completed(weirtest.IDs(jobs))
			continue
		}
		queues := slices.Clone(frontierQueues)
		rng.Shuffle(4, func(i, j int) { queues[i], queues[j] = queues[j], queues[i] })
		var ended []int64
		err := pgx.BeginFunc(context.Background(), conn, func(tx pgx.Tx) error {
			jobs, err := weirtest.TryClaim(tx, strings.Join(queues[:1+rng.IntN(4)], ","), 1+rng.IntN(30))
			if err != nil {
				return err
			}
			for _, j := range jobs {
				switch rng.IntN(20) {
				case 0:
					j.Call(r.t, tx, "release($1, $2)")
				case 1:
					j.Call(r.t, tx, "snooze($1, $2, '0')")
				case 2:
					j.Call(r.t, tx, "snooze($1, $2, '30 ms')")
				case 3:
					j.Call(r.t, tx, "fail($1, $2, null, '0')")
				case 4:
					j.Call(r.t, tx, "fail($1, $2, null, '20 ms')")
				default:
					ended = append(ended, j.ID)
					j.Call(r.t, tx, "complete($1, $2)")
				}
			}
			if rng.IntN(4) == 0 {
				time.Sleep(weirtest.RandomDuration(rng, 100*time.Millisecond))
			}
			if rng.IntN(5) == 0 {
				return weirtest.ErrRolledBack
			}
			return nil
		})
		switch {
		case err == nil:
			r.completed(ended)
		case !errors.Is(err, weirtest.ErrRolledBack):
			r.t.Error(err)
			return
		}
		time.Sleep(weirtest.RandomDuration(rng, 10*time.Millisecond))
	}
}

// workWithHint claims as a node does, from the position that it has reached.
func (r *frontierRun) workWithHint(ctx context.Context, rng *rand.Rand) {
	conn := r.d.Connect()
	hint, at := make([]int64, 40), int64(-1)
	for ctx.Err() == nil {
		rows, err := conn.Query(context.Background(), "select job_id, token, priority, array_position($1, queue), tick from weir.claim_batch($1, array['a', 'b'], array[5, 10], array[30, 30], $2, $3)", frontierQueues, at, hint)
		if err != nil {
			r.t.Error(err)
			return
		}
		var jobs []weirtest.Lease
		var j weirtest.Lease
		var queue int
		var tick int64
		_, err = pgx.ForEachRow(rows, []any{&j.ID, &j.Token, &j.Priority, &queue, &tick}, func() error {
			jobs = append(jobs, j)
			if tick != at {
				at = tick
				clear(hint)
			}
			i := (queue-1)*10 + j.Priority - 1
			hint[i] = max(hint[i], j.Token-128)
			return nil
		})
		if err != nil {
			r.t.Error(err)
			return
		}
		if len(jobs) < 15 {
			at = -1
		}
		weirtest.Complete(r.t, conn, jobs...)
		r.completed(weirtest.IDs(jobs))
		if r.calm.Load() {
			time.Sleep(weirtest.RandomDuration(rng, 200*time.Millisecond))
		}
		time.Sleep(weirtest.RandomDuration(rng, 20*time.Millisecond))
	}
}

// tick advances the watermark, sometimes slowly and sometimes without effect.
func (r *frontierRun) tick(ctx context.Context, rng *rand.Rand) {
	conn := r.d.Connect()
	for ctx.Err() == nil {
		time.Sleep(weirtest.RandomDuration(rng, 15*time.Millisecond))
		if rng.IntN(10) > 0 {
			weirtest.Tick(r.t, conn)
			continue
		}
		tx, err := conn.Begin(context.Background())
		if err != nil {
			r.t.Error(err)
			return
		}
		weirtest.Tick(r.t, tx)
		time.Sleep(weirtest.RandomDuration(rng, 50*time.Millisecond))
		if rng.IntN(2) == 0 {
			weirtest.Rollback(r.t, tx)
		} else {
			weirtest.Commit(r.t, tx)
		}
	}
}

// promote makes delayed jobs available, starting each time where it stopped.
func (r *frontierRun) promote(ctx context.Context, rng *rand.Rand) {
	conn := r.d.Connect()
	var p weirtest.Promoter
	for ctx.Err() == nil {
		p.Look(r.t, conn)
		time.Sleep(weirtest.RandomDuration(rng, 30*time.Millisecond))
	}
}

// disturb does everything else that may happen to the tables.
func (r *frontierRun) disturb(ctx context.Context, rng *rand.Rand) {
	conn := r.d.Connect()
	weirtest.Exec(r.t, conn, "set lock_timeout = '20ms'")
	rolls := 0 // at most as many as there are partitions ahead: an open transaction does not see new ones
	for ctx.Err() == nil && !r.calm.Load() {
		var err error
		switch rng.IntN(6) {
		case 0: // moves all locks from the sessions' lists to the shared one
			_ = weirtest.TryExec(conn, "lock table weir.job_ready in share mode") // fails outside a transaction, after taking the lock
			err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return weirtest.TryExec(tx, "lock table weir.job_ready in share mode") })
		case 1:
			after := "1 h"
			if rolls < 2 && rng.IntN(4) == 0 {
				rolls++
				after = "0 s"
			}
			err = weirtest.TryExec(conn, "select weir.keep_partitions($1::interval)", after)
		case 2: // a cancel that is rolled back
			err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				err := weirtest.TryExec(tx, "select weir.cancel(id) from weir.jobs where state in ('available', 'scheduled') limit 1")
				time.Sleep(weirtest.RandomDuration(rng, 30*time.Millisecond))
				return errors.Join(err, weirtest.ErrRolledBack)
			})
		case 3:
			err = weirtest.TryExec(conn, `select weir.edit(id, jsonb_build_object('priority', 1 + id % 10)) from weir.jobs where state = 'available' limit 1`)
		case 4:
			err = weirtest.TryExec(conn, "vacuum weir.job_ready")
		case 5:
			err = weirtest.TryExec(conn, "analyze weir.job_ready")
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, weirtest.ErrRolledBack) && !weirtest.HasSQLState(err, "55P03") && !weirtest.HasSQLState(err, "WR004") && !weirtest.HasSQLState(err, "WR003") && !weirtest.HasSQLState(err, "40P01") {
			r.t.Error(err)
		}
		time.Sleep(weirtest.RandomDuration(rng, 20*time.Millisecond))
	}
}
