package bulk

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestManyJobsAreCancelled(t *testing.T) {
	weirtest.Long(t, "it changes thousands of jobs")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.Exec("select weir.enqueue(case when i % 3 = 0 then 'other' else 'k' end, queue => 'q', options => jsonb_build_object('delay_seconds', i % 2 * 1000, 'tags', jsonb_build_array('t' || i % 2))) from generate_series(1, 600) i")
	running := s.ClaimOne("q") // of kind k or other
	body := obj{"action": "cancel", "filter": obj{"queue": "q", "kind": "k"}, "by": "ann"}
	dry := obj{"action": "cancel", "filter": obj{"queue": "q", "kind": "k"}, "dry_run": true}
	if o := weirtest.Decode[weirtest.Operation](s.Post("/v1/jobs/bulk", dry).Want(http.StatusOK)); o.Total != 400 || o.State != "dry_run" || o.Kind != "bulk_cancel" {
		t.Errorf("the dry run says %+v", o)
	}
	if n := s.Count("select count(*) from weir.job_outcome"); n != 0 {
		t.Errorf("a dry run cancelled %d jobs", n)
	}
	o := s.WaitForOperation(s.StartOperation("/v1/jobs/bulk", body).ID)
	if o.Total != 400 || o.Done != 400 || o.Failed != 0 || o.State != "completed" || o.By != "ann" {
		t.Errorf("the operation is %+v", o)
	}
	asked := 0
	if running.Kind == "k" {
		asked = 1
	}
	if n := s.Count("select count(*) from weir.jobs where kind = 'k' and (state = 'cancelled' or cancel_requested_at is not null)"); n != 400 {
		t.Errorf("%d are cancelled, %d asked to end", n, asked)
	}
	if n := s.Count("select count(*) from weir.jobs where kind = 'other' and state = 'cancelled'"); n != 0 {
		t.Errorf("%d others are cancelled", n)
	}
	// Jobs enqueued later are not included, and without a state in the filter ended jobs are left alone.
	if o := weirtest.Decode[weirtest.Operation](s.Post("/v1/jobs/bulk", dry).Want(http.StatusOK)); o.Total != asked {
		t.Errorf("afterwards %d can be cancelled, want %d", o.Total, asked)
	}
}

func TestManyJobsAreRetried(t *testing.T) {
	weirtest.Long(t, "it changes thousands of jobs")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 120)
	done := s.EndedJob("q", "complete", obj{})
	s.Exec("select weir.enqueue('later', queue => 'q', run_at => now() + interval '1 hour') from generate_series(1, 30)")
	o := s.WaitForOperation(s.StartOperation("/v1/jobs/bulk", obj{"action": "retry", "filter": obj{"queue": "q"}, "reset_attempts": true}).ID)
	if o.Done != 120 {
		t.Errorf("the operation is %+v", o)
	}
	if n := s.Count("select count(*) from weir.jobs where kind = 'k' and state = 'available' and attempt = 0"); n != 120 {
		t.Errorf("%d are available", n)
	}
	if got := s.Job(done).State; got != "completed" {
		t.Errorf("a completed job that the filter does not name is %s", got)
	}
	if n := s.Count("select count(*) from weir.job_dead"); n != 0 {
		t.Errorf("%d are still dead letters", n)
	}
	o = s.WaitForOperation(s.StartOperation("/v1/jobs/bulk", obj{"action": "retry", "filter": obj{"state": "scheduled"}}).ID)
	if n := s.Count("select count(*) from weir.jobs where kind = 'later' and state = 'available'"); n != 30 || o.Done != 30 {
		t.Errorf("%d of the scheduled ones run now: %+v", n, o)
	}
}

func TestManyJobsGetAnotherPriority(t *testing.T) {
	weirtest.Long(t, "it changes thousands of jobs")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.Exec("select weir.enqueue('k', queue => 'q', priority => 1 + i % 3) from generate_series(1, 300) i")
	o := s.WaitForOperation(s.StartOperation("/v1/jobs/bulk", obj{"action": "reprioritise", "filter": obj{"queue": "q", "created_before": "2999-01-01T00:00:00Z"}, "priority": 2}).ID)
	if o.Done != 300 || o.Failed != 0 {
		t.Errorf("the operation is %+v", o)
	}
	if n := s.Count("select count(*) from weir.job_ready where priority = 2"); n != 300 {
		t.Errorf("%d have the new priority", n)
	}
	if n := s.Count("select count(*) from weir.job_ready where job_id is null"); n != 100 {
		t.Errorf("%d kept their place, want the 100 that had the priority before", n)
	}
}

