package tests

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRESTAnEnqueueWithATakenKeyAnswersWithTheFirstJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	body := `{"kind": "k", "args": {"n": 1}, "unique": {"key": "order-42"}}`
	first := s.enqueue(body)
	same := func(what string) {
		t.Helper()
		r := s.post("/v1/jobs", strings.Replace(body, "1", "2", 1)).want(http.StatusOK)
		if j := readAs[servedJob](r); j.ID != first || !j.Duplicate || !sameJSON(t, j.Args, []byte(`{"n": 1}`)) || r.header.Get("Location") != "/v1/jobs/"+first {
			t.Errorf("%s: %v", what, r)
		}
	}
	same("while it waits")
	got := s.claimOne("default")
	same("while it runs")
	s.post("/v1/jobs/"+first+"/complete", obj{"token": got.Token}).want(http.StatusOK)
	second := readAs[servedJob](s.post("/v1/jobs", body).want(http.StatusCreated))
	if second.ID == first || second.Duplicate {
		t.Errorf("after it ended: %+v", second)
	}
	if n := s.count(`select count(*) from weir.job`); n != 2 {
		t.Errorf("%d jobs are stored, want 2", n)
	}

	withTTL := `{"kind": "k", "queue": "ttl", "unique": {"key": "hour", "scope": "ttl", "ttl_seconds": 3600}}`
	kept := s.enqueue(withTTL)
	s.post("/v1/jobs/"+kept+"/complete", obj{"token": s.claimOne("ttl").Token}).want(http.StatusOK)
	if j := readAs[servedJob](s.post("/v1/jobs", withTTL).want(http.StatusOK)); j.ID != kept || !j.Duplicate || j.State != "completed" {
		t.Errorf("within its hour: %+v", j)
	}

	brief := strings.Replace(strings.Replace(withTTL, "hour", "second", 1), "3600", "1", 1)
	gone := s.enqueue(brief)
	s.eventually("a key is free again after its second", func() bool {
		r := s.post("/v1/jobs", brief)
		return r.status == http.StatusCreated && readAs[servedJob](r).ID != gone
	})
}

func TestRESTEnqueuesOfOneKeyAtOnceMakeOneJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	var mu sync.Mutex
	ids, created := map[string]bool{}, 0
	var callers sync.WaitGroup
	for range 40 {
		callers.Go(func() {
			r, err := s.send(t.Context(), http.MethodPost, "/v1/jobs", `{"kind": "k", "unique": {"key": "one"}}`)
			if err != nil {
				t.Error(err)
				return
			}
			var j servedJob
			if err := json.Unmarshal(r.body, &j); err != nil || r.status != http.StatusCreated && r.status != http.StatusOK || j.Duplicate != (r.status == http.StatusOK) {
				t.Error(r)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[j.ID] = true
			if r.status == http.StatusCreated {
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
	s := startService(t)
	bad := s.post("/v1/jobs/batch", `{"jobs": [{"kind": "a"}, {"kind": "b"}, {"kind": "c", "priority": 11}, {"kind": "d"}]}`).problem(http.StatusUnprocessableEntity, "invalid_argument")
	if len(bad.Errors) != 1 || bad.Errors[0].Location != "body.jobs[2].priority" {
		t.Errorf("the place: %+v", bad.Errors)
	}
	tooMany := make([]obj, 10001)
	for i := range tooMany {
		tooMany[i] = obj{"kind": "k"}
	}
	s.post("/v1/jobs/batch", obj{"jobs": tooMany}).problem(http.StatusUnprocessableEntity, "invalid_argument")
	if n := s.count(`select count(*) from weir.job`); n != 0 {
		t.Fatalf("%d jobs of refused batches are stored", n)
	}

	ids := s.enqueueAll(tooMany[:10000])
	if len(ids) != 10000 {
		t.Fatalf("%d ids for 10,000 jobs", len(ids))
	}
	empty := readAs[struct {
		IDs        []string
		Duplicates *int
	}](s.post("/v1/jobs/batch", `{"jobs": []}`).want(http.StatusCreated))
	if empty.IDs == nil || len(empty.IDs) != 0 || empty.Duplicates == nil || *empty.Duplicates != 0 {
		t.Errorf("an empty batch: %+v", empty)
	}

	s.enqueue(`{"kind": "k", "queue": "u", "unique": {"key": "a"}}`)
	some := readAs[struct {
		IDs        []string
		Duplicates int
	}](s.post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "u", "unique": {"key": "a"}}, {"kind": "k", "queue": "u", "unique": {"key": "b"}},
		{"kind": "k", "queue": "u", "unique": {"key": "b"}}, {"kind": "k", "queue": "u"}]}`).want(http.StatusCreated))
	if some.Duplicates != 2 || len(some.IDs) != 4 || some.IDs[1] != some.IDs[2] || some.IDs[1] == some.IDs[0] || some.IDs[3] == some.IDs[1] {
		t.Errorf("with duplicates: %+v", some)
	}
	if n := s.count(`select count(*) from weir.job j join weir.queue q on q.id = j.queue_id where q.name = 'u'`); n != 3 {
		t.Errorf("%d jobs are stored, want 3", n)
	}
}

// An application that has taken a key, or made a queue, in a transaction that it leaves open, holds up those who want the same, and nobody else.
func TestRESTAnEnqueueThatHasToWaitHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.enqueue(`{"kind": "k", "queue": "there"}`)
	tx, err := s.pool.Begin(t.Context())
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
	if tx, err = s.pool.Begin(t.Context()); err != nil {
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
			r, err := s.send(t.Context(), http.MethodPost, "/v1/jobs", body)
			if err != nil {
				t.Error(err)
				return
			}
			held <- r.status
		})
	}
	s.eventually("an enqueue waits for the open transaction", func() bool {
		return s.count(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'weir%' and wait_event_type = 'Lock'`) > 0
	})
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
		r, err := s.send(ctx, http.MethodPost, "/v1/jobs", `{"kind": "free", "queue": "there"}`)
		cancel()
		if err != nil {
			t.Errorf("an enqueue of another key was held up: %v", err)
			break
		}
		r.want(http.StatusCreated)
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
	if n := s.count(`select count(*) from weir.job where unique_key = 'taken'`); n != 1 {
		t.Errorf("%d jobs have the key", n)
	}
}

// Somebody holds what single calls need, for longer than a group commit waits: they are done once it is free.
func TestRESTSingleCallsOutlastALock(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.enqueue(obj{"kind": "k"})
	j := s.claimOne("default")
	free := s.begin(`lock table weir.job_ready, weir.job_lease in share mode`)
	var calls sync.WaitGroup
	calls.Go(func() {
		time.Sleep(900 * time.Millisecond)
		free()
	})
	call := func(path string, body any, status int) {
		calls.Go(func() {
			if r, err := s.send(t.Context(), http.MethodPost, path, body); err != nil || r.status != status {
				t.Errorf("%v, %v; want %d", r, err, status)
			}
		})
	}
	call("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}, http.StatusOK)
	for range 20 {
		call("/v1/jobs", `{"kind": "k"}`, http.StatusCreated)
	}
	calls.Wait()
	if n := s.count(`select count(*)::int from weir.job`); n != 21 {
		t.Errorf("there are %d jobs", n)
	}
}
