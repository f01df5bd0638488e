//go:build unix

package weirtest

import (
	"net/http"
	"testing"
)

// MakeJobInState enqueues a job over REST, brings it into a state and returns its id.
var MakeJobInState = map[string]func(s *Node, queue string) string{
	"available": func(s *Node, queue string) string { return s.Enqueue(Object{"kind": "k", "queue": queue}) },
	"scheduled": func(s *Node, queue string) string {
		return s.Enqueue(Object{"kind": "k", "queue": queue, "delay_seconds": 3600})
	},
	"running": func(s *Node, queue string) string {
		s.Enqueue(Object{"kind": "k", "queue": queue})
		return s.ClaimOne(queue).ID
	},
	"retryable": func(s *Node, queue string) string {
		return s.EndedJob(queue, "fail", Object{"error": Object{"message": "no"}, "retry_in_seconds": 3600})
	},
	"dead": func(s *Node, queue string) string {
		return s.EndedJob(queue, "fail", Object{"error": Object{"message": "no"}, "retry": false})
	},
	"completed": func(s *Node, queue string) string { return s.EndedJob(queue, "complete", Object{}) },
	"cancelled": func(s *Node, queue string) string {
		id := s.Enqueue(Object{"kind": "k", "queue": queue})
		s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)
		return id
	},
}

// JobsInEachState returns a job in each state. All of them but "new" were claimed before.
func JobsInEachState(t *testing.T, d *Database) map[string]Lease {
	t.Helper()
	jobs := map[string]Lease{}
	for state, calls := range map[string][]string{
		"available": {"release($1, $2)"},
		"scheduled": {"snooze($1, $2, '1 hour')"},
		"retryable": {`fail($1, $2, '{"message": "no"}', '1 hour')`},
		"held":      {"release($1, $2)"},
		"running":   {"heartbeat(array[$1::bigint], array[$2::bigint])"},
		"completed": {`complete($1, $2, '"done"')`},
		"cancelled": {"release($1, $2)", "cancel($1)"},
		"dead":      {`fail($1, $2, '{"message": "no"}', retry => false)`},
	} {
		Exec(t, d, "select weir.enqueue('a', queue => $1, priority => 4)", state)
		j := ClaimOne(t, d, state)
		for _, call := range calls {
			j.Call(t, d, call)
		}
		jobs[state] = j
	}
	HoldForSignal(t, d, jobs["held"].ID)
	Exec(t, d, "select weir.enqueue('a', queue => 'new')")
	id := Value[int64](t, d, "select id from weir.jobs where queue = 'new'")
	jobs["new"] = Lease{ID: id, Token: id}
	for state, j := range jobs {
		if state != "new" {
			WantState(t, d, j.ID, state)
		}
	}
	return jobs
}

// HoldForSignal makes an available job wait for a signal.
func HoldForSignal(t *testing.T, d Querier, id int64) {
	t.Helper()
	Exec(t, d, `with taken as (delete from weir.job_ready where coalesce(job_id, seq) = $1 returning *)
		insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key) select coalesce(job_id, seq), queue_id, priority, attempt, 'signal', 'go' from taken`, id)
}
