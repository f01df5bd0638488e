package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/db"
)

// Forecast is when the backlog of a queue is gone, at the rates of the last minutes.
type Forecast struct {
	StatsSpan
	Queue             string     `json:"queue" doc:"The queue." example:"mail"`
	Waiting           int64      `json:"waiting" doc:"Its jobs that may be claimed, wait in a line for their turn, or run now. Jobs that wait for a time, a retry or another job are not among them."`
	Exact             bool       `json:"exact" doc:"Whether the count is exact. It stops at two million."`
	EnqueuedPerSecond float64    `json:"enqueued_per_second" doc:"Jobs enqueued or run again by hand, mean rate over the window."`
	EndedPerSecond    float64    `json:"ended_per_second" doc:"Jobs completed, dead or cancelled, mean rate over the window."`
	Outlook           string     `json:"outlook" enum:"empty,shrinking,growing,stuck,paused" doc:"empty: nothing waits. shrinking: jobs end faster than they come. growing: they do not. stuck: none ended in the window. paused: the queue is."`
	GoneAt            *time.Time `json:"gone_at,omitempty" doc:"When nothing waits any more, at these rates; absent unless it shrinks, and within ten years."`
	GoneWithoutMoreAt *time.Time `json:"gone_without_more_at,omitempty" doc:"The same if no more jobs came."`
}

// Forecast returns when the backlog of a queue is gone, at the rates of the last seconds (60 to 86400). Errors: InvalidArgument,
// QueueNotFound.
func (e *Engine) Forecast(ctx context.Context, queue string, seconds int) (Forecast, error) {
	f, err := e.reads.ForecastQueue(ctx, db.ForecastQueueParams{Queue: queue, WindowSeconds: int32(seconds)})
	if err != nil {
		return Forecast{}, statsError("forecasting a queue", err)
	}
	return Forecast{
		StatsSpan: StatsSpan{Since: f.Since.UTC(), Until: f.Until.UTC()}, Queue: queue, Waiting: f.Waiting, Exact: f.Exact,
		EnqueuedPerSecond: f.EnqueuedPerSecond, EndedPerSecond: f.EndedPerSecond, Outlook: f.Outlook, GoneAt: utc(f.GoneAt), GoneWithoutMoreAt: utc(f.GoneWithoutMoreAt),
	}, nil
}
