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
	ctx  context.Context
	end  context.CancelFunc
}

// release returns the connection to its pool. If the server closed it, as when PostgreSQL restarts, the idle connections of all pools are closed
// too, so that one call fails and not one for each connection.
func (h *held) release() {
	if h.conn != nil {
		if h.conn.Conn().IsClosed() && h.ctx.Err() == nil {
			h.pool.share.reset()
		}
		h.pool.release(h.conn)
		h.conn = nil
		h.end()
	}
}

type rows struct {
	pgx.Rows
	held
	page *Page // nil: no bound
	some bool  // it has returned a row
	cut  bool
	thin bool // this row comes without its JSON
}

func (r *rows) Close() {
	r.Rows.Close()
	r.release()
}

func (r *rows) Next() bool {
	spent := r.page != nil && r.some && r.page.left <= 0
	if spent && !r.page.thin && r.conn != nil {
		r.page.cut, r.cut = true, true
		cancelQuery(r.conn.Conn())
		r.Close()
		return false
	}
	more := r.Rows.Next()
	switch {
	case !more:
		r.Close()
	case r.page != nil:
		r.some, r.thin = true, spent
		if !spent {
			r.page.whole++
			r.page.count(r.RawValues())
		}
	}
	return more
}

// Err is nil where the rest of the rows was not wanted.
func (r *rows) Err() error {
	if r.cut {
		return nil
	}
	return r.Rows.Err()
}

func (r *rows) Scan(into ...any) error {
	err := r.Rows.Scan(into...)
	if err != nil {
		r.Close()
	}
	if r.thin {
		strip(into)
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
