//go:build unix

package weirtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Promoter promotes due jobs as each node does, starting each time where it stopped.
type Promoter struct{ after time.Time }

// Look promotes due jobs and returns their number.
func (p *Promoter) Look(t testing.TB, q Querier) (promoted int) {
	t.Helper()
	rows, err := q.Query(context.Background(), "select promoted, looked_until from weir.promote_due(25, $1)", p.after)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&promoted, &p.after}, func() error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return promoted
}

// Settle advances the watermark until every claim sees every committed job.
func Settle(t *testing.T, d *Database) {
	t.Helper()
	EnqueueOne(t, d, "another") // or the tick may see nothing new
	now := Value[time.Time](t, d, "select clock_timestamp()")
	Eventually(t, "the watermark has settled", func() bool {
		Tick(t, d)
		return Value[bool](t, d, "select settled_at >= $1 from weir.watermark", now)
	})
}
