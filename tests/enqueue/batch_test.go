package enqueue

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestBatchIsStoredWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	bad := s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "a"}, {"kind": "b"}, {"kind": "c", "priority": 11}, {"kind": "d"}]}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if len(bad.Errors) != 1 || bad.Errors[0].Location != "body.jobs[2].priority" {
		t.Errorf("the place: %+v", bad.Errors)
	}
	tooMany := make([]obj, 10001)
	for i := range tooMany {
		tooMany[i] = obj{"kind": "k"}
	}
	s.Post("/v1/jobs/batch", obj{"jobs": tooMany}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if n := s.Count(`select count(*) from weir.job`); n != 0 {
		t.Fatalf("%d jobs of refused batches are stored", n)
	}

	ids := s.EnqueueAll(tooMany[:10000])
	if len(ids) != 10000 {
		t.Fatalf("%d ids for 10,000 jobs", len(ids))
	}
	empty := weirtest.Decode[struct {
		IDs        []string
		Duplicates *int
	}](s.Post("/v1/jobs/batch", `{"jobs": []}`).Want(http.StatusCreated))
	if empty.IDs == nil || len(empty.IDs) != 0 || empty.Duplicates == nil || *empty.Duplicates != 0 {
		t.Errorf("an empty batch: %+v", empty)
	}

	s.Enqueue(`{"kind": "k", "queue": "u", "unique": {"key": "a"}}`)
	some := weirtest.Decode[struct {
		IDs        []string
		Duplicates int
	}](s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "u", "unique": {"key": "a"}}, {"kind": "k", "queue": "u", "unique": {"key": "b"}},
		{"kind": "k", "queue": "u", "unique": {"key": "b"}}, {"kind": "k", "queue": "u"}]}`).Want(http.StatusCreated))
	if some.Duplicates != 2 || len(some.IDs) != 4 || some.IDs[1] != some.IDs[2] || some.IDs[1] == some.IDs[0] || some.IDs[3] == some.IDs[1] {
		t.Errorf("with duplicates: %+v", some)
	}
	if n := s.Count(`select count(*) from weir.job j join weir.queue q on q.id = j.queue_id where q.name = 'u'`); n != 3 {
		t.Errorf("%d jobs are stored, want 3", n)
	}
}

// Batches that arrive together are committed together. Their answers must not show that.
func TestGroupedBatchesAreAnsweredSeparately(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	const calls = 48
	var callers sync.WaitGroup
	var mu sync.Mutex
	stored := map[string][2]int{} // by id: its call, and its place in it
	for call := range calls {
		callers.Go(func() {
			batch := make([]obj, 2+call%7)
			for i := range batch {
				batch[i] = obj{"kind": "k", "args": obj{"call": call, "place": i}}
			}
			if call%6 == 5 {
				batch[1]["priority"] = 11
				p := s.Post("/v1/jobs/batch", obj{"jobs": batch}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
				if len(p.Errors) != 1 || p.Errors[0].Location != "body.jobs[1].priority" {
					t.Errorf("call %d is told %+v", call, p)
				}
				return
			}
			ids := s.EnqueueAll(batch)
			if len(ids) != len(batch) {
				t.Errorf("call %d has %d jobs and gets %d ids", call, len(batch), len(ids))
			}
			mu.Lock()
			defer mu.Unlock()
			for i, id := range ids {
				stored[id] = [2]int{call, i}
			}
		})
	}
	callers.Wait()
	if n := s.Count("select count(*) from weir.job"); n != len(stored) {
		t.Errorf("%d jobs are stored, and %d ids were told", n, len(stored))
	}

	var claimed []weirtest.ClaimedJob
	for _, j := range s.ClaimAs("w", len(stored), "default") {
		args := fmt.Sprintf(`{"call": %d, "place": %d}`, stored[j.ID][0], stored[j.ID][1])
		if !weirtest.SameJSON(t, j.Args, []byte(args)) {
			t.Errorf("job %s has the args %s and was enqueued with %s", j.ID, j.Args, args)
		}
		claimed = append(claimed, j)
	}
	// Each call completes three of its own jobs, one of them twice, and names a wrong token.
	completed := 0
	for i := 0; i+3 <= len(claimed); i += 3 {
		completed += 3
		callers.Go(func() {
			var acks []obj
			for _, j := range []weirtest.ClaimedJob{claimed[i], claimed[i+1], claimed[i], claimed[i+2]} {
				acks = append(acks, obj{"id": j.ID, "token": j.Token, "outcome": "complete", "result": j.ID})
			}
			acks = append(acks, obj{"id": claimed[i].ID, "token": "1", "outcome": "fail", "error": obj{"message": "m"}})
			if got := s.Acks(acks...); got != "ok, ok, stale_token, ok, stale_token" {
				t.Errorf("the acks of call %d: %s", i/3, got)
			}
		})
		if i%2 == 0 {
			callers.Go(func() {
				bad := obj{"id": claimed[i].ID, "token": claimed[i].Token, "outcome": "fail"}
				if got := s.Acks(bad); got != "invalid" {
					t.Errorf("a bad ack of call %d: %s", i/3, got)
				}
			})
		}
	}
	callers.Wait()
	if n := s.Count("select count(*) from weir.job_outcome where state = 'completed' and result #>> '{}' = job_id::text"); n != completed {
		t.Errorf("%d jobs are completed, of %d", n, completed)
	}
	for _, operation := range []string{`operation="enqueue_many"`, `operation="ack_many"`} {
		if items := s.Metric("weir_group_commit_items_sum", operation); items < float64(completed) {
			t.Errorf("%s: %g jobs", operation, items)
		}
	}
}
