package job

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// replayed is a job with the fields that a replay is about.
type replayed struct {
	weirtest.Job
	ReplayOf       string `json:"replay_of"`
	ParentID       string `json:"parent_id"`
	Breaker        string
	ConcurrencyKey string `json:"concurrency_key"`
	WorkflowID     string `json:"workflow_id"`
	ResultTTL      int    `json:"result_ttl_seconds"`
}

func replay(t *testing.T, s *weirtest.Node, id string, body any) replayed {
	t.Helper()
	r := s.Post("/v1/jobs/"+id+"/replay", body).Want(http.StatusCreated)
	job := weirtest.Decode[replayed](r)
	if at := r.Header.Get("Location"); at != "/v1/jobs/"+job.ID {
		t.Errorf("the copy is job %s, and Location says %s", job.ID, at)
	}
	return weirtest.Decode[replayed](s.Get("/v1/jobs/" + job.ID).Want(http.StatusOK))
}

func events(s *weirtest.Node, id string) (names []string) {
	for _, m := range weirtest.Decode[struct{ Items []struct{ Event string } }](s.Get("/v1/jobs/" + id + "/timeline").Want(http.StatusOK)).Items {
		names = append(names, m.Event)
	}
	return names
}

func TestReplayCopiesTheJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	parent := s.Enqueue(obj{"kind": "p", "queue": "parents", "tenant": "acme"})
	id := s.Enqueue(obj{
		"kind": "k", "queue": "q", "args": obj{"a": nil, "b": []int{1}}, "priority": 7, "max_attempts": 2, "timeout_seconds": 9, "retry": obj{"strategy": "fixed", "base_seconds": 60}, "tags": []string{"x", "y"},
		"metadata": obj{"m": nil}, "tenant": "acme", "breaker": "dep", "concurrency_key": "c", "result_ttl_seconds": 60, "unique": obj{"key": "once"}, "parent_id": parent,
	})
	want := weirtest.Decode[replayed](s.Get("/v1/jobs/" + id))
	got := replay(t, s, id, nil)
	if got.ReplayOf != id || got.UniqueKey != "" || got.ParentID != "" || got.State != "available" {
		t.Errorf("the copy is %+v", got)
	}
	for name, pair := range map[string][2]any{
		"kind": {got.Kind, want.Kind}, "queue": {got.Queue, want.Queue}, "args": {string(got.Args), string(want.Args)}, "priority": {got.Priority, want.Priority},
		"max_attempts": {got.MaxAttempts, want.MaxAttempts}, "timeout": {got.TimeoutSeconds, want.TimeoutSeconds}, "retry": {string(got.Retry), string(want.Retry)},
		"tags": {fmt.Sprint(got.Tags), fmt.Sprint(want.Tags)}, "metadata": {string(got.Metadata), string(want.Metadata)}, "tenant": {got.Tenant, want.Tenant}, "breaker": {got.Breaker, want.Breaker},
		"concurrency key": {got.ConcurrencyKey, want.ConcurrencyKey}, "result ttl": {got.ResultTTL, want.ResultTTL},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the copy's %s is %v, the job's %v", name, pair[0], pair[1])
		}
	}
	if original := weirtest.Decode[replayed](s.Get("/v1/jobs/" + id)); original.State != "available" || original.ReplayOf != "" {
		t.Errorf("the job itself is %+v", original)
	}
	if got := events(s, id); fmt.Sprint(got) != "[enqueued available replayed]" {
		t.Errorf("the job's timeline has %v", got)
	}
	if got := events(s, got.ID); fmt.Sprint(got) != "[enqueued replayed available]" {
		t.Errorf("the copy's timeline has %v", got)
	}
	changed := replay(t, s, id, obj{"args": obj{"a": 1}, "queue": "elsewhere"})
	if string(changed.Args) != `{"a": 1}` && string(changed.Args) != `{"a":1}` || changed.Queue != "elsewhere" || changed.Priority != 7 {
		t.Errorf("the changed copy is %+v", changed)
	}
	if null := replay(t, s, id, obj{"args": nil}); string(null.Args) != "null" {
		t.Errorf("args became %s", null.Args)
	}
	s.DB.CheckPlaces()
}

func TestReplayTakesJobsOfEachState(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for state, j := range weirtest.JobsInEachState(t, d) {
		before := weirtest.Values[string](t, d, "select event from weir.timeline($1)", j.ID)
		copied := weirtest.Value[int64](t, d, "select weir.replay($1)", j.ID)
		if got := weirtest.Value[int64](t, d, "select replay_of from weir.jobs where id = $1 and state = 'available' and attempt = 0", copied); got != j.ID {
			t.Errorf("the copy of the one that is %s is of %d", state, got)
		}
		after := weirtest.Values[string](t, d, "select event from weir.timeline($1)", j.ID)
		if n := slices.Index(after, "replayed"); n < 0 || !slices.Equal(slices.Delete(slices.Clone(after), n, n+1), before) {
			t.Errorf("the timeline of the one that is %s was %v and is %v", state, before, after)
		}
	}
	d.CheckPlaces()
	weirtest.Exec(t, d, `select weir.submit_workflow('{"name": "w", "steps": [{"name": "a", "wait_for": {"signal": "go"}}, {"name": "b", "kind": "k", "depends_on": ["a"]}]}')`)
	waits := weirtest.Value[int64](t, d, "select job_id from weir.workflow_step where name = 'a'")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.replay($1)", waits), "WR010")
	step := weirtest.Value[int64](t, d, "select job_id from weir.workflow_step where name = 'b'")
	weirtest.Exec(t, d, "select weir.replay($1)", step)
	if got := weirtest.Value[bool](t, d, "select workflow_id is null and step is null and state = 'available' from weir.jobs where replay_of = $1", step); !got {
		t.Error("the copy of a step belongs to the workflow")
	}
}

