package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Nodes are killed and connections cut while steps add steps and wait for timers, signals and each other. No step is
// forgotten: every workflow ends with the result that its definition implies.
func TestNoStepIsForgottenWhileNodesAreKilled(t *testing.T) {
	weirtest.Long(t, "it kills nodes")
	t.Parallel()
	database := weirtest.New(t)
	pool := database.Pool
	const flows = 60
	node, process := weirtest.StartServe(t, database)
	second, _ := weirtest.StartServe(t, database)
	var current atomic.Pointer[weirtest.Node]
	current.Store(node)

	want := map[string]int{}
	for i := range flows {
		parts := 3 + i%7
		w := second.Submit(obj{"on_failure": "continue"},
			obj{"name": "split", "kind": "split", "queue": "q", "args": obj{"parts": parts}, "max_attempts": 100},
			obj{"name": "pause", "wait_for": obj{"seconds": 0.2}, "depends_on": []string{"split"}},
			obj{"name": "go", "wait_for": obj{"signal": "go", "timeout_seconds": 0.5, "on_timeout": "continue"}},
			obj{"name": "sub", "depends_on": []string{"pause", "go"}, "workflow": obj{"name": "sub", "steps": []obj{
				{"name": "x", "kind": "part", "queue": "q", "args": obj{"n": 1}, "max_attempts": 100}, {"name": "y", "kind": "part", "queue": "q", "args": obj{"n": 2}, "depends_on": []string{"x"}, "max_attempts": 100},
			}}})
		want[w] = parts * (parts + 1) / 2
	}

	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for n := range 6 {
		working.Go(func() {
			for ctx.Err() == nil {
				at := second
				if n%2 == 0 {
					at = current.Load()
				}
				if workStepsOnce(ctx, at, fmt.Sprint("worker-", n)) != nil {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	over := func() int {
		var n int
		if err := pool.QueryRow(t.Context(), "select count(*) from weir.workflow where finished_at is not null and parent_job_id is null").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for part := 1; part <= 3; part++ {
		second.Eventually(fmt.Sprintf("%d of 4 parts are over", part), func() bool { return over() >= flows*part/4 })
		process.Kill() // kill -9
		// And all connections of the other node, in the middle of their work.
		if _, err := pool.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'weir%' and pid <> pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
		node, process = weirtest.StartServe(t, database)
		current.Store(node)
	}
	second.Eventually("every workflow is over", func() bool { return over() == flows })
	stop()
	working.Wait()
	for w, sum := range want {
		if got := second.Workflow(w); got.State != "completed" {
			t.Errorf("workflow %s is %+v", w, got)
		}
		var result int
		if err := pool.QueryRow(t.Context(), "select (result #>> '{}')::int from weir.workflow_steps where workflow_id = $1::bigint and name = 'join'", w).Scan(&result); err != nil || result != sum {
			t.Errorf("the result of workflow %s is %d, want %d: %v", w, result, sum, err)
		}
	}
	weirtest.CheckWorkflows(t, pool)
}

// workStepsOnce claims and works a few steps and ignores errors of the calls.
func workStepsOnce(ctx context.Context, s *weirtest.Node, worker string) error {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := s.Send(limited, http.MethodPost, "/v1/claims", obj{"worker": worker, "queues": []string{"q"}, "limit": 10, "wait_seconds": 0.5, "lease_seconds": 2})
	if err != nil {
		return err
	}
	if r.Status != http.StatusOK {
		return fmt.Errorf("%v", r)
	}
	var claimed struct {
		Jobs []struct {
			ID, Token, Kind string
			Args            struct{ Parts, N int }
			Dependencies    map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(r.Body, &claimed); err != nil {
		return err
	}
	for _, j := range claimed.Jobs {
		body := obj{"token": j.Token}
		switch j.Kind {
		case "split":
			names, steps := []string{}, []obj{}
			for n := 1; n <= j.Args.Parts; n++ {
				names = append(names, fmt.Sprint("part-", n))
				steps = append(steps, obj{"name": names[n-1], "kind": "part", "queue": "q", "args": obj{"n": n}, "depends_on": []string{"split"}, "max_attempts": 100})
			}
			body["add_steps"] = append(steps, obj{"name": "join", "kind": "join", "queue": "q", "depends_on": names, "max_attempts": 100})
		case "part":
			body["result"] = j.Args.N
		case "join":
			sum := 0
			for _, d := range j.Dependencies {
				var n int
				if err := json.Unmarshal(d, &n); err != nil {
					return err
				}
				sum += n
			}
			body["result"] = sum
		}
		if _, err := s.Send(limited, http.MethodPost, "/v1/jobs/"+j.ID+"/complete", body); err != nil {
			return err
		}
	}
	return nil
}
