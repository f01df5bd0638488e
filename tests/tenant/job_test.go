// Package tenant tests that a caller who is bound to a tenant, or to queues, sees and changes only what is its own, and
// that what is another's is not found.
package tenant

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }

type obj = weirtest.Object

// side is one of two callers who must not see each other, and the queue that it uses.
type side struct {
	*weirtest.Node
	queue string
}

var all = []string{"producer", "worker", "operator"}

// eachBinding runs a test for two tenants that share a queue, and for two keys with queues of their own. s calls as an
// admin who is bound to nothing.
func eachBinding(t *testing.T, test func(t *testing.T, s *weirtest.Node, a, b side)) {
	t.Parallel()
	t.Run("tenant", func(t *testing.T) {
		t.Parallel()
		s := weirtest.StartNodeWithAuth(t)
		test(t, s, side{s.AsNew("a", obj{"tenant": "a", "queues": []string{"*"}}, all...), "shared"}, side{s.AsNew("b", obj{"tenant": "b", "queues": []string{"*"}}, all...), "shared"})
	})
	t.Run("queues", func(t *testing.T) {
		t.Parallel()
		s := weirtest.StartNodeWithAuth(t)
		// _ and % stand for nothing else in a pattern.
		test(t, s, side{s.AsNew("a", obj{"queues": []string{"q_*"}}, all...), "q_a"}, side{s.AsNew("b", obj{"queues": []string{"qx*"}}, all...), "qxa"})
	})
}

func ids(r *weirtest.Response) (list []string) {
	for _, item := range weirtest.Decode[struct{ Items []struct{ ID string } }](r.Want(http.StatusOK)).Items {
		list = append(list, item.ID)
	}
	slices.Sort(list)
	return list
}

// sees fails the test unless a list has exactly these ids.
func sees(t *testing.T, who *weirtest.Node, path string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := ids(who.Get(path)); !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", path, got, want)
	}
}

func TestJobsOfOthersAreNotFound(t *testing.T) {
	eachBinding(t, func(t *testing.T, s *weirtest.Node, a, b side) {
		parent := a.Enqueue(obj{"kind": "k", "queue": a.queue, "tags": []string{"x"}})
		child := a.Enqueue(obj{"kind": "k", "queue": a.queue, "parent_id": parent})
		theirs := b.Enqueue(obj{"kind": "k", "queue": b.queue, "tags": []string{"x"}})
		sees(t, a.Node, "/v1/jobs", parent, child)
		sees(t, b.Node, "/v1/jobs", theirs)
		sees(t, s, "/v1/jobs", parent, child, theirs)
		sees(t, a.Node, "/v1/jobs?tag=x", parent)
		sees(t, b.Node, "/v1/jobs?queue="+a.queue+"&kind=k&tag=x", slices.DeleteFunc([]string{theirs}, func(string) bool { return a.queue != b.queue })...)
		sees(t, b.Node, "/v1/jobs?tenant=a")
		sees(t, b.Node, "/v1/jobs?parent_id="+parent)
		sees(t, a.Node, "/v1/jobs/"+parent+"/children", child)
		for _, path := range []string{"", "/timeline", "/logs", "/why", "/children", "/dependencies", "?wait_seconds=1"} {
			hidden := b.Get("/v1/jobs/"+parent+path).Problem(http.StatusNotFound, "job_not_found")
			missing := b.Get("/v1/jobs/999999"+path).Problem(http.StatusNotFound, "job_not_found")
			if strings.ReplaceAll(hidden.Detail, parent, "999999") != missing.Detail {
				t.Errorf("%s: another's job gives %q, no job %q", path, hidden.Detail, missing.Detail)
			}
			a.Get("/v1/jobs/" + parent + path).Want(http.StatusOK)
			s.Get("/v1/jobs/" + parent + path).Want(http.StatusOK)
		}
		b.Post("/v1/jobs/"+parent+"/cancel", nil).Problem(http.StatusNotFound, "job_not_found")
		b.Post("/v1/jobs/"+parent+"/retry", nil).Problem(http.StatusNotFound, "job_not_found")
		b.Do(http.MethodPatch, "/v1/jobs/"+parent, obj{"priority": 10}).Problem(http.StatusNotFound, "job_not_found")
		if job := s.Job(parent); job.State != "available" || job.Priority == 10 {
			t.Errorf("another has changed the job: %+v", job)
		}
	})
}

