package connection

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestAClosedConnectionFailsOneCall ends all of a node's connections at once, as a restart of PostgreSQL does.
func TestAClosedConnectionFailsOneCall(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	const callers = 8
	put := func(i int) (*weirtest.Response, error) {
		return s.Send(t.Context(), http.MethodPut, fmt.Sprint("/v1/queues/q", i), weirtest.Object{"priority": 3})
	}
	commit := s.ExecUncommitted("lock table weir.queue in access exclusive mode")
	var calls sync.WaitGroup
	for i := range callers {
		calls.Go(func() { _, _ = put(i) })
	}
	ours := "pg_stat_activity where datname = current_database() and application_name = 'weir'"
	s.Eventually("each call has a connection", func() bool {
		return s.Count("select count(*) from "+ours+" and wait_event_type = 'Lock'") == callers
	})
	commit()
	calls.Wait()
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "q0"}) // which has a connection of another of the node's pools
	ours = "pg_stat_activity where datname = current_database() and application_name in ('weir', 'weir groups')"
	s.Count("select count(pg_terminate_backend(pid)) from " + ours)
	failed := 0
	for i := range callers {
		r, err := put(i)
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != http.StatusOK {
			r.Problem(http.StatusServiceUnavailable, "unavailable")
			failed++
		}
	}
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "q0"})
	if failed > 1 {
		t.Errorf("%d of %d calls failed", failed, callers)
	}
}