func TestReplayOfADueJobKeepsItsTimeline(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "delay_seconds": 0.3}`)[0]
	weirtest.Exec(t, d, "select weir.replay($1)", id)
	weirtest.Exec(t, d, "select pg_sleep(0.4)")
	if got := fmt.Sprint(weirtest.Values[string](t, d, "select event || coalesce(' ' || cause, '') from weir.timeline($1)", id)); got != "[enqueued replayed available due]" {
		t.Errorf("the timeline is %s", got)
	}
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q", "tenant": "acme"})
	s.Post("/v1/jobs/99999/replay", nil).Problem(http.StatusNotFound, "job_not_found")
	s.Post("/v1/jobs/99999/replay", obj{"dry_run": true}).Problem(http.StatusNotFound, "job_not_found")
	s.Post("/v1/jobs/"+id+"/replay", obj{"priority": 3}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Post("/v1/jobs/"+id+"/replay", obj{"queue": "a b"}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Post("/v1/jobs/"+id+"/replay", obj{"args": "weir:encrypted:1:1:x"}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Do(http.MethodPut, "/v1/queues/full", `{"max_depth": 1}`).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "full"})
	s.Post("/v1/jobs/"+id+"/replay", obj{"queue": "full"}).Problem(http.StatusTooManyRequests, "queue_full")
	s.Do(http.MethodPut, "/v1/queues/theirs", obj{"tenant": "b"}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+id+"/replay", obj{"queue": "theirs"}).Problem(http.StatusConflict, "tenant_mismatch")
	for changes, code := range map[string]string{`7`: "WR010", `null`: "WR010", `{"kind": "x"}`: "WR010", `{"queue": 7}`: "WR010", `{"queue": "full"}`: "WR013"} {
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.replay($1, $2)", id, changes), code)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.replay(99999)"), "WR002")
	if got := events(s, id); slices.Contains(got, "replayed") {
		t.Errorf("the timeline has %v", got)
	}
}

func TestDryRunOfAReplayStoresNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.EndedJob("q", "complete", obj{})
	before := counts(s)
	d := weirtest.Decode[dryRun](s.Post("/v1/jobs/"+id+"/replay", obj{"dry_run": true, "queue": "another"}).Want(http.StatusOK))
	if d.Outcome != "enqueued" || d.Job.Queue != "another" || d.Job.Priority != 5 || d.codes() != "queue_is_new no_worker" {
		t.Errorf("it says %+v", d)
	}
	if after := counts(s); after != before {
		t.Errorf("tables were\n%s\nand are\n%s", before, after)
	}
	if got := events(s, id); slices.Contains(got, "replayed") {
		t.Errorf("the timeline has %v", got)
	}
}

func TestReplayIsBoundAsItsCaller(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"tenant": "a", "queues": []string{"mail"}}, "producer", "operator")
	b := s.AsNew("b", obj{"tenant": "b", "queues": []string{"*"}}, "producer", "operator")
	redacted := s.AsNew("redacted", obj{"redact": true}, "operator")
	id := a.Enqueue(obj{"kind": "k", "queue": "mail", "args": obj{"secret": 1}, "breaker": "dep"})
	b.Post("/v1/jobs/"+id+"/replay", nil).Problem(http.StatusNotFound, "job_not_found")
	a.Post("/v1/jobs/"+id+"/replay", obj{"queue": "other"}).Problem(http.StatusForbidden, "forbidden")
	s.AsNew("producer", nil, "producer").Post("/v1/jobs/"+id+"/replay", nil).Problem(http.StatusForbidden, "forbidden")
	copied := replay(t, a, id, nil)
	if copied.Tenant != "a" || copied.Breaker != "dep" || copied.ReplayOf != id {
		t.Errorf("the copy is %+v", copied)
	}
	if text := string(redacted.Post("/v1/jobs/"+id+"/replay", nil).Want(http.StatusCreated).Body); strings.Contains(text, "secret") {
		t.Errorf("a redacted key sees %s", text)
	}
	if d := weirtest.Decode[dryRun](redacted.Post("/v1/jobs/"+id+"/replay", obj{"dry_run": true}).Want(http.StatusOK)); d.Outcome != "enqueued" || d.Notes[0].Message == "" {
		t.Errorf("a dry run tells a redacted key %+v", d)
	}
}

func TestReplayOverCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.EndedJob("q", "complete", obj{})
	s.CLI("job", "replay", id, "--dry-run").Says(0, "would be enqueued", "q, priority 5")
	s.CLI("job", "replay", id, "--queue", "other", "--args", `{"x": 1}`).Says(0, "is a copy of job "+id, "in other")
	copied := weirtest.Value[string](t, s.DB, "select id::text from weir.jobs where replay_of = $1::bigint", id)
	s.CLI("job", copied).Says(0, "replay of", "job "+id, `{"x":1}`)
	s.CLI("job", "replay", "99999").Says(1, "no job")
}
