package overload

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestASlowCallFailsAlone completes jobs together with one whose completion never ends, and is cancelled as by a timeout.
func TestASlowCallFailsAlone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	weirtest.Exec(t, s.DB, `create function public.sleep() returns trigger language plpgsql as $$ begin perform pg_sleep(600); return new; end $$`)
	weirtest.Exec(t, s.DB, `create trigger sleep before insert on weir.job_outcome for each row when (new.result = '"slow"') execute function public.sleep()`)
	const n = 40
	for range n {
		s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"})
	}
	jobs := s.Claim(n, "q")
	if len(jobs) != n {
		t.Fatalf("%d jobs were claimed", len(jobs))
	}
	var wg sync.WaitGroup
	var done atomic.Int32
	slow := make(chan int, 1)
	for i, j := range jobs {
		wg.Go(func() {
			result := fmt.Sprint(i)
			if i == n/2 {
				result = "slow"
			}
			r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs/"+j.ID+"/complete", weirtest.Object{"token": j.Token, "result": result})
			switch {
			case err != nil:
				t.Errorf("call %d: %v", i, err)
			case i == n/2:
				slow <- r.Status
			case r.Status != http.StatusOK:
				t.Errorf("call %d is answered %d %s", i, r.Status, r.Body)
			}
			done.Add(1)
		})
	}
	s.Eventually("all calls are answered", func() bool {
		weirtest.Exec(t, s.DB, `select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`)
		return done.Load() == n
	})
	wg.Wait()
	if status := <-slow; status != http.StatusServiceUnavailable {
		t.Errorf("the slow call is answered %d, want 503", status)
	}
}
