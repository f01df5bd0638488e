package weir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/jobs/batch"
)

// WorkerConfig is how a [Worker] is set up. Its zero value works on the queue "default".
type WorkerConfig struct {
	// Name is what the worker is known by, 1 to 200 characters. Two processes with one name are paused and removed together. Defaults to one that is
	// unique to the process; then weir forgets it when the worker ends.
	Name string
	// Queues are 1 to 100 names. Claims take equal shares from them. Defaults to "default", where QueueConcurrency names none.
	Queues []string
	// Concurrency is how many jobs run at once. Defaults to 100.
	Concurrency int
	// QueueConcurrency gives queues a number of their own, beside Concurrency. The names need not be in Queues.
	QueueConcurrency map[string]int
	// Lease is how long weir waits for a heartbeat before it gives a job to another worker, in whole seconds from 1 s to an hour. Heartbeats are
	// sent three times as often. Defaults to 30 s.
	Lease time.Duration
	// Grace is how long running jobs may go on after Run is told to stop. Then their contexts end. Defaults to 30 s; negative: none.
	Grace time.Duration
	// Middleware wraps every handler, the first one outermost. Defaults to none.
	Middleware []Middleware
	// Hooks are told what happens. Defaults to none.
	Hooks Hooks
	// Logger is told what goes wrong. Defaults to the client's.
	Logger *slog.Logger
	// Version is shown with the worker: that of your program. Defaults to none.
	Version string
}

// Hooks are functions that a worker calls. Any may be nil. They are called from several goroutines, and a slow one delays jobs.
type Hooks struct {
	// Started is told of a job before its handler runs.
	Started func(context.Context, *RawJob)
	// Ended is told of a job that weir has been told the end of.
	Ended func(context.Context, *RawJob, Ending)
	// Trouble is told what goes wrong with weir itself: a claim, a heartbeat or an ack that is being tried again.
	Trouble func(error)
	// State is told when weir pauses, drains or resumes the worker: paused, draining or active.
	State func(string)
}

// Ending is how an attempt ended.
type Ending struct {
	// Outcome is complete, fail, cancel, snooze or release, or lost: weir does not accept what the worker says, because its lease is over.
	Outcome string
	// Err is the error of the handler, or of weir where the outcome is lost.
	Err error
	// Ran is how long the handler ran; 0: it did not.
	Ran time.Duration
}

// Worker claims jobs and runs their handlers. Register handlers with [Register] or [Handle], then call Run.
type Worker struct {
	client    *Client
	config    WorkerConfig
	log       *slog.Logger
	ephemeral bool
	handlers  map[string]*handler
	lanes     []*lane
	acks      *batch.Group[ack, ackStatus]

	claiming, beating, acking outage

	base    context.Context // of handlers
	ackCtx  context.Context // ends when acks are given up
	ackStop context.CancelFunc

	mu       sync.Mutex
	runs     bool
	stopping bool
	held     map[*run]struct{} // from the claim until the ack is answered
	latest   map[ID]*run       // of these, the last of each job
	running  map[string]int    // handlers that run, by kind
	unsent   int               // acks that were given up
	refused  error             // why claiming is of no use
	changed  chan struct{}     // capacity 1: something in held changed
}

const (
	defaultConcurrency = 100
	defaultLease       = 30 * time.Second
	defaultGrace       = 30 * time.Second
)

// NewWorker makes a worker that claims through a client. It panics where the config is not possible.
func NewWorker(c *Client, config WorkerConfig) *Worker {
	w := &Worker{
		client: c, handlers: map[string]*handler{}, held: map[*run]struct{}{}, latest: map[ID]*run{}, running: map[string]int{}, changed: make(chan struct{}, 1),
	}
	if config.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		config.Name = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:6]))
		w.ephemeral = true
	}
	config.Concurrency = orDefault(config.Concurrency, defaultConcurrency)
	config.Lease = orDefault(config.Lease, defaultLease)
	config.Grace = orDefault(config.Grace, defaultGrace)
	if config.Logger == nil {
		config.Logger = c.log
	}
	if len(config.Queues) == 0 && len(config.QueueConcurrency) == 0 {
		config.Queues = []string{"default"}
	}
	w.config, w.log = config, config.Logger.With("worker", config.Name)
	w.lanes = w.makeLanes()
	w.acks = w.groupAcks()
	for what, o := range map[string]*outage{"claiming jobs": &w.claiming, "sending heartbeats": &w.beating, "sending acks": &w.acking} {
		*o = outage{log: w.log, what: what, tell: config.Hooks.Trouble}
	}
	if err := w.check(); err != nil {
		panic(err)
	}
	return w
}

