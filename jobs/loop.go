package jobs

import (
	"context"
	"math/rand/v2"
	"time"
)

// loop runs a step again and again. Every node runs every loop: the steps skip what another node is at.
type loop struct {
	e    *Engine
	name string
	// step returns how long to wait before the next one; 0: at once.
	step func(ctx context.Context) (time.Duration, error)
	soon <-chan struct{} // cuts the wait short; nil: nothing does
}

func (l *loop) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		began := time.Now()
		l.e.pulse.begin(l.name, began)
		wait, err := l.step(ctx)
		l.e.pulse.end(l.name, err)
		l.e.metrics.step(l.name, time.Since(began), err)
		if err != nil && ctx.Err() == nil {
			failures++
			wait = min(time.Duration(failures)*250*time.Millisecond, 5*time.Second)
			if failures == 1 || failures%20 == 0 {
				l.e.log.Warn("a step failed; it is run again", "loop", l.name, "failures", failures, "error", err)
			}
		} else if failures > 0 {
			l.e.log.Info("a loop is well again", "loop", l.name, "failures", failures)
			failures = 0
		}
		if wait > 0 {
			wait += time.Duration(rand.Int64N(int64(wait)/10 + 1)) // so that nodes spread out
			select {
			case <-ctx.Done():
			case <-l.soon:
			case <-time.After(wait):
			}
		}
	}
}

func (e *Engine) newLoops() []*loop {
	frontier, due, leases, fire, vacuum, horizon, health := frontierStep{e: e}, dueStep{e, &e.outlook.looked[toPromote]}, leaseStep{e, &e.outlook.looked[toExpire]}, fireStep{e, &e.outlook.looked[toFire]}, newVacuumStep(e), horizonStep{e: e}, healthStep{e: e}
	admissions := admitStep{e: e}
	soon := &e.outlook.soon
	return []*loop{
		{e, "outlook", e.outlook.step, nil},
		{e, "frontier", frontier.step, e.tickSoon},
		{e, "promote", due.step, soon[toPromote]},
		{e, "expire", leases.step, soon[toExpire]},
		{e, "schedules", fire.step, soon[toFire]},
		{e, "partitions", e.keepPartitions, nil},
		{e, "vacuum", vacuum.step, nil},
		{e, "horizon", horizon.step, nil},
		{e, "resume", e.resumeQueues, soon[toResume]},
		{e, "admit", admissions.step, soon[toAdmit]},
		{e, "limits", e.checkLimits, nil},
		{e, "workflows", e.tendWorkflows, soon[toTend]},
		{e, "watch", e.watcher.step, e.watcher.soon},
		{e, "signs", e.signsStep, nil},
		{e, "feed", e.feed.step, e.feed.soon},
		{e, "breakers", e.tickBreakers, soon[toTick]},
		{e, "samples", e.sweepBreakers, nil},
		{e, "health", health.step, nil},
	}
}

// keepPartitions keeps partitions of the facts, outcomes and events ahead of the ids.
func (e *Engine) keepPartitions(ctx context.Context) (time.Duration, error) {
	did, err := e.loops.KeepPartitions(ctx)
	if did == "rolled" {
		e.log.Info("began a new partition")
	}
	return 10 * time.Second, fromDB("keeping partitions", err)
}
