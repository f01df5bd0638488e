package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/claim"
)

// WorkerState says whether a worker is alive and gets jobs.
type WorkerState string

// The states.
const (
	WorkerActive   WorkerState = "active"
	WorkerPaused   WorkerState = "paused"   // its claims get nothing
	WorkerDraining WorkerState = "draining" // its claims get nothing, because it is asked to end
	WorkerLost     WorkerState = "lost"     // no claim and no heartbeat for 30 s
)

// Refusal is the error of a claim that got nothing because of its worker, whatever jobs there are.
type Refusal = claim.Refusal

// The refusals.
const (
	RefusedPaused     = claim.RefusedPaused
	RefusedDraining   = claim.RefusedDraining
	RefusedAtCapacity = claim.RefusedAtCapacity
	RefusedTaken      = claim.RefusedTaken
)

// WorkerSettings is what a worker says of itself. With a replacement, what is nil goes back to its default.
type WorkerSettings struct {
	Hostname *string            `json:"hostname,omitempty" maxLength:"255" doc:"The machine that it runs on." example:"mail-a"`
	Capacity *int               `json:"capacity,omitempty" minimum:"0" maximum:"10000" doc:"The most jobs that it may have at once, on all nodes together; 0: no limit. Defaults to 10." example:"10"`
	Queues   *[]string          `json:"queues,omitempty" maxItems:"100" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The queues that it works on, for display: claims name their own queues. Defaults to none." example:"mail"`
	Version  *string            `json:"version,omitempty" maxLength:"200" doc:"Its version." example:"1.4.2"`
	Labels   *map[string]string `json:"labels,omitempty" doc:"Anything it wants to be known by; at most 8 KiB."`
}

// Worker is a worker, and how it is.
type Worker struct {
	Name         string            `json:"name" doc:"Its name." example:"mailer-1"`
	Tenant       string            `json:"tenant,omitempty" doc:"The tenant of the key that registered it."`
	State        WorkerState       `json:"state" enum:"active,paused,draining,lost" doc:"lost: not seen for 30 s. A draining worker with running 0 is done."`
	Hostname     string            `json:"hostname,omitempty" doc:"The machine that it says it runs on."`
	Version      string            `json:"version,omitempty" doc:"Its version, as it says."`
	Queues       []string          `json:"queues" doc:"The queues that it says it works on."`
	Labels       map[string]string `json:"labels" doc:"Anything it wants to be known by."`
	Capacity     *int              `json:"capacity,omitempty" doc:"The most jobs that it may have at once; absent: no limit."`
	Running      int64             `json:"running" doc:"Jobs that it has now."`
	Load         *float64          `json:"load,omitempty" doc:"How busy it last said it is; what the number means is its own affair."`
	RegisteredAt time.Time         `json:"registered_at" doc:"When it registered or was first seen."`
	LastSeenAt   time.Time         `json:"last_seen_at" doc:"When it last made a claim or sent a heartbeat, for itself or one of its jobs. While it claims, this is up to five seconds late."`
	PausedAt     *time.Time        `json:"paused_at,omitempty" doc:"When it was paused."`
	DrainingAt   *time.Time        `json:"draining_at,omitempty" doc:"Since when it drains."`
	Stats        *WorkerStats      `json:"stats,omitempty" doc:"What it did in the requested window."`
}

// WorkerStats is what a worker did in a span of time.
type WorkerStats struct {
	WindowSeconds float64 `json:"window_seconds" doc:"The length of the window before now, in seconds."`
	Completed     int64   `json:"completed" doc:"Attempts that it completed."`
	Failed        int64   `json:"failed" doc:"Attempts that failed, timed out or were lost."`
	BusySeconds   float64 `json:"busy_seconds" doc:"How long its jobs ran in this time, added up, including those that still run."`
}

// WorkerBeat is what a worker learns from a heartbeat of its own.
type WorkerBeat struct {
	State      WorkerState `json:"state" enum:"active,paused,draining" doc:"paused: claims get nothing for a while. draining: finish what you have, and end."`
	Capacity   *int        `json:"capacity,omitempty" doc:"The most jobs that it may have at once; absent: no limit."`
	Registered bool        `json:"registered" doc:"false: it never registered, or was removed since, and is known by its claims only. It may register again."`
}

// WorkerRemoval says what came of the jobs of a worker that was removed.
type WorkerRemoval struct {
	Released int `json:"released" doc:"Jobs that went back to their queues."`
}

