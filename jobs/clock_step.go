package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/db"
)

// clockStep is a step of the database's clock that is worth a repair. A smaller one delays everything by no more than itself.
const clockStep = 5 * time.Second

// clockWatch notices that the database's clock went back: it then falls behind the node's monotonic clock. Only dueWork.step uses it.
type clockWatch struct {
	e        *Engine
	database time.Time // what it said last,
	at       time.Time // and the node's time after the answer; zero: this node has just started
	pending  bool      // a step was noticed, and is not repaired yet
}

// check takes what the database's clock said in a query that began at that time.
func (w *clockWatch) check(ctx context.Context, began, database time.Time) error {
	first := w.at.IsZero()
	back := began.Sub(w.at) - database.Sub(w.database) // at least
	w.database, w.at = database, w.e.clock.Now()
	if !first && back > clockStep {
		w.pending = true
		w.e.log.Warn("the database's clock went back; repairing leases, retries and schedules", "seconds", back.Seconds())
	}
	if !first && !w.pending {
		return nil
	}
	row, err := w.e.loops.RecoverClock(ctx, w.pending)
	if err == nil {
		err = w.e.loops.RecoverAdmission(ctx)
	}
	if err != nil {
		w.pending = true
		return fromDB("repairing what a step of the database's clock left behind", err)
	}
	if w.pending || row != (db.RecoverClockRow{}) {
		w.e.log.Info("repaired what a step of the database's clock left behind", "leases", row.Leases, "retries", row.Retries, "schedules", row.Schedules)
		w.e.due.forget()
		w.e.feed.stale.Store(true)
	}
	w.pending = false
	return nil
}
