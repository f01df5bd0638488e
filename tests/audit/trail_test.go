package audit

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestHotCallsLeaveNoEntry also creates a queue and a breaker by naming them.
func TestHotCallsLeaveNoEntry(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	before := s.Count("select count(*) from weir.audit")
	for _, outcome := range []string{"complete", "fail", "snooze", "release", "heartbeat"} {
		s.Enqueue(obj{"kind": "k", "queue": outcome, "breaker": "b-" + outcome})
		job := s.ClaimOne(outcome)
		body := obj{"token": job.Token}
		switch outcome {
		case "fail":
			body["error"] = obj{"message": "m"}
		case "snooze":
			body["delay_seconds"] = 60
		}
		s.Post("/v1/jobs/"+job.ID+"/"+outcome, body).Want(http.StatusOK)
	}
	s.Do(http.MethodPut, "/v1/workers/w", obj{}).Want(http.StatusOK)
	s.Post("/v1/workers/w/heartbeat", obj{}).Want(http.StatusOK)
	s.Post("/v1/workflows", obj{"name": "w", "steps": []obj{{"name": "a", "kind": "k"}}}).Want(http.StatusCreated)
	if n := s.Count("select count(*) from weir.audit"); n != before {
		t.Errorf("hot calls left %d entries", n-before)
	}
}

func TestRefusedChangeLeavesNoEntry(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.Enqueue(obj{"kind": "k", "queue": "a"})
	reader := s.AsNew("r", nil, "reader")
	before := s.Count("select count(*) from weir.audit")
	s.Do(http.MethodPatch, "/v1/queues/a", obj{"priority": 11}).Want(http.StatusUnprocessableEntity)
	s.Do(http.MethodPut, "/v1/queues/a", obj{"priority": 7, "dead_letter_queue": "a"}).Want(http.StatusUnprocessableEntity)
	s.Do(http.MethodDelete, "/v1/queues/a", nil).Problem(http.StatusConflict, "queue_not_empty")
	s.Post("/v1/queues/nothing/pause", nil).Problem(http.StatusNotFound, "queue_not_found")
	s.Post("/v1/jobs/4711/cancel", nil).Problem(http.StatusNotFound, "job_not_found")
	s.Do(http.MethodDelete, "/v1/keys/0123456789abcdef", nil).Problem(http.StatusNotFound, "key_not_found")
	reader.Post("/v1/queues/a/pause", nil).Problem(http.StatusForbidden, "forbidden")
	s.Do(http.MethodPatch, "/v1/queues/a", obj{"priority": 5}).Want(http.StatusOK) // it is 5 already
	s.Post("/v1/jobs/bulk", obj{"action": "cancel", "dry_run": true, "filter": obj{"queue": "a"}}).Want(http.StatusOK)
	if n := s.Count("select count(*) from weir.audit"); n != before {
		t.Errorf("refused changes left %d entries: %+v", n-before, audit(s, "?limit=5"))
	}
	tx := s.DB.Tx()
	if _, err := tx.Exec(t.Context(), "select weir.pause_queue('a')"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Count("select count(*) from weir.audit"); n != before {
		t.Errorf("a change that was rolled back left %d entries", n-before)
	}
}

func TestNobodyChangesTheTrail(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/a", obj{"priority": 7}).Want(http.StatusOK)
	partition := weirtest.Value[string](t, s.DB, "select tableoid::regclass::text from weir.audit_entry")
	for _, table := range []string{"weir.audit_entry", partition} {
		for _, statement := range []string{"update %s set principal = 'other'", "delete from %s", "truncate %s"} {
			_, err := s.DB.Exec(t.Context(), strings.ReplaceAll(statement, "%s", table))
			if err == nil || !strings.Contains(err.Error(), "42501") {
				t.Errorf(statement+": got %v, want 42501", table, err)
			}
		}
	}
	if n := s.Count("select count(*) from weir.audit where principal_kind = 'anonymous' and operation = 'putQueue' and after ->> 'priority' = '7'"); n != 1 {
		t.Errorf("got %+v", audit(s, ""))
	}
	if n := s.Count("select count(*) from pg_class c, aclexplode(c.relacl) x where c.relname like 'audit%' and x.grantee <> c.relowner"); n != 0 {
		t.Errorf("%d rights on the audit trail were granted", n)
	}
}

func TestRetentionDropsWholeMonths(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/a", obj{"priority": 7}).Want(http.StatusOK)
	for _, days := range []int{200, 360, 500} {
		s.Exec("select weir.make_audit_partition(now() - make_interval(days => $1))", days)
		s.Exec(`insert into weir.audit_entry (at, principal, principal_kind, operation, object)
			values (now() - make_interval(days => $1), 'old', 'sql', 'o', 'days/' || $1)`, days)
	}
	if err := s.Engine.Retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range audit(s, "?principal=old") {
		left = append(left, e.Object)
	}
	if got := strings.Join(left, " "); got != "days/360 days/200" {
		t.Errorf("a year keeps %q", got)
	}
	if n := s.Count("select weir.keep_audit('100 days')"); n != 2 {
		t.Errorf("dropped %d months, want 2", n)
	}
	if n := s.Count("select count(*) from weir.audit"); n != 1 {
		t.Errorf("%d entries are left, want this month's", n)
	}
	if n := s.Count("select count(*) from pg_inherits where inhparent = 'weir.audit_entry'::regclass"); n != 3 {
		t.Errorf("there are %d partitions, want this month and two more", n)
	}
}

// TestListIsFilteredAndPaged also asks as callers without the role.
func TestListIsFilteredAndPaged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	ann := s.AsNew("ann", nil, "operator")
	for _, name := range []string{"a", "b", "c"} {
		ann.Do(http.MethodPut, "/v1/queues/"+name, obj{"priority": 7}).Want(http.StatusOK)
		s.Post("/v1/queues/"+name+"/pause", nil).Want(http.StatusOK)
	}
	var seen []string
	for cursor := ""; ; {
		page := weirtest.Decode[weirtest.Page[entry]](ann.Get("/v1/audit?principal=ann&limit=2&cursor=" + cursor).Want(http.StatusOK))
		for _, e := range page.Items {
			seen = append(seen, e.Object)
		}
		if page.NextCursor == nil {
			break
		}
		cursor = *page.NextCursor
	}
	if got := strings.Join(seen, " "); got != "queues/c queues/b queues/a" {
		t.Errorf("got %q of ann", got)
	}
	key := audit(s, "?principal=ann&limit=1")[0].KeyID
	now := time.Now()
	for query, want := range map[string]int{
		"?principal=" + key: 3, "?operation=pauseQueue": 3, "?object=queues/b": 2, "?object=queues/b&operation=pauseQueue": 1,
		"?principal=unknown": 0, "?after=" + now.Add(time.Hour).UTC().Format(time.RFC3339): 0,
		"?principal=ann&after=" + now.Add(-time.Hour).UTC().Format(time.RFC3339) + "&before=" + now.Add(time.Hour).UTC().Format(time.RFC3339): 3,
	} {
		if got := len(audit(s, query)); got != want {
			t.Errorf("%s: got %d entries, want %d", query, got, want)
		}
	}
	for _, role := range []string{"producer", "worker", "reader"} {
		s.AsNew("a "+role, nil, role).Get("/v1/audit").Problem(http.StatusForbidden, "forbidden")
	}
	s.AsNew("bound", obj{"tenant": "t"}, "operator").Get("/v1/audit").Problem(http.StatusForbidden, "forbidden")
	s.Get("/v1/audit?cursor=x").Problem(http.StatusUnprocessableEntity, "invalid_argument")
}
