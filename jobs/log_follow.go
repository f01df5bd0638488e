package jobs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/loop"
)

const (
	followEvery = 250 * time.Millisecond // while a client follows a log
	followPause = 50 * time.Millisecond  // at least, between two looks
	followIdle  = time.Hour              // while none does; the first follower cuts it short
	followBatch = 10000                  // the most jobs that one statement asks about
	followRead  = 20                     // the most jobs of which one statement reads lines,
	followPage  = 100                    // and the most lines of each
	followLines = 200                    // lines of a job that are kept for its followers: one that lags behind further reads for itself
	followBytes = 64 << 10               // and about their bytes
)

// logFeed looks for new lines of logs on behalf of all followers of this node: a statement a few times a second, and only while there are
// followers, says how long each log is. New lines are read once for all followers of a job. What a follower has missed by then, it reads page
// by page.
type logFeed struct {
	e    *Engine
	soon loop.Signal

	mu      sync.Mutex
	logs    map[ID]*followedLog
	drained bool

	lookedAt time.Time // only step uses it
}

// followedLog is a log that clients follow.
type followedLog struct {
	followers int
	known     int       // the number of its last line; -1 before the first look
	lines     []LogLine // the last ones, without a gap
	end       *LogEnd   // nil: the job has not ended
	more      chan struct{}
}

// LogEnd is what a follower gets when the job has ended.
type LogEnd struct {
	JobID   ID     `json:"job_id" doc:"The job."`
	State   string `json:"state" doc:"How it ended: completed, cancelled or dead; removed if it is gone."`
	Dropped int    `json:"dropped" doc:"How many lines were dropped because the log was full."`
}

func newLogFeed(e *Engine) *logFeed {
	return &logFeed{e: e, soon: loop.NewSignal(), logs: map[ID]*followedLog{}}
}

// join adds a follower.
func (f *logFeed) join(id ID) (log *followedLog, leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained {
		return nil, nil, shuttingDown()
	}
	log = f.logs[id]
	if log == nil {
		log = &followedLog{known: -1, more: make(chan struct{})}
		f.logs[id] = log
		f.soon.Raise()
	}
	log.followers++
	return log, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if log.followers--; log.followers == 0 {
			delete(f.logs, id)
		}
	}, nil
}

// tell reports that this node stored lines.
func (f *logFeed) tell(id ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logs[id] != nil {
		f.soon.Raise()
	}
}

func (f *logFeed) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = true
	for _, log := range f.logs {
		log.announce()
	}
}

// announce wakes the followers. Call it with mu held.
func (l *followedLog) announce() {
	close(l.more)
	l.more = make(chan struct{})
}

// step looks at all logs that are followed.
func (f *logFeed) step(ctx context.Context) (time.Duration, error) {
	if wait := followPause - f.e.clock.Since(f.lookedAt); wait > 0 {
		return wait, nil
	}
	f.lookedAt = f.e.clock.Now()
	f.mu.Lock()
	ids := make([]int64, 0, len(f.logs))
	for id := range f.logs {
		ids = append(ids, int64(id))
	}
	f.mu.Unlock()
	if len(ids) == 0 {
		return followIdle, nil
	}
	slices.Sort(ids) // so that a statement looks into few partitions
	for batch := range slices.Chunk(ids, followBatch) {
		rows, err := f.e.loops.LogEnds(ctx, batch)
		if err != nil {
			return 0, fromDB("looking for new lines of logs", err)
		}
		if err := f.take(ctx, rows); err != nil {
			return 0, err
		}
	}
	return followEvery, nil
}

