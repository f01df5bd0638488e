package enqueue

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestActiveUniqueKeyMakesOneJob(t *testing.T) {
	t.Parallel()
	t.Run("SQL", activeUniqueKeyMakesOneJobSQL)
	t.Run("REST", activeUniqueKeyMakesOneJobREST)
}

func activeUniqueKeyMakesOneJobSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	job := `{"kind": "a", "unique": {"key": "k"}}`
	first := weirtest.Enqueue(t, d, job)[0]
	again := func(want int64, duplicate bool, when string) {
		t.Helper()
		got := weirtest.Value[string](t, d, "select concat_ws(' ', job_id, duplicate) from weir.enqueue_batch($1)", `[{"kind": "b", "queue": "other", "unique": {"key": "k", "scope": "active"}}]`)
		if want := fmt.Sprint(want, " ", map[bool]string{true: "t", false: "f"}[duplicate]); got != want {
			t.Errorf("%s: enqueueing answers %q, want %q", when, got, want)
		}
	}
	again(first, true, "while it is available")
	if id := weirtest.Value[int64](t, d, "select weir.enqueue('c', unique_key => 'k')"); id != first {
		t.Errorf("weir.enqueue answers %d, want %d", id, first)
	}
	j := weirtest.ClaimOne(t, d, "default")
	again(first, true, "while it runs")
	weirtest.Exec(t, d, "select weir.snooze($1, $2, '1 hour')", j.ID, j.Token)
	again(first, true, "while it is scheduled")
	weirtest.Exec(t, d, "select weir.retry($1)", first)
	j = weirtest.ClaimOne(t, d, "default")
	weirtest.Exec(t, d, "select weir.fail($1, $2, null, '1 hour')", j.ID, j.Token)
	again(first, true, "while it is retryable")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 1 {
		t.Fatalf("there are %d jobs, want one", n)
	}
}

