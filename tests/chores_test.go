package tests

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/pgtest"
)

// What jobs need in order to move depends on no chore: with River's tables locked, and with no River at all.
func TestJobsMoveWithoutRiver(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(t *testing.T, s *service, url string){
		"its tables are locked": func(t *testing.T, s *service, url string) {
			t.Cleanup(s.runChores(url))
			s.eventually("River works", func() bool { return s.count("select count(*) from weir_river.river_job where state = 'completed'") > 0 })
			tx, err := s.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { rollback(t, tx) })
			tables := askAll[string](t, tx, "select format('weir_river.%I', relname) from pg_class where relnamespace = 'weir_river'::regnamespace and relkind = 'r'")
			do(t, tx, "lock table "+strings.Join(tables, ", ")+" in access exclusive mode")
		},
		"it does not run": func(*testing.T, *service, string) {},
		"it is gone":      func(t *testing.T, s *service, _ string) { s.sql("drop schema weir_river cascade") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.New(t)
			s := startServiceOn(t, database.URL)
			s.pool = database.Pool()
			stop(t, s, database.URL)

			s.post("/v1/schedules", obj{"name": "s", "every_seconds": 1, "job": obj{"kind": "scheduled", "queue": "scheduled"}}).want(http.StatusCreated)
			retried := s.leased("retry")
			s.post("/v1/jobs/"+retried.ID+"/fail", obj{"token": retried.Token, "retry_in_seconds": 0.3, "error": obj{"message": "m"}}).want(http.StatusOK)
			lost := s.enqueue(obj{"kind": "k", "queue": "lost"})
			if got := readAs[servedClaims](s.post("/v1/claims", obj{"worker": "w", "queues": []string{"lost"}, "lease_seconds": 1, "wait_seconds": 20}).want(http.StatusOK)).Jobs; len(got) != 1 {
				t.Errorf("the job to be lost was claimed as %+v", got)
			}
			delayed := s.enqueue(obj{"kind": "k", "queue": "delayed", "delay_seconds": 0.3})
			plain := s.enqueue(obj{"kind": "k", "queue": "plain"})
			for queue, want := range map[string]string{"plain": plain, "retry": retried.ID, "lost": lost, "delayed": delayed, "scheduled": ""} {
				var got []servedClaim
				s.eventually("a job of "+queue+" comes", func() bool { got = s.claim(1, queue); return len(got) == 1 })
				if want != "" && got[0].ID != want {
					t.Errorf("from %s came job %s, want %s", queue, got[0].ID, want)
				}
				s.post("/v1/jobs/"+got[0].ID+"/complete", obj{"token": got[0].Token}).want(http.StatusOK)
			}
			// What chores would have done is asked for, kept, and seen by those who look.
			s.post("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{}}).want(http.StatusAccepted)
			if n := s.count("select sum(completed)::int from weir.throughput"); n < 5 {
				t.Errorf("the throughput is of %d jobs", n)
			}
		})
	}
}

// Each chore runs, and leaves a record of it.
func TestChoresRunAndLeaveARecord(t *testing.T) {
	t.Parallel()
	s := startServiceWithChores(t)
	for _, kind := range []string{"rollup", "retention", "seal"} {
		s.eventually(kind+" ran", func() bool {
			return s.count("select count(*) from weir_river.river_job where kind = $1 and state = 'completed'", kind) > 0
		})
	}
	s.enqueue(obj{"kind": "k", "queue": "q"})
	s.startOperation("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{}})
	s.eventually("the operation ran", func() bool {
		return s.count("select count(*) from weir_river.river_job where kind = 'operation' and state = 'completed'") > 0
	})
}
