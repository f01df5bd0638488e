package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/jobs/loop"
)

// newLoops lists the loops of a node. Every node runs all of them.
func (e *Engine) newLoops() []loop.Loop {
	frontier, horizon, health := frontierStep{e: e}, horizonStep{e: e}, healthStep{e: e}
	promote := promoteStep{e, &e.due.looked[toPromote]}
	expire := leaseStep{e, &e.due.looked[toExpire]}
	fire := fireStep{e, &e.due.looked[toFire]}
	admit := admitStep{e: e}
	vacuum := newVacuumStep(e)
	wake := &e.due.wake
	return []loop.Loop{
		{Name: "due", Step: e.due.step},
		{Name: "frontier", Step: frontier.step, Wake: e.tickSoon},
		{Name: "promote", Step: promote.step, Wake: wake[toPromote]},
		{Name: "expire", Step: expire.step, Wake: wake[toExpire]},
		{Name: "schedules", Step: fire.step, Wake: wake[toFire]},
		{Name: "partitions", Step: e.keepPartitions},
		{Name: "counts", Step: e.countQueues},
		{Name: "vacuum", Step: vacuum.step},
		{Name: "horizon", Step: horizon.step},
		{Name: "resume", Step: e.resumeQueues, Wake: wake[toResume]},
		{Name: "admit", Step: admit.step, Wake: wake[toAdmit]},
		{Name: "limits", Step: e.checkLimits},
		{Name: "quotas", Step: e.tendQuotas},
		{Name: "workflows", Step: e.runWorkflowTimers, Wake: wake[toTend]},
		{Name: "watch", Step: e.watcher.step, Wake: e.watcher.soon},
		{Name: "last_seen", Step: e.saveLastSeen, Wake: e.seen.wake},
		{Name: "logs", Step: e.followed.step, Wake: e.followed.soon},
		{Name: "feed", Step: e.feed.step, Wake: e.feed.soon},
		{Name: "breakers", Step: e.tickBreakers, Wake: wake[toTick]},
		{Name: "samples", Step: e.sweepBreakers},
		{Name: "health", Step: health.step},
	}
}

// countQueues keeps the counts of large queues, of one node for all.
func (e *Engine) countQueues(ctx context.Context) (time.Duration, error) {
	_, err := e.loops.CountQueues(ctx)
	return 5 * time.Second, fromDB("counting the jobs of large queues", err)
}

// keepPartitions keeps partitions of the facts, outcomes and events ahead of the ids.
func (e *Engine) keepPartitions(ctx context.Context) (time.Duration, error) {
	did, err := e.loops.KeepPartitions(ctx)
	if did == "rolled" {
		e.log.Info("began a new partition")
	}
	return 10 * time.Second, fromDB("keeping partitions", err)
}
