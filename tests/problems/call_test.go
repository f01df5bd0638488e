package problems

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// canary stands in the values of refused requests. No answer may contain it.
const canary = "C4N4RY"

// badCall is a request and how it is refused.
type badCall struct {
	call     string // method and path
	body     string
	status   int
	code     string
	location string // of one of the errors; "": the problem names no place
}

func badCalls() []badCall {
	const unprocessable, malformed = http.StatusUnprocessableEntity, http.StatusBadRequest
	invalid := func(call, location string, bodies ...string) []badCall {
		var calls []badCall
		for _, body := range bodies {
			calls = append(calls, badCall{call, body, unprocessable, "invalid_argument", location})
		}
		return calls
	}
	calls := slices.Concat(
		// A job to enqueue.
		invalid("POST /v1/jobs", "body", `[]`, `"C4N4RY"`, `7`, `null`, `true`),
		invalid("POST /v1/jobs", "body.kind", `{"kind": ""}`, `{"kind": 7}`, `{"kind": null}`, `{"kind": ["C4N4RY"]}`, `{"kind": "C4N4RY`+strings.Repeat("k", 200)+`"}`),
		invalid("POST /v1/jobs", "body.", `{"kind": "k", "kinds": "C4N4RY"}`, `{"kind": "k", "Args": "C4N4RY"}`, `{"kind": "k", "id": "1"}`, `{"kind": "k", "state": "running"}`),
		invalid("POST /v1/jobs", "body.priority", `{"kind": "k", "priority": 0}`, `{"kind": "k", "priority": 11}`, `{"kind": "k", "priority": -1}`, `{"kind": "k", "priority": 5.5}`,
			`{"kind": "k", "priority": "C4N4RY"}`, `{"kind": "k", "priority": 1e300}`, `{"kind": "k", "priority": true}`, `{"kind": "k", "priority": {}}`),
		invalid("POST /v1/jobs", "body.queue", `{"kind": "k", "queue": "C4N4RY with spaces"}`, `{"kind": "k", "queue": ""}`, `{"kind": "k", "queue": "-x"}`, `{"kind": "k", "queue": "a/b"}`, `{"kind": "k", "queue": 7}`,
			`{"kind": "k", "queue": "a,b"}`, `{"kind": "k", "queue": "C4N4RY`+strings.Repeat("q", 128)+`"}`, `{"kind": "k", "queue": "x\n"}`, `{"kind": "k", "queue": "\u0000"}`),
		invalid("POST /v1/jobs", "body.delay_seconds", `{"kind": "k", "delay_seconds": -1}`, `{"kind": "k", "delay_seconds": -0.001}`, `{"kind": "k", "delay_seconds": "C4N4RY"}`, `{"kind": "k", "delay_seconds": 1e300}`,
			`{"kind": "k", "delay_seconds": 1e999999}`),
		invalid("POST /v1/jobs", "body.run_at", `{"kind": "k", "run_at": "C4N4RY"}`, `{"kind": "k", "run_at": "2026-01-31"}`, `{"kind": "k", "run_at": "2026-02-31T00:00:00Z"}`, `{"kind": "k", "run_at": 1769850000}`,
			`{"kind": "k", "run_at": "2026-01-31T09:00:00"}`, `{"kind": "k", "run_at": "infinity"}`, `{"kind": "k", "run_at": "2030-01-01T00:00:00Z", "delay_seconds": 1}`),
		invalid("POST /v1/jobs", "body.max_attempts", `{"kind": "k", "max_attempts": 0}`, `{"kind": "k", "max_attempts": 101}`),
		invalid("POST /v1/jobs", "body.timeout_seconds", `{"kind": "k", "timeout_seconds": 0}`, `{"kind": "k", "timeout_seconds": -5}`, `{"kind": "k", "timeout_seconds": 604801}`),
		invalid("POST /v1/jobs", "body.retry", `{"kind": "k", "retry": "C4N4RY"}`, `{"kind": "k", "retry": {"strategy": "C4N4RY"}}`, `{"kind": "k", "retry": {"base_seconds": -1}}`, `{"kind": "k", "retry": {"jitter": "yes"}}`,
			`{"kind": "k", "retry": {"C4N4": 1}}`),
		invalid("POST /v1/jobs", "body.unique", `{"kind": "k", "unique": "C4N4RY"}`, `{"kind": "k", "unique": {}}`, `{"kind": "k", "unique": {"key": ""}}`, `{"kind": "k", "unique": {"key": "C4N4RY", "scope": "C4N4RY"}}`,
			`{"kind": "k", "unique": {"key": "C4N4RY", "scope": "ttl"}}`, `{"kind": "k", "unique": {"key": "C4N4RY", "ttl_seconds": 5}}`, `{"kind": "k", "unique": {"key": "C4N4RY", "scope": "ttl", "ttl_seconds": -1}}`,
			`{"kind": "k", "unique": {"key": "C4N4RY`+strings.Repeat("u", 500)+`"}}`),
		invalid("POST /v1/jobs", "body.tags", `{"kind": "k", "tags": "C4N4RY"}`, `{"kind": "k", "tags": [7]}`, `{"kind": "k", "tags": [""]}`, `{"kind": "k", "tags": ["C4N4RY`+strings.Repeat("t", 200)+`"]}`,
			`{"kind": "k", "tags": [`+strings.Repeat(`"t",`, 50)+`"t"]}`),
		invalid("POST /v1/jobs", "body.metadata", `{"kind": "k", "metadata": "C4N4RY"}`, `{"kind": "k", "metadata": ["C4N4RY"]}`, `{"kind": "k", "metadata": {"x": "C4N4RY`+strings.Repeat("m", 1<<16)+`"}}`),
		invalid("POST /v1/jobs", "body.tenant", `{"kind": "k", "tenant": ""}`, `{"kind": "k", "tenant": 7}`, `{"kind": "k", "tenant": "C4N4RY`+strings.Repeat("t", 200)+`"}`),
		invalid("POST /v1/jobs", "", `{"kind": "C4N4RY\u0000"}`, `{"kind": "k", "args": "C4N4RY\u0000"}`, `{"kind": "k", "args": {"C4N4RY\u0000": 1}}`, `{"kind": "k", "tags": ["\u0000"]}`),
		[]badCall{
			{"POST /v1/jobs", `{"kind": "k", "args": 1e200000}`, http.StatusRequestEntityTooLarge, "args_too_large", "body.args"},
			{"POST /v1/jobs", `{"kind": "k", "args": "` + canary + strings.Repeat("x", 1<<20) + `"}`, http.StatusRequestEntityTooLarge, "args_too_large", "body.args"},
			{"POST /v1/jobs/batch", `{"jobs": [{"kind": "k"}, {"kind": "k", "args": "` + canary + strings.Repeat("x", 1<<20) + `"}]}`, http.StatusRequestEntityTooLarge, "args_too_large", "body.jobs[1].args"},
			{"POST /v1/jobs", `{"kind": "k", "args": "` + canary + strings.Repeat("x", 10<<20) + `"}`, http.StatusRequestEntityTooLarge, "body_too_large", ""},
			{"POST /v1/acks", `{"acks": [], "x": "` + canary + strings.Repeat("x", 10<<20) + `"}`, http.StatusRequestEntityTooLarge, "body_too_large", ""},
		},
		// A batch of them.
		invalid("POST /v1/jobs/batch", "body", `[]`, `null`, `{}`, `{"jobs": [], "more": "C4N4RY"}`, `{"job": []}`, `{"Jobs": []}`),
		invalid("POST /v1/jobs/batch", "body.jobs", `{"jobs": null}`, `{"jobs": {}}`, `{"jobs": "C4N4RY"}`),
		invalid("POST /v1/jobs/batch", "body.jobs[1]", `{"jobs": [{"kind": "k"}, 7]}`, `{"jobs": [{"kind": "k"}, null]}`, `{"jobs": [{"kind": "k"}, ["C4N4RY"]]}`),
		invalid("POST /v1/jobs/batch", "body.jobs[1].kind", `{"jobs": [{"kind": "k"}, {}]}`, `{"jobs": [{"kind": "k"}, {"kind": ""}]}`, `{"jobs": [{"kind": "k"}, {"kind": 7}]}`),
		invalid("POST /v1/jobs/batch", "body.jobs[0].", `{"jobs": [{"kind": "k", "C4N4": "C4N4RY"}]}`, `{"jobs": [{"kind": "k", "delay_seconds": -1}]}`, `{"jobs": [{"kind": "k", "run_at": "C4N4RY"}]}`,
			`{"jobs": [{"kind": "k", "queue": "C4N4RY !"}]}`, `{"jobs": [{"kind": "k", "priority": 5.5}]}`, `{"jobs": [{"kind": "k", "unique": {"key": 7}}]}`, `{"jobs": [{"kind": "k", "retry": {"strategy": 7}}]}`,
			`{"jobs": [{"kind": "k", "tags": {}}]}`, `{"jobs": [{"kind": "k", "max_attempts": 1e99}]}`, `{"jobs": [{"kind": "k", "timeout_seconds": "C4N4RY"}]}`, `{"jobs": [{"kind": "k", "metadata": 7}]}`,
			`{"jobs": [{"kind": "k", "unique": {"key": "k", "scope": 7}}]}`, `{"jobs": [{"kind": "k", "retry": {"jitter": 1}}]}`, `{"jobs": [{"kind": "k", "queue": "a,b"}]}`, `{"jobs": [{"kind": "k", "tenant": 7}]}`),
		invalid("POST /v1/jobs/batch", "", `{"jobs": [{"kind": "k", "args": "C4N4RY\u0000"}]}`),
		// Claims.
		invalid("POST /v1/claims", "body.worker", `{"queues": ["q"], "worker": ""}`, `{"queues": ["q"], "worker": 7}`, `{"queues": ["q"], "worker": "C4N4RY`+strings.Repeat("w", 200)+`"}`),
		invalid("POST /v1/claims", "body", `{"queues": ["q"]}`, `{"worker": "w"}`, `{}`, `[]`, `null`),
		invalid("POST /v1/claims", "body.queues", `{"worker": "w", "queues": []}`, `{"worker": "w", "queues": "C4N4RY"}`, `{"worker": "w", "queues": null}`, `{"worker": "w", "queues": ["C4N4RY !"]}`, `{"worker": "w", "queues": ["a,b"]}`,
			`{"worker": "w", "queues": [7]}`, `{"worker": "w", "queues": [""]}`, `{"worker": "w", "queues": [`+strings.Repeat(`"q",`, 100)+`"q"]}`),
		invalid("POST /v1/claims", "body.limit", `{"worker": "w", "queues": ["q"], "limit": 0}`, `{"worker": "w", "queues": ["q"], "limit": -1}`, `{"worker": "w", "queues": ["q"], "limit": 1001}`, `{"worker": "w", "queues": ["q"], "limit": 1.5}`),
		invalid("POST /v1/claims", "body.wait_seconds", `{"worker": "w", "queues": ["q"], "wait_seconds": -1}`, `{"worker": "w", "queues": ["q"], "wait_seconds": 61}`, `{"worker": "w", "queues": ["q"], "wait_seconds": "C4N4RY"}`),
		invalid("POST /v1/claims", "body.lease_seconds", `{"worker": "w", "queues": ["q"], "lease_seconds": 0}`, `{"worker": "w", "queues": ["q"], "lease_seconds": -1}`, `{"worker": "w", "queues": ["q"], "lease_seconds": 3601}`),
		invalid("POST /v1/claims", "body.", `{"worker": "w", "queues": ["q"], "kinds": ["C4N4RY"]}`),
		// Acks for unknown jobs: mistakes in the body come first.
		invalid("POST /v1/jobs/1/complete", "body", `{}`, `{"token": 1}`, `{"token": "C4N4RY"}`, `{"token": "-1"}`, `{"token": ""}`, `{"token": null}`, `{"token": "1", "results": "C4N4RY"}`, `[]`, `null`),
		invalid("POST /v1/jobs/1/complete", "body.result", `{"token": "1", "result": "C4N4RY`+strings.Repeat("x", 1<<20)+`"}`),
		invalid("POST /v1/jobs/1/fail", "body", `{"token": "1"}`, `{"token": "1", "error": "C4N4RY"}`, `{"token": "1", "error": {}}`, `{"token": "1", "error": {"message": 7}}`, `{"token": "1", "error": {"message": "m"}, "retry": "C4N4RY"}`,
			`{"token": "1", "error": {"message": "m", "C4N4": 1}}`),
		invalid("POST /v1/jobs/1/fail", "body.retry_in_seconds", `{"token": "1", "error": {"message": "m"}, "retry_in_seconds": -1}`, `{"token": "1", "error": {"message": "m"}, "retry_in_seconds": 1e300}`),
		invalid("POST /v1/jobs/1/snooze", "body", `{"token": "1"}`, `{"delay_seconds": 1}`),
		invalid("POST /v1/jobs/1/snooze", "body.delay_seconds", `{"token": "1", "delay_seconds": -1}`, `{"token": "1", "delay_seconds": "C4N4RY"}`, `{"token": "1", "delay_seconds": 1e300}`),
		invalid("POST /v1/jobs/1/release", "body", `{}`, `{"token": "1", "delay_seconds": 1}`),
		invalid("POST /v1/jobs/1/heartbeat", "body", `{}`, `{"token": "1", "lease_seconds": 0}`, `{"token": "1", "lease_seconds": -1}`, `{"token": "1", "lease_seconds": 3601}`, `{"token": "1", "progress": 50}`,
			`{"token": "1", "progress": {"percent": 101}}`, `{"token": "1", "progress": {"percent": -1}}`, `{"token": "1", "progress": {"percent": "C4N4RY"}}`),
		invalid("POST /v1/acks", "body", `[]`, `null`, `{}`, `{"acks": null}`, `{"acks": {}}`, `{"acks": [], "more": "C4N4RY"}`, `{"acks": ["C4N4RY"]}`),
		// Changes.
		invalid("PATCH /v1/jobs/1", "body", `{}`, `[]`, `null`, `{"kind": "C4N4RY"}`, `{"args": "C4N4RY"}`, `{"state": "completed"}`, `{"priority": 0}`, `{"priority": 11}`, `{"run_at": "C4N4RY"}`, `{"max_attempts": 0}`,
			`{"timeout_seconds": 0}`, `{"tags": "C4N4RY"}`, `{"tags": [""]}`),
		invalid("POST /v1/jobs/1/retry", "body", `{"reset_attempts": "C4N4RY"}`, `{"reset": true}`, `[]`),
		// Queues.
		invalid("PUT /v1/queues/q", "body", `{"priority": 0}`, `{"max_attempts": 101}`, `{"timeout_seconds": 0}`, `{"lease_seconds": 3601}`, `{"retention_seconds": 59}`, `{"max_depth": -1}`, `{"paused": true}`, `{"name": "C4N4RY"}`,
			`{"retry": {"strategy": "C4N4RY"}}`, `{"retry": []}`, `[]`, `null`),
		invalid("PUT /v1/queues/C4N4RY%20with%20spaces", "path.name", `{}`),
		invalid("PUT /v1/queues/a,b", "path.name", `{}`),
		invalid("PUT /v1/queues/"+strings.Repeat("q", 129), "path.name", `{}`),
		invalid("PUT /v1/queues/%00", "path.name", `{}`),
		invalid("POST /v1/queues/q/purge", "body", `{"state": "C4N4RY"}`, `{"state": "running"}`, `{"states": []}`),
		// Queries.
		invalid("GET /v1/jobs/x", "path.id", ""), invalid("GET /v1/jobs/-1", "path.id", ""), invalid("GET /v1/jobs/1.5", "path.id", ""), invalid("GET /v1/jobs/0x1", "path.id", ""), invalid("GET /v1/jobs/1%20", "path.id", ""),
		invalid("GET /v1/jobs/%D9%A1", "path.id", ""), // a digit, but not an ASCII one
		invalid("POST /v1/jobs/x/cancel", "path.id", ""), invalid("POST /v1/jobs/x/complete", "path.id", `{"token": "1"}`), invalid("PATCH /v1/jobs/x", "path.id", `{"priority": 1}`),
		invalid("GET /v1/jobs?limit=0", "query.limit", ""), invalid("GET /v1/jobs?limit=1001", "query.limit", ""), invalid("GET /v1/jobs?limit=-1", "query.limit", ""), invalid("GET /v1/jobs?limit=C4N4RY", "query.limit", ""),
		invalid("GET /v1/jobs?limit=", "query.limit", ""), invalid("GET /v1/jobs?limit=1&limit=2", "query.limit", ""),
		invalid("GET /v1/jobs?cursor=C4N4RY", "query.cursor", ""), invalid("GET /v1/queues?cursor=C4N4RY", "query.cursor", ""), invalid("GET /v1/jobs?cursor=%00", "query.cursor", ""),
		invalid("GET /v1/jobs?state=C4N4RY", "query.state", ""), invalid("GET /v1/jobs?state=", "query.state", ""), invalid("GET /v1/jobs?priority=x", "query.priority", ""), invalid("GET /v1/jobs?priority=11", "query.priority", ""),
		invalid("GET /v1/jobs?created_after=C4N4RY", "query.created_after", ""), invalid("GET /v1/jobs?created_before=2026-01-31", "query.created_before", ""), invalid("GET /v1/jobs?finished_after=1", "query.finished_after", ""),
		invalid("GET /v1/jobs?min_attempts=-1", "query.min_attempts", ""), invalid("GET /v1/jobs?has_error=C4N4RY", "query.has_error", ""), invalid("GET /v1/jobs?q="+strings.Repeat("q", 201), "query.q", ""),
		invalid("GET /v1/jobs?stat=running", "query.stat", ""), invalid("GET /v1/jobs?State=running", "query.State", ""), invalid("GET /v1/queues?name=x", "query.name", ""), invalid("GET /v1/jobs/1?verbose=1", "query.verbose", ""),
		invalid("POST /v1/jobs?dry_run=true", "query.dry_run", `{"kind": "k"}`), invalid("GET /readyz?x=1", "query.x", ""), invalid("GET /v1/jobs?q=%zz", "query", ""),
	)
	// Not JSON at all.
	for _, call := range []string{
		"POST /v1/jobs", "POST /v1/jobs/batch", "POST /v1/claims", "POST /v1/acks", "POST /v1/jobs/1/complete", "POST /v1/jobs/1/fail", "POST /v1/jobs/1/snooze", "POST /v1/jobs/1/release",
		"POST /v1/jobs/1/heartbeat", "PATCH /v1/jobs/1", "PUT /v1/queues/q", "PATCH /v1/queues/q", "POST /v1/queues/q/purge", "POST /v1/jobs/1/retry",
	} {
		for _, body := range []string{`{`, `{"kind": "C4N4RY"`, `{"kind": "C4N4RY",}`, `{'kind': 'C4N4RY'}`, `kind=C4N4RY`, `{"kind": "k"} {"kind": "C4N4RY"}`, `{"kind": "k"} x`, " ", "\x00", `{"kind": C4N4RY}`, `{"a": 01}`, `{"a": NaN}`, "\xef\xbb\xbf{}", `{"a": "\x"}`, "{\"a\": \"\n\"}"} {
			calls = append(calls, badCall{call, body, malformed, "malformed_json", ""})
		}
		if call != "POST /v1/jobs/1/retry" && call != "POST /v1/queues/q/purge" { // whose body may be left out
			calls = append(calls, badCall{call, "", malformed, "malformed_json", ""})
		}
	}
	// Not there.
	for call, code := range map[string]string{
		"GET /v1/jobs/123456": "job_not_found", "GET /v1/jobs/0": "job_not_found", "GET /v1/jobs/99999999999999999999999": "job_not_found", "POST /v1/jobs/123456/cancel": "job_not_found", "POST /v1/jobs/123456/retry": "job_not_found",
		"GET /v1": "not_found", "GET /v1/": "not_found", "GET /v1/job": "not_found", "GET /v1/jobs/": "not_found", "GET /v1/jobs/1/": "not_found", "GET /v2/jobs": "not_found", "GET /": "not_found", "GET /docs/../../etc/passwd": "not_found",
		"GET /v1/jobs/1/C4N4RY": "not_found", "GET /docs/C4N4RY.js": "not_found", "GET /V1/jobs": "not_found", "GET /v1/queues/q/": "not_found", "GET /docs/docs.go": "not_found",
	} {
		calls = append(calls, badCall{call, "", http.StatusNotFound, code, ""})
	}
	// Not with this method.
	for _, call := range []string{
		"PUT /v1/jobs", "DELETE /v1/jobs", "PATCH /v1/jobs", "GET /v1/claims", "PUT /v1/claims", "GET /v1/acks", "DELETE /v1/jobs/1", "PUT /v1/jobs/1", "POST /v1/jobs/1", "GET /v1/jobs/1/complete", "GET /v1/jobs/1/cancel",
		"POST /v1/queues", "POST /v1/queues/q", "GET /v1/queues/q/pause", "PUT /v1/queues/q/stats", "POST /livez", "POST /metrics", "DELETE /openapi.json", "POST /v1/info",
	} {
		calls = append(calls, badCall{call, "", http.StatusMethodNotAllowed, "method_not_allowed", ""})
	}
	return calls
}