func TestBulkOperationIsPacedAndCancelled(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.Exec("select weir.enqueue('k', queue => 'q') from generate_series(1, 1000)") // which would take 50 s
	id := s.StartOperation("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{}, "rate_per_second": 20}).ID
	s.Eventually("it has begun", func() bool { return s.Operation(id).Done > 0 })
	s.Post("/v1/operations/"+id+"/cancel", nil).Want(http.StatusOK)
	o := s.Operation(id)
	if n := s.Count("select count(*) from weir.jobs where state = 'cancelled'"); o.State != "cancelled" || o.Done >= 1000 || n != o.Done {
		t.Errorf("%d jobs are cancelled by %+v", n, o)
	}
}

func TestInvalidBulkOperationsAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for field, body := range map[string]obj{
		"body.action": {"action": "eat", "filter": obj{}}, "body.filter.state": {"action": "cancel", "filter": obj{"state": "dead"}}, "body.priority": {"action": "reprioritise", "filter": obj{}},
		"body.filter.nope": {"action": "cancel", "filter": obj{"nope": 1}}, "body.filter.priority": {"action": "cancel", "filter": obj{"priority": 11}},
	} {
		for _, dry := range []bool{false, true} {
			body["dry_run"] = dry
			if p := s.Post("/v1/jobs/bulk", body).Problem(http.StatusUnprocessableEntity, "invalid_argument"); !slices.ContainsFunc(p.Errors, func(e struct{ Location, Message string }) bool { return strings.HasPrefix(e.Location, field) }) {
				t.Errorf("%v: the problem is %+v, want it at %s", body, p.Errors, field)
			}
		}
	}
	s.Post("/v1/jobs/bulk", obj{"action": "cancel"}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if n := s.Count("select count(*) from weir.operation"); n != 0 {
		t.Errorf("%d operations were started", n)
	}
}

func TestDryRunCountsAndStoresNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 3)
	s.KillMany("r", 2)
	for _, path := range []string{"/v1/dead/redrive", "/v1/dead/purge"} {
		o := weirtest.Decode[weirtest.Operation](s.Post(path, obj{"filter": obj{"queue": "q"}, "dry_run": true}).Want(http.StatusOK))
		if o.State != "dry_run" || o.ID != "" || o.Total != 3 || o.Done != 0 {
			t.Errorf("%s: %+v", path, o)
		}
	}
	time.Sleep(2 * time.Second)
	if n := s.Count("select (select count(*) from weir.operation) * 100 + (select count(*) from weir.job_dead)"); n != 5 {
		t.Errorf("operations and letters: %d, want none and 5", n)
	}
}

func TestInvalidBulkCallsStartNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.KillMany("q", 1)
	for _, path := range []string{"/v1/dead/redrive", "/v1/dead/purge"} {
		for body, location := range map[string]string{
			`{}`: "body", `{"filter": []}`: "body.filter", `{"filter": {"states": "x"}}`: "body.filter.states", `{"filter": {"min_attempts": 0}}`: "body.filter.min_attempts", `{"filter": {"died_after": "soon"}}`: "body.filter.died_after",
			`{"filter": {}, "rate_per_second": 0}`: "body.rate_per_second", `{"filter": {}, "rate_per_second": -1}`: "body.rate_per_second", `{"filter": {}, "by": ""}`: "body.by", `{"filter": {}, "dry": true}`: "body.dry",
		} {
			p := s.Post(path, body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			if len(p.Errors) == 0 || p.Errors[0].Location != location {
				t.Errorf("%s %s: %+v, want the place %s", path, body, p, location)
			}
		}
	}
	if n := s.Count("select count(*) from weir.operation"); n != 0 {
		t.Errorf("%d operations were started", n)
	}
}
