package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTAJobRunsFromEnqueueToDone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	created := s.Post("/v1/jobs", `{"kind": "send_receipt", "queue": "mail", "args": {"order": 42}}`).Want(http.StatusCreated)
	job := weirtest.Decode[weirtest.Job](created)
	if path := created.Header.Get("Location"); path != "/v1/jobs/"+job.ID {
		t.Errorf("Location is %q", path)
	}
	if job.State != "available" || job.Kind != "send_receipt" || job.Queue != "mail" || job.Priority != 5 || job.Attempt != 0 ||
		job.MaxAttempts != 5 || job.TimeoutSeconds != 300 || job.Duplicate || job.Errors == nil || job.Tags == nil || string(job.Metadata) != "{}" {
		t.Errorf("enqueued: %+v", job)
	}

	got := s.ClaimAs("mailer-1", 1, "mail")
	if got[0].ID != job.ID || got[0].Kind != "send_receipt" || got[0].Queue != "mail" || got[0].Attempt != 1 ||
		got[0].MaxAttempts != 5 || got[0].TimeoutSeconds != 300 || got[0].Tags == nil || string(got[0].Metadata) != "{}" {
		t.Fatalf("claimed: %+v", got)
	}
	running := s.Job(job.ID)
	if running.State != "running" || running.Worker != "mailer-1" || running.Attempt != 1 || running.StartedAt == nil ||
		running.LeaseExpiresAt == nil || !running.LeaseExpiresAt.Equal(got[0].LeaseExpiresAt) {
		t.Errorf("running: %+v", running)
	}

	s.Post("/v1/jobs/"+job.ID+"/heartbeat", obj{"token": got[0].Token, "progress": obj{"percent": 40.5, "message": "half"}}).Want(http.StatusOK)
	if p := s.Job(job.ID).Progress; p == nil || p.Percent != 40.5 || p.Message != "half" {
		t.Errorf("progress: %+v", p)
	}

	ack := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+job.ID+"/complete", obj{"token": got[0].Token, "result": obj{"message_id": "m-1"}}).Want(http.StatusOK))
	if ack.ID != job.ID || ack.Status != "ok" {
		t.Errorf("completing said %+v", ack)
	}
	done := s.Job(job.ID)
	if done.State != "completed" || done.FinishedAt == nil || done.FinishedAt.Before(*done.StartedAt) || done.Worker != "mailer-1" ||
		done.Attempt != 1 || !weirtest.SameJSON(t, done.Result, []byte(`{"message_id": "m-1"}`)) || done.LeaseExpiresAt != nil || done.Error != nil {
		t.Errorf("done: %+v", done)
	}
	if again := s.Claim(1, "mail"); len(again) != 0 {
		t.Errorf("it was given out again: %+v", again)
	}
}

func TestRESTEveryOptionOfAJobIsKept(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	runAt := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	body := obj{
		"kind": "k", "queue": "a.b:c-d_e", "args": obj{"n": 1}, "priority": 9, "run_at": runAt, "max_attempts": 7, "timeout_seconds": 61, "tenant": "acme",
		"retry": obj{"strategy": "linear", "base_seconds": 1.5, "max_seconds": 30, "jitter": false}, "unique": obj{"key": "order-42"},
		"tags": []string{"red", "blue", "ünïcode"}, "metadata": obj{"trace": "t-1", "deep": obj{"er": nil}},
	}
	single := s.Enqueue(body)
	body["unique"] = obj{"key": "order-43", "scope": "ttl", "ttl_seconds": 60}
	batched := s.EnqueueAll([]obj{body})[0]
	for id, key := range map[string]string{single: "order-42", batched: "order-43"} {
		j := s.Job(id)
		if j.Queue != "a.b:c-d_e" || j.Priority != 9 || j.State != "scheduled" || j.RunAt == nil || !j.RunAt.Equal(runAt) || j.MaxAttempts != 7 ||
			j.TimeoutSeconds != 61 || j.Tenant != "acme" || j.UniqueKey != key || !slices.Equal(j.Tags, []string{"red", "blue", "ünïcode"}) ||
			!weirtest.SameJSON(t, j.Metadata, []byte(`{"trace": "t-1", "deep": {"er": null}}`)) ||
			!weirtest.SameJSON(t, j.Retry, []byte(`{"strategy": "linear", "base_seconds": 1.5, "max_seconds": 30, "jitter": false}`)) {
			t.Errorf("%+v", j)
		}
		// The view has the same.
		if n := s.Count(`select count(*) from weir.jobs where id = $1 and queue = 'a.b:c-d_e' and priority = 9 and state = 'scheduled' and run_at = $2
			and max_attempts = 7 and timeout_seconds = 61 and tenant = 'acme' and unique_key = $3 and 'blue' = any (tags)`, id, runAt, key); n != 1 {
			t.Errorf("the view weir.jobs shows job %s otherwise", id)
		}
	}
	s.Post("/v1/jobs/"+single+"/retry", nil).Want(http.StatusOK) // now
	got := s.ClaimOne("a.b:c-d_e")
	if got.MaxAttempts != 7 || got.TimeoutSeconds != 61 || len(got.Tags) != 3 || !weirtest.SameJSON(t, got.Metadata, []byte(`{"trace": "t-1", "deep": {"er": null}}`)) {
		t.Errorf("claimed: %+v", got)
	}
}

