package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// Retain enforces retention: it purges old dead letters, drops partitions whose jobs are all past their queue's retention, rewrites partitions with
// few jobs to keep, and sweeps free unique keys, old results, operations, slots, deliveries and alerts, and queues, circuit breakers and workers that are long gone. A partition in
// use waits for the next run.
func (e *Engine) Retain(ctx context.Context) error {
	if err := sweep(ctx, "dead letters", 1000, e.loops.SweepDead); err != nil {
		return err
	}
	old, err := e.loops.OldPartitions(ctx)
	if err != nil {
		return fromDB("listing old partitions", err)
	}
	for _, p := range old {
		did, err := e.loops.RetainPartition(ctx, p.Number)
		if db.IsLocked(err) {
			e.log.Info("a partition is in use; its retention waits", "partition", p.Number)
			continue
		}
		if err != nil {
			return fromDB("retaining a partition", err)
		}
		if did != "kept" {
			if _, err := e.loops.RetainLogs(ctx, p.Number); err != nil && !db.IsLocked(err) {
				return fromDB("retaining logs", err)
			}
		}
		dropped := false
		if did == "emptied" || p.Kept == 0 {
			dropped, err = e.loops.DropPartition(ctx, p.Number)
			if err != nil && !db.IsLocked(err) {
				return fromDB("dropping a partition", err)
			}
		}
		if dropped || did == "emptied" || did == "rewritten" {
			e.log.Info("retention", "partition", p.Number, "did", did, "dropped", dropped)
		}
	}
	if err := e.keepAudit(ctx); err != nil {
		return err
	}
	if err := sweep(ctx, "unique keys", MaxBatch, e.loops.SweepUniqueKeys); err != nil {
		return err
	}
	if err := sweep(ctx, "results", 1000, e.loops.SweepResults); err != nil {
		return err
	}
	if err := sweep(ctx, "operations", 1000, e.loops.SweepOperations); err != nil {
		return err
	}
	if err := sweep(ctx, "exports", 100, e.loops.SweepExports); err != nil {
		return err
	}
	if err := sweep(ctx, "slots of schedules", 1000, e.loops.SweepScheduleSlots); err != nil {
		return err
	}
	if err := sweep(ctx, "notes of results", MaxBatch, e.loops.SweepBreakerResults); err != nil {
		return err
	}
	if err := sweep(ctx, "deliveries to webhooks", MaxBatch, e.loops.SweepDeliveries); err != nil {
		return err
	}
	if err := sweep(ctx, "alerts", 1000, e.loops.SweepAlerts); err != nil {
		return err
	}
	if _, err := e.loops.ExpireNames(ctx); err != nil {
		return fromDB("expiring names", err)
	}
	_, err = e.loops.SweepWorkers(ctx)
	return fromDB("sweeping workers", err)
}

// sweep removes what is no longer needed, batch by batch.
func sweep(ctx context.Context, what string, batch int32, step func(context.Context, int32) (int32, error)) error {
	for {
		n, err := step(ctx, batch)
		if err != nil {
			return fromDB("sweeping "+what, err)
		}
		if n < batch {
			return nil
		}
	}
}
