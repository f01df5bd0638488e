package jobs

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/clock"
	"github.com/weirhq/weir/jobs/loop"
)

const (
	dueEvery   = 200 * time.Millisecond
	dueAhead   = 1200 * time.Millisecond // each query finds what falls due until then,
	dueReread  = time.Second             // so this long after one another must run, though nothing was written since
	dueValid   = time.Second             // an older answer counts as none
	longRest   = 5 * time.Second         // how long a loop rests that is woken when it has work
	tickDrawn  = 256                     // a tick of the frontier pays once this many numbers were drawn since the last,
	tickCalm   = time.Second             // or once this much time has passed and something was written
	tickMargin = tickEvery * 9 / 10
)

// The kinds of work that can fall due, in the order of weir.due_work.
const (
	toPromote = iota
	toExpire
	toFire
	toTend
	toTick
	toAdmit
	toResume
	dueKinds
)

// dueWork runs one query to learn which loops have work due, and wakes those. The loops do not depend on it: they also run unwoken, rarely
// while it works, and as often as they need to while it does not.
type dueWork struct {
	e      *Engine
	looked [3]lookback // toPromote, toExpire, toFire: nothing is left below these times
	wake   [dueKinds]loop.Signal
	answer clock.Stamp // when the last successful query began

	wrote     atomic.Int64 // counts the queries before which some transaction had written
	ticked    atomic.Int64 // wrote, as of the last tick of the frontier
	tickBegan clock.Stamp
	manyDrawn atomic.Bool // many numbers were drawn since the last tick
	livelyAt  clock.Stamp // when many jobs last came or went

	// Only step uses these.
	clock    clockWatch
	seen     string // the snapshot of the last query
	readAt   time.Time
	leasesAt time.Time
	next     [dueKinds]time.Time // when the work falls due; zero: none does
}

func newDueWork(e *Engine) *dueWork {
	d := &dueWork{e: e, clock: clockWatch{e: e}}
	for i := range d.looked {
		d.looked[i].clock = e.clock
	}
	for i := range d.wake {
		d.wake[i] = loop.NewSignal()
	}
	return d
}

// rest is how long a loop may rest: as long as it says if nothing wakes it.
func (d *dueWork) rest(unwoken time.Duration) time.Duration {
	if d.e.clock.Since(d.answer.Get()) > dueValid {
		return unwoken
	}
	return longRest
}

func (d *dueWork) step(ctx context.Context) (time.Duration, error) {
	began := d.e.clock.Now()
	params := db.DueWorkParams{
		Seen: d.seen, PromoteAfter: d.looked[toPromote].get(), FireAfter: d.looked[toFire].get(), AheadSeconds: dueAhead.Seconds(),
	}
	reread, leases := began.Sub(d.readAt) >= dueReread, began.Sub(d.leasesAt) >= dueReread
	if reread {
		params.Seen = ""
	}
	if leases {
		after := d.looked[toExpire].get()
		params.Seen, params.ExpireAfter = "", &after
	}
	row, err := d.e.loops.DueWork(ctx, params)
	if err != nil {
		d.failed()
		return 0, fromDB("asking which work is due", err)
	}
	if err := d.clock.check(ctx, began, row.Now); err != nil {
		d.failed()
		return 0, err
	}
	if row.Snapshot != d.seen {
		d.wrote.Add(1)
	}
	if len(row.DueIn) == dueKinds {
		d.note(row, began, leases)
	}
	d.seen = row.Snapshot
	d.answer.Set(began)
	d.wakeLoops()
	return dueEvery, nil
}

// failed wakes every loop: from now on each runs as often as it needs to.
func (d *dueWork) failed() {
	d.answer.Set(time.Time{})
	d.seen = ""
	for i := range d.wake {
		d.wake[i].Raise()
	}
	d.e.tickSoon.Raise()
}

// forget makes all loops look from the beginning, because the database's clock went back.
func (d *dueWork) forget() {
	for i := range d.looked {
		d.looked[i].set(time.Time{})
	}
	d.failed()
}

func (d *dueWork) note(row db.DueWorkRow, began time.Time, leases bool) {
	d.readAt = began
	for i, in := range row.DueIn {
		if i == toExpire && !leases {
			continue
		}
		d.next[i] = time.Time{}
		if !math.IsInf(in, 1) {
			d.next[i] = began.Add(seconds(in))
		}
		if i < len(d.looked) {
			d.looked[i].set(row.LookedUntil[i])
		}
	}
	if leases {
		d.leasesAt = began
	}
	if row.Drawn >= tickDrawn {
		d.manyDrawn.Store(true)
		d.livelyAt.Set(began)
	}
}

// wakeLoops wakes the loops whose work falls due before the next query, at that time.
func (d *dueWork) wakeLoops() {
	now := d.e.clock.Now()
	for i, at := range d.next {
		switch {
		case at.IsZero() || at.After(now.Add(dueEvery*5/4)):
		case at.After(now):
			d.e.clock.AfterFunc(at.Sub(now), d.wake[i].Raise)
		default:
			d.wake[i].Raise()
		}
	}
	since := now.Sub(d.tickBegan.Get())
	switch {
	case d.wrote.Load() == d.ticked.Load():
		d.e.tickedAt.Set(now) // another tick would see the same
	case since >= tickCalm || since >= tickMargin && d.manyDrawn.Load():
		d.e.tickSoon.Raise()
	}
}

// tick notes that a tick of the frontier begins, and returns whether a recent tick of another node would do.
func (d *dueWork) tick() (calm bool) {
	d.ticked.Store(d.wrote.Load())
	d.tickBegan.Set(d.e.clock.Now())
	return !d.manyDrawn.Swap(false) && d.rest(0) > 0
}

// calm returns whether few jobs have come and gone lately.
func (d *dueWork) calm() bool {
	return d.rest(0) > 0 && d.e.clock.Since(d.livelyAt.Get()) > longRest
}
