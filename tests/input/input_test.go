//go:build unix

// Package input tests that bad input is refused by every door with the place that is wrong, and changes nothing.
package input

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }

// refusal is a call and the place that its problem must name.
type refusal struct{ call, body, place string }

func (c refusal) check(t *testing.T, s *weirtest.Node, status int, code string) {
	t.Helper()
	method, path, _ := strings.Cut(c.call, " ")
	var body any
	if c.body != "" {
		body = c.body
	}
	r := s.Do(method, path, body)
	if r.Status != status {
		t.Errorf("%.200s %.200s: %v; want %d at %s", c.call, c.body, r, status, c.place)
		return
	}
	p := r.Problem(status, code)
	if len(p.Errors) == 0 || p.Errors[0].Location != c.place {
		t.Errorf("%.200s %.200s: the places are %+v, want %s", c.call, c.body, p.Errors, c.place)
	}
}

func TestRepeatedNamesAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, c := range []refusal{
		{"POST /v1/jobs", `{"kind": "a", "kind": "b"}`, "body.kind"},
		{"POST /v1/jobs", `{"kind": "a", "k\u0069nd": "b"}`, "body.kind"},
		{"POST /v1/jobs", `{"kind": "a", "retry": {"jitter": true, "jitter": false}}`, "body.retry.jitter"},
		{"POST /v1/jobs", `{"kind": "a", "metadata": {"x": 1, "x": 2}}`, "body.metadata.x"},
		{"POST /v1/jobs/batch", `{"jobs": [{"kind": "a"}], "jobs": []}`, "body.jobs"},
		{"POST /v1/jobs/batch", `{"jobs": [{"kind": "a"}, {"kind": "b", "kind": "c"}]}`, "body.jobs[1].kind"},
		{"POST /v1/jobs/batch", `{"jobs": [{"kind": "a", "unique": {"key": "x", "key": "y"}}]}`, "body.jobs[0].unique.key"},
		{"POST /v1/acks", `{"acks": [], "acks": []}`, "body.acks"},
		{"POST /v1/acks", `{"acks": [{"id": "1", "id": "2", "token": "1", "outcome": "complete"}]}`, "body.acks[0].id"},
		{"POST /v1/claims", `{"worker": "w", "queues": ["a"], "queues": ["b"]}`, "body.queues"},
		{"PUT /v1/queues/q", `{"priority": 1, "priority": 2}`, "body.priority"},
		{"POST /v1/workflows", `{"name": "w", "steps": [{"name": "s", "name": "t", "kind": "k"}]}`, "body.steps[0].name"},
		{"POST /v1/schedules", `{"name": "n", "every_seconds": 60, "job": {"kind": "a", "kind": "b"}}`, "body.job.kind"},
	} {
		c.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
	}
	if n := s.Count(`select count(*) from weir.job`); n != 0 {
		t.Errorf("%d jobs are stored", n)
	}
	s.Enqueue(`{"kind": "a", "args": {"x": 1, "x": 2}}`) // args are the caller's own
}

func TestOneRuleForTimes(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	bad := []string{
		"9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999995Z", "9999-12-31T23:00:00-02:00", "0000-12-31T23:00:00Z", "0001-01-01T00:00:00+01:00",
		"2030-01-01T24:00:00Z", "2030-01-01T23:59Z", "2030-01-01 23:59:00Z", "2030-01-01T23:59:00+14", "2030-01-01T23:59:60Z", "2030-01-01t23:59:00Z", "2030-01-01T23:59:00z",
		"2030-01-01T9:00:00Z", "2030-01-01T09:00:00,5Z", "2030-02-30T00:00:00Z", "10000-01-01T00:00:00Z", "infinity", "now", "",
	}
	for _, at := range bad {
		query := strings.NewReplacer("+", "%2B", " ", "%20").Replace(at)
		for _, c := range []refusal{
			{"POST /v1/jobs", fmt.Sprintf(`{"kind": "k", "run_at": %q}`, at), "body.run_at"},
			{"POST /v1/jobs/batch", fmt.Sprintf(`{"jobs": [{"kind": "k"}, {"kind": "k", "run_at": %q}]}`, at), "body.jobs[1].run_at"},
			{"PATCH /v1/jobs/1", fmt.Sprintf(`{"run_at": %q}`, at), "body.run_at"},
			{"POST /v1/jobs/bulk", fmt.Sprintf(`{"action": "cancel", "filter": {"created_after": %q}}`, at), "body.filter.created_after"},
			{"POST /v1/dead/purge", fmt.Sprintf(`{"filter": {"died_before": %q}}`, at), "body.filter.died_before"},
			{"POST /v1/schedules", fmt.Sprintf(`{"name": "n", "at": %q, "job": {"kind": "k"}}`, at), "body.at"},
			{"POST /v1/schedules", fmt.Sprintf(`{"name": "n", "every_seconds": 60, "job": {"kind": "k"}, "starts_at": %q}`, at), "body.starts_at"},
			{"PATCH /v1/schedules/n", fmt.Sprintf(`{"ends_at": %q}`, at), "body.ends_at"},
			{"POST /v1/schedules/preview", fmt.Sprintf(`{"every_seconds": 60, "from": %q}`, at), "body.from"},
			{"POST /v1/queues/q/pause", fmt.Sprintf(`{"resume_at": %q}`, at), "body.resume_at"},
			{"GET /v1/jobs?created_after=" + query, "", "query.created_after"},
			{"GET /v1/jobs?finished_before=" + query, "", "query.finished_before"},
			{"GET /v1/dead?died_after=" + query, "", "query.died_after"},
			{"GET /v1/schedules/n/preview?from=" + query, "", "query.from"},
		} {
			c.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
		}
	}
	if n := s.Count(`select (select count(*) from weir.job) + (select count(*) from weir.schedule)`); n != 0 {
		t.Errorf("%d jobs and schedules are stored", n)
	}
	for _, at := range []string{"2030-01-01T23:59:00Z", "2030-01-01T23:59:00.123456789+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"} {
		one := s.Enqueue(obj{"kind": "k", "run_at": at})
		many := s.EnqueueAll([]obj{{"kind": "k", "run_at": at}})
		if a, b := s.Job(one).RunAt, s.Job(many[0]).RunAt; a == nil || b == nil || !a.Equal(*b) {
			t.Errorf("%s is read as %v and as %v", at, a, b)
		}
	}
	s.Get("/v1/jobs").Want(http.StatusOK)
}

