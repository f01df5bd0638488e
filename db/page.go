package db

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Page bounds the bytes of the rows that are read for one page of a list. When they are spent, a query ends as if there were no more rows.
// Each query returns at least one row, if it has any.
type Page struct {
	left int64
	cut  bool

	thin  bool // see WithThinRows
	whole int
}

type pageKey struct{}

// WithPage returns a context in which queries of a Pool read about that many bytes in all.
func WithPage(ctx context.Context, most int64) (context.Context, *Page) {
	p := &Page{left: most}
	return context.WithValue(ctx, pageKey{}, p), p
}

// WithThinRows returns a context for a query whose rows must all be known. When about that many bytes have been read, the rows that follow come
// without their JSON.
func WithThinRows(ctx context.Context, most int64) (context.Context, *Page) {
	p := &Page{left: most, thin: true}
	return context.WithValue(ctx, pageKey{}, p), p
}

// Whole is how many rows came whole before others came without their JSON.
func (p *Page) Whole() int { return p.whole }

// Left is how many bytes may still be read.
func (p *Page) Left() int64 { return p.left }

// strip takes the JSON out of a row that was scanned.
func strip(into []any) {
	for _, value := range into {
		if text, ok := value.(*json.RawMessage); ok {
			*text = nil
		}
	}
}

func pageOf(ctx context.Context) *Page {
	p, _ := ctx.Value(pageKey{}).(*Page)
	return p
}

// IsCut says whether a query in this context has ended early.
func IsCut(ctx context.Context) bool { return pageOf(ctx).Cut() }

// Cut says whether a query has ended early.
func (p *Page) Cut() bool { return p != nil && p.cut }

// count takes the bytes of a row.
func (p *Page) count(values [][]byte) {
	for _, v := range values {
		p.left -= int64(len(v))
	}
}

// cancelWithin is how long a query that ended early may take to be cancelled before its connection is closed.
const cancelWithin = time.Second

// cancelQuery ends the statement of a connection whose other rows are not needed. When it returns, the server has told the session.
func cancelQuery(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), cancelWithin)
	defer cancel()
	if conn.PgConn().CancelRequest(ctx) != nil {
		closeSoon(conn)
	}
}
