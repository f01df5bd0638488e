package jobs

import "slices"

// jobEvents, workflowEvents, workerEvents and breakerEvents are the names of events, without the workflow_, worker_ or breaker_ before those of the
// last three.
var (
	jobEvents = []string{
		"enqueued", "started", "completed", "cancelled", "dead", "failed", "timed_out", "lost", "snoozed", "released", "cancel_requested", "edited",
		"retried", "redriven", "purged", "routed", "let_through", "rerouted", "postponed", "substituted", "replayed",
	}
	workflowEvents = []string{
		"submitted", "completed", "failed", "cancelled", "signal", "steps_added", "stopping", "compensating", "cancel_requested", "deadline", "retried",
		"forked", "step_retried", "child_started", "child_ended",
	}
	workerEvents  = []string{"active", "paused", "draining", "lost", "removed"}
	breakerEvents = []string{"opened", "half_opened", "closed", "recovered", "pinned", "unpinned", "set", "deleted"}
)

// EventNames are the names of all events.
var EventNames = slices.Concat(jobEvents, prefixed("workflow_", workflowEvents), prefixed("worker_", workerEvents), prefixed("breaker_", breakerEvents))

func prefixed(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = prefix + name
	}
	return all
}
