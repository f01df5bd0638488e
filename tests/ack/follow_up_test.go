package ack

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A completion enqueues follow-up jobs in its own transaction: all is stored, or nothing.
func TestCompletionEnqueuesFollowUpJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k", "queue": "q"})
	j := s.ClaimOne("q")
	path := "/v1/jobs/" + j.ID + "/complete"
	next := []obj{{"kind": "next", "queue": "later", "args": obj{"n": 1}}, {"kind": "next", "queue": "later", "unique": obj{"key": "u"}}, {"kind": "next", "queue": "later", "unique": obj{"key": "u"}}}

	s.DB.Unchanged("an invalid follow-up job", func() {
		p := s.Post(path, obj{"token": j.Token, "jobs": []obj{{"kind": "next"}, {"kind": "next", "priority": 11}}}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != "body.jobs[1].priority" {
			t.Errorf("an invalid follow-up job is at %+v", p.Errors)
		}
		s.Post(path, obj{"token": "999", "jobs": next}).Problem(http.StatusConflict, "stale_token")
	})

	type completion struct {
		Status string
		JobIDs []string `json:"job_ids"`
	}
	done := weirtest.Decode[completion](s.Post(path, obj{"token": j.Token, "jobs": next, "result": 7}).Want(http.StatusOK))
	if done.Status != "ok" || len(done.JobIDs) != 3 || done.JobIDs[1] != done.JobIDs[2] || done.JobIDs[0] == done.JobIDs[1] {
		t.Fatalf("the completion is answered with %+v", done)
	}
	if j := s.Job(j.ID); j.State != "completed" || string(j.Result) != "7" {
		t.Errorf("the completed job is %+v", j)
	}
	var children struct{ Items []weirtest.Job }
	if err := json.Unmarshal(s.Get("/v1/jobs/"+j.ID+"/children").Want(http.StatusOK).Body, &children); err != nil || len(children.Items) != 2 {
		t.Errorf("it has %d children, %v; want 2", len(children.Items), err)
	}
	s.DB.Unchanged("a second completion", func() {
		s.Post(path, obj{"token": j.Token, "jobs": next}).Problem(http.StatusConflict, "stale_token")
	})
}

// A worker's key enqueues follow-up jobs within its own bounds only.
func TestFollowUpJobsStayWithinTheKey(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	worker := s.AsNew("worker", obj{"tenant": "acme", "queues": []string{"a*"}}, "worker")
	producer := s.AsNew("producer", obj{"tenant": "acme", "queues": []string{"a*"}}, "producer")
	producer.Enqueue(obj{"kind": "k", "queue": "a1"})
	j := worker.ClaimOne("a1")
	path := "/v1/jobs/" + j.ID + "/complete"
	s.DB.Unchanged("a follow-up job in another queue", func() {
		worker.Post(path, obj{"token": j.Token, "jobs": []obj{{"kind": "k", "queue": "b"}}}).Problem(http.StatusForbidden, "forbidden")
	})
	worker.Post(path, obj{"token": j.Token, "jobs": []obj{{"kind": "k", "queue": "a2", "tenant": "globex"}}}).Want(http.StatusOK)
	if tenant := weirtest.Value[string](t, s.DB, "select tenant from weir.jobs where queue = 'a2'"); tenant != "acme" {
		t.Errorf("the follow-up job is of the tenant %s", tenant)
	}
}

// A worker without a tenant serves all of them: a follow-up job is of the tenant of the job, with it as its parent.
func TestFollowUpJobsKeepTheTenant(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k", "queue": "q", "tenant": "acme"})
	j := s.ClaimOne("q")
	next := []obj{{"kind": "k", "queue": "same"}, {"kind": "k", "queue": "other", "tenant": "globex"}}
	s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "jobs": next}).Want(http.StatusOK)
	for queue, want := range map[string]string{"same": "acme, child: true", "other": "globex, child: false"} {
		got := weirtest.Value[string](t, s.DB, "select format('%s, child: %s', tenant, (parent_id is not null)::text) from weir.jobs where queue = $1", queue)
		if got != want {
			t.Errorf("the job in %s is of the tenant %s, want %s", queue, got, want)
		}
	}
}

