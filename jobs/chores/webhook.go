package chores

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs"
)

// Sender sends messages to webhooks.
type Sender interface {
	Send(ctx context.Context, m jobs.Message) jobs.Sent
}

const (
	webhookQueue = "webhooks"

	// lookForEvents is how often a node looks for events that webhooks are to be told of.
	lookForEvents = time.Second

	// deliveriesAtOnce bounds the messages that a node is sending, and deliveriesToOne those to one webhook, so that one that does not answer
	// keeps no others waiting.
	deliveriesAtOnce = 64
	deliveriesToOne  = 8

	// deliveryAttempts with the pauses of retryIn: 5 s, 20 s, 80 s, … 4 h, a day and a quarter in all.
	deliveryAttempts   = 14
	firstDeliveryPause = 5 * time.Second
	longestPauseOfOne  = 4 * time.Hour
)

type deliveryArgs struct {
	ID   string `json:"id"`
	Take int    `json:"take"` // counts the times that River was given it
}

func (deliveryArgs) Kind() string { return "webhook" }

// InsertOpts: a delivery that River has is not given to it again.
func (deliveryArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: webhookQueue, MaxAttempts: deliveryAttempts, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

// deliveryWorker makes one attempt to deliver. River runs it again where that fails.
type deliveryWorker struct {
	river.WorkerDefaults[deliveryArgs]
	engine *jobs.Engine
	sender Sender

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
		return ctx.Err() // the node ends: that says nothing of the receiver
	}
	var again *time.Duration
	if message.Attempt < deliveryAttempts {
		pause := retryIn(job.Attempt)
		again = &pause
	}
	if err := w.engine.NoteSent(ctx, id, sent, again); err != nil {
		return err
	}
	if sent.Error != "" {
		return errors.New(sent.Error)
	}
	return nil
}

// NextRetry is River's.
func (*deliveryWorker) NextRetry(job *river.Job[deliveryArgs]) time.Time {
	pause := retryIn(job.Attempt)
	return time.Now().Add(pause + rand.N(pause/10))
}

// Timeout is longer than any message's.
func (*deliveryWorker) Timeout(*river.Job[deliveryArgs]) time.Duration { return time.Minute }

// retryIn is the pause after attempt number n: 1, 2, …
func retryIn(n int) time.Duration {
	return min(firstDeliveryPause<<min(2*(n-1), 20), longestPauseOfOne)
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

// tellWebhooks notes what webhooks are to be told of, and hands it to River.
func (c *Chores) tellWebhooks(ctx context.Context) (wait time.Duration, err error) {
	behind, err := c.engine.NoteDeliveries(ctx)
	if err != nil {
		return lookForEvents, err
	}
	var handed int
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		due, err := db.New(tx).TakeDeliveries(ctx, 1000)
		if err != nil || len(due) == 0 {
			return err
		}
		handed = len(due)
		params := make([]river.InsertManyParams, len(due))
		for i, d := range due {
			params[i].Args = deliveryArgs{ID: jobs.ID(d.ID).String(), Take: int(d.Take)}
		}
		_, err = c.client.InsertManyTx(ctx, tx, params)
		return err
	})
	if behind || handed == 1000 {
		return 0, err
	}
	return lookForEvents, err
}
