package tests

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTManyJobsAreCancelled(t *testing.T) {
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
	// What is enqueued later is none of its business, and without a state what has ended is left alone.
	if o := weirtest.Decode[weirtest.Operation](s.Post("/v1/jobs/bulk", dry).Want(http.StatusOK)); o.Total != asked {
		t.Errorf("afterwards %d can be cancelled, want %d", o.Total, asked)
	}
}

func TestRESTManyJobsAreRunAgain(t *testing.T) {
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
		t.Errorf("a completed job, which nobody named, is %s", got)
	}
	if n := s.Count("select count(*) from weir.job_dead"); n != 0 {
		t.Errorf("%d are still dead letters", n)
	}
	o = s.WaitForOperation(s.StartOperation("/v1/jobs/bulk", obj{"action": "retry", "filter": obj{"state": "scheduled"}}).ID)
	if n := s.Count("select count(*) from weir.jobs where kind = 'later' and state = 'available'"); n != 30 || o.Done != 30 {
		t.Errorf("%d of the scheduled ones run now: %+v", n, o)
	}
}

func TestRESTManyJobsGetAnotherPriority(t *testing.T) {
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

func TestRESTABulkOperationIsCancelledAndPaced(t *testing.T) {
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

func TestRESTBulkOperationsThatMakeNoSenseAreRefused(t *testing.T) {
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

func TestRESTJobsAreExported(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.Exec(`select weir.enqueue('k', jsonb_build_object('n', i, 'text', 'a "quoted", line' || chr(10) || 'and ünicode', 'null', null), queue => 'q', options => '{"tags": ["x"]}') from generate_series(1, 1300) i`)
	done := s.ClaimOne("q")
	s.Post("/v1/jobs/"+done.ID+"/complete", obj{"token": done.Token, "result": obj{"r": nil}}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "other", "queue": "elsewhere"})

	o := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "q"}}).ID)
	if o.Done != 1300 || o.Total != 1300 {
		t.Errorf("the export is %+v", o)
	}
	r := s.Get("/v1/operations/" + o.ID + "/result").Want(http.StatusOK)
	if kind := r.Header.Get("Content-Type"); kind != "application/x-ndjson" {
		t.Errorf("the result is %s", kind)
	}
	lines := strings.Split(strings.TrimSuffix(string(r.Body), "\n"), "\n")
	seen := map[string]bool{}
	for _, line := range lines {
		var j struct {
			weirtest.Job
			Args obj
		}
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if _, there := j.Args["null"]; j.Kind != "k" || j.Args["text"] != "a \"quoted\", line\nand ünicode" || !there || j.CreatedAt.IsZero() {
			t.Fatalf("a line is %s", line)
		}
		if j.ID == done.ID && (j.State != "completed" || string(j.Result) != `{"r": null}` || j.FinishedAt == nil) {
			t.Errorf("the completed one is %s", line)
		}
		seen[j.ID] = true
	}
	if len(lines) != 1300 || len(seen) != 1300 {
		t.Errorf("there are %d lines of %d jobs", len(lines), len(seen))
	}

	o = s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "q"}, "format": "csv", "limit": 700}).ID)
	table, err := csv.NewReader(strings.NewReader(string(s.Get("/v1/operations/" + o.ID + "/result").Want(http.StatusOK).Body))).ReadAll()
	if err != nil || len(table) != 701 || table[0][0] != "id" || len(table[0]) != len(table[1]) || table[1][1] != "k" {
		t.Errorf("the table has %d rows, %v", len(table), err)
	}
	for i, row := range table[1:] {
		var args obj
		if err := json.Unmarshal([]byte(row[slices.Index(table[0], "args")]), &args); err != nil || args["n"] != float64(i+1) {
			t.Fatalf("row %d has the args %v, %v", i, args, err)
		}
	}

	// Large ones come in pieces, and go after a day.
	s.Exec(`select weir.enqueue('large', jsonb_build_object('x', (select string_agg(md5(i || '-' || n), '') from generate_series(1, 30000) n)), queue => 'large') from generate_series(1, 25) i`)
	o = s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"kind": "large"}}).ID)
	if n := s.Count("select count(*) from weir.operation_result where operation_id = $1::bigint", o.ID); n < 2 || o.Done != 25 {
		t.Errorf("25 MB came in %d pieces: %+v", n, o)
	}
	if n := strings.Count(string(s.Get("/v1/operations/"+o.ID+"/result").Want(http.StatusOK).Body), "\n"); n != 25 {
		t.Errorf("there are %d lines", n)
	}
	s.Exec("update weir.operation set finished_at = now() - interval '25 h'")
	s.Exec("select weir.sweep_exports()")
	s.Get("/v1/operations/"+o.ID+"/result").Problem(http.StatusNotFound, "result_not_found")
	none := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "none"}}).ID)
	if r := s.Get("/v1/operations/" + none.ID + "/result").Want(http.StatusOK); len(r.Body) != 0 {
		t.Errorf("the export of nothing is %s", r.Body)
	}
	s.Get("/v1/operations/4711/result").Problem(http.StatusNotFound, "operation_not_found")
	s.Exec("insert into weir.operation (kind, filter, total) values ('export_jobs', '{}', 1)")
	s.Get(fmt.Sprintf("/v1/operations/%d/result", s.Count("select max(id) from weir.operation"))).Want(http.StatusConflict)
}
