//go:build unix

package input

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// nested is a JSON text of arrays, each but the first inside another.
func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

func TestDeepPayloadIsRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	workflow := s.Post("/v1/workflows", `{"name": "w", "steps": [{"name": "s", "wait_for": {"signal": "go"}}]}`).Want(http.StatusCreated)
	id := weirtest.Decode[struct{ ID string }](workflow).ID
	j := s.EnqueueAndClaim("q")
	const invalid, large = "invalid_argument", "args_too_large"
	jobs := s.Count(`select count(*) from weir.job`)
	for _, levels := range []int{101, 3000, 9000} {
		deep := nested(levels)
		mixed := strings.Repeat(`{"a": [`, levels/2) + "[1]" + strings.Repeat("]}", levels/2)
		for _, c := range []struct {
			refusal
			code string
		}{
			{refusal{"POST /v1/jobs", `{"kind": "k", "args": ` + deep + `}`, "body.args"}, large},
			{refusal{"POST /v1/jobs", `{"kind": "k", "args": ` + mixed + `}`, "body.args"}, large},
			{refusal{"POST /v1/jobs", `{"kind": "k", "metadata": {"m": ` + deep[1:levels*2-1] + `}}`, "body.metadata.m"}, invalid},
			{refusal{"POST /v1/jobs/batch", `{"jobs": [{"kind": "k"}, {"kind": "k", "args": ` + deep + `}]}`, "body.jobs[1].args"}, large},
			{refusal{"POST /v1/jobs/batch", `{"jobs": [{"kind": "k"}, {"kind": "k", "metadata": {"m": ` + deep + `}}]}`, "body.jobs[1].metadata.m"}, invalid},
			{refusal{"POST /v1/jobs/" + j.ID + "/complete", `{"token": "` + j.Token + `", "result": ` + deep + `}`, "body.result"}, invalid},
			{refusal{"POST /v1/schedules", `{"name": "n", "every_seconds": 60, "job": {"kind": "k", "args": ` + deep + `}}`, "body.job.args"}, large},
			{refusal{"POST /v1/schedules", `{"name": "n", "every_seconds": 60, "workflow": {"name": "w", "steps": [{"name": "s", "kind": "k", "args": ` + deep + `}]}}`, "body.workflow.steps[0].args"}, large},
			{refusal{"POST /v1/workflows", `{"name": "w", "steps": [{"name": "s", "kind": "k", "args": ` + deep + `}]}`, "body.steps[0].args"}, large},
			{refusal{"POST /v1/workflows", `{"name": "w", "metadata": {"m": ` + deep + `}, "steps": [{"name": "s", "kind": "k"}]}`, "body.metadata.m"}, invalid},
			{refusal{"POST /v1/workflows/" + id + "/signals/go", `{"payload": ` + deep + `}`, "body.payload"}, invalid},
			{refusal{"PUT /v1/breakers/b", `{"while_open": {"policy": "complete_default", "result": ` + deep + `}}`, "body.while_open.result"}, invalid},
			{refusal{"POST /v1/webhooks", `{"name": "n", "url": "https://a.example", "events": ["job.dead"], "more": ` + deep + `}`, "body.more"}, invalid},
			{refusal{"POST /v1/jobs/" + j.ID + "/fail", `{"token": "` + j.Token + `", "error": {"message": "m", "more": ` + deep + `}}`, "body.error.more"}, invalid},
			{refusal{"POST /v1/jobs/" + j.ID + "/heartbeat", `{"token": "` + j.Token + `", "progress": {"percent": 1, "more": ` + deep + `}}`, "body.progress.more"}, invalid},
			{refusal{"POST /v1/jobs/bulk", `{"action": "cancel", "filter": {"metadata": ` + deep + `}}`, "body.filter.metadata"}, invalid},
		} {
			status := http.StatusUnprocessableEntity
			if c.code == large {
				status = http.StatusRequestEntityTooLarge
			}
			c.check(t, s, status, c.code)
		}
		acks := s.Post("/v1/acks", fmt.Sprintf(`{"acks": [{"id": %q, "token": %q, "outcome": "complete", "result": %s}]}`, j.ID, j.Token, deep)).Want(http.StatusOK)
		if !strings.Contains(string(acks.Body), `"invalid"`) || !strings.Contains(string(acks.Body), "nested") {
			t.Errorf("%d levels: %v", levels, acks)
		}
	}
	refusal{"POST /v1/jobs", `{"kind": "k", "args": ` + nested(20_000) + `}`, "body"}.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
	if state := s.Job(j.ID).State; state != "running" || s.Count(`select count(*) from weir.job`) != jobs {
		t.Errorf("the job is %s, and there are %d jobs instead of %d", state, s.Count(`select count(*) from weir.job`), jobs)
	}

	s.Enqueue(`{"kind": "k", "queue": "deep", "args": ` + nested(100) + `, "metadata": {"m": ` + nested(99) + `}}`)
	kept := s.ClaimOne("deep")
	s.Post("/v1/jobs/"+kept.ID+"/complete", `{"token": "`+kept.Token+`", "result": `+nested(100)+`}`).Want(http.StatusOK)
	if r := s.Get("/v1/jobs/" + kept.ID).Want(http.StatusOK); strings.Count(string(r.Body), nested(100)) != 2 {
		t.Errorf("100 levels come back as %v", r)
	}
	s.Post("/v1/workflows/"+id+"/signals/go", `{"payload": `+nested(100)+`}`).Want(http.StatusOK)
}

