package db

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Acting is a DBTX for changes that the audit trail records: each runs in a transaction that tells the database who
// makes it. The setting ends with the transaction, so a pooler in transaction mode does not mix callers up.
type Acting struct {
	Pool *Pool
	// Actor is the value of weir.actor; empty: the statement runs as the session's own.
	Actor func(context.Context) string
}

var _ DBTX = Acting{}

func (a Acting) within(ctx context.Context, actor string, run func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, a.Pool, func(tx pgx.Tx) error {
		if err := New(tx).SetActor(ctx, actor); err != nil {
			return err
		}
		return run(tx)
	})
}

// Exec runs a change that returns no rows.
func (a Acting) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	actor := a.Actor(ctx)
	if actor == "" {
		return a.Pool.Exec(ctx, sql, args...)
	}
	err = a.within(ctx, actor, func(tx pgx.Tx) error {
		tag, err = tx.Exec(ctx, sql, args...)
		return err
	})
	return tag, err
}

// Query is for statements that change nothing.
func (a Acting) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return a.Pool.Query(ctx, sql, args...)
}

// QueryRow returns a change that runs, and commits, when its row is scanned.
func (a Acting) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	actor := a.Actor(ctx)
	if actor == "" {
		return a.Pool.QueryRow(ctx, sql, args...)
	}
	return scanned(func(dest ...any) error {
		return a.within(ctx, actor, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql, args...).Scan(dest...) })
	})
}

type scanned func(dest ...any) error

func (s scanned) Scan(dest ...any) error { return s(dest...) }
