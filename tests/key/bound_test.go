package key

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// at fails the test unless a problem names this place.
func at(t *testing.T, p weirtest.ProblemBody, place string) {
	t.Helper()
	if len(p.Errors) != 1 || p.Errors[0].Location != place {
		t.Errorf("got %+v, want one error at %s", p, place)
	}
}

func TestKeyIsBoundToItsQueues(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	bound := s.AsNew("bound", weirtest.Object{"queues": []string{"mail-*"}}, "producer", "worker", "reader")
	id := bound.Enqueue(weirtest.Object{"kind": "k", "queue": "mail-eu"})
	other := s.Enqueue(weirtest.Object{"kind": "k", "queue": "secret"})
	at(t, bound.Post("/v1/jobs", weirtest.Object{"kind": "k", "queue": "secret"}).Problem(http.StatusForbidden, "forbidden"), "body.queue")
	bound.Post("/v1/jobs", weirtest.Object{"kind": "k"}).Problem(http.StatusForbidden, "forbidden")
	at(t, bound.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "mail-us"}, {"kind": "k"}]}`).Problem(http.StatusForbidden, "forbidden"), "body.jobs[1].queue")
	bound.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "mail-us"}]}`).Want(http.StatusCreated)
	at(t, bound.Post("/v1/claims", weirtest.Object{"worker": "w", "queues": []string{"mail-eu", "secret"}}).Problem(http.StatusForbidden, "forbidden"), "body.queues[1]")
	bound.Get("/v1/jobs/" + id).Want(http.StatusOK)
	bound.Get("/v1/jobs/"+other).Problem(http.StatusNotFound, "job_not_found")
	bound.Get("/v1/queues/mail-eu").Want(http.StatusOK)
	bound.Get("/v1/queues/secret").Problem(http.StatusNotFound, "queue_not_found")
	if n := s.Count("select count(*) from weir.job"); n != 3 {
		t.Errorf("there are %d jobs, want 3", n)
	}
}

func TestWorkerWithQueuesKeepsItsRecord(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	bound := s.AsNew("bound", weirtest.Object{"queues": []string{"mail-*"}}, "worker")
	bound.Do(http.MethodPut, "/v1/workers/w", weirtest.Object{"queues": []string{"mail-eu"}, "capacity": 2}).Want(http.StatusOK)
	bound.Post("/v1/workers/w/heartbeat", weirtest.Object{}).Want(http.StatusOK)
	bound.Get("/v1/workers/w").Want(http.StatusOK)
}

// What is no object must not be stamped: in a group it stands beside the jobs of other callers.
func TestWhatIsNoJobIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	for _, job := range []string{`"x}"`, `"{}"`, `[{"kind": "k"}]`, `[{}, 1]`, `7`} {
		at(t, s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k"}, `+job+`]}`).Problem(http.StatusUnprocessableEntity, "invalid_argument"), "body.jobs[1]")
	}
}

// A worker gets every job of a queue, whatever its tenant, so a key must say which queues those are.
func TestWorkerWithATenantNamesItsQueues(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	claim := func(queue string) weirtest.Object { return weirtest.Object{"worker": "w", "queues": []string{queue}} }
	s.AsNew("all", weirtest.Object{"tenant": "acme"}, "worker").Post("/v1/claims", claim("acme-mail")).Problem(http.StatusForbidden, "forbidden")
	named := s.AsNew("named", weirtest.Object{"tenant": "acme", "queues": []string{"acme-*"}}, "worker")
	named.Post("/v1/claims", claim("shared")).Problem(http.StatusForbidden, "forbidden")
	named.Post("/v1/claims", claim("acme-mail")).Want(http.StatusOK)
}

func TestProducerSeesOnlyWhatItEnqueued(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a, b := s.AsNew("a", nil, "producer"), s.AsNew("b", nil, "producer")
	single := a.Enqueue(weirtest.Object{"kind": "k"})
	batch := a.EnqueueAll([]weirtest.Object{{"kind": "k"}, {"kind": "k", "tags": []string{"t"}}})
	for _, id := range append(batch, single) {
		a.Get("/v1/jobs/" + id).Want(http.StatusOK)
		a.Get("/v1/jobs/" + id + "/timeline").Want(http.StatusOK)
		s.Get("/v1/jobs/" + id).Want(http.StatusOK)
		for _, path := range []string{"", "/timeline", "/why"} {
			b.Get("/v1/jobs/"+id+path).Problem(http.StatusNotFound, "job_not_found")
		}
		b.Post("/v1/jobs/"+id+"/cancel", nil).Problem(http.StatusNotFound, "job_not_found")
	}
	a.Post("/v1/jobs/"+single+"/cancel", nil).Want(http.StatusOK)
}

// TestPrincipalCannotBeForged writes the field that the engine stamps, in every spelling that JSON has for it.
func TestPrincipalCannotBeForged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	for _, node := range []*weirtest.Node{s, weirtest.StartNode(t)} {
		for _, job := range []string{`{"kind": "k", "principal": 1}`, `{"kind": "k", "\u0070rincipal": 1}`} {
			node.Post("/v1/jobs", job).Want(http.StatusUnprocessableEntity)
			at(t, node.Post("/v1/jobs/batch", `{"jobs": [`+job+`]}`).Problem(http.StatusUnprocessableEntity, "invalid_argument"), "body.jobs[0].principal")
		}
	}
}

func TestLeaseBelongsToThePrincipalThatClaimedIt(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a, b := s.AsNew("a", nil, "worker"), s.AsNew("b", nil, "worker")
	for _, outcome := range []string{"complete", "fail", "snooze", "release", "heartbeat"} {
		s.Enqueue(weirtest.Object{"kind": "k", "queue": outcome})
		job := a.ClaimOne(outcome)
		number := s.Count("select token from weir.job_lease where job_id = $1", job.ID)
		body := func(token string) weirtest.Object {
			o := weirtest.Object{"token": token}
			switch outcome {
			case "fail":
				o["error"] = weirtest.Object{"message": "m"}
			case "snooze":
				o["delay_seconds"] = 60
			}
			return o
		}
		path := "/v1/jobs/" + job.ID + "/" + outcome
		b.Post(path, body(job.Token)).Problem(http.StatusConflict, "stale_token")
		for _, guess := range []string{job.ID, strconv.Itoa(number), strconv.Itoa(number) + ".0000000000000000"} {
			a.Post(path, body(guess)).Problem(http.StatusConflict, "stale_token")
			b.Post(path, body(guess)).Problem(http.StatusConflict, "stale_token")
		}
		if outcome != "heartbeat" {
			ack := body(job.Token)
			ack["id"], ack["outcome"] = job.ID, outcome
			r := b.Post("/v1/acks", weirtest.Object{"acks": []weirtest.Object{ack}}).Want(http.StatusOK)
			if !strings.Contains(string(r.Body), "stale_token") {
				t.Errorf("%s by another in a batch: %v", outcome, r)
			}
		}
		a.Post(path, body(job.Token)).Want(http.StatusOK)
	}
	if n := s.Count("select count(*) from weir.job_lease where principal is null"); n != 0 {
		t.Error("a lease does not name its principal")
	}
}
