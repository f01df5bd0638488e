package chores

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/jobs/clock"
)

// Sender posts messages to webhooks.
type Sender interface {
	Send(ctx context.Context, m jobs.Message) jobs.Sent
}

const (
	webhookQueue = "webhooks"

	// deliveriesEvery is how often a node looks for events to post.
	deliveriesEvery = time.Second
	deliveriesBatch = 1000

	// deliveriesAtOnce bounds the messages that a node is sending, and deliveriesToOne those to one webhook, so that a receiver that does not
	// answer delays no other.
	deliveriesAtOnce = 64
	deliveriesToOne  = 8

	// deliveryAttempts, with the back-off of retryIn (5 s, 20 s, 80 s, … 4 h), take a day and a quarter.
	deliveryAttempts = 14
	firstBackOff     = 5 * time.Second
	longestBackOff   = 4 * time.Hour
)

type deliveryArgs struct {
	ID   string `json:"id"`
	Take int    `json:"take"` // how many times it was handed to River
}

func (deliveryArgs) Kind() string { return "webhook" }

// InsertOpts: River takes a delivery that it already has only once.
func (deliveryArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: webhookQueue, MaxAttempts: deliveryAttempts, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

// deliveryWorker makes one attempt. River retries it if that fails.
type deliveryWorker struct {
	river.WorkerDefaults[deliveryArgs]
	engine *jobs.Engine
	sender Sender
	clock  clock.Clock

	mu   sync.Mutex
	busy map[jobs.ID]int // messages under way, by webhook
}

func (w *deliveryWorker) Work(ctx context.Context, job *river.Job[deliveryArgs]) error {
	number, err := strconv.ParseInt(job.Args.ID, 10, 64)
	if err != nil {
		return river.JobCancel(err)
	}
	id := jobs.ID(number)
	message, pending, err := w.engine.Delivery(ctx, id, job.Args.Take)
	if err != nil || !pending {
		return err
	}
	if !w.enter(message.Webhook) {
		return river.JobSnooze(time.Second)
	}
	defer w.leave(message.Webhook)
	sent := w.sender.Send(ctx, message)
	if ctx.Err() != nil {
		return ctx.Err() // the node is stopping: not the receiver's fault
	}
	var next *time.Duration
	if message.Attempt < deliveryAttempts {
		next = new(retryIn(job.Attempt))
	}
	if err := w.engine.NoteSent(ctx, id, sent, next); err != nil {
		return err
	}
	if sent.Error != "" {
		return errors.New(sent.Error)
	}
	return nil
}

// NextRetry adds up to a tenth, so that deliveries that failed together are not retried together.
func (w *deliveryWorker) NextRetry(job *river.Job[deliveryArgs]) time.Time {
	wait := retryIn(job.Attempt)
	return w.clock.Now().Add(wait + w.clock.Jitter(wait/10))
}

// Timeout is longer than that of any message.
func (*deliveryWorker) Timeout(*river.Job[deliveryArgs]) time.Duration { return time.Minute }

// retryIn is the back-off after attempt n: 1, 2, …
func retryIn(n int) time.Duration {
	return min(firstBackOff<<min(2*(n-1), 20), longestBackOff)
}

func (w *deliveryWorker) enter(webhook jobs.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[webhook] >= deliveriesToOne {
		return false
	}
	w.busy[webhook]++
	return true
}

func (w *deliveryWorker) leave(webhook jobs.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[webhook]--
	if w.busy[webhook] == 0 {
		delete(w.busy, webhook)
	}
}

// noteDeliveries notes the events that webhooks subscribe to, and hands their deliveries to River.
func (c *Chores) noteDeliveries(ctx context.Context) (wait time.Duration, err error) {
	behind, err := c.engine.CreateDeliveries(ctx)
	if err != nil {
		return deliveriesEvery, err
	}
	handed, err := c.hand(ctx, func(q *db.Queries) (args []river.JobArgs, err error) {
		due, err := q.DispatchDeliveries(ctx, deliveriesBatch)
		for _, d := range due {
			args = append(args, deliveryArgs{ID: jobs.ID(d.ID).String(), Take: int(d.Take)})
		}
		return args, err
	})
	if behind || handed == deliveriesBatch {
		return 0, err
	}
	return deliveriesEvery, err
}