func TestDeadLettersOfOthersAreNotFound(t *testing.T) {
	eachBinding(t, func(t *testing.T, s *weirtest.Node, a, b side) {
		mine, theirs := a.Kill(obj{"kind": "k", "queue": a.queue}), b.Kill(obj{"kind": "k", "queue": b.queue})
		sees(t, a.Node, "/v1/dead", mine)
		sees(t, b.Node, "/v1/dead", theirs)
		sees(t, s, "/v1/dead", mine, theirs)
		sees(t, a.Node, "/v1/dead?error_type=T", mine)
		hidden := b.Get("/v1/dead/"+mine).Problem(http.StatusNotFound, "dead_letter_not_found")
		missing := b.Get("/v1/dead/999999").Problem(http.StatusNotFound, "dead_letter_not_found")
		if strings.ReplaceAll(hidden.Detail, mine, "999999") != missing.Detail {
			t.Errorf("another's letter gives %q, none %q", hidden.Detail, missing.Detail)
		}
		b.Post("/v1/dead/"+mine+"/redrive", nil).Problem(http.StatusNotFound, "dead_letter_not_found")
		b.Do(http.MethodDelete, "/v1/dead/"+mine, nil).Problem(http.StatusNotFound, "dead_letter_not_found")
		a.Get("/v1/dead/" + mine).Want(http.StatusOK)
		for _, action := range []string{"redrive", "purge"} {
			dry := weirtest.Decode[weirtest.Operation](b.Post("/v1/dead/"+action, obj{"filter": obj{}, "dry_run": true}).Want(http.StatusOK))
			if dry.Total != 1 || strings.Contains(string(dry.Filter), "bounds") {
				t.Errorf("a dry run of %s says %+v", action, dry)
			}
		}
		stop := s.RunChores()
		defer stop()
		if o := b.WaitForOperation(b.StartOperation("/v1/dead/redrive", obj{"filter": obj{}}).ID); o.Done != 1 || o.Total != 1 {
			t.Errorf("redriving is %+v", o)
		}
		if got := []string{s.Job(mine).State, s.Job(theirs).State}; !slices.Equal(got, []string{"dead", "available"}) {
			t.Errorf("the jobs are %v", got)
		}
		if o := b.WaitForOperation(b.StartOperation("/v1/dead/purge", obj{"filter": obj{}}).ID); o.Done != 0 {
			t.Errorf("purging is %+v", o)
		}
		a.Get("/v1/dead/" + mine).Want(http.StatusOK)
		a.Post("/v1/dead/"+mine+"/redrive", nil).Want(http.StatusOK)
	})
}

func TestOperationsCoverTheCallersJobsAndAreItsOwn(t *testing.T) {
	eachBinding(t, func(t *testing.T, s *weirtest.Node, a, b side) {
		stop := s.RunChores()
		defer stop()
		mine, theirs := a.Enqueue(obj{"kind": "k", "queue": a.queue}), b.Enqueue(obj{"kind": "k", "queue": b.queue})
		if dry := weirtest.Decode[weirtest.Operation](b.Post("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{}, "dry_run": true}).Want(http.StatusOK)); dry.Total != 1 {
			t.Errorf("a dry run says %+v", dry)
		}
		export := a.WaitForOperation(a.StartOperation("/v1/jobs/export", obj{"filter": obj{}}).ID)
		if text := string(a.Get("/v1/operations/" + export.ID + "/result").Want(http.StatusOK).Body); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"id": "`+mine+`"`) {
			t.Errorf("the export has %s", text)
		}
		cancel := b.WaitForOperation(b.StartOperation("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{}}).ID)
		if cancel.Done != 1 || strings.Contains(string(cancel.Filter), "bounds") {
			t.Errorf("the operation is %+v", cancel)
		}
		if got := []string{s.Job(mine).State, s.Job(theirs).State}; !slices.Equal(got, []string{"available", "cancelled"}) {
			t.Errorf("the jobs are %v", got)
		}
		ofAdmin := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{}}).ID)
		sees(t, a.Node, "/v1/operations", export.ID)
		sees(t, b.Node, "/v1/operations", cancel.ID)
		sees(t, s, "/v1/operations", export.ID, cancel.ID, ofAdmin.ID)
		for _, id := range []string{export.ID, ofAdmin.ID} {
			b.Get("/v1/operations/"+id).Problem(http.StatusNotFound, "operation_not_found")
			b.Get("/v1/operations/"+id+"/result").Problem(http.StatusNotFound, "operation_not_found")
			b.Post("/v1/operations/"+id+"/cancel", nil).Problem(http.StatusNotFound, "operation_not_found")
		}
		a.Post("/v1/operations/"+export.ID+"/cancel", nil).Problem(http.StatusConflict, "operation_ended")
	})
}

// TestBoundsCannotBeSet names them in each filter that a caller sends.
func TestBoundsCannotBeSet(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"tenant": "a"}, all...)
	bounds := obj{"bounds": obj{"principal": 1}}
	for path, more := range map[string]obj{"/v1/jobs/bulk": {"action": "cancel"}, "/v1/jobs/export": {}, "/v1/dead/redrive": {}, "/v1/dead/purge": {}} {
		more["filter"] = bounds
		a.Post(path, more).Want(http.StatusUnprocessableEntity)
	}
	for _, bad := range []string{`1`, `{"x": 1}`, `{"queues": "q"}`, `{"tenant": 1}`, `{"own": "yes"}`, `{"principal": "1"}`} {
		for _, count := range []string{"count_jobs", "count_dead"} {
			weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.`+count+`(jsonb_build_object('bounds', $1::jsonb))`, bad), "WR010")
		}
	}
}

func TestAProducerListsOnlyItsOwnJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a, b := s.AsNew("a", nil, "producer"), s.AsNew("b", nil, "producer")
	mine := a.Enqueue(obj{"kind": "k"})
	child := b.Enqueue(obj{"kind": "k", "parent_id": mine})
	sees(t, a, "/v1/jobs", mine)
	sees(t, b, "/v1/jobs", child)
	sees(t, s, "/v1/jobs", mine, child)
	sees(t, a, "/v1/jobs/"+mine+"/children")
	sees(t, s, "/v1/jobs/"+mine+"/children", child)
	b.Get("/v1/jobs/"+mine+"/children").Problem(http.StatusNotFound, "job_not_found")
}

// TestAcksOfOthersJobsAreNotFound: a worker learns nothing of a job that it may not see, not even that it exists.
func TestAcksOfOthersJobsAreNotFound(t *testing.T) {
	eachBinding(t, func(t *testing.T, _ *weirtest.Node, a, b side) {
		a.Enqueue(obj{"kind": "k", "queue": a.queue})
		held := a.ClaimOne(a.queue)
		for outcome, more := range map[string]obj{"complete": {}, "fail": {"error": obj{"message": "m"}}, "snooze": {"delay_seconds": 1}, "release": {}, "heartbeat": {}} {
			more["token"] = held.Token
			b.Post("/v1/jobs/"+held.ID+"/"+outcome, more).Problem(http.StatusNotFound, "job_not_found")
			if outcome == "heartbeat" {
				continue
			}
			more["outcome"], more["id"] = outcome, held.ID
			if got := b.Acks(more, obj{"outcome": outcome, "id": "999999", "token": "1", "error": more["error"], "delay_seconds": more["delay_seconds"]}); got != "not_found, not_found" {
				t.Errorf("%s: %s", outcome, got)
			}
		}
		b.Post("/v1/jobs/"+held.ID+"/workflow", obj{"token": held.Token, "workflow": obj{"name": "w", "steps": []obj{{"name": "a", "kind": "k"}}}}).Problem(http.StatusNotFound, "job_not_found")
		a.Post("/v1/jobs/"+held.ID+"/complete", obj{"token": held.Token}).Want(http.StatusOK)
		if got := a.Acks(obj{"id": held.ID, "token": held.Token, "outcome": "complete"}); got != "stale_token" {
			t.Errorf("its own second ack is %s", got)
		}
	})
}

// TestWhyTellsNoNumbersOfOthersJobs: a caller with a tenant learns that jobs come before its own, but not how many.
func TestWhyTellsNoNumbersOfOthersJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"tenant": "a"}, "producer")
	for range 3 {
		s.Enqueue(obj{"kind": "k", "queue": "shared", "tenant": "b"})
	}
	id := a.Enqueue(obj{"kind": "k", "queue": "shared"})
	weirtest.Exec(t, s.DB, `select weir.set_queue('lines', '{"limits": {"concurrency": 1}}')`)
	for range 3 {
		s.Enqueue(obj{"kind": "k", "queue": "lines", "tenant": "b"})
	}
	inLine := a.Enqueue(obj{"kind": "k", "queue": "lines"})
	for job, code := range map[string]string{id: "backlog_ahead", inLine: "held_line"} {
		s.Eventually("an admin sees how many", func() bool {
			return strings.Contains(string(s.Get("/v1/jobs/"+job+"/why").Want(http.StatusOK).Body), `"ahead":`)
		})
		text := string(a.Get("/v1/jobs/" + job + "/why").Want(http.StatusOK).Body)
		if !strings.Contains(text, code) || strings.Contains(text, "3 jobs") || strings.Contains(text, `"ahead"`) || strings.Contains(text, "flight") {
			t.Errorf("a caller with a tenant is told %s", text)
		}
	}
}