func TestTextThatCannotBeStoredIsNamed(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	j := s.EnqueueAndClaim("q")
	for _, c := range []refusal{
		{"POST /v1/jobs", `{"kind": "a\u0000b"}`, "body.kind"},
		{"POST /v1/jobs", `{"kind": "k", "args": {"x": ["\u0000"]}}`, "body.args"},
		{"POST /v1/jobs", `{"kind": "k", "args": {"\u0000": 1}}`, "body.args"},
		{"POST /v1/jobs", `{"kind": "k", "args": "\ud800"}`, "body.args"},
		{"POST /v1/jobs", `{"kind": "k", "args": "\ud800\u0041"}`, "body.args"},
		{"POST /v1/jobs", `{"kind": "k", "args": "\udc00"}`, "body.args"},
		{"POST /v1/jobs", `{"kind": "k", "tags": ["a", "\u0000"]}`, "body.tags[1]"},
		{"POST /v1/jobs", `{"kind": "k", "tenant": "\u0000"}`, "body.tenant"},
		{"POST /v1/jobs", `{"kind": "k", "metadata": {"m": "\u0000"}}`, "body.metadata.m"},
		{"POST /v1/jobs/batch", `{"jobs": [{"kind": "k"}, {"kind": "k", "args": "\u0000"}]}`, "body.jobs[1].args"},
		{"POST /v1/jobs/batch", `{"jobs": [{"kind": "k"}, {"kind": "\u0000"}]}`, "body.jobs[1].kind"},
		{"POST /v1/jobs/" + j.ID + "/complete", `{"token": "` + j.Token + `", "result": "a\u0000b"}`, "body.result"},
		{"POST /v1/workflows", `{"name": "w", "steps": [{"name": "s", "kind": "k", "args": "\u0000"}]}`, "body.steps[0].args"},
		{"POST /v1/workflows/1/signals/s", `{"payload": "\u0000"}`, "body.payload"},
		{"PUT /v1/workers/w", `{"hostname": "\u0000"}`, "body.hostname"},
		{"PUT /v1/workers/w%00", `{}`, "path.name"},
		{"PUT /v1/workers/%ff", `{}`, "path.name"},
		{"GET /v1/jobs?kind=a%00b", "", "query.kind"},
		{"GET /v1/jobs?kind=%ff", "", "query.kind"},
		{"GET /v1/workers?queue=%00", "", "query.queue"},
	} {
		c.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.Post("/v1/jobs", "{\"kind\": \"\xff\"}").Problem(http.StatusBadRequest, "malformed_json")
	for _, args := range []string{`"\\u0000"`, `"\ud83d\ude00"`, `"\\\\u0000 \u0001"`} {
		s.Enqueue(`{"kind": "k", "args": ` + args + `}`)
		s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "args": `+args+`}]}`).Want(http.StatusCreated)
	}
}

func TestSizeIsThatOfTheFormThatIsSent(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	numbers := "[" + strings.Repeat("1e999,", 3999) + "1e999]"
	small := "[" + strings.Repeat("1e-400,", 3999) + "1e-400]"
	for _, payload := range []string{numbers, `{"deep": [[` + small + `]]}`} {
		for _, c := range []refusal{
			{"POST /v1/jobs", `{"kind": "k", "args": ` + payload + `}`, "body.args"},
			{"POST /v1/jobs/batch", `{"jobs": [{"kind": "k"}, {"kind": "k", "args": ` + payload + `}]}`, "body.jobs[1].args"},
			{"POST /v1/workflows", `{"name": "w", "steps": [{"name": "s", "kind": "k", "args": ` + payload + `}]}`, "body.steps[0].args"},
			{"POST /v1/schedules", `{"name": "n", "every_seconds": 60, "job": {"kind": "k", "args": ` + payload + `}}`, "body.job.args"},
		} {
			c.check(t, s, http.StatusRequestEntityTooLarge, "args_too_large")
		}
		j := s.EnqueueAndClaim("q")
		refusal{"POST /v1/jobs/" + j.ID + "/complete", `{"token": "` + j.Token + `", "result": ` + payload + `}`, "body.result"}.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
		if state := s.Job(j.ID).State; state != "running" {
			t.Errorf("the job is %s", state)
		}
	}
	refusal{"POST /v1/jobs", `{"kind": "k", "metadata": {"x": ` + small + `}}`, "body.metadata.x"}.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
	s.Enqueue(`{"kind": "k", "args": [` + strings.Repeat("1e999,", 500) + `1]}`)
	s.Enqueue(`{"kind": "k", "args": [` + strings.Repeat(" ", 1<<20) + `1]}`) // spaces are not sent
}

func TestIDsAreAnsweredAsTheyWereAsked(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for path, code := range map[string]string{
		"/v1/jobs/%s": "job_not_found", "/v1/jobs/%s/timeline": "job_not_found", "/v1/jobs/%s/logs": "job_not_found", "/v1/jobs/%s/why": "job_not_found", "/v1/dead/%s": "dead_letter_not_found",
		"/v1/operations/%s": "operation_not_found", "/v1/workflows/%s": "workflow_not_found", "/v1/workflows/%s/graph": "workflow_not_found",
	} {
		for _, id := range []string{"123456", "9223372036854775807", "9223372036854775808", "99999999999999999999"} {
			p := s.Get(fmt.Sprintf(path, id)).Problem(http.StatusNotFound, code)
			if !strings.Contains(p.Detail, id) {
				t.Errorf("%s with id %s: %s", path, id, p.Detail)
			}
		}
	}
	refusal{"POST /v1/jobs/1/complete", `{"token": "99999999999999999999"}`, "body.token"}.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
	refusal{"POST /v1/acks", `{"acks": [{"id": "1", "token": "99999999999999999999", "outcome": "complete"}]}`, "body.acks[0].token"}.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
	for _, query := range []string{"parent_id", "workflow_id"} {
		r := s.Get("/v1/jobs?" + query + "=99999999999999999999").Want(http.StatusOK)
		if items := weirtest.Decode[weirtest.Page[weirtest.Job]](r).Items; len(items) != 0 {
			t.Errorf("%s finds %v", query, items)
		}
	}
}

func TestPlaceOfAValueOutsideTheBodyIsNamed(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", "nonsense")
	answer, err := s.SendRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	if p := answer.Problem(http.StatusUnprocessableEntity, "invalid_argument"); len(p.Errors) != 1 || p.Errors[0].Location != "header.Last-Event-ID" {
		t.Errorf("the places are %+v", p.Errors)
	}
	for _, worker := range []string{".", ".."} {
		refusal{"POST /v1/claims", `{"worker": "` + worker + `", "queues": ["q"]}`, "body.worker"}.check(t, s, http.StatusUnprocessableEntity, "invalid_argument")
	}
}

func TestOptionalBodyMayBeAbsentOrNull(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, body := range []any{nil, "null", " null\n", "{}"} {
		id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
		s.Post("/v1/queues/q/pause", body).Want(http.StatusOK)
		s.Post("/v1/queues/q/purge", body).Want(http.StatusOK)
		if state := s.Job(id).State; state != "cancelled" {
			t.Errorf("after a purge with the body %v the job is %s", body, state)
		}
		s.Post("/v1/jobs/"+id+"/retry", body).Want(http.StatusOK)
		s.Post("/v1/queues/q/purge", `{"state": "waiting"}`).Want(http.StatusOK)
	}
	for _, body := range []string{"", " ", "nul", "null null", "[]"} {
		var sent any = body
		if body == "" {
			sent = nil
		}
		if r := s.Post("/v1/jobs", sent); r.Status != http.StatusBadRequest && r.Status != http.StatusUnprocessableEntity {
			t.Errorf("a job of %q: %v", body, r)
		}
	}
}

// Bounds are written as people write them, not as 3.1536e+07.
func TestBoundsOfNumbersAreWrittenOut(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, c := range []struct{ call, body, bound string }{
		{"POST /v1/jobs", `{"kind": "k", "result_ttl_seconds": 1000000000}`, "31536000"},
		{"POST /v1/jobs", `{"kind": "k", "delay_seconds": 1e12}`, "315360000"},
		{"GET /v1/stats/throughput?window_seconds=99999999", "", "7776000"},
	} {
		method, path, _ := strings.Cut(c.call, " ")
		var body any
		if c.body != "" {
			body = c.body
		}
		if p := s.Do(method, path, body).Problem(http.StatusUnprocessableEntity, "invalid_argument"); !strings.HasSuffix(p.Errors[0].Message, " "+c.bound) {
			t.Errorf("%s %s: %q, want the bound %s", c.call, c.body, p.Errors[0].Message, c.bound)
		}
	}
}
