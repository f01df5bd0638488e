package tests

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTAnEnqueueWithATakenKeyAnswersWithTheFirstJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	body := `{"kind": "k", "args": {"n": 1}, "unique": {"key": "order-42"}}`
	first := s.Enqueue(body)
	same := func(what string) {
		t.Helper()
		r := s.Post("/v1/jobs", strings.Replace(body, "1", "2", 1)).Want(http.StatusOK)
		if j := weirtest.Decode[weirtest.Job](r); j.ID != first || !j.Duplicate || !weirtest.SameJSON(t, j.Args, []byte(`{"n": 1}`)) || r.Header.Get("Location") != "/v1/jobs/"+first {
			t.Errorf("%s: %v", what, r)
		}
	}
	same("while it waits")
	got := s.ClaimOne("default")
	same("while it runs")
	s.Post("/v1/jobs/"+first+"/complete", obj{"token": got.Token}).Want(http.StatusOK)
	second := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", body).Want(http.StatusCreated))
	if second.ID == first || second.Duplicate {
		t.Errorf("after it ended: %+v", second)
	}
	if n := s.Count(`select count(*) from weir.job`); n != 2 {
		t.Errorf("%d jobs are stored, want 2", n)
	}

	withTTL := `{"kind": "k", "queue": "ttl", "unique": {"key": "hour", "scope": "ttl", "ttl_seconds": 3600}}`
	kept := s.Enqueue(withTTL)
	s.Post("/v1/jobs/"+kept+"/complete", obj{"token": s.ClaimOne("ttl").Token}).Want(http.StatusOK)
	if j := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", withTTL).Want(http.StatusOK)); j.ID != kept || !j.Duplicate || j.State != "completed" {
		t.Errorf("within its hour: %+v", j)
	}

	brief := strings.Replace(strings.Replace(withTTL, "hour", "second", 1), "3600", "1", 1)
	gone := s.Enqueue(brief)
	s.Eventually("a key is free again after its second", func() bool {
		r := s.Post("/v1/jobs", brief)
		return r.Status == http.StatusCreated && weirtest.Decode[weirtest.Job](r).ID != gone
	})
}

func TestRESTEnqueuesOfOneKeyAtOnceMakeOneJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var mu sync.Mutex
	ids, created := map[string]bool{}, 0
	var callers sync.WaitGroup
	for range 40 {
		callers.Go(func() {
			r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs", `{"kind": "k", "unique": {"key": "one"}}`)
			if err != nil {
				t.Error(err)
				return
			}
			var j weirtest.Job
			if err := json.Unmarshal(r.Body, &j); err != nil || r.Status != http.StatusCreated && r.Status != http.StatusOK || j.Duplicate != (r.Status == http.StatusOK) {
				t.Error(r)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[j.ID] = true
			if r.Status == http.StatusCreated {
				created++
			}
		})
	}
	callers.Wait()
	if len(ids) != 1 || created != 1 {
		t.Errorf("%d jobs, %d of them created", len(ids), created)
	}
}

func TestRESTABatchIsStoredWholeOrNotAtAll(t *testing.T) {
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

// An application that has taken a key, or made a queue, in a transaction that it leaves open, holds up those who want the same, and nobody else.
func TestRESTAnEnqueueThatHasToWaitHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(`{"kind": "k", "queue": "there"}`)
	tx, err := s.DB.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `select weir.enqueue('k', unique_key => 'taken', queue => 'there'), weir.enqueue('k', queue => 'made just now')`); err == nil {
		t.Fatal("a queue's name with spaces was taken")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tx, err = s.DB.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select weir.enqueue('k', unique_key => 'taken', queue => 'there'), weir.enqueue('k', queue => 'just-made')`); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	held := make(chan int, 8)
	for i := range 8 {
		waiting.Go(func() {
			body := `{"kind": "k", "queue": "there", "unique": {"key": "taken"}}`
			if i%2 == 1 {
				body = `{"kind": "k", "queue": "just-made"}`
			}
			r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs", body)
			if err != nil {
				t.Error(err)
				return
			}
			held <- r.Status
		})
	}
	s.Eventually("an enqueue waits for the open transaction", func() bool {
		return s.Count(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'weir%' and wait_event_type = 'Lock'`) > 0
	})
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), weirtest.Patience)
		r, err := s.Send(ctx, http.MethodPost, "/v1/jobs", `{"kind": "free", "queue": "there"}`)
		cancel()
		if err != nil {
			t.Errorf("an enqueue of another key was held up: %v", err)
			break
		}
		r.Want(http.StatusCreated)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	close(held)
	for status := range held {
		if status != http.StatusOK && status != http.StatusCreated && status != http.StatusServiceUnavailable {
			t.Errorf("one that had to wait was answered with %d", status)
		}
	}
	if n := s.Count(`select count(*) from weir.job where unique_key = 'taken'`); n != 1 {
		t.Errorf("%d jobs have the key", n)
	}
}

// Somebody holds what single calls need, for longer than a group commit waits: they are done once it is free.
func TestRESTSingleCallsOutlastALock(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k"})
	j := s.ClaimOne("default")
	free := s.ExecUncommitted(`lock table weir.job_ready, weir.job_lease in share mode`)
	var calls sync.WaitGroup
	calls.Go(func() {
		time.Sleep(900 * time.Millisecond)
		free()
	})
	call := func(path string, body any, status int) {
		calls.Go(func() {
			if r, err := s.Send(t.Context(), http.MethodPost, path, body); err != nil || r.Status != status {
				t.Errorf("%v, %v; want %d", r, err, status)
			}
		})
	}
	call("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}, http.StatusOK)
	for range 20 {
		call("/v1/jobs", `{"kind": "k"}`, http.StatusCreated)
	}
	calls.Wait()
	if n := s.Count(`select count(*)::int from weir.job`); n != 21 {
		t.Errorf("there are %d jobs", n)
	}
}
