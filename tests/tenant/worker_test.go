package tenant

import (
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestWorkersOfOthersAreNotFound(t *testing.T) {
	eachBinding(t, func(t *testing.T, s *weirtest.Node, a, b side) {
		for name, who := range map[string]side{"of_a": a, "of_b": b} {
			who.Do(http.MethodPut, "/v1/workers/"+name, obj{"queues": []string{who.queue}}).Want(http.StatusOK)
			who.Post("/v1/workers/"+name+"/heartbeat", obj{}).Want(http.StatusOK)
		}
		s.Do(http.MethodPut, "/v1/workers/plain", obj{"queues": []string{"of_admin"}}).Want(http.StatusOK)
		s.Enqueue(obj{"kind": "k", "queue": "of_admin"})
		s.ClaimAs("seen", 1, "of_admin")
		s.Eventually("the worker that only claims is listed", func() bool { return len(names(s.Get("/v1/workers"))) == 4 })
		if got := names(a.Get("/v1/workers")); len(got) != 1 || got[0] != "of_a" && got[0] != "of_a/a" {
			t.Errorf("a lists %v", got)
		}
		for _, name := range []string{"of_b", "plain", "seen"} {
			for _, path := range []string{"", "/jobs", "/history"} {
				hidden(t, a.Node, http.MethodGet, "/v1/workers/NAME"+path, name, nil, "worker_not_found")
			}
			hidden(t, a.Node, http.MethodPatch, "/v1/workers/NAME", name, obj{"capacity": 1}, "worker_not_found")
			hidden(t, a.Node, http.MethodDelete, "/v1/workers/NAME", name, nil, "worker_not_found")
			for _, action := range []string{"pause", "resume", "drain"} {
				hidden(t, a.Node, http.MethodPost, "/v1/workers/NAME/"+action, name, nil, "worker_not_found")
			}
		}
		hidden(t, a.Node, http.MethodPost, "/v1/workers/NAME/heartbeat", "of_b", obj{}, "worker_not_found")
		a.Do(http.MethodPut, "/v1/workers/of_b", obj{"queues": []string{a.queue}}).Problem(http.StatusConflict, "worker_taken")
		if n := s.Count("select count(*) from weir.worker where capacity = 10 and paused_at is null and draining_at is null"); n != 3 {
			t.Errorf("%d workers are as they were, want 3", n)
		}
		for _, action := range []string{"pause", "resume", "drain"} {
			a.Post("/v1/workers/of_a/"+action, nil).Want(http.StatusOK)
		}
		a.Do(http.MethodPatch, "/v1/workers/of_a", obj{"capacity": 1}).Want(http.StatusOK)
		s.Do(http.MethodPut, "/v1/workers/of_a", obj{"queues": []string{a.queue}, "capacity": 3}).Want(http.StatusOK)
		a.Post("/v1/workers/of_a/heartbeat", obj{}).Want(http.StatusOK) // it is still its own
		a.Do(http.MethodDelete, "/v1/workers/of_a", nil).Want(http.StatusOK)
	})
}

func TestHistoryOfAWorkerIsOfTheCallersJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"tenant": "a", "queues": []string{"*"}}, all...)
	reader := s.AsNew("r", obj{"tenant": "a"}, "reader")
	a.Do(http.MethodPut, "/v1/workers/w", obj{}).Want(http.StatusOK)
	mine := make([]string, 0, 5)
	for range 5 {
		mine = append(mine, a.Enqueue(obj{"kind": "mine", "queue": "q"}))
		for range 3 {
			s.Enqueue(obj{"kind": "secret", "queue": "q"})
		}
	}
	for _, j := range a.ClaimAs("w", 10, "q") {
		a.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	}
	for _, j := range a.ClaimAs("w", 10, "q") {
		a.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	}
	var seen []string
	for path := "/v1/workers/w/history?limit=2"; path != ""; {
		page := weirtest.Decode[struct {
			Items []struct {
				JobID string `json:"job_id"`
			}
			NextCursor string `json:"next_cursor"`
		}](reader.Get(path).Want(http.StatusOK))
		for _, item := range page.Items {
			seen = append(seen, item.JobID)
		}
		if path = ""; page.NextCursor != "" {
			path = "/v1/workers/w/history?limit=2&cursor=" + page.NextCursor
		}
	}
	slices.Sort(seen)
	slices.Sort(mine)
	if !slices.Equal(seen, mine) {
		t.Errorf("its history has the jobs %v, want %v", seen, mine)
	}
}

