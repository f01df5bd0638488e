package job

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// dryRun is the answer to a dry run.
type dryRun struct {
	Valid   bool
	Outcome string
	Job     struct {
		Queue, State, Tenant string
		Priority             int
		MaxAttempts          int    `json:"max_attempts"`
		TimeoutSeconds       int    `json:"timeout_seconds"`
		RunAt                string `json:"run_at"`
		Retry                obj
	}
	Notes []struct {
		Code, Message string
		Detail        obj
	}
}

// words has a space between all of its arguments.
func words(values ...any) string { return strings.TrimSpace(fmt.Sprintln(values...)) }

func (d dryRun) codes() string {
	var codes []string
	for _, n := range d.Notes {
		codes = append(codes, n.Code)
	}
	return strings.Join(codes, " ")
}

// tryOut makes a dry run, which stores nothing.
func tryOut(t *testing.T, s *weirtest.Node, body any) dryRun {
	t.Helper()
	return weirtest.Decode[dryRun](s.Post("/v1/jobs/dry-run", body).Want(http.StatusOK))
}

func TestDryRunFillsInWhatTheQueueSays(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{"priority": 3, "max_attempts": 7, "timeout_seconds": 9, "retry": {"strategy": "linear", "base_seconds": 4}}`).Want(http.StatusOK)
	d := tryOut(t, s, obj{"kind": "k", "queue": "q", "max_attempts": 2})
	if got := words(d.Valid, d.Outcome, d.Job.Queue, d.Job.State, d.Job.Priority, d.Job.MaxAttempts, d.Job.TimeoutSeconds, d.Job.Retry["strategy"], d.Job.Retry["base_seconds"], d.Job.Retry["max_seconds"]); got != "true enqueued q available 3 2 9 linear 4 3600" {
		t.Errorf("the dry run says %s: %+v", got, d)
	}
	if d.codes() != "no_worker" {
		t.Errorf("the notes are %s", d.codes())
	}
	later := tryOut(t, s, obj{"kind": "k", "queue": "q", "run_at": "2999-01-01T00:00:00Z", "retry": obj{"base_seconds": 1}})
	if later.Job.State != "scheduled" || later.Job.RunAt != "2999-01-01T00:00:00Z" || later.codes() != "scheduled no_worker" || words(later.Job.Retry["base_seconds"], later.Job.Retry["strategy"]) != "1 exponential" {
		t.Errorf("of a later job it says %+v", later)
	}
}

// snapshotted are the tables that an enqueue could write.
const snapshotted = "job job_ready job_scheduled job_held job_unique job_idempotency queue breaker admission_inbox tenant_quota tenant_usage"

func counts(s *weirtest.Node) string {
	var out []string
	for table := range strings.FieldsSeq(snapshotted) {
		if s.Count("select count(*) from pg_class where oid = to_regclass('weir.' || $1)", table) == 1 {
			out = append(out, fmt.Sprint(table, " ", s.Count("select coalesce(sum(hashtext(x::text)::bigint), 0)::int8 % 1000000007 from weir."+table+" x")))
		}
	}
	return strings.Join(out, ", ")
}

func TestDryRunStoresNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/tenants/acme", obj{"max_waiting": 5, "enqueues_per_second": 1, "enqueue_burst": 3}).Want(http.StatusOK)
	before := counts(s)
	full := obj{"kind": "k", "queue": "new", "tenant": "acme", "breaker": "dep", "unique": obj{"key": "u"}, "concurrency_key": "c", "tags": []string{"x"}, "metadata": obj{"a": 1}}
	for range 5 { // more than the quota takes in a second
		if d := tryOut(t, s, full); d.Outcome != "enqueued" || d.codes() != "queue_is_new breaker_is_new no_worker" {
			t.Errorf("the dry run says %+v", d)
		}
	}
	if after := counts(s); after != before {
		t.Errorf("tables were\n%s\nand are\n%s", before, after)
	}
	s.Get("/v1/queues/new").Problem(http.StatusNotFound, "queue_not_found")
	s.Eventually("no lock is left", func() bool {
		return s.Count(`select count(*) from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
			where l.relation = 'weir.job_ready'::regclass and l.mode = 'RowExclusiveLock'`) == 0
	})
}

func TestDryRunNamesWhatKeepsTheJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	holder := s.Enqueue(obj{"kind": "k", "queue": "q", "unique": obj{"key": "u"}})
	d := tryOut(t, s, obj{"kind": "k", "queue": "q", "unique": obj{"key": "u"}})
	if d.Outcome != "duplicate" || d.codes() != "duplicate" || d.Notes[0].Detail["job_id"] != holder || d.Job.State != "" {
		t.Errorf("of a taken key it says %+v", d)
	}
	s.Post("/v1/queues/q/pause", `{"reason": "deploying"}`).Want(http.StatusOK)
	d = tryOut(t, s, obj{"kind": "k", "queue": "q"})
	if d.codes() != "queue_paused backlog_ahead no_worker" || d.Notes[0].Detail["reason"] != "deploying" || fmt.Sprint(d.Notes[1].Detail["ahead"]) != "1" {
		t.Errorf("of a paused queue it says %+v", d)
	}
	s.Do(http.MethodPut, "/v1/queues/full", `{"max_depth": 1}`).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "full"})
	if d = tryOut(t, s, obj{"kind": "k", "queue": "full"}); d.Outcome != "refused" || d.codes() != "queue_full" || d.Job.Priority != 5 {
		t.Errorf("of a full queue it says %+v", d)
	}
	s.Do(http.MethodPut, "/v1/tenants/acme", obj{"max_waiting": 1}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "tenant": "acme"})
	if d = tryOut(t, s, obj{"kind": "k", "queue": "another", "tenant": "acme"}); d.Outcome != "refused" || d.codes() != "queue_is_new quota_exceeded" || len(d.Notes[1].Detail) == 0 {
		t.Errorf("of a quota it says %+v", d)
	}
	s.SetLimits("limited", `{"concurrency": 1}`)
	if d = tryOut(t, s, obj{"kind": "k", "queue": "limited"}); d.Job.State != "held" || !strings.HasPrefix(d.codes(), "held_line") {
		t.Errorf("of a queue with limits it says %+v", d)
	}
	s.Do(http.MethodPut, "/v1/breakers/dep", obj{}).Want(http.StatusOK)
	s.Post("/v1/breakers/dep/trip", obj{"reason": "down"}).Want(http.StatusOK)
	if d = tryOut(t, s, obj{"kind": "k", "queue": "calls", "breaker": "dep"}); !strings.Contains(d.codes(), "held_breaker") {
		t.Errorf("of an open breaker it says %+v", d)
	}
}

func TestDryRunRefusesAsAnEnqueue(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for name, body := range map[string]any{
		"no JSON": `{`, "no kind": obj{"queue": "q"}, "unknown field": obj{"kind": "k", "nice": 1}, "bad name": obj{"kind": "k", "queue": "a b"}, "bad retry": obj{"kind": "k", "retry": obj{"strategy": "x"}},
		"both times": obj{"kind": "k", "run_at": "2999-01-01T00:00:00Z", "delay_seconds": 1}, "bad ttl": obj{"kind": "k", "unique": obj{"key": "k", "scope": "ttl"}}, "no parent": obj{"kind": "k", "parent_id": "99999"},
		"large": obj{"kind": "k", "args": strings.Repeat("x", 1<<20)}, "forged": obj{"kind": "k", "args": "weir:encrypted:1:1:x"}, "foreign breaker": obj{"kind": "k", "tenant": "a", "breaker": "b/dep"},
	} {
		tried, enqueued := s.Post("/v1/jobs/dry-run", body), s.Post("/v1/jobs", body)
		if a, b := weirtest.Decode[problem](tried), weirtest.Decode[problem](enqueued); tried.Status != enqueued.Status || fmt.Sprint(a) != fmt.Sprint(b) || tried.Status < 400 {
			t.Errorf("%s: a dry run answers %v, an enqueue %v", name, tried, enqueued)
		}
	}
}

// problem is a problem without what differs from request to request.
type problem struct {
	Code, Detail, Hint string
	Errors             []obj
}

func TestDryRunIsBoundAsItsCaller(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"tenant": "a", "queues": []string{"*"}}, "producer")
	b := s.AsNew("b", obj{"tenant": "b", "queues": []string{"mail"}, "redact": true}, "producer")
	holder := a.Enqueue(obj{"kind": "k", "queue": "mail", "unique": obj{"key": "u"}})
	if d := tryOut(t, b, obj{"kind": "k", "queue": "mail", "unique": obj{"key": "u"}, "tenant": "a"}); d.Outcome != "enqueued" || d.Job.Tenant != "b" || d.codes() != "backlog_ahead no_worker" || d.Notes[0].Detail != nil || d.Notes[0].Message == "" {
		t.Errorf("another tenant's key gives %+v", d)
	}
	if d := tryOut(t, a, obj{"kind": "k", "queue": "mail", "unique": obj{"key": "u"}}); d.Outcome != "duplicate" || d.Notes[0].Detail["job_id"] != holder {
		t.Errorf("its own key gives %+v", d)
	}
	b.Post("/v1/jobs/dry-run", obj{"kind": "k", "queue": "other"}).Problem(http.StatusForbidden, "forbidden")
	s.AsNew("reader", nil, "reader").Post("/v1/jobs/dry-run", obj{"kind": "k"}).Problem(http.StatusForbidden, "forbidden")
	s.Do(http.MethodPut, "/v1/queues/theirs", obj{"tenant": "a"}).Want(http.StatusOK)
	s.AsNew("c", obj{"tenant": "c", "queues": []string{"*"}}, "producer").Post("/v1/jobs/dry-run", obj{"kind": "k", "queue": "theirs"}).Problem(http.StatusConflict, "tenant_mismatch")
}

func TestDryRunOverSQLAndCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	if got := weirtest.Value[string](t, s.DB, `select concat_ws(' ', d ->> 'outcome', d #>> '{job,state}', d #>> '{notes,0,code}') from weir.dry_run('{"kind": "k", "queue": "q", "idempotency_key": "i"}') d`); got != "enqueued available queue_is_new" {
		t.Errorf("SQL says %s", got)
	}
	for job, code := range map[string]string{`{"kind": ""}`: "WR010", `7`: "WR010", `null`: "WR010", `[]`: "WR010", `{"kind": "k", "breaker": "a/b"}`: "WR010"} {
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.dry_run($1)", job), code)
	}
	if n := s.Count("select count(*) from weir.job"); n != 0 {
		t.Errorf("%d jobs were stored", n)
	}
	s.CLI("enqueue", "send", "--queue", "q", "--delay", "1h", "--dry-run").Says(0, "would be enqueued", "scheduled", "queue_is_new", "no_worker")
	s.CLI("enqueue", "send", "--queue", "a b", "--dry-run").Says(1, "queue")
	if n := s.Count("select count(*) from weir.job"); n != 0 {
		t.Errorf("%d jobs were stored", n)
	}
}
