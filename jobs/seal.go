package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// Seal builds the search indexes of the partitions that take no more jobs, one after the other, until all are built, another node is building, or
// ctx ends. An index takes minutes for tens of millions of jobs. The next call drops and builds again what an end interrupted.
func (e *Engine) Seal(ctx context.Context) error {
	if err := e.tickNow(ctx); err != nil { // it decides which partitions still take jobs
		return err
	}
	step, err := e.loops.SealStep(ctx)
	if err != nil {
		return fromDB("looking for a partition to seal", err)
	}
	if step.Statement == "" {
		return nil
	}
	// Two connections, because the one that builds is outside of a transaction, and the other holds the turn.
	pool, err := db.OpenPgx(ctx, e.directURL, db.Options{Application: "weir sealing", MaxConns: sealConnections})
	if err != nil {
		return err
	}
	defer pool.Close()
	turn, err := pool.Begin(ctx)
	if err != nil {
		return fromDB("sealing a partition", err)
	}
	defer turn.Rollback(context.WithoutCancel(ctx))
	if mine, err := db.New(turn).TryTurn(ctx, "seal"); err != nil || !mine {
		return fromDB("sealing a partition", err)
	}
	// The last statement must be one without a snapshot: PostgreSQL keeps what the last query of an open transaction saw.
	if _, err := turn.Exec(ctx, "set local idle_in_transaction_session_timeout = 0"); err != nil {
		return fromDB("sealing a partition", err)
	}
	builder, err := pool.Acquire(ctx)
	if err != nil {
		return fromDB("sealing a partition", err)
	}
	defer builder.Release()
	if _, err := builder.Exec(ctx, "set statement_timeout = 0"); err != nil {
		return fromDB("sealing a partition", err)
	}
	for {
		step, err := db.New(builder).SealStep(ctx)
		if err != nil || step.Statement == "" {
			return fromDB("looking for a partition to seal", err)
		}
		began := e.clock.Now()
		if _, err := builder.Exec(ctx, step.Statement); err != nil {
			return fromDB("sealing a partition", err)
		}
		e.log.Info("sealing a partition", "partition", step.Partition, "did", step.Statement, "seconds", e.clock.Since(began).Seconds())
	}
}
