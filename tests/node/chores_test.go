package node

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// Jobs move without any chore: with River's tables locked, and without River.
func TestJobsMoveWithoutRiver(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(t *testing.T, s *weirtest.Node){
		"its tables are locked": func(t *testing.T, s *weirtest.Node) {
			t.Cleanup(s.RunChores())
			s.Eventually("River works", func() bool { return s.Count("select count(*) from weir_river.river_job where state = 'completed'") > 0 })
			tx, err := s.DB.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { weirtest.Rollback(t, tx) })
			tables := weirtest.Values[string](t, tx, "select format('weir_river.%I', relname) from pg_class where relnamespace = 'weir_river'::regnamespace and relkind = 'r'")
			weirtest.Exec(t, tx, "lock table "+strings.Join(tables, ", ")+" in access exclusive mode")
		},
		"it does not run": func(*testing.T, *weirtest.Node) {},
		"it is gone":      func(t *testing.T, s *weirtest.Node) { s.Exec("drop schema weir_river cascade") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weirtest.StartNode(t)
			stop(t, s)

			s.Post("/v1/schedules", obj{"name": "s", "every_seconds": 1, "job": obj{"kind": "scheduled", "queue": "scheduled"}}).Want(http.StatusCreated)
			retried := s.EnqueueAndClaim("retry")
			s.Post("/v1/jobs/"+retried.ID+"/fail", obj{"token": retried.Token, "retry_in_seconds": 0.3, "error": obj{"message": "m"}}).Want(http.StatusOK)
			lost := s.Enqueue(obj{"kind": "k", "queue": "lost"})
			if got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", obj{"worker": "w", "queues": []string{"lost"}, "lease_seconds": 1, "wait_seconds": 20}).Want(http.StatusOK)).Jobs; len(got) != 1 {
				t.Errorf("the job to be lost was claimed as %+v", got)
			}
			delayed := s.Enqueue(obj{"kind": "k", "queue": "delayed", "delay_seconds": 0.3})
			plain := s.Enqueue(obj{"kind": "k", "queue": "plain"})
			for queue, want := range map[string]string{"plain": plain, "retry": retried.ID, "lost": lost, "delayed": delayed, "scheduled": ""} {
				var got []weirtest.ClaimedJob
				s.Eventually("a job of "+queue+" comes", func() bool { got = s.Claim(1, queue); return len(got) == 1 })
				if want != "" && got[0].ID != want {
					t.Errorf("from %s came job %s, want %s", queue, got[0].ID, want)
				}
				s.Post("/v1/jobs/"+got[0].ID+"/complete", obj{"token": got[0].Token}).Want(http.StatusOK)
			}
			// Requests for chores are accepted, kept and visible.
			s.Post("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{}}).Want(http.StatusAccepted)
			if n := s.Count("select sum(completed)::int from weir.throughput"); n < 5 {
				t.Errorf("the throughput is of %d jobs", n)
			}
		})
	}
}

// Each chore runs and leaves a record.
func TestChoresRunAndLeaveRecord(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	for _, kind := range []string{"rollup", "retention", "seal"} {
		s.Eventually(kind+" ran", func() bool {
			return s.Count("select count(*) from weir_river.river_job where kind = $1 and state = 'completed'", kind) > 0
		})
	}
	s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.StartOperation("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{}})
	s.Eventually("the operation ran", func() bool {
		return s.Count("select count(*) from weir_river.river_job where kind = 'operation' and state = 'completed'") > 0
	})
}