// TestWorkerBelongsToTheKeyThatRegisteredIt: workers alone, with keys that are bound to nothing.
func TestWorkerBelongsToTheKeyThatRegisteredIt(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	key := s.NewKey(obj{"name": "a", "roles": []string{"worker"}})
	a, b := s.As(key.Secret), s.AsNew("b", nil, "worker")
	reason := func(who *weirtest.Node) string {
		if r := who.TryClaim("wrk", 1, 0).Reason; r != nil {
			return *r
		}
		return ""
	}
	for _, capacity := range []int{0, 2} {
		a.Do(http.MethodPut, "/v1/workers/wrk", obj{"capacity": capacity}).Want(http.StatusOK)
		a.Get("/v1/workers/wrk").Want(http.StatusOK)
		hidden(t, b, http.MethodGet, "/v1/workers/NAME", "wrk", nil, "worker_not_found")
		hidden(t, b, http.MethodPost, "/v1/workers/NAME/heartbeat", "wrk", obj{}, "worker_not_found")
		b.Do(http.MethodPut, "/v1/workers/wrk", obj{}).Problem(http.StatusConflict, "worker_taken")
		s.Enqueue(obj{"kind": "k", "queue": "q"})
		if got := reason(b); got != "taken" {
			t.Errorf("with capacity %d, a claim by another says %q", capacity, got)
		}
		if got := reason(a); got != "" {
			t.Errorf("with capacity %d, its own claim says %q", capacity, got)
		}
		if n := s.Count("select count(*) from weir.job_lease where principal <> (select id from weir.principal where name = 'a')"); n != 0 {
			t.Error("another claimed under its name")
		}
	}
	s.Do(http.MethodDelete, "/v1/keys/"+key.ID, nil).Want(http.StatusNoContent)
	b.Do(http.MethodPut, "/v1/workers/wrk", obj{}).Want(http.StatusOK) // the owner's key is revoked
	if got := reason(b); got == "taken" {
		t.Error("its new owner may not claim under its name")
	}
}

// TestOneClaimOfTwoKeysUnderOneName: a node claims for all that wait at once, and so for both.
func TestOneClaimOfTwoKeysUnderOneName(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", nil, "worker")
	s.AsNew("b", nil, "worker")
	for _, capacity := range []int{0, 2} {
		a.Do(http.MethodPut, "/v1/workers/wrk", obj{"capacity": capacity}).Want(http.StatusOK)
		s.Enqueue(obj{"kind": "k", "queue": "q"})
		s.Enqueue(obj{"kind": "k", "queue": "q"})
		got := weirtest.Values[string](t, s.DB, `select format('%s %s', c.slot, coalesce(c.refusal, 'job')) from
			(select max(p.id) filter (where p.name = 'a') as a, max(p.id) filter (where p.name = 'b') as b from weir.principal p) k,
			weir.claim_batch('{q}', '{wrk,wrk,new}', '{1,1,1}', '{0,0,0}', principals => array[k.b, k.a, k.b]) c`)
		slices.Sort(got)
		if want := []string{"1 taken", "2 job", "3 job"}; !slices.Equal(got, want) {
			t.Errorf("with capacity %d, the slots of b, of a, and of b under another name get %q, want %q", capacity, got, want)
		}
		s.Exec("select weir.complete_many(array_agg(l.job_id), array_agg(l.token)) from weir.job_lease l")
	}
}