func orDefault[T ~int | ~int64](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// makeLanes gives each queue that has a concurrency of its own a lane, and the others one together.
func (w *Worker) makeLanes() (lanes []*lane) {
	var shared []string
	for _, q := range w.config.Queues {
		if w.config.QueueConcurrency[q] == 0 && !slices.Contains(shared, q) {
			shared = append(shared, q)
		}
	}
	if len(shared) > 0 {
		lanes = append(lanes, newLane(w, shared, w.config.Concurrency))
	}
	for q, n := range w.config.QueueConcurrency {
		lanes = append(lanes, newLane(w, []string{q}, n))
	}
	return lanes
}

func (w *Worker) check() error {
	if w.config.Lease < time.Second || w.config.Lease > time.Hour || w.config.Lease%time.Second != 0 {
		return errors.New("weir: WorkerConfig.Lease must be whole seconds from 1 s to an hour")
	}
	for _, l := range w.lanes {
		if l.slots < 1 {
			return fmt.Errorf("weir: the concurrency of queue %s must be at least 1", l.queues[0])
		}
	}
	return nil
}

func (w *Worker) add(h *handler) {
	if w.handlers[h.kind] != nil {
		panic(fmt.Sprintf("weir: there is a handler of kind %s already", h.kind))
	}
	for _, wrap := range slices.Backward(w.config.Middleware) {
		h.work = wrap(h.work)
	}
	w.handlers[h.kind] = h
}

// Name is what the worker is known by.
func (w *Worker) Name() string { return w.config.Name }

// Queues are those that it claims from.
func (w *Worker) Queues() (names []string) {
	for _, l := range w.lanes {
		names = append(names, l.queues...)
	}
	return names
}

// Run claims jobs and runs them until ctx ends. Then it claims no more, gives back the jobs whose handlers have not begun, waits for the others, and
// ends their contexts when the grace is over. A job whose handler returns an error because of that is given back without losing an attempt, and one
// whose handler does not return is given back too. So ctx may be that of signal.NotifyContext: it is no parent of the handlers' contexts, which
// have its values.
//
// Its error is nil after an orderly end. Otherwise it says that weir refuses the worker's claims for good, that handlers did not return, or that
// acks could not be sent; their jobs come back when their leases run out.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.runs {
		w.mu.Unlock()
		return errors.New("weir: the worker runs already")
	}
	w.runs, w.stopping, w.unsent, w.refused = true, false, 0, nil
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.runs = false
	}()
	w.base = context.WithoutCancel(ctx)
	w.ackCtx, w.ackStop = context.WithCancel(w.base)
	defer w.ackStop()
	claimUntil, stopClaims := context.WithCancel(ctx)
	defer stopClaims()
	beatUntil, stopBeats := context.WithCancel(w.base)
	defer stopBeats()

	var claims, beats sync.WaitGroup
	beats.Go(func() { w.keepLeases(beatUntil) })
	beats.Go(func() { w.keepRegistered(beatUntil) })
	for _, l := range w.lanes {
		claims.Go(func() {
			if err := l.fetch(claimUntil); err != nil {
				w.mu.Lock()
				w.refused = errors.Join(w.refused, err)
				w.mu.Unlock()
				stopClaims()
			}
		})
	}
	<-claimUntil.Done()
	w.stopStarting()
	claims.Wait()
	err := w.finish()
	stopBeats()
	beats.Wait()
	return errors.Join(w.refused, err)
}

const (
	// returnIn is how long handlers have to return once their contexts have ended.
	returnIn = 5 * time.Second
	// ackIn is how long the last acks of a shutdown are tried.
	ackIn = 10 * time.Second
)

// stopStarting keeps handlers from being started, and gives back the jobs that wait for a slot.
func (w *Worker) stopStarting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	for _, l := range w.lanes {
		l.giveBackWaiting()
	}
}

// finish waits for what runs, and for all acks.
func (w *Worker) finish() error {
	running := func() (n int) {
		for _, count := range w.running {
			n += count
		}
		return n
	}
	none := func() bool { return running() == 0 }
	var err error
	if !w.waitUntil(none, max(w.config.Grace, 0)) {
		w.each(func(r *run) { r.stop(ErrShutdown) })
		if !w.waitUntil(none, returnIn) {
			w.mu.Lock()
			err = fmt.Errorf("weir: %d handlers did not return within %s of the end of their contexts; their jobs were given back", running(), returnIn)
			w.mu.Unlock()
			w.each((*run).abandon)
		}
	}
	settled := func() bool {
		for r := range w.held {
			if !r.gone() {
				return false
			}
		}
		return true
	}
	if !w.waitUntil(settled, ackIn) {
		w.ackStop()
		w.waitUntil(settled, time.Second)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsent > 0 {
		err = errors.Join(err, fmt.Errorf("weir: %d acks could not be sent; those jobs come back when their leases run out", w.unsent))
	}
	return err
}

// each calls a function for every job that is held, without the lock.
func (w *Worker) each(do func(*run)) {
	w.mu.Lock()
	runs := make([]*run, 0, len(w.held))
	for r := range w.held {
		runs = append(runs, r)
	}
	w.mu.Unlock()
	for _, r := range runs {
		do(r)
	}
}

// waitUntil waits for something that is read with the lock held, and says whether it came in time.
func (w *Worker) waitUntil(ok func() bool, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		w.mu.Lock()
		done := ok()
		w.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-w.changed:
		case <-timer.C:
			return false
		}
	}
}

// touch says that held or running has changed.
func (w *Worker) touch() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
