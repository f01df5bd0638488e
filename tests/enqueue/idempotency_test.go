package enqueue

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRepeatedRequestGetsFirstJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	first, err := s.EnqueueWithKey("order-1", `{"kind": "a", "args": {"x": 1, "y": 2}}`)
	if err != nil {
		t.Fatal(err)
	}
	first.Want(http.StatusCreated)
	again, err := s.EnqueueWithKey("order-1", `{"args": {"y": 2, "x": 1}, "kind": "a"}`)
	if err != nil {
		t.Fatal(err)
	}
	again.Want(http.StatusOK)
	a, b := weirtest.Decode[weirtest.Job](first), weirtest.Decode[weirtest.Job](again)
	if a.ID != b.ID {
		t.Errorf("the second answer names job %s, the first %s", b.ID, a.ID)
	}

	other, err := s.EnqueueWithKey("order-1", `{"kind": "b"}`)
	if err != nil {
		t.Fatal(err)
	}
	other.Problem(http.StatusConflict, "idempotency_mismatch")
	if n := s.Count(`select count(*) from weir.jobs`); n != 1 {
		t.Errorf("%d jobs are stored, want 1", n)
	}

	weirtest.Exec(t, s.DB, `update weir.job_idempotency set until = now()`)
	later, err := s.EnqueueWithKey("order-1", `{"kind": "b"}`)
	if err != nil {
		t.Fatal(err)
	}
	later.Want(http.StatusCreated)
}

func TestConcurrentRequestsWithKeyMakeOneJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := make([]string, 20)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			r, err := s.EnqueueWithKey("same", `{"kind": "a"}`)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = weirtest.Decode[weirtest.Job](r).ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("the answers name several jobs: %v", ids)
		}
	}
	if n := s.Count(`select count(*) from weir.jobs`); n != 1 {
		t.Errorf("%d jobs are stored, want 1", n)
	}
}

func TestRepeatedBatchGetsFirstJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	post := func(key, body string) *weirtest.Response {
		t.Helper()
		r, err := s.PostWithKey("/v1/jobs/batch", key, body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	type stored struct {
		IDs        []string `json:"ids"`
		Duplicates int      `json:"duplicates"`
	}
	const batch = `{"jobs": [{"kind": "a"}, {"kind": "a"}, {"kind": "b", "args": {"x": 1}}]}`
	first := weirtest.Decode[stored](post("k", batch).Want(http.StatusCreated))
	again := weirtest.Decode[stored](post("k", `{"jobs": [ { "kind": "a"} , {"kind": "a"},{"args": {"x":1}, "kind": "b"}]}`).Want(http.StatusCreated))
	if !slices.Equal(first.IDs, again.IDs) || first.Duplicates != 0 || again.Duplicates != 3 {
		t.Errorf("the first answer is %+v, the second %+v", first, again)
	}
	post("k", `{"jobs": [{"kind": "a"}, {"kind": "c"}]}`).Problem(http.StatusConflict, "idempotency_mismatch")
	post("k", `{"jobs": [{"kind": "a"}, {"kind": "a"}]}`).Problem(http.StatusConflict, "idempotency_mismatch")
	post("bad", `{"jobs": [{}]}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	post("bad", `{"jobs": []}`).Want(http.StatusCreated)
	// A key of a batch and one of a single job are apart.
	single, err := s.EnqueueWithKey("k", `{"kind": "a"}`)
	if err != nil {
		t.Fatal(err)
	}
	single.Want(http.StatusCreated)
	if n := s.Count(`select count(*) from weir.jobs`); n != 4 {
		t.Errorf("%d jobs are stored, want 4", n)
	}
}

func TestBatchWithAKeyRefusesWhatIsNoJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, element := range []string{`7`, `""`, `null`, `[]`, `"x}"`, `{}`} {
		for _, body := range []string{`{"jobs": [` + element + `]}`, `{"jobs": [{"kind": "k"}, ` + element + `]}`} {
			s.DB.Unchanged(body, func() {
				r, err := s.PostWithKey("/v1/jobs/batch", "key", body)
				if err != nil || r.Status != http.StatusUnprocessableEntity {
					t.Errorf("%s: %v, %v; want 422", body, r, err)
				}
			})
		}
	}
}