func TestInvalidCallsAreRefusedWithTheirPlace(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, c := range badCalls() {
		method, path, _ := strings.Cut(c.call, " ")
		var body any
		if c.body != "" {
			body = c.body
		}
		name := fmt.Sprintf("%s %.120s", c.call, c.body)
		r, err := s.Send(t.Context(), method, path, body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(string(r.Body), canary) {
			t.Errorf("%s: the answer repeats what was sent: %.500s", name, r.Body)
		}
		if r.Status != c.status {
			t.Errorf("%s: %v; want %d %s", name, r, c.status, c.code)
			continue
		}
		p := r.Problem(c.status, c.code)
		switch found := slices.ContainsFunc(p.Errors, func(e struct{ Location, Message string }) bool {
			return strings.HasPrefix(e.Location, c.location) && e.Message != ""
		}); {
		case c.location != "" && !found:
			t.Errorf("%s: the places are %+v, want %s", name, p.Errors, c.location)
		case c.status == http.StatusMethodNotAllowed && r.Header.Get("Allow") == "":
			t.Errorf("%s: no Allow header", name)
		}
	}
	for _, table := range []string{"job", "job_ready", "job_scheduled", "job_unique", "job_outcome", "queue"} {
		if n := s.Count(`select count(*) from weir.` + table); n != 0 {
			t.Errorf("%d rows are in weir.%s", n, table)
		}
	}
}
