package claim

import (
	"context"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	parkFor   = 30 * time.Second // how long a parking lasts; renewed at half time
	parkRetry = time.Second      // after a parking that failed
)

func (c *claimer) parked() bool { return c.Clock.Now().Before(c.parkedUntil) }

// await parks, and claims once more for what was enqueued before: nothing notified of that. A transaction that saw no claimer parked and is open
// at this tick is a writer there, and its end wakes the claimer; one that has ended by then is found by the next claim.
func (c *claimer) await(ctx context.Context) {
	if err := c.park(ctx); err != nil {
		// The next poll claims again. Until then nothing is asked of a database that has just failed.
		if db.IsAway(err) {
			c.mu.Lock()
			for _, w := range c.waiting {
				w.failure = err
			}
			c.mu.Unlock()
		}
		return
	}
	if err := c.Tick(ctx); err != nil {
		c.warn("reading which transactions write failed; polling", c, err)
	}
	c.setWoken()
}

func (c *claimer) park(ctx context.Context) error {
	ctx, cancel := statement(ctx)
	defer cancel()
	err := c.Store.Park(ctx, db.ParkParams{Queues: c.queues, Node: c.parkedAs(), Seconds: int32(parkFor / time.Second)})
	if err != nil {
		c.warn("parking failed; polling", c, err)
		c.renewAt = c.Clock.Now().Add(parkRetry)
		return err
	}
	now := c.Clock.Now()
	c.parkedUntil, c.renewAt = now.Add(parkFor), now.Add(parkFor/2)
	c.Observe.Parked()
	return nil
}

func (c *claimer) unpark(ctx context.Context) {
	if !c.parked() {
		return
	}
	c.parkedUntil = time.Time{}
	ctx, cancel := statement(ctx)
	defer cancel()
	if err := c.Store.Unpark(ctx, db.UnparkParams{Queues: c.queues, Node: c.parkedAs()}); err != nil {
		c.Log.Debug("unparking failed; the parking expires", "queues", c.queues, "error", err)
	}
}

func (c *claimer) parkedAs() string { return c.Node + "/" + c.key }