func TestRESTADelayIsADelay(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	hour := s.Job(s.Enqueue(`{"kind": "k", "delay_seconds": 3600.5}`))
	if hour.State != "scheduled" || hour.RunAt == nil || hour.RunAt.Sub(hour.CreatedAt).Round(100*time.Millisecond) != 3600500*time.Millisecond {
		t.Errorf("delayed by 3600.5 s: %+v", hour)
	}
	for _, at := range []string{`"delay_seconds": 0`, `"run_at": "2001-02-03T04:05:06Z"`} {
		if j := s.Job(s.Enqueue(`{"kind": "k", ` + at + `}`)); j.State != "available" {
			t.Errorf("%s: %+v", at, j)
		}
	}
}

// What clients in every language rely on: an id or token is a JSON string wherever it appears.
func TestRESTIDsAndTokensAreStrings(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	first := s.Post("/v1/jobs", `{"kind": "k", "max_attempts": 1}`).Want(http.StatusCreated)
	id := weirtest.Decode[weirtest.Job](first).ID
	claimed := s.Post("/v1/claims", `{"worker": "w", "queues": ["default"], "wait_seconds": 20}`).Want(http.StatusOK)
	token := weirtest.Decode[weirtest.ClaimedJobs](claimed).Jobs[0].Token
	replies := []*weirtest.Response{
		first, claimed,
		s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k"}]}`),
		s.Get("/v1/jobs/" + id), s.Get("/v1/jobs"),
		s.Post("/v1/acks", obj{"acks": []obj{{"id": id, "token": token, "outcome": "fail", "error": obj{"message": "no"}}, {"id": id, "token": "1", "outcome": "complete"}}}),
		s.Get("/v1/queues/default/stats"),
	}
	seen := 0
	var look func(r *weirtest.Response, v any)
	look = func(r *weirtest.Response, v any) {
		switch v := v.(type) {
		case obj:
			for name, x := range v {
				if name == "id" || name == "token" || name == "last_job_id" {
					seen++
					if text, ok := x.(string); !ok || text == "" || strings.Trim(text, "0123456789") != "" {
						t.Errorf("%s is %v in %v", name, x, r)
					}
				}
				if name == "ids" {
					for _, one := range x.([]any) {
						look(r, obj{"id": one})
					}
				}
				look(r, x)
			}
		case []any:
			for _, x := range v {
				look(r, x)
			}
		}
	}
	for _, r := range replies {
		look(r, weirtest.Decode[any](r))
	}
	if seen < 9 {
		t.Errorf("only %d ids and tokens were seen", seen)
	}
}

