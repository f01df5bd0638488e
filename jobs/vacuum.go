package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// vacuumStep vacuums the hot tables when many of their rows are dead: autovacuum comes once a minute at best, and by then a table of a
// few rows has grown to hundreds of megabytes. Where a vacuum removes little, something pins the xmin horizon, and the table is left alone for a while.
// A large, nearly empty table is vacuumed too, even if its dead rows are gone, to give its pages back.
type vacuumStep struct {
	e       *Engine
	tables  []string
	resting map[string]rest
}

type rest struct {
	until time.Time
	next  time.Duration
}

const (
	deadBound   = 20000    // dead rows that make a vacuum worthwhile,
	deadPerLive = 0.05     // and their share of the live ones: a vacuum reads all of the indexes
	shrinkFrom  = 16 << 20 // size in bytes at which giving pages back is worth a short ACCESS EXCLUSIVE lock,
	rowBytes    = 64       // if its live rows, at this many bytes each,
	shrinkPart  = 10       // fill less than this part of it
	restAtFirst = 2 * time.Second
	restAtMost  = time.Minute
)

func newVacuumStep(e *Engine) *vacuumStep {
	return &vacuumStep{e: e, tables: []string{"job_ready", "job_lease", "job_scheduled", "job_held", "line"}, resting: map[string]rest{}}
}

func (s *vacuumStep) step(ctx context.Context) (time.Duration, error) {
	rows, err := s.e.loops.DeadRows(ctx, s.tables)
	if err != nil {
		return 0, fromDB("counting dead rows", err)
	}
	for _, r := range rows {
		hollow := r.Bytes > shrinkFrom && r.Live*rowBytes < r.Bytes/shrinkPart
		s.e.metrics.dead.WithLabelValues(r.TableName).Set(float64(r.Dead))
		if r.Dead < deadBound+int64(deadPerLive*float64(r.Live)) && !hollow || s.e.clock.Now().Before(s.resting[r.TableName].until) {
			continue
		}
		after, err := s.vacuum(ctx, r.TableName, hollow)
		if err != nil {
			return 0, err
		}
		if after.Dead < r.Dead/2 || after.Bytes < r.Bytes/2 {
			delete(s.resting, r.TableName)
			continue
		}
		pause := min(max(2*s.resting[r.TableName].next, restAtFirst), restAtMost)
		s.resting[r.TableName] = rest{until: s.e.clock.Now().Add(pause), next: pause}
	}
	if s.e.due.calm() {
		return longRest, nil
	}
	return time.Second, nil
}

// vacuum returns the table's figures afterwards. Another session's vacuum of the table makes it skip.
func (s *vacuumStep) vacuum(ctx context.Context, table string, shrink bool) (db.DeadRowsRow, error) {
	if _, err := s.e.loopPool.Exec(ctx, fmt.Sprintf("vacuum (skip_locked, truncate %t) %s", shrink, pgx.Identifier{"weir", table}.Sanitize())); err != nil {
		return db.DeadRowsRow{}, fromDB("vacuuming", err)
	}
	s.e.metrics.vacuums.WithLabelValues(table).Inc()
	after, err := s.e.loops.DeadRows(ctx, []string{table})
	if err != nil || len(after) == 0 {
		return db.DeadRowsRow{}, fromDB("counting dead rows", err)
	}
	return after[0], nil
}
