package change

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestWaitingJobIsEdited(t *testing.T) {
	t.Parallel()
	t.Run("SQL", waitingJobIsEditedSQL)
	t.Run("REST", waitingJobIsEditedREST)
}

func waitingJobIsEditedSQL(t *testing.T) {
	t.Parallel()
	changes{
		"new": "available", "available": "available", "scheduled": "scheduled", "retryable": "retryable", "held": "held",
		"running": "WR004", "completed": "WR004", "cancelled": "WR004", "dead": "WR004", "unknown": "WR002",
	}.check(t, `edit($1, '{"priority": 9, "max_attempts": 50, "timeout_seconds": 77, "tags": ["x"]}')`)
	changes{
		"new": "scheduled", "available": "scheduled", "scheduled": "scheduled", "retryable": "retryable", "held": "held",
		"running": "WR004", "completed": "WR004", "cancelled": "WR004", "dead": "WR004", "unknown": "WR002",
	}.check(t, `edit($1, '{"run_at": "2999-01-01T00:00:00Z"}')`)
	changes{
		"new": "available", "available": "available", "scheduled": "available", "retryable": "available", "held": "held",
		"running": "WR004", "completed": "WR004", "cancelled": "WR004", "dead": "WR004", "unknown": "WR002",
	}.check(t, `edit($1, '{"run_at": "2001-01-01T00:00:00Z"}')`)
}

func waitingJobIsEditedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, state := range []string{"available", "scheduled", "retryable"} {
		id := weirtest.MakeJobInState[state](s, state)
		before := s.Job(id)
		j := weirtest.Decode[weirtest.Job](s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"priority": 10, "max_attempts": 9, "timeout_seconds": 77, "tags": ["x", "y"]}`).Want(http.StatusOK))
		if j.State != state || j.Priority != 10 || j.MaxAttempts != 9 || j.TimeoutSeconds != 77 || !slices.Equal(j.Tags, []string{"x", "y"}) ||
			(j.RunAt == nil) != (before.RunAt == nil) || j.RunAt != nil && !j.RunAt.Equal(*before.RunAt) || j.Attempt != before.Attempt {
			t.Errorf("%s: %+v", state, j)
		}
		if j := weirtest.Decode[weirtest.Job](s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"tags": []}`).Want(http.StatusOK)); len(j.Tags) != 0 || j.Priority != 10 || j.MaxAttempts != 9 {
			t.Errorf("%s, without tags: %+v", state, j)
		}
		later := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Second)
		put := weirtest.Decode[weirtest.Job](s.Do(http.MethodPatch, "/v1/jobs/"+id, obj{"run_at": later}).Want(http.StatusOK))
		if put.RunAt == nil || !put.RunAt.Equal(later) || put.State != map[string]string{"available": "scheduled", "scheduled": "scheduled", "retryable": "retryable"}[state] {
			t.Errorf("%s, put off: %+v", state, put)
		}
		if got := s.Claim(1, state); len(got) != 0 {
			t.Errorf("%s: claimed though put off", state)
		}
		if j := weirtest.Decode[weirtest.Job](s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"run_at": "2020-01-01T00:00:00Z"}`).Want(http.StatusOK)); j.State != "available" || j.RunAt != nil {
			t.Errorf("%s, brought forward: %+v", state, j)
		}
		got := s.ClaimOne(state)
		if got.ID != id || got.MaxAttempts != 9 || got.TimeoutSeconds != 77 {
			t.Errorf("%s: claimed as %+v", state, got)
		}
	}
}

func TestEditChangesOnlyNamedFields(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const facts = "select concat_ws(' ', priority, max_attempts, timeout_seconds, tags, args, metadata, run_at at time zone 'utc') from weir.jobs where id = $1"
	id := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "args": 1, "metadata": {"x": 1}, "tags": ["old"], "run_at": "2999-01-01T00:00:00Z"}`)[0]
	for _, c := range []struct{ change, want string }{
		{`{"priority": 10}`, `10 5 300 {old} 1 {"x": 1} 2999-01-01 00:00:00`},
		{`{"max_attempts": 7.0, "timeout_seconds": 60}`, `10 7 60 {old} 1 {"x": 1} 2999-01-01 00:00:00`},
		{`{"tags": ["new", "ä"]}`, `10 7 60 {new,ä} 1 {"x": 1} 2999-01-01 00:00:00`},
		{`{"run_at": "2998-01-01T00:00:00Z", "tags": []}`, `10 7 60 {} 1 {"x": 1} 2998-01-01 00:00:00`},
		{`{"priority": null, "run_at": null}`, `10 7 60 {} 1 {"x": 1} 2998-01-01 00:00:00`},
	} {
		weirtest.Exec(t, d, "select weir.edit($1, $2)", id, c.change)
		if got := weirtest.Value[string](t, d, facts, id); got != c.want {
			t.Errorf("after %s it is\n%s\nwant\n%s", c.change, got, c.want)
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_event where job_id = $1 and kind = 'edited'", id); n != 5 {
		t.Errorf("%d edits are on record, want 5", n)
	}
	weirtest.Exec(t, d, "select weir.retry($1)", id)
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', priority, max_attempts, timeout_seconds, tags) from weir.claim(array['q'], 'w')"); got != "10 7 60 {}" {
		t.Errorf("the worker gets %s, want 10 7 60 {}", got)
	}
	for change, field := range map[string]string{
		`5`: "changes", `[]`: "changes", `{}`: "changes", `null`: "changes", `{"kind": "b"}`: "kind", `{"args": {}}`: "args", `{"queue": "b"}`: "queue", `{"priority": 0}`: "priority", `{"priority": "x"}`: "priority",
		`{"max_attempts": 101}`: "max_attempts", `{"timeout_seconds": 0}`: "timeout_seconds", `{"run_at": "soon"}`: "run_at", `{"run_at": 5}`: "run_at", `{"tags": 5}`: "tags", `{"tags": [5]}`: "tags",
	} {
		other := weirtest.EnqueueOne(t, d, "other")
		d.Unchanged(change, func() {
			if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.edit($1, $2)", other, change), "WR010"); refusal.ColumnName != field {
				t.Errorf("%s: the place is %q, want %q", change, refusal.ColumnName, field)
			}
		})
	}
}

func TestEditedPriorityCounts(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := s.EnqueueAll([]obj{{"kind": "a"}, {"kind": "b"}, {"kind": "c"}})
	s.Do(http.MethodPatch, "/v1/jobs/"+ids[2], `{"priority": 6}`).Want(http.StatusOK)
	s.Do(http.MethodPatch, "/v1/jobs/"+ids[0], `{"priority": 4}`).Want(http.StatusOK)
	s.Settle()
	for _, want := range []string{ids[2], ids[1], ids[0]} {
		if got := s.ClaimOne("default"); got.ID != want {
			t.Errorf("claimed job %s, want %s", got.ID, want)
		}
	}
}

func TestRunningOrEndedJobIsNotEdited(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, state := range []string{"running", "completed", "cancelled", "dead"} {
		id := weirtest.MakeJobInState[state](s, state)
		before := s.Get("/v1/jobs/" + id)
		s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"priority": 10}`).Problem(http.StatusConflict, "job_not_editable")
		if after := s.Get("/v1/jobs/" + id); !bytes.Equal(before.Body, after.Body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.Body, after.Body)
		}
	}
}
