package jobs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weirhq/weir/jobs/loop"
)

const (
	watchEvery = 250 * time.Millisecond // while some call waits for the end of a job
	watchIdle  = time.Hour              // while none does; the first such call cuts it short
	watchBatch = 10000                  // the most jobs that one statement asks about
	watchRead  = 100                    // the most jobs that one statement reads
)

// watcher serves all calls of this node that wait for the end of a job. One statement a few times a second asks which jobs have ended, however
// many calls wait; the ends that this node commits are reported to it at once. It reads the jobs that have ended many at a time.
type watcher struct {
	e    *Engine
	soon loop.Signal // the first call waits, or an end was reported

	mu      sync.Mutex
	waiting map[ID]*awaited
	told    []ID          // have ended, and are waited for
	drained chan struct{} // closed when no call may wait any more

	lookedAt time.Time // only step touches it
}

// awaited is a job that some callers wait for.
type awaited struct {
	callers int
	ended   chan struct{} // closed when job is set
	job     Job           // as it ended
}

func newWatcher(e *Engine) *watcher {
	return &watcher{e: e, soon: loop.NewSignal(), waiting: map[ID]*awaited{}, drained: make(chan struct{})}
}

// await returns a job whose channel is closed when it has ended. The caller calls leave when it stops waiting.
func (w *watcher) await(id ID) (job *awaited, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	job = w.waiting[id]
	if job == nil {
		job = &awaited{ended: make(chan struct{})}
		w.waiting[id] = job
		if len(w.waiting) == 1 {
			w.soon.Raise()
		}
	}
	job.callers++
	return job, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		job.callers--
		if job.callers == 0 && w.waiting[id] == job {
			delete(w.waiting, id)
		}
	}
}

// tell reports that a job has ended.
func (w *watcher) tell(id ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[id] != nil {
		w.told = append(w.told, id)
		w.soon.Raise()
	}
}

func (w *watcher) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.drained:
	default:
		close(w.drained)
	}
}

// callers is how many calls wait.
func (w *watcher) callers() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, job := range w.waiting {
		n += job.callers
	}
	return n
}

// step answers the calls whose jobs have ended. When it is time to, it asks which have.
func (w *watcher) step(ctx context.Context) (time.Duration, error) {
	w.mu.Lock()
	ended := make([]int64, len(w.told))
	for i, id := range w.told {
		ended[i] = int64(id)
	}
	w.told = nil
	var ids []int64
	if w.e.clock.Since(w.lookedAt) >= watchEvery {
		for id := range w.waiting {
			ids = append(ids, int64(id))
		}
		w.lookedAt = w.e.clock.Now()
	}
	w.mu.Unlock()
	slices.Sort(ids) // so that a statement looks into few partitions
	for batch := range slices.Chunk(ids, watchBatch) {
		found, err := w.e.loops.WhichEnded(ctx, batch)
		if err != nil {
			return 0, fromDB("looking for jobs that ended", err)
		}
		ended = append(ended, found...)
	}
	for batch := range slices.Chunk(ended, watchRead) {
		if err := w.answer(ctx, batch); err != nil {
			return 0, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		return watchIdle, nil
	}
	return max(watchEvery-w.e.clock.Since(w.lookedAt), time.Millisecond), nil
}

// answer reads jobs that have ended and hands them to those who wait. One that was run again in the meantime is waited for further.
func (w *watcher) answer(ctx context.Context, ids []int64) error {
	rows, err := w.e.q.GetJobs(ctx, ids)
	if err != nil {
		return fromDB("reading jobs that ended", err)
	}
	jobs := make([]Job, len(rows))
	for i, r := range rows {
		if jobs[i], err = w.e.jobFromRow(ctx, r); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, job := range jobs {
		if a := w.waiting[job.ID]; a != nil && job.State.Ended() {
			a.job = job
			close(a.ended)
			delete(w.waiting, job.ID)
		}
	}
	return nil
}

// MaxWaitFor is how long WaitFor waits.
const MaxWaitFor = 60 * time.Second

// WaitFor returns a job when it has ended, or after the wait, or when this node shuts down, as it is then. An end that this node
// brought about is known at once, another within about a quarter of a second. Errors: JobNotFound, InvalidArgument.
func (e *Engine) WaitFor(ctx context.Context, id ID, wait time.Duration) (Job, error) {
	if wait < 0 || wait > MaxWaitFor {
		return Job{}, invalid("wait_seconds", "must be from 0 to 60")
	}
	if wait == 0 {
		return e.Job(ctx, id)
	}
	awaited, leave := e.watcher.await(id) // before the look, or an end just after it would be missed
	defer leave()
	job, err := e.Job(ctx, id)
	if err != nil || job.State.Ended() {
		return job, err
	}
	timer := e.clock.Timer(wait)
	defer timer.Stop()
	select {
	case <-awaited.ended:
		return awaited.job, nil
	case <-timer.C:
	case <-e.watcher.drained:
	case <-ctx.Done():
		return Job{}, ctx.Err()
	}
	return e.Job(ctx, id)
}
