package weir

import (
	"context"
	"time"
)

// maxBeats is the most jobs of one call of heartbeats.
const maxBeats = 1000

// keepLeases sends heartbeats for all jobs that are held, many in one call, and learns which of them are cancelled or lost. It sends what handlers
// say of their progress and their logs, too, and gives back jobs that have waited too long for a slot.
func (w *Worker) keepLeases(ctx context.Context) {
	ticker := time.NewTicker(min(max(w.config.Lease/10, 50*time.Millisecond), time.Second))
	defer ticker.Stop()
	logs := make(chan struct{}, 1) // full while lines are being sent
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		w.mu.Lock()
		for _, l := range w.lanes {
			l.giveBackOverdue(now)
		}
		w.mu.Unlock()
		w.sendLogs(logs)
		runs, beats := w.due(now)
		for start := 0; start < len(runs); start += maxBeats {
			end := min(start+maxBeats, len(runs))
			w.beat(ctx, runs[start:end], beats[start:end])
		}
	}
}

// due are the jobs whose heartbeats are due, or that have progress to tell.
func (w *Worker) due(now time.Time) (runs []*run, beats []beat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for r := range w.held {
		r.mu.Lock()
		b := beat{id: r.job.ID, token: r.job.Token, progress: r.progress}
		skip := r.isLost || r.abandoned || r.inTx && !r.unverified() // a heartbeat would wait for the transaction, and all others with it
		if r.progress != nil || r.unverified() || !now.Before(r.beatDue) {
			if !skip {
				r.progress = nil
				runs, beats = append(runs, r), append(beats, b)
			}
		}
		r.mu.Unlock()
	}
	return runs, beats
}

// beat sends heartbeats. While weir cannot be reached, the worker cannot know, and handlers go on: other workers cannot reach weir either, or the
// lease runs out and what the worker says is refused.
func (w *Worker) beat(ctx context.Context, runs []*run, beats []beat) {
	every := w.config.Lease / 3
	limited, cancel := context.WithTimeout(ctx, max(every, 2*time.Second))
	defer cancel()
	held, err := w.client.t.heartbeat(limited, beats, int(w.config.Lease/time.Second))
	if err != nil {
		if ctx.Err() == nil {
			w.beating.note(err)
		}
		for i, r := range runs {
			r.beatDue = time.Now().Add(min(every/2, 2*time.Second))
			r.mu.Lock()
			if r.progress == nil {
				r.progress = beats[i].progress
			}
			r.mu.Unlock()
		}
		return
	}
	w.beating.over()
	now := time.Now()
	for _, r := range runs {
		r.beatDue = now.Add(every)
		answer, ok := held[r.job.ID]
		w.mu.Lock()
		ended := r.phase == phaseEnded
		w.mu.Unlock()
		switch {
		case r.unverified():
			r.verified <- !ok
		case ended: // its ack is under way, and says more
		case !ok:
			w.log.Warn("the lease on a job is lost", "job", r.job.ID, "kind", r.job.Kind)
			r.lose()
		case answer.cancelRequested:
			r.stop(ErrCancelled)
		}
	}
}

// verify waits for a heartbeat that tells whether the transaction that completed a job was committed.
func (w *Worker) verify(r *run) (committed bool) {
	r.verified = make(chan bool, 1)
	r.verifying.Store(true)
	select {
	case committed = <-r.verified:
	case <-w.ackCtx.Done():
		committed = true // it cannot be told any more
	}
	r.verifying.Store(false)
	return committed
}

func (r *run) unverified() bool { return r.verifying.Load() }