// WorkerFilter chooses workers for a list. A zero value does not restrict it.
type WorkerFilter struct {
	State    WorkerState
	Queue    string // one that it says it works on
	Hostname string
	Window   time.Duration // over which to say what each did; 0: do not
}

// WorkerWindow is the default window of a worker's figures.
const WorkerWindow = time.Hour

// Workers lists workers by name, starting after a name. It returns up to limit of them.
func (e *Engine) Workers(ctx context.Context, f WorkerFilter, after string, limit int) ([]Worker, error) {
	workers, err := e.listWorkers(ctx, db.ListWorkersParams{
		After: after, State: nonZero(string(f.State)), Queue: nonZero(f.Queue), Hostname: nonZero(f.Hostname), MaxWorkers: int32(limit),
	})
	if err != nil || f.Window == 0 {
		return workers, err
	}
	stats, err := e.workerStats(ctx, f.Window, nil)
	for i := range workers {
		workers[i].Stats = stats(workers[i].Name)
	}
	return workers, err
}

func (e *Engine) listWorkers(ctx context.Context, params db.ListWorkersParams) (_ []Worker, err error) {
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return nil, err
	}
	if p := access.From(ctx); p != nil && !p.Has(access.Reader, access.Operator) {
		params.Worker = &p.ID
	}
	rows, err := e.reads.ListWorkers(ctx, params)
	if err != nil {
		return nil, fromDB("listing workers", err)
	}
	workers := make([]Worker, len(rows))
	for i, r := range rows {
		w := Worker{
			Name: r.Name, Tenant: r.Tenant, State: WorkerState(r.State), Hostname: r.Hostname, Version: r.Version, Queues: r.Queues, Capacity: intOf(r.Capacity), Running: r.Running, Load: r.Load,
			RegisteredAt: r.RegisteredAt.UTC(), LastSeenAt: r.LastSeenAt.UTC(), PausedAt: utc(r.PausedAt), DrainingAt: utc(r.DrainingAt),
		}
		if err := json.Unmarshal(r.Labels, &w.Labels); err != nil {
			return nil, fmt.Errorf("reading the labels of worker %q: %w", w.Name, err)
		}
		workers[i] = w
	}
	return workers, nil
}

// workerStats returns a function that tells the figures of a worker.
func (e *Engine) workerStats(ctx context.Context, window time.Duration, only *string) (func(name string) *WorkerStats, error) {
	rows, err := e.reads.WorkerStats(ctx, db.WorkerStatsParams{WindowSeconds: window.Seconds(), Worker: only})
	stats := make(map[string]WorkerStats, len(rows))
	for _, r := range rows {
		stats[r.Worker] = WorkerStats{Completed: r.Completed, Failed: r.Failed, BusySeconds: r.BusySeconds}
	}
	return func(name string) *WorkerStats {
		s := stats[name]
		s.WindowSeconds = window.Seconds()
		return &s
	}, fromDB("reading what workers did", err)
}

// Worker returns one worker, and what it did in the window before now; 0: without that. Errors: WorkerNotFound.
func (e *Engine) Worker(ctx context.Context, name string, window time.Duration) (Worker, error) {
	workers, err := e.listWorkers(ctx, db.ListWorkersParams{Name: &name, MaxWorkers: 1})
	if err != nil {
		return Worker{}, err
	}
	if len(workers) == 0 {
		return Worker{}, &Error{
			Code: WorkerNotFound, Message: fmt.Sprintf("there is no worker %q", name),
			Hint: "A worker appears at its first claim or registration. Removed workers and those not seen for a week are gone.",
		}
	}
	if window > 0 {
		stats, err := e.workerStats(ctx, window, &name)
		if err != nil {
			return Worker{}, err
		}
		workers[0].Stats = stats(name)
	}
	return workers[0], nil
}

// keeper is the caller as the functions take it that say whose a worker's record is: null where the caller may write all.
func keeper(ctx context.Context) (json.RawMessage, error) {
	p := access.From(ctx)
	if p == nil {
		return nil, nil
	}
	k := struct {
		Principal int32    `json:"principal"`
		Worker    bool     `json:"worker"`
		Operator  bool     `json:"operator"`
		Tenant    string   `json:"tenant,omitempty"`
		Queues    []string `json:"queues,omitzero"`
	}{Principal: p.ID, Worker: p.Has(access.Worker), Operator: p.Has(access.Operator)}
	if b := boundsOf(ctx); b != nil {
		k.Tenant, k.Queues = b.Tenant, b.Queues
	}
	text, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encoding who keeps a worker: %w", err)
	}
	return text, nil
}

