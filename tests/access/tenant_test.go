package access

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestKeysOfTenantsAreApart takes the same unique and idempotency keys for two tenants and for none, by every door.
func TestKeysOfTenantsAreApart(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	tenants := []string{"null", `"acme"`, `"other"`}
	doors := map[string]func(job string) string{
		"SQL": func(job string) string {
			return fmt.Sprint(weirtest.Value[int64](t, s.DB, "select weir.enqueue_many(jsonb_build_array($1::jsonb))", job))
		},
		"REST": func(job string) string { return weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", job)).ID },
	}
	for door, enqueue := range doors {
		for what, key := range map[string]string{"unique": `"unique": {"key": "` + door + `"}`, "idempotency": `"idempotency_key": "` + door + `"`} {
			if door == "REST" && what == "idempotency" {
				continue // it is a header there
			}
			seen := map[string]string{}
			for _, tenant := range tenants {
				job := fmt.Sprintf(`{"kind": "k", "tenant": %s, "args": {"of": %[1]s}, %s}`, tenant, key)
				first, again := enqueue(job), enqueue(job)
				if first != again {
					t.Errorf("%s, %s: a tenant's second job with the key is %s, the first %s", door, what, again, first)
				}
				if of, taken := seen[first]; taken {
					t.Errorf("%s, %s: tenant %s gets job %s of tenant %s", door, what, tenant, first, of)
				}
				seen[first] = tenant
			}
		}
	}
	batch := `[{"kind": "k", "unique": {"key": "b"}}, {"kind": "k", "unique": {"key": "b"}, "tenant": "acme"}, {"kind": "k", "unique": {"key": "b"}, "tenant": "other"}, {"kind": "k", "unique": {"key": "b"}, "tenant": "acme"}]`
	if n := weirtest.Value[int](t, s.DB, "select count(distinct x) from weir.enqueue_many($1) x", batch); n != 3 {
		t.Errorf("a batch with the key for three tenants makes %d jobs, want 3", n)
	}
	for _, tenant := range tenants {
		r, err := s.EnqueueWithKey("header", fmt.Sprintf(`{"kind": "k", "tenant": %s}`, tenant))
		if err != nil {
			t.Fatal(err)
		}
		r.Want(http.StatusCreated)
	}
	weirtest.Exec(t, s.DB, "update weir.job_unique set until = now() where tenant = 'acme'")
	weirtest.Exec(t, s.DB, "select weir.sweep_unique_keys()")
	if n := weirtest.Value[int](t, s.DB, "select count(*) from weir.job_unique where key = 'b'"); n != 2 {
		t.Errorf("%d tenants have the key after one of them lost it, want 2", n)
	}
}

// TestParentsOfOtherTenantsAreNotFound names a job of another tenant as the parent, by every door.
func TestParentsOfOtherTenantsAreNotFound(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	theirs := weirtest.Value[int64](t, s.DB, `select weir.enqueue('k', options => '{"tenant": "acme"}')`)
	ours := weirtest.Value[int64](t, s.DB, `select weir.enqueue('k', options => '{"tenant": "other"}')`)
	shared := weirtest.Value[int64](t, s.DB, `select weir.enqueue('k')`)
	refused := func(job string) (messages []string) {
		t.Helper()
		err := weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.enqueue_many(jsonb_build_array($1::jsonb))", job), "WR010")
		s.Post("/v1/jobs", job).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		return append(messages, err.Message)
	}
	child := `{"kind": "k", "tenant": "other", "parent_id": "%d"}`
	if hidden, missing := refused(fmt.Sprintf(child, theirs)), refused(fmt.Sprintf(child, 999999)); hidden[0] != missing[0] {
		t.Errorf("another tenant's parent is refused as %q, a missing one as %q", hidden, missing)
	}
	refused(fmt.Sprintf(`{"kind": "k", "parent_id": "%d"}`, theirs))
	for _, parent := range []int64{ours, shared} {
		s.Post("/v1/jobs", fmt.Sprintf(child, parent)).Want(http.StatusCreated)
	}
	l := weirtest.Login(t, s.DB, "app", "'producer', '{*}', 'other'")
	for _, parent := range []int64{theirs, shared} {
		weirtest.WantSQLState(t, weirtest.TryExec(l, "select weir.enqueue('k', options => jsonb_build_object('parent_id', $1::bigint))", parent), "WR010")
	}
	weirtest.Exec(t, l, "select weir.enqueue('k', options => jsonb_build_object('parent_id', $1::bigint))", ours)
}

// TestAWorkflowsIdempotencyKeyIsItsLoginsOwn submits with the same key for two tenants.
func TestAWorkflowsIdempotencyKeyIsItsLoginsOwn(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	seen := map[int64]bool{}
	for _, q := range []weirtest.Querier{d, weirtest.Login(t, d, "acme", "'producer', '{*}', 'acme'"), weirtest.Login(t, d, "other", "'producer', '{*}', 'other'")} {
		var ids [2]int64
		for i := range ids {
			ids[i] = weirtest.Value[int64](t, q, `select weir.submit_workflow('{"name": "w", "idempotency_key": "key", "steps": [{"name": "a", "kind": "k"}]}')`)
		}
		if ids[0] != ids[1] || seen[ids[0]] {
			t.Errorf("the workflows are %v, those before %v", ids, seen)
		}
		seen[ids[0]] = true
	}
}
