package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/db"
)

// PercentileError bounds how far a percentile of a histogram is off, as a fraction.
const PercentileError = 0.045

const (
	maxStatsWindow  = 90 * 24 * time.Hour
	maxStatsBuckets = 500
	fewStatsBuckets = 100                // of a chart that does not say how many it wants
	minutesAreKept  = 3 * 24 * time.Hour // then roll-ups are of hours
	daySeconds      = 24 * 3600
)

// bucketSizes are the sizes of buckets that weir chooses.
var bucketSizes = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 24 * time.Hour}

// StatsQuery says which numbers to read.
type StatsQuery struct {
	WindowSeconds int    // defaults to an hour
	BucketSeconds int    // defaults to what makes at most 100 buckets
	Queue         string // only this queue; empty: all that the caller may see
	Kind          string // only this kind; empty: all
	Tenant        string // only jobs of this tenant; empty: all that the caller may see
	Previous      bool   // the window before as well
}

// StatsSpan is the time that some numbers are of.
type StatsSpan struct {
	Since time.Time `json:"since" doc:"Its beginning: that of the first bucket, which may be a little before the window's."`
	Until time.Time `json:"until" doc:"Its end."`
}

// StatsFrame says how numbers were counted.
type StatsFrame struct {
	BucketSeconds int       `json:"bucket_seconds" doc:"The length of a bucket. The last one is under way."`
	CountedUntil  time.Time `json:"counted_until" doc:"What happened before this is in the numbers. It is until, or that of the last roll-up where more than 10,000 jobs, ends and events followed."`
}

// statsRead is a StatsQuery that was checked, with its time.
type statsRead struct {
	StatsSpan
	StatsFrame
	queue, kind, tenant *string
	bounds              []byte
}

// bucket is the size of a bucket. Errors: InvalidArgument.
func (q StatsQuery) bucket() (time.Duration, error) {
	window := time.Duration(q.WindowSeconds) * time.Second
	if window < time.Minute || window > maxStatsWindow {
		return 0, invalid("window_seconds", "must be 60 to 7776000")
	}
	back := window
	if q.Previous {
		back *= 2
	}
	smallest := time.Minute
	if back > minutesAreKept-2*time.Hour { // minutes become hours about then
		smallest = time.Hour
	}
	if q.BucketSeconds == 0 {
		for _, size := range bucketSizes {
			if size >= smallest && window <= fewStatsBuckets*size {
				return size, nil
			}
		}
	}
	bucket := time.Duration(q.BucketSeconds) * time.Second
	switch {
	case bucket < smallest || bucket%smallest != 0:
		return 0, invalid("bucket_seconds", fmt.Sprintf("must be a multiple of %d for this window", int(smallest.Seconds())))
	case bucket > 24*time.Hour:
		return 0, invalid("bucket_seconds", "must be at most 86400")
	case window > maxStatsBuckets*bucket:
		return 0, invalid("bucket_seconds", fmt.Sprintf("must be longer, as an answer has at most %d buckets", maxStatsBuckets))
	}
	return bucket, nil
}

// readStats checks a query and finds its time by the database's clock. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) readStats(ctx context.Context, q StatsQuery) (statsRead, error) {
	if q.WindowSeconds == 0 {
		q.WindowSeconds = 3600
	}
	bucket, err := q.bucket()
	if err != nil {
		return statsRead{}, err
	}
	r := statsRead{StatsFrame: StatsFrame{BucketSeconds: int(bucket.Seconds())}, queue: nonZero(q.Queue), kind: nonZero(q.Kind), tenant: nonZero(q.Tenant)}
	if r.bounds, err = encodedBounds(ctx); err != nil {
		return r, err
	}
	span, err := e.reads.StatsSpan(ctx, db.StatsSpanParams{
		BucketSeconds: int32(r.BucketSeconds), WindowSeconds: int32(q.WindowSeconds), Bounds: r.bounds, Queue: r.queue,
	})
	if err != nil {
		return r, statsError("finding a window", err)
	}
	if span.QueueIsMissing {
		return r, &Error{Code: QueueNotFound, Message: fmt.Sprintf("there is no queue %q", q.Queue)}
	}
	r.StatsSpan = StatsSpan{span.Since.UTC(), span.Until.UTC()}
	r.CountedUntil = span.CountedUntil.UTC()
	return r, nil
}

// wholeHours says whether hours are fine enough for the buckets.
func (r statsRead) wholeHours() bool { return r.BucketSeconds%3600 == 0 }

// grain is how long roll-ups may be for the buckets, in seconds.
func (r statsRead) grain() int32 {
	switch {
	case r.BucketSeconds%daySeconds == 0:
		return daySeconds
	case r.wholeHours():
		return 3600
	}
	return 60
}

// grainOfAll is how long they may be for one sum of the whole window.
func (r statsRead) grainOfAll() int32 {
	if r.wholeHours() {
		return daySeconds
	}
	return 60
}

// before is the same for the window before, which ends as far into its last bucket as the window does.
func (r statsRead) before() statsRead {
	shift := -time.Duration(r.buckets()*r.BucketSeconds) * time.Second
	r.Since, r.Until = r.Since.Add(shift), r.Until.Add(shift)
	return r
}

// buckets is how many there are.
func (r statsRead) buckets() int {
	bucket := time.Duration(r.BucketSeconds) * time.Second
	return int((r.Until.Sub(r.Since) + bucket - 1) / bucket)
}

// fill puts the rows of some buckets into all buckets of the window. at is the beginning of one, and empty makes one in
// which nothing happened.
func fill[T any](r statsRead, rows []T, at func(T) time.Time, empty func(time.Time) T) []T {
	all := make([]T, r.buckets())
	for i := range all {
		begins := r.Since.Add(time.Duration(i*r.BucketSeconds) * time.Second)
		all[i] = empty(begins)
		if len(rows) > 0 && at(rows[0]).Equal(begins) {
			all[i], rows = rows[0], rows[1:]
		}
	}
	return all
}

// statsError is fromDB for numbers: where counting takes too long, it says what to do.
func statsError(doing string, err error) error {
	err = fromDB(doing, err)
	var own *Error
	if errors.As(err, &own) && db.IsTimeout(err) {
		own.Message = fmt.Sprintf("counting took longer than %d s", int(readTimeout.Seconds()))
		own.Hint = "Narrow the window (window_seconds), or name a queue or a kind."
	}
	return err
}