// RegisterWorker makes a worker known, or replaces its settings. The record belongs to the caller. Errors: InvalidArgument,
// QueueNotFound, WorkerTaken.
func (e *Engine) RegisterWorker(ctx context.Context, name string, settings WorkerSettings) (Worker, error) {
	text, err := json.Marshal(settings)
	if err != nil {
		return Worker{}, fmt.Errorf("encoding settings: %w", err)
	}
	caller, err := keeper(ctx)
	if err != nil {
		return Worker{}, err
	}
	return e.changedWorker(ctx, name, e.q.RegisterWorker(ctx, db.RegisterWorkerParams{Name: name, Settings: text, Caller: caller}))
}

// EditWorker changes what is named of a worker and leaves the rest. Errors: WorkerNotFound, InvalidArgument,
// QueueNotFound.
func (e *Engine) EditWorker(ctx context.Context, name string, changes WorkerSettings) (Worker, error) {
	text, err := json.Marshal(changes)
	if err != nil {
		return Worker{}, fmt.Errorf("encoding changes: %w", err)
	}
	return e.changedWorker(ctx, name, e.changes.EditWorker(ctx, db.EditWorkerParams{Name: name, Changes: text}))
}

// PauseWorker stops giving a worker new jobs; running jobs continue. Errors: WorkerNotFound.
func (e *Engine) PauseWorker(ctx context.Context, name string) (Worker, error) {
	return e.changedWorker(ctx, name, e.changes.PauseWorker(ctx, name))
}

// DrainWorker stops giving a worker new jobs, and asks it to end once it has finished those that it has. Errors: WorkerNotFound.
func (e *Engine) DrainWorker(ctx context.Context, name string) (Worker, error) {
	return e.changedWorker(ctx, name, e.changes.DrainWorker(ctx, name))
}

// ResumeWorker ends a pause and a drain. Errors: WorkerNotFound.
func (e *Engine) ResumeWorker(ctx context.Context, name string) (Worker, error) {
	return e.changedWorker(ctx, name, e.changes.ResumeWorker(ctx, name))
}

func (e *Engine) changedWorker(ctx context.Context, name string, err error) (Worker, error) {
	if err != nil {
		return Worker{}, fromDB("changing a worker", err)
	}
	return e.Worker(ctx, name, 0)
}

// RemoveWorker forgets a worker and gives its jobs back at once. Errors: WorkerNotFound.
func (e *Engine) RemoveWorker(ctx context.Context, name string) (WorkerRemoval, error) {
	if err := e.requireWorker(ctx, name); err != nil {
		return WorkerRemoval{}, err
	}
	e.seen.forget(name)
	n, err := e.changes.RemoveWorker(ctx, name)
	return WorkerRemoval{Released: int(n)}, fromDB("removing a worker", err)
}

// WorkerHeartbeat records that a worker is alive; load may be nil. Errors: WorkerNotFound, InvalidArgument.
func (e *Engine) WorkerHeartbeat(ctx context.Context, name string, load *float64) (WorkerBeat, error) {
	caller, err := keeper(ctx)
	if err != nil {
		return WorkerBeat{}, err
	}
	row, err := e.q.WorkerHeartbeat(ctx, db.WorkerHeartbeatParams{Name: name, Load: load, Caller: caller})
	return WorkerBeat{State: WorkerState(row.State), Capacity: intOf(row.Capacity), Registered: row.Registered}, fromDB("taking in a heartbeat", err)
}

// requireWorker returns WorkerNotFound unless the caller may see a worker.
func (e *Engine) requireWorker(ctx context.Context, name string) error {
	bounds, err := encodedBounds(ctx)
	if err != nil {
		return err
	}
	return fromDB("looking up a worker", e.q.RequireWorker(ctx, db.RequireWorkerParams{Name: name, Bounds: bounds}))
}

// WorkerJobs lists the jobs that a worker has now, as List does. Errors: WorkerNotFound.
func (e *Engine) WorkerJobs(ctx context.Context, name string, before ID, limit int) (Page, error) {
	if err := e.requireWorker(ctx, name); err != nil {
		return Page{}, err
	}
	return e.List(ctx, Filter{State: AnyState{Running}, Worker: name}, before, limit)
}