// take reads the new lines of logs, hands them to the followers and then tells them of ends: lines come before the end of their job.
func (f *logFeed) take(ctx context.Context, rows []db.LogEndsRow) error {
	fresh := map[ID][]LogLine{}
	for batch := range slices.Chunk(f.grown(rows), followRead) {
		var params db.ReadLogsParams
		for _, g := range batch {
			params.JobIds, params.Afters = append(params.JobIds, int64(g.id)), append(params.Afters, int32(g.after))
		}
		params.Most = followPage
		lines, err := f.e.loops.ReadLogs(ctx, params)
		if err != nil {
			return fromDB("reading new lines of logs", err)
		}
		for _, r := range lines {
			id := ID(r.JobID)
			fresh[id] = append(fresh[id], f.e.vault.logLine(ctx, db.ReadLogRow{
				Number: r.Number, At: r.At, Attempt: r.Attempt, Level: r.Level, Message: r.Message, Fields: r.Fields, Encrypted: r.Encrypted, Dropped: r.Dropped,
			}))
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rows {
		log := f.logs[ID(r.JobID)]
		if log == nil {
			continue
		}
		news := log.known != int(r.Last) || (log.end == nil) != (r.State == "")
		log.keep(fresh[ID(r.JobID)])
		log.known, log.end = int(r.Last), nil
		if r.State != "" {
			log.end = &LogEnd{JobID: ID(r.JobID), State: r.State, Dropped: int(r.Dropped)}
		}
		if news {
			log.announce()
		}
	}
	return nil
}

// grownLog is a log with new lines, behind a number.
type grownLog struct {
	id    ID
	after int
}

// grown returns the logs that have a few new lines. Of one with many, each follower reads for itself.
func (f *logFeed) grown(rows []db.LogEndsRow) (grown []grownLog) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rows {
		log := f.logs[ID(r.JobID)]
		if log != nil && log.known >= 0 && int(r.Last) > log.known && int(r.Last)-log.known <= followPage {
			grown = append(grown, grownLog{ID(r.JobID), log.known})
		}
	}
	return grown
}

// keep takes new lines in place of the oldest.
func (l *followedLog) keep(fresh []LogLine) {
	if len(fresh) == 0 || len(l.lines) > 0 && l.lines[len(l.lines)-1].Number+1 != fresh[0].Number {
		l.lines = nil
	}
	l.lines = append(l.lines, fresh...)
	bytes, first := 0, len(l.lines)
	for first > 0 && len(l.lines)-first < followLines && bytes < followBytes {
		first--
		bytes += len(l.lines[first].Message) + len(l.lines[first].Fields)
	}
	l.lines = slices.Clone(l.lines[first:])
}

// LogFollower follows the log of a job.
type LogFollower struct {
	feed   *logFeed
	log    *followedLog
	id     ID
	filter LogFilter
	after  int // the number of the last line that it has
}

// FollowLog follows the log of a job behind the number `after`. Call leave at the end. Errors: JobNotFound, Unavailable.
func (e *Engine) FollowLog(ctx context.Context, id ID, filter LogFilter, after int) (follower *LogFollower, leave func(), err error) {
	if err := e.checkExists(ctx, id); err != nil {
		return nil, nil, err
	}
	log, leave, err := e.followed.join(id)
	if err != nil {
		return nil, nil, err
	}
	return &LogFollower{feed: e.followed, log: log, id: id, filter: filter, after: after}, leave, nil
}

// Next waits for lines, for the end of the job, or for the pulse, after which it returns none. open is false when the node shuts down.
func (f *LogFollower) Next(ctx context.Context, pulse time.Duration) (lines []LogLine, end *LogEnd, open bool, err error) {
	timer := f.feed.e.clock.Timer(pulse)
	defer timer.Stop()
	for {
		lines, end, more, behind := f.look()
		switch {
		case behind:
			if lines, err = f.read(ctx); err != nil {
				return nil, nil, false, err
			}
		case more == nil:
			return nil, nil, false, nil
		}
		if len(lines) > 0 || end != nil && !behind {
			return lines, end, true, nil
		}
		if behind {
			continue
		}
		select {
		case <-more:
		case <-timer.C:
			return nil, nil, true, nil
		case <-ctx.Done():
			return nil, nil, false, ctx.Err()
		}
	}
}

// look returns what the feed has for the follower; behind says that the follower must read for itself. more is nil when the node shuts down. An end
// comes only when there are no more lines.
func (f *LogFollower) look() (lines []LogLine, end *LogEnd, more <-chan struct{}, behind bool) {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	if f.feed.drained {
		return nil, nil, nil, false
	}
	log := f.log
	if f.after >= log.known {
		return nil, log.end, log.more, false
	}
	if len(log.lines) == 0 || log.lines[0].Number > f.after+1 {
		return nil, nil, log.more, true
	}
	for _, l := range log.lines {
		if l.Number > f.after && f.filter.passes(l) {
			lines = append(lines, l)
		}
	}
	f.after = log.lines[len(log.lines)-1].Number
	return lines, nil, log.more, false
}

// read reads the next page.
func (f *LogFollower) read(ctx context.Context) ([]LogLine, error) {
	f.feed.mu.Lock()
	known := f.log.known
	f.feed.mu.Unlock()
	ctx = WithPage(ctx)
	lines, err := f.feed.e.Log(ctx, f.id, f.filter, f.after, followPage)
	if err != nil {
		return nil, err
	}
	if len(lines) < followPage && !IsCut(ctx) {
		f.after = max(f.after, known)
	}
	if len(lines) > 0 {
		f.after = max(f.after, lines[len(lines)-1].Number)
	}
	return lines, nil
}

// passes says whether a line is one of those that the filter chooses.
func (f LogFilter) passes(l LogLine) bool {
	return (f.Attempt == 0 || f.Attempt == l.Attempt) && (f.Level == "" || slices.Index(logLevels, l.Level) >= slices.Index(logLevels, f.Level))
}

// logLevels are the levels of lines, the least first.
var logLevels = []string{"debug", "info", "warn", "error"}
