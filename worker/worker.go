// Package worker is the runtime of weir work: it claims jobs, runs a program for each, keeps their leases alive, and
// reports their outcomes.
//
// It exists apart from the client commands because it lives long and owns processes. It talks to a node over HTTP, like
// a worker in any language, and must not import api, jobs, db or migrations. It reads no environment: what the program
// inherits is part of its Config.
//
// One goroutine, Worker.Run, owns all state. Calls and programs run in others and send their results to it over
// channels.
package worker

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/weirhq/weir/rest"
)

// tickInterval is how often the worker checks what is due: heartbeats, waits that are over, the deadlines of its
// shutdown.
const tickInterval = 100 * time.Millisecond

// Config is how a Worker is set up. Everything but Ephemeral, Version and NoLogs is required.
type Config struct {
	Client *rest.Client
	Logger *slog.Logger
	Name   string
	// Ephemeral says that no later process takes the name: the service forgets the worker when it ends.
	Ephemeral bool
	Version   string
	Queues    []string
	// Slots is how many programs run at once.
	Slots        int
	LeaseSeconds int
	// Grace is how long running programs may go on after the worker is asked to stop.
	Grace   time.Duration
	Program Program
	// NoLogs keeps what programs write to standard error out of the logs of their jobs.
	NoLogs bool
}

// Worker runs a program for each job that it claims.
type Worker struct {
	Config
	log          *slog.Logger
	claimer      *claimer
	heartbeats   *heartbeats
	acker        *acker
	registration *registration
	logs         *logs // nil: none

	held    map[string]*heldJob // all, by token
	queue   []*heldJob          // those that wait for a slot, in order
	running int                 // processes
	busy    int                 // jobs that they have
	ended   []*heldJob          // those whose acks are not sent yet, in order
	endedAt time.Time           // when the first of them ended
	tally   tally

	starts   chan *run
	outcomes chan runOutcome

	stopping bool
	killAt   time.Time // when the grace of the running programs ends; zero: it is not under way
	giveUpAt time.Time // when sending acks is given up; zero: not yet
}

// runOutcome is the outcome of a run, or before its end that of one of its jobs.
type runOutcome struct {
	run     *run
	job     *heldJob // nil: the run has ended
	outcome outcome
}

// jobs is how many jobs run at once.
func (c *Config) jobs() int { return c.Slots * max(c.Program.Batch, 1) }

// New makes a Worker; Run makes it work.
func New(c Config) *Worker {
	w := &Worker{
		Config:     c,
		log:        c.Logger,
		claimer:    newClaimer(c),
		heartbeats: newHeartbeats(c.Client, c.Logger, c.LeaseSeconds, c.jobs()),
		acker:      newAcker(c.Client, c.Logger),
		// Room for the jobs that run, those claimed ahead of need, and as many that have ended and whose acks wait to
		// be sent.
		registration: newRegistration(c, c.jobs()+2*maxAhead(c.jobs())),
		held:         map[string]*heldJob{},
		starts:       make(chan *run, c.Slots),
		outcomes:     make(chan runOutcome, c.Slots),
	}
	if !c.NoLogs {
		w.logs = newLogs(c.Client, c.Logger)
	}
	return w
}

// Run works until asked is done, and then until every job that it holds is acked, or cannot be. When insisted is done
// too, it stops what runs at once.
func (w *Worker) Run(asked, insisted context.Context) error {
	for range w.Slots {
		go w.slot()
	}
	defer close(w.starts)
	defer w.claimer.cancel()
	defer w.acker.cancel()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	askedDone, insistedDone := asked.Done(), insisted.Done()
	var fatal error
	for {
		w.start()
		w.claim()
		gathered := w.sendAcks()
		if w.finished() {
			if w.Ephemeral {
				w.registration.remove()
			}
			return w.sumUp(fatal)
		}
		select {
		case a := <-w.claimer.answers:
			if err := w.claimer.take(a); err != nil {
				fatal = err
				w.windDown()
			}
			w.hold(a.jobs)
		case r := <-w.outcomes:
			if r.job == nil {
				w.runEnded(r.run, r.outcome)
			} else if r.job.phase == running {
				w.jobEnded(r.job, r.outcome)
			}
		case a := <-w.heartbeats.answers:
			w.beaten(a)
		case a := <-w.acker.answers:
			w.acked(a)
		case a := <-w.registration.answers:
			w.registration.take(a)
		case <-gathered:
		case now := <-ticker.C:
			w.tick(now)
		case <-askedDone:
			askedDone = nil
			w.log.Info("stopping: no more claims, waiting for what runs; a second signal ends at once",
				"running", w.running, "grace", w.Grace.String())
			w.windDown()
		case <-insistedDone:
			insistedDone = nil
			w.cutShort()
		}
	}
}

// slot runs one program at a time. It never gives its thread back, because on Linux a program is killed when the thread
// that started it ends; see processGroup.
func (w *Worker) slot() {
	runtime.LockOSThread()
	for r := range w.starts {
		o := w.runBatch(r)
		w.outcomes <- runOutcome{run: r, outcome: o}
	}
}

// tick does what is due at this time.
func (w *Worker) tick(now time.Time) {
	w.heartbeats.send(w.held, now)
	w.registration.send(float64(w.running)/float64(w.Slots), now)
	w.releaseOverdue(now)
	if w.stopping {
		w.tickShutdown(now)
	}
}
