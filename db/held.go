package db

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// held is a connection that is in use, until it is released.
type held struct {
	pool *Pool
	conn *pgxpool.Conn // nil: released
}

func (h *held) release() {
	if h.conn != nil {
		h.pool.release(h.conn)
		h.conn = nil
	}
}

type rows struct {
	pgx.Rows
	held
}

func (r *rows) Close() {
	r.Rows.Close()
	r.release()
}

func (r *rows) Next() bool {
	more := r.Rows.Next()
	if !more {
		r.Close()
	}
	return more
}

func (r *rows) Scan(into ...any) error {
	err := r.Rows.Scan(into...)
	if err != nil {
		r.Close()
	}
	return err
}

func (r *rows) Values() ([]any, error) {
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, err
}

type row struct {
	pgx.Row
	held
}

func (r *row) Scan(into ...any) error {
	defer r.release()
	return r.Row.Scan(into...)
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

type tx struct {
	pgx.Tx
	held
}

func (t *tx) Commit(ctx context.Context) error {
	defer t.release()
	return t.Tx.Commit(ctx)
}

func (t *tx) Rollback(ctx context.Context) error {
	defer t.release()
	return t.Tx.Rollback(ctx)
}
