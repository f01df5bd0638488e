package worker

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"time"
)

// run is a process and the jobs that it has: one, or a batch of a queue and kind.
type run struct {
	batch bool
	jobs  []*heldJob
}

// gather makes the run of the first job that waits. A batch takes those of its queue and kind that wait behind it.
func (w *Worker) gather(first *heldJob) *run {
	if w.Program.Batch <= 1 {
		w.queue = w.queue[1:]
		first.reports = &reports{job: first.job.ID}
		return &run{jobs: []*heldJob{first}}
	}
	r := &run{batch: true}
	left := w.queue[:0]
	now := time.Now()
	for _, h := range w.queue {
		alike := h.job.Kind == first.job.Kind && h.job.Queue == first.job.Queue && now.Before(h.deadline())
		if h != first && (!alike || len(r.jobs) >= w.Program.Batch) {
			left = append(left, h)
			continue
		}
		h.reports = &reports{job: h.job.ID}
		r.jobs = append(r.jobs, h)
	}
	clear(w.queue[len(left):])
	w.queue = left
	stop := make(chan stopReason, 2*len(r.jobs)) // what stops one of them stops the process
	for _, h := range r.jobs {
		h.stop = stop
	}
	return r
}

// runJob runs the program for a job. Its last lines are sent before the outcome is known, because a job that has ended takes none.
func (w *Worker) runJob(h *heldJob) outcome {
	if w.logs == nil {
		return w.Program.run(h.job, h.deadline(), h.stop, h.reports, nil)
	}
	h.reports.log = w.logs.begin(h.job)
	o := w.Program.run(h.job, h.deadline(), h.stop, h.reports, h.reports.log)
	h.reports.log.end(o.stopped)
	return o
}

// runBatch runs the program for its jobs. Those whose outcome it names are told of before it ends.
func (w *Worker) runBatch(r *run) outcome {
	if !r.batch {
		return w.runJob(r.jobs[0])
	}
	all := &reports{batch: map[string]*reports{}}
	for _, h := range r.jobs {
		if w.logs != nil {
			h.reports.log = w.logs.begin(h.job)
		}
		h.reports.named = func() {
			h.endLog(notStopped)
			w.outcomes <- runOutcome{run: r, job: h, outcome: outcome{started: true, told: h.reports}}
		}
		all.batch[h.job.ID] = h.reports
	}
	o := w.Program.process(r.input(), r.environment(), r.deadline, r.jobs[0].stop, all, nil)
	var logs sync.WaitGroup
	for _, h := range r.jobs {
		if !h.reports.concluded() {
			logs.Go(func() { h.endLog(o.stopped) })
		}
	}
	logs.Wait()
	return o
}

func (h *heldJob) endLog(stopped stopReason) {
	if h.reports.log != nil {
		h.reports.log.end(stopped)
	}
}

// input is a line for each job.
func (r *run) input() io.Reader {
	var lines bytes.Buffer
	for _, h := range r.jobs {
		text, _ := json.Marshal(h.job) // of what was JSON
		lines.Write(text)
		lines.WriteByte('\n')
	}
	return &lines
}

// environment is what the program learns about its jobs as a whole.
func (r *run) environment() []string {
	first := r.jobs[0].job
	return []string{
		"WEIR_JOB_REPORT_FD=" + reportDescriptor, "WEIR_JOB_BATCH=" + strconv.Itoa(len(r.jobs)),
		"WEIR_JOB_KIND=" + first.Kind, "WEIR_JOB_QUEUE=" + first.Queue,
	}
}

// deadline is the first one of the jobs whose outcome the program has not named, or else the last of all.
func (r *run) deadline() (first time.Time) {
	var last time.Time
	for _, h := range r.jobs {
		at := h.deadline()
		if at.After(last) {
			last = at
		}
		if (first.IsZero() || at.Before(first)) && !h.reports.concluded() {
			first = at
		}
	}
	if first.IsZero() {
		return last
	}
	return first
}

// outcomeOf is the outcome of one of the jobs of a process that has ended. A batch that is stopped because of one job gives back the others.
func (r *run) outcomeOf(h *heldJob, o outcome) outcome {
	if !r.batch {
		return o
	}
	all := o.told
	o.told, o.stdout, o.cut = h.reports, nil, false
	if o.told.err == nil {
		o.told.err = all.err
	}
	switch {
	case o.stopped == notStopped, o.stopped == timedOut && !time.Now().Before(h.deadline()):
	case h.told != notStopped:
		o.stopped = h.told
	default:
		o.stopped = shuttingDown
	}
	return o
}