// SQL has the same bound as REST, but for what PostgreSQL cannot even read.
func TestSQLRefusesDeepPayload(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	refused := func(column, sql string, args ...any) {
		t.Helper()
		e := weirtest.WantSQLState(t, weirtest.TryExec(d, sql, args...), "WR010")
		if e.ColumnName != column || !strings.Contains(e.Message, "nested") {
			t.Errorf("%s: %s at %q, want it at %q", sql, e.Message, e.ColumnName, column)
		}
	}
	workflow := weirtest.Value[int64](t, d, `select weir.submit_workflow('{"name": "w", "steps": [{"name": "s", "wait_for": {"signal": "go"}}]}')`)
	weirtest.EnqueueOne(t, d, "q")
	job := weirtest.ClaimOne(t, d, "q")
	for _, levels := range []int{101, 1000} {
		deep := nested(levels)
		d.Unchanged("deep values", func() {
			refused("jobs[1].args", "select weir.enqueue_many($1)", `[{"kind": "a"}, {"kind": "a", "tags": ["x"], "args": `+deep+`}]`)
			refused("jobs[0].args", "select weir.enqueue('a', $1)", deep)
			refused("jobs[1].args", "select weir.enqueue_many($1)", `[{"kind": "a"}, {"kind": "a", "args": `+deep+`}]`)
			refused("results[1]", "select weir.complete_many(array[$1::bigint], array[$2::bigint], array[$3::jsonb])", job.ID, job.Token, deep)
			refused("options.metadata", "select weir.enqueue('a', options => $1)", `{"metadata": {"a": `+deep[1:levels*2-1]+`}}`)
			refused("steps[0].args", "select weir.submit_workflow($1)", `{"name": "w", "steps": [{"name": "s", "kind": "a", "args": `+deep+`}]}`)
			refused("payload", "select weir.signal($1, 'go', $2)", workflow, deep)
			refused("result", "select weir.complete($1, $2, $3)", job.ID, job.Token, deep)
			refused("progress[1]", "select weir.heartbeat(array[$1::bigint], array[$2::bigint], progress => array[$3::jsonb])", job.ID, job.Token, deep)
		})
	}
	// An error is cut, never refused: it must not be lost.
	weirtest.Exec(t, d, "select weir.fail($1, $2, $3, retry => false)", job.ID, job.Token, `{"message": "no", "more": `+nested(1000)+`}`)
	if e := weirtest.Value[string](t, d, "select error::text from weir.jobs where id = $1", job.ID); e != `{"message": "no"}` {
		t.Errorf("the stored error is %.200s", e)
	}
	weirtest.Exec(t, d, "select weir.enqueue('a', $1, options => $2)", nested(100), `{"metadata": {"a": `+nested(99)+`}}`)
}
