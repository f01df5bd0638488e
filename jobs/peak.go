package jobs

import (
	"context"
	"time"
)

// Peaks are when most happened in a window.
type Peaks struct {
	PeaksPart
	StatsFrame
	Previous *PeaksPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// PeaksPart is the peaks of one window.
type PeaksPart struct {
	StatsSpan
	Enqueued    *CountPeak  `json:"enqueued,omitempty" doc:"The bucket in which most jobs were enqueued; absent: none were. Of several, the last."`
	Completed   *CountPeak  `json:"completed,omitempty" doc:"The bucket in which most jobs were completed."`
	Failed      *CountPeak  `json:"failed,omitempty" doc:"The bucket in which most attempts failed, ran past their timeout or lost their lease."`
	LongestWait *TimePeak   `json:"longest_wait,omitempty" doc:"The bucket with the longest wait."`
	LongestRun  *TimePeak   `json:"longest_run,omitempty" doc:"The bucket with the longest run of an attempt that completed a job."`
	Hours       []HourOfDay `json:"hours" doc:"The hours of the day, in UTC, all days of the window added up."`
}

// CountPeak is a bucket in which most happened.
type CountPeak struct {
	At        time.Time `json:"at" doc:"Its beginning."`
	Count     int64     `json:"count" doc:"How many."`
	PerSecond float64   `json:"per_second" doc:"Mean rate over the bucket."`
}

// TimePeak is a bucket with the longest time.
type TimePeak struct {
	At      time.Time `json:"at" doc:"Its beginning."`
	Seconds float64   `json:"seconds" doc:"The longest."`
}

// HourOfDay is what happened in one hour of the day.
type HourOfDay struct {
	Hour      int   `json:"hour" minimum:"0" maximum:"23" doc:"The hour, in UTC."`
	Enqueued  int64 `json:"enqueued" doc:"Jobs enqueued."`
	Completed int64 `json:"completed" doc:"Jobs completed."`
	Failed    int64 `json:"failed" doc:"Attempts that failed, ran past their timeout or lost their lease."`
}

// Peaks returns when most happened: to the minute where the roll-ups are of minutes, otherwise to the hour. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) Peaks(ctx context.Context, q StatsQuery) (Peaks, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return Peaks{}, err
	}
	p := Peaks{StatsFrame: r.StatsFrame}
	p.BucketSeconds = min(r.BucketSeconds, 3600)
	if r.BucketSeconds < 3600 {
		p.BucketSeconds = 60
	}
	before := r.before()
	r.BucketSeconds = p.BucketSeconds
	if p.PeaksPart, err = e.peaksOf(ctx, r); err != nil || !q.Previous {
		return p, err
	}
	before.BucketSeconds = p.BucketSeconds
	part, err := e.peaksOf(ctx, before)
	p.Previous = &part
	return p, err
}

func (e *Engine) peaksOf(ctx context.Context, r statsRead) (PeaksPart, error) {
	part := PeaksPart{StatsSpan: r.StatsSpan, Hours: make([]HourOfDay, 24)}
	for i := range part.Hours {
		part.Hours[i].Hour = i
	}
	rows, err := e.throughputRows(ctx, r)
	if err != nil {
		return part, err
	}
	for _, row := range rows {
		at, failed := row.At.UTC(), row.Failed+row.TimedOut+row.Lost
		higher(&part.Enqueued, at, row.Enqueued, r.BucketSeconds)
		higher(&part.Completed, at, row.Completed, r.BucketSeconds)
		higher(&part.Failed, at, failed, r.BucketSeconds)
		longer(&part.LongestWait, at, row.WaitLongest)
		longer(&part.LongestRun, at, row.RunLongest)
		hour := &part.Hours[at.Hour()]
		hour.Enqueued, hour.Completed, hour.Failed = hour.Enqueued+row.Enqueued, hour.Completed+row.Completed, hour.Failed+failed
	}
	return part, nil
}

func higher(peak **CountPeak, at time.Time, count int64, seconds int) {
	if count > 0 && (*peak == nil || count >= (*peak).Count) {
		*peak = &CountPeak{at, count, float64(count) / float64(seconds)}
	}
}

func longer(peak **TimePeak, at time.Time, seconds float64) {
	if seconds > 0 && (*peak == nil || seconds >= (*peak).Seconds) {
		*peak = &TimePeak{at, seconds}
	}
}
