package jobs

import (
	"context"
	"time"
)

// rollUpFor bounds one call of RollUp. What is left is for the next one, a minute later.
const rollUpFor = 40 * time.Second

// RollUp counts what happened since the last time, step by step, until all is counted, another node is counting, or its time is up;
// and folds old minutes into hours.
func (e *Engine) RollUp(ctx context.Context) error {
	if err := e.tickNow(ctx); err != nil { // it decides what is settled
		return err
	}
	for began := e.clock.Now(); e.clock.Since(began) < rollUpFor; {
		step, err := e.loops.RollUp(ctx)
		if err != nil {
			return fromDB("rolling up", err)
		}
		e.metrics.rollupAge.Set(step.BehindSeconds)
		if step.Did == "busy" {
			return nil
		}
		if step.Did == "nothing" {
			return sweep(ctx, "roll-ups", 24, e.loops.SweepRollups)
		}
	}
	e.log.Info("roll-ups are behind; the next run goes on")
	return nil
}
