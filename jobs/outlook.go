package jobs

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	lookEvery   = 200 * time.Millisecond
	lookAhead   = 1200 * time.Millisecond // each look says what is due until then,
	lookClosely = time.Second             // so that after this one must look, though nobody has written anything
	lookGood    = time.Second             // an outlook that is older is none
	restWell    = 5 * time.Second         // the longest rest of a loop that the outlook wakes
	tickDrawn   = 256                     // a look at the frontier is worth while when so many numbers were drawn since the last,
	tickCalm    = time.Second             // or after this, if anybody has written anything
)

// What the outlook sees coming, in the order of look_out.
const (
	toPromote = iota
	toExpire
	toFire
	toTend
	toTick
	toAdmit
	toResume
	outlooks
)

// outlook looks on behalf of the other loops what they have to do, with one statement, and wakes them for it (see migrations/0044_outlook.sql). They go
// round by themselves too, seldom while it does its work, and as often as they otherwise must when it does not.
type outlook struct {
	e      *Engine
	looked [3]lookback // toPromote, toExpire, toFire: below these there is nothing
	soon   [outlooks]chan struct{}
	well   atomic.Int64 // when it last saw something, in Unix nanoseconds

	wrote     atomic.Int64 // counts the looks before which somebody had written something
	ticked    atomic.Int64 // wrote, when the last tick of the frontier began,
	tickBegan atomic.Int64 // and when that was, in Unix nanoseconds
	manyDrawn atomic.Bool  // many numbers were drawn since the last tick
	livelyAt  atomic.Int64 // when many jobs were last seen to come or go

	// Only step touches these.
	seen      string
	closelyAt time.Time
	leasesAt  time.Time
	next      [outlooks]time.Time // zero: nothing comes
}

func newOutlook(e *Engine) *outlook {
	o := &outlook{e: e}
	for i := range o.soon {
		o.soon[i] = make(chan struct{}, 1)
	}
	return o
}

// rest is how long a loop rests that must look so often if nobody does that for it.
func (o *outlook) rest(often time.Duration) time.Duration {
	if time.Since(time.Unix(0, o.well.Load())) > lookGood {
		return often
	}
	return restWell
}

func (o *outlook) step(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	params := db.LookOutParams{
		Seen: o.seen, PromoteAfter: o.looked[toPromote].get(), FireAfter: o.looked[toFire].get(), AheadSeconds: lookAhead.Seconds(),
	}
	closely, leases := began.Sub(o.closelyAt) >= lookClosely, began.Sub(o.leasesAt) >= lookClosely
	if closely {
		params.Seen = ""
	}
	if leases {
		after := o.looked[toExpire].get()
		params.Seen, params.ExpireAfter = "", &after
	}
	row, err := o.e.loops.LookOut(ctx, params)
	if err != nil {
		o.well.Store(0)
		o.seen = ""
		for i := range o.soon {
			prod(o.soon[i]) // from now on they look by themselves
		}
		prod(o.e.tickSoon)
		return 0, fromDB("looking what there is to do", err)
	}
	if row.Snapshot != o.seen {
		o.wrote.Add(1)
	}
	if len(row.DueIn) == outlooks {
		o.closelyAt = began
		for i, in := range row.DueIn {
			if i == toExpire && !leases {
				continue
			}
			o.next[i] = time.Time{}
			if !math.IsInf(in, 1) {
				o.next[i] = began.Add(seconds(in))
			}
			if i < len(o.looked) {
				o.looked[i].set(row.LookedUntil[i])
			}
		}
		if leases {
			o.leasesAt = began
		}
		if row.Drawn >= tickDrawn {
			o.manyDrawn.Store(true)
			o.livelyAt.Store(began.UnixNano())
		}
	}
	o.seen = row.Snapshot
	o.well.Store(began.UnixNano())
	o.wake()
	return lookEvery, nil
}

// wake wakes the loops that have something to do until the next look, when that is due.
func (o *outlook) wake() {
	now := time.Now()
	for i, at := range o.next {
		switch {
		case at.IsZero() || at.After(now.Add(lookEvery*5/4)):
		case at.After(now):
			time.AfterFunc(at.Sub(now), func() { prod(o.soon[i]) })
		default:
			prod(o.soon[i])
		}
	}
	since := now.Sub(time.Unix(0, o.tickBegan.Load()))
	switch {
	case o.wrote.Load() == o.ticked.Load():
		o.e.tickedAt.Store(now.UnixNano()) // another look at the frontier would see the same
	case since >= tickCalm || since >= tickEvery*9/10 && o.manyDrawn.Load():
		prod(o.e.tickSoon)
	}
}

// tick notes that a tick of the frontier begins, and says whether it is one that may be left to another node which has made one lately.
func (o *outlook) tick() (calm bool) {
	o.ticked.Store(o.wrote.Load())
	o.tickBegan.Store(time.Now().UnixNano())
	return !o.manyDrawn.Swap(false) && o.rest(0) > 0
}

// calm says whether few jobs have come and gone lately.
func (o *outlook) calm() bool {
	return o.rest(0) > 0 && time.Since(time.Unix(0, o.livelyAt.Load())) > restWell
}

func prod(soon chan struct{}) {
	select {
	case soon <- struct{}{}:
	default:
	}
}