func TestRESTArgsAndResultsAreAnyJSON(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for i, text := range []string{
		`null`, `true`, `false`, `0`, `-1.5`, `""`, `"text"`, `[]`, `{}`, `[null]`, `{"": ""}`,
		`9007199254740993`, `-123456789012345678901234567890`, `0.1`, `1e-30`, `1e400`, `3.14159265358979323846264338327950288`,
		`"ünïcödé 漢字 🦫 \u00e9 \ud83e\uddab"`, `"\u0001\u001f\u007f\u2028\\\"\/\b\f\n\r\t"`, `"<script>&amp;</script>"`, `"'; drop table weir.job; --"`, `"$1 %s {{x}}"`,
		`{"a": {"b": {"c": [1, [2, [3, {"d": null}]]]}}, "ключ": "значение"}`, `[1, "1", 1.0, true, null, [], {}]`,
		`{"kind": "not the kind", "queue": 7, "args": {"args": {}}}`,
		"  [ 1 ,\n\t2 ]  ",
		strings.Repeat("[", 500) + strings.Repeat("]", 500),
		`"` + strings.Repeat("x", 1000000) + `"`,
	} {
		name := text[:min(len(text), 40)]
		queue := fmt.Sprintf("q%d", i)
		single := s.Enqueue(`{"kind": "k", "queue": "` + queue + `", "args": ` + text + `}`)
		batched := weirtest.Decode[struct{ IDs []string }](s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "`+queue+`", "args": `+text+`}]}`).Want(http.StatusCreated)).IDs[0]
		s.Settle()
		got := s.ClaimAs("worker", 2, queue)
		for _, c := range got {
			if !weirtest.SameJSON(t, c.Args, []byte(text)) {
				t.Errorf("%s: claimed as %.100s", name, c.Args)
			}
		}
		s.Post("/v1/jobs/"+single+"/complete", `{"token": "`+got[0].Token+`", "result": `+text+`}`).Want(http.StatusOK)
		s.Post("/v1/acks", `{"acks": [{"id": "`+batched+`", "token": "`+got[1].Token+`", "outcome": "complete", "result": `+text+`}]}`).Want(http.StatusOK)
		for _, id := range []string{single, batched} {
			j := s.Job(id)
			if !weirtest.SameJSON(t, j.Args, []byte(text)) || !weirtest.SameJSON(t, j.Result, []byte(text)) {
				t.Errorf("%s: args came back as %.100s, result as %.100s", name, j.Args, j.Result)
			}
		}
	}
	if j := s.Job(s.Enqueue(`{"kind": "k"}`)); string(j.Args) != "{}" {
		t.Errorf("no args: %s", j.Args)
	}
}

// One mebibyte of JSON is what args may have, whatever form the database keeps it in.
func TestRESTArgsOfAlmostOneMebibyteAreTaken(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for name, args := range map[string]string{
		"a string":           `"` + strings.Repeat("x", 1<<20-100) + `"`,
		"many small numbers": "[" + strings.Repeat("1,", 1<<19-100) + "1]",
		"many small objects": "[" + strings.Repeat(`{"a":1},`, 1<<17-100) + "1]",
	} {
		for path, body := range map[string]string{
			"/v1/jobs":       `{"kind": "k", "args": ` + args + `}`,
			"/v1/jobs/batch": `{"jobs": [{"kind": "k", "args": ` + args + `}]}`,
		} {
			if r := s.Post(path, body); r.Status != http.StatusCreated {
				t.Errorf("%s, %d bytes: %v", name, len(args), r)
			}
		}
	}
}

// SQL takes any JSON for an error. What REST shows of it is text.
func TestRESTErrorsThatAreNotTextAreShownAsText(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for given, want := range map[string]string{`{"message": 5, "type": ["a"], "stack": {"b": 1}}`: "5", `{"message": {"x": 1}}`: `{"x": 1}`, `{"code": 7}`: "failed", `17`: "17", `null`: "failed"} {
		id := s.Enqueue(obj{"kind": "k"})
		s.Settle()
		s.Count(`select length(weir.fail(job_id, token, $1, retry => false)) from weir.claim('{default}', 'w')`, given)
		if got := weirtest.Decode[weirtest.Job](s.Get("/v1/jobs/" + id).Want(http.StatusOK)); len(got.Errors) != 1 || got.Errors[0].Message != want {
			t.Errorf("%s: %+v", given, got.Errors)
		}
	}
}