// weir.complete does the same for workers that use SQL: the jobs and steps commit with the completion, or not at all.
func TestCompletionOverSQLEnqueuesFollowUpJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	login := weirtest.Login(t, s.DB, "app", "'worker', '{q}'", "'producer', '{q,later}'")
	const complete = "select weir.complete($1, $2, '7', jobs => $3)"
	for tenant, want := range map[string]string{"": "next job child", "acme": "next job child acme"} {
		weirtest.Exec(t, s.DB, "select weir.enqueue('k', queue => 'q', options => jsonb_strip_nulls(jsonb_build_object('tenant', nullif($1::text, ''))))", tenant)
		j := weirtest.ClaimOne(t, login, "q")
		s.DB.Unchanged("completions that are refused", func() {
			weirtest.WantSQLState(t, weirtest.TryExec(login, complete, j.ID, j.Token+1, `[{"kind": "next", "queue": "later"}]`), "WR001")
			weirtest.WantSQLState(t, weirtest.TryExec(login, complete, j.ID, j.Token, `[{"kind": "next", "queue": "later"}, {"kind": "next", "queue": "later", "priority": 11}]`), "WR010")
			weirtest.WantSQLState(t, weirtest.TryExec(login, complete, j.ID, j.Token, `[{"kind": "next", "queue": "elsewhere"}]`), "WR011")
			weirtest.WantSQLState(t, weirtest.TryExec(login, "select weir.complete($1, $2, steps => '[{\"name\": \"more\", \"kind\": \"k\", \"queue\": \"q\"}]')", j.ID, j.Token), "WR054")
		})
		weirtest.Exec(t, login, complete, j.ID, j.Token, `[{"kind": "next", "queue": "later", "args": "next job"}]`)
		got := weirtest.Value[string](t, s.DB, `select concat_ws(' ', n.args #>> '{}', case when n.parent_id = j.id then 'child' end, n.tenant)
			from weir.jobs j, weir.jobs n where j.id = $1 and j.state = 'completed' and j.result = '7' and n.id > j.id and n.kind = 'next' order by n.id desc limit 1`, j.ID)
		if got != want {
			t.Errorf("the follow-up job of a job of the tenant %q is %q, want %q", tenant, got, want)
		}
	}
	s.Enqueue(obj{"kind": "k", "queue": "q", "tenant": "acme"})
	j := weirtest.ClaimOne(t, login, "q")
	weirtest.Exec(t, login, complete, j.ID, j.Token, `[{"kind": "other", "queue": "later", "tenant": "globex"}]`)
	if got := weirtest.Value[string](t, s.DB, "select concat_ws(' ', tenant, parent_id) from weir.jobs where kind = 'other'"); got != "globex" {
		t.Errorf("a follow-up job of another tenant is of %s", got)
	}
}

// A step that completes over SQL adds steps within what its login may enqueue.
func TestCompletionOverSQLAddsSteps(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	login := weirtest.Login(t, s.DB, "app", "'worker', '{q}'", "'producer', '{q}'")
	weirtest.Exec(t, login, `select weir.submit_workflow('{"name": "w", "steps": [{"name": "list", "kind": "k", "queue": "q"}]}')`)
	j := weirtest.ClaimOne(t, login, "q")
	const complete = "select weir.complete($1, $2, steps => $3, jobs => '[{\"kind\": \"next\", \"queue\": \"q\"}]')"
	s.DB.Unchanged("completions that are refused", func() {
		weirtest.WantSQLState(t, weirtest.TryExec(login, complete, j.ID, j.Token+1, `[{"name": "more", "kind": "k", "queue": "q"}]`), "WR001")
		weirtest.WantSQLState(t, weirtest.TryExec(login, complete, j.ID, j.Token, `[{"name": "more", "kind": "k", "queue": "elsewhere"}]`), "WR011")
		weirtest.WantSQLState(t, weirtest.TryExec(login, complete, j.ID, j.Token, `[{"name": "more", "kind": "k", "queue": "q", "depends_on": ["none"]}]`), "WR010")
	})
	weirtest.Exec(t, login, complete, j.ID, j.Token, `[{"name": "more", "kind": "k", "queue": "q", "depends_on": ["list"]}]`)
	if got := weirtest.Values[string](t, s.DB, "select name || ' ' || state from weir.workflow_steps order by name"); len(got) != 2 || got[0] != "list completed" || got[1] != "more available" {
		t.Errorf("the steps are %q", got)
	}
}