func activeUniqueKeyMakesOneJobREST(t *testing.T) {
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

func TestActiveUniqueKeyIsFreeAfterItsJob(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	var last int64
	for _, ending := range []string{
		"select weir.complete(job_id, token) from weir.job_lease where job_id = $1",
		"select weir.fail(job_id, token, null, retry => false) from weir.job_lease where job_id = $1",
		"select weir.cancel($1)",
	} {
		id := weirtest.Value[int64](t, d, "select weir.enqueue('a', unique_key => 'k')")
		if id == last {
			t.Fatalf("before %q: job %d still has the key", ending, id)
		}
		last = id
		if !strings.Contains(ending, "cancel") {
			weirtest.ClaimOne(t, d, "default")
		}
		weirtest.Exec(t, d, ending, id)
	}
	// A retried job gets its key back, unless another job has it.
	weirtest.Exec(t, d, "select weir.retry($1)", last)
	if id := weirtest.Value[int64](t, d, "select weir.enqueue('a', unique_key => 'k')"); id != last {
		t.Errorf("enqueueing answers %d, want %d, which runs again", id, last)
	}
}

func TestUniqueKeyWithTTLIsTakenUntilThen(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	long, short := `{"kind": "a", "unique": {"key": "long", "scope": "ttl", "ttl_seconds": 3600}}`, `{"kind": "a", "unique": {"key": "short", "scope": "ttl", "ttl_seconds": 60}}`
	ids := weirtest.Enqueue(t, d, long, short)
	weirtest.Complete(t, d, weirtest.Claim(t, d, "default", 1)...)
	if again := weirtest.Enqueue(t, d, long)[0]; again != ids[0] {
		t.Errorf("the key of an ended job was given to %d before its time", again)
	}
	if again := weirtest.Enqueue(t, d, short)[0]; again != ids[1] {
		t.Errorf("the key of job %d was given to %d before its time", ids[1], again)
	}
	weirtest.Exec(t, d, "update weir.job_unique set until = clock_timestamp() where key = 'short'") // as if a minute had passed
	next := weirtest.Enqueue(t, d, short)[0]
	if next == ids[1] {
		t.Errorf("the key is still taken after its time")
	}
	weirtest.WantState(t, d, ids[1], "available") // its time has passed, whatever happened to its job
	if again := weirtest.Enqueue(t, d, short)[0]; again != next {
		t.Errorf("the key that job %d took over was given to %d", next, again)
	}
}

func TestKeyTwiceInBatchMakesOneJob(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, unique := range []string{`{"key": "k1"}`, `{"key": "k2", "scope": "ttl", "ttl_seconds": 60}`} {
		ids := weirtest.Enqueue(t, d, `{"kind": "a", "unique": `+unique+`}`, `{"kind": "between"}`, `{"kind": "b", "unique": `+unique+`}`, `{"kind": "c", "delay_seconds": 5, "unique": `+unique+`}`)
		if ids[2] != ids[0] || ids[3] != ids[0] || ids[1] == ids[0] {
			t.Errorf("%s: the ids are %v, want the first, third and fourth the same", unique, ids)
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 4 {
		t.Errorf("there are %d jobs, want 4", n)
	}
}

func TestConcurrentEnqueuesOfKeyMakeOneJob(t *testing.T) {
	t.Parallel()
	t.Run("SQL", concurrentEnqueuesOfKeyMakeOneJobSQL)
	t.Run("REST", concurrentEnqueuesOfKeyMakeOneJobREST)
}

func concurrentEnqueuesOfKeyMakeOneJobSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	for round := range 20 {
		sql := fmt.Sprintf("select weir.enqueue('a', queue => 'q', unique_key => 'k%d')", round)
		if round%2 == 1 {
			sql = fmt.Sprintf(`select weir.enqueue('a', queue => 'q', options => '{"unique": {"key": "k%d", "scope": "ttl", "ttl_seconds": 60}}')`, round)
		}
		ids := make(chan int64, 8)
		for range cap(ids) {
			go func() {
				var id int64
				if err := d.QueryRow(context.Background(), sql).Scan(&id); err != nil {
					t.Error(err)
				}
				ids <- id
			}()
		}
		first := <-ids
		for range cap(ids) - 1 {
			if id := <-ids; id != first {
				t.Errorf("round %d: two jobs, %d and %d, have one key", round, first, id)
			}
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 20 {
		t.Errorf("there are %d jobs, want 20", n)
	}
}

func concurrentEnqueuesOfKeyMakeOneJobREST(t *testing.T) {
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

func TestFirstTransactionDecidesKey(t *testing.T) {
	t.Parallel()
	for _, commits := range []bool{true, false} {
		t.Run(fmt.Sprintf("commits=%t", commits), func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			weirtest.Exec(t, d, "select weir.set_queue('q')")
			const sql = "select weir.enqueue('a', queue => 'q', unique_key => 'k')"
			tx := d.Tx()
			first := weirtest.Value[int64](t, tx, sql)
			second := make(chan int64)
			go func() { second <- weirtest.Value[int64](t, d, sql) }()
			weirtest.Eventually(t, "the second waits for the first's transaction", func() bool {
				return weirtest.Value[int](t, d, "select count(*) from pg_locks where not granted and locktype = 'transactionid' and pid in (select pid from pg_stat_activity where datname = current_database())") > 0
			})
			select {
			case id := <-second:
				t.Fatalf("the second has not waited, and got %d", id)
			default:
			}
			if commits {
				weirtest.Commit(t, tx)
			} else {
				weirtest.Rollback(t, tx)
			}
			id := <-second
			if (id == first) != commits {
				t.Errorf("the first got %d and the second %d", first, id)
			}
			if got := weirtest.Claim(t, d, "q", 10); len(got) != 1 || got[0].ID != id {
				t.Errorf("claimed %v, want %d alone", got, id)
			}
		})
	}
}
