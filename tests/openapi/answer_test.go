package openapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// Each operation is called at least once with success. Its answers, and its problems, conform to the documents.
func TestAnswersConformToDocuments(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	documents := map[string]weirtest.Document{"3.1": s.Document("/openapi.json"), "3.0": s.Document("/openapi-3.0.json")}
	called := map[string]bool{}
	check := func(route string, r *weirtest.Response) *weirtest.Response {
		t.Helper()
		for version, d := range documents {
			op, ok := d.Paths[strings.SplitN(route, " ", 2)[1]][strings.SplitN(route, " ", 2)[0]]
			if !ok {
				t.Fatalf("OpenAPI %s has no %s", version, route)
			}
			described, ok := op.Answer(r.Status)
			if !ok {
				t.Errorf("OpenAPI %s does not describe %v", version, r)
				continue
			}
			described = d.Response(t, described)
			if len(r.Body) == 0 && len(described.Content) == 0 {
				continue
			}
			content, ok := described.Content[r.Header.Get("Content-Type")]
			if !ok {
				t.Errorf("OpenAPI %s does not describe the type %s of %v", version, r.Header.Get("Content-Type"), r)
				continue
			}
			if err := d.Conforms(content.Schema, weirtest.Decode[any](r)); err != nil {
				t.Errorf("OpenAPI %s: %v\n%v", version, r, err)
			}
			if r.Status >= 400 && r.Header.Get("Content-Type") == "application/problem+json" && !slices.Contains(op.Problems, weirtest.Decode[obj](r)["code"].(string)) {
				t.Errorf("OpenAPI %s does not name the problem of %v", version, r)
			}
		}
		if r.Status < 300 {
			called[route] = true
		}
		return r
	}
	job := func(id, operation string) string { return strings.TrimSuffix("/v1/jobs/"+id+"/"+operation, "/") }

	check("get /livez", s.Get("/livez"))
	check("get /readyz", s.Get("/readyz"))
	check("get /v1/info", s.Get("/v1/info"))
	check("get /v1/health", s.Get("/v1/health"))
	check("get /v1/health/summary", s.Get("/v1/health/summary"))
	check("put /v1/queues/{name}", s.Do(http.MethodPut, "/v1/queues/q", `{"max_depth": 1000, "retry": {"jitter": false}}`))
	full := obj{
		"kind": "k", "queue": "q", "args": []any{1, nil, obj{"a": "b"}}, "priority": 7, "max_attempts": 2, "timeout_seconds": 100, "retry": obj{"strategy": "fixed", "base_seconds": 3600, "jitter": false},
		"unique": obj{"key": "once"}, "tenant": "acme", "tags": []string{"a", "b"}, "metadata": obj{"x": obj{"y": 1}},
	}
	id := weirtest.Decode[weirtest.Job](check("post /v1/jobs", s.Post("/v1/jobs", full)).Want(http.StatusCreated)).ID
	check("post /v1/jobs", s.Post("/v1/jobs", full)).Want(http.StatusOK)
	check("post /v1/jobs/batch", s.Post("/v1/jobs/batch", obj{"jobs": []obj{full, {"kind": "k", "args": 7}, {"kind": "k", "queue": "q", "args": "text"}}})).Want(http.StatusCreated)
	check("post /v1/jobs/dry-run", s.Post("/v1/jobs/dry-run", full)).Want(http.StatusOK)
	check("post /v1/jobs/dry-run", s.Post("/v1/jobs/dry-run", obj{"kind": "k", "delay_seconds": 60, "retry": obj{"strategy": "fixed"}})).Want(http.StatusOK)
	check("post /v1/jobs/dry-run", s.Post("/v1/jobs/dry-run", obj{"kind": ""})).Want(http.StatusUnprocessableEntity)
	check("patch /v1/jobs/{id}", s.Do(http.MethodPatch, job(id, ""), `{"priority": 10}`)).Want(http.StatusOK)
	check("post /v1/jobs/{id}/replay", s.Post(job(id, "replay"), `{"dry_run": true}`)).Want(http.StatusOK)
	check("post /v1/jobs/{id}/replay", s.Post(job(id, "replay"), `{"queue": "again", "args": null}`)).Want(http.StatusCreated)
	check("get /v1/jobs/{id}/similar", s.Get(job(id, "similar?limit=3"))).Want(http.StatusOK)
	check("get /v1/jobs/{id}/compare/{other}", s.Get(job(id, "compare/"+s.Enqueue(obj{"kind": "k", "queue": "parts", "metadata": obj{"a": 1}})))).Want(http.StatusOK)
	check("post /v1/jobs/{id}/replay", s.Post(job("123456", "replay"), nil)).Want(http.StatusNotFound)
	s.Settle()
	token := weirtest.Decode[weirtest.ClaimedJobs](check("post /v1/claims", s.Post("/v1/claims", `{"worker": "w", "queues": ["q"]}`)).Want(http.StatusOK)).Jobs[0].Token
	check("post /v1/claims", s.Post("/v1/claims", `{"worker": "w", "queues": ["empty"]}`)).Want(http.StatusOK)
	check("get /v1/jobs/{id}", s.Get(job(id, ""))).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "part", "queue": "parts", "tenant": "acme", "parent_id": id, "result_ttl_seconds": 60})
	check("get /v1/jobs/{id}/children", s.Get(job(id, "children"))).Want(http.StatusOK)
	check("post /v1/heartbeats", s.Post("/v1/heartbeats", obj{"heartbeats": []obj{{"id": id, "token": token}, {"id": "99", "token": "1"}}})).Want(http.StatusOK)
	check("post /v1/jobs/{id}/heartbeat", s.Post(job(id, "heartbeat"), obj{"token": token, "progress": obj{"percent": 33.3, "message": "a third"}})).Want(http.StatusOK)
	check("post /v1/jobs/{id}/logs", s.Post(job(id, "logs"), obj{"token": token, "lines": []obj{{"message": "m"}, {"message": "m", "level": "warn", "fields": obj{"a": 1}}}})).Want(http.StatusOK)
	check("get /v1/jobs/{id}/logs", s.Get(job(id, "logs"))).Want(http.StatusOK)
	check("get /v1/jobs/{id}/logs", s.Get(job(id, "logs?limit=1&level=info&attempt=1"))).Want(http.StatusOK)
	check("post /v1/jobs/{id}/cancel", s.Post(job(id, "cancel"), nil)).Want(http.StatusOK)
	check("get /v1/jobs/{id}", s.Get(job(id, ""))).Want(http.StatusOK)
	check("post /v1/jobs/{id}/fail", s.Post(job(id, "fail"), obj{"token": token, "error": obj{"message": "m", "type": "T", "stack": "s"}})).Want(http.StatusOK)
	check("post /v1/jobs/{id}/retry", s.Post(job(id, "retry"), `{"reset_attempts": true}`)).Want(http.StatusOK)
	for _, operation := range []string{"snooze", "release", "complete", "fail", "fail", "fail"} {
		s.Enqueue(obj{"kind": "k", "queue": operation, "max_attempts": 2})
		j := s.ClaimOne(operation)
		body := obj{"token": j.Token}
		switch operation {
		case "snooze":
			body["delay_seconds"] = 3600
		case "complete":
			body["result"] = obj{"any": []int{1}}
		case "fail":
			body["error"] = obj{"message": "m"}
			body["retry_in_seconds"] = []int{0, 3600}[j.Attempt-1]
		}
		route := "post /v1/jobs/{id}/" + operation
		check(route, s.Post(job(j.ID, operation), body)).Want(http.StatusOK)
		check(route, s.Post(job(j.ID, operation), body)).Want(http.StatusConflict)
		check("get /v1/jobs/{id}", s.Get(job(j.ID, "")))
	}
	j := s.ClaimOne("q")
	check("post /v1/acks", s.Post("/v1/acks", obj{"acks": []obj{
		{"id": j.ID, "token": "99999", "outcome": "complete"}, {"id": j.ID, "token": j.Token, "outcome": "fail", "error": obj{"message": "m"}, "retry_in_seconds": 3600}, {"id": "99999", "token": "1", "outcome": "release"},
	}})).Want(http.StatusOK)
	check("get /v1/jobs/{id}/why", s.Get(job(j.ID, "why"))).Want(http.StatusOK)
	check("get /v1/jobs/{id}/timeline", s.Get(job(j.ID, "timeline"))).Want(http.StatusOK)
	check("get /v1/jobs/{id}/timeline", s.Get(job(j.ID, "timeline?limit=2"))).Want(http.StatusOK)
	check("get /v1/jobs", s.Get("/v1/jobs?limit=2")).Want(http.StatusOK)
	check("get /v1/jobs", s.Get("/v1/jobs?limit=1000")).Want(http.StatusOK)
	check("get /v1/stats", s.Get("/v1/stats?compare=previous")).Want(http.StatusOK)
	for _, name := range []string{"throughput", "wait-times", "run-times", "failures", "distribution", "peaks", "retries", "tenants", "workers", "schedules", "workflows"} {
		check("get /v1/stats/"+name, s.Get("/v1/stats/"+name+"?compare=previous")).Want(http.StatusOK)
	}
	check("get /v1/queues/{name}/forecast", s.Get("/v1/queues/q/forecast")).Want(http.StatusOK)
	check("get /v1/queues", s.Get("/v1/queues?limit=1")).Want(http.StatusOK)
	check("get /v1/queues", s.Get("/v1/queues")).Want(http.StatusOK)
	check("get /v1/queues/{name}", s.Get("/v1/queues/q")).Want(http.StatusOK)
	check("get /v1/queues/{name}/stats", s.Get("/v1/queues/fail/stats")).Want(http.StatusOK)
	check("patch /v1/queues/{name}", s.Do(http.MethodPatch, "/v1/queues/q", `{"lease_seconds": 9}`)).Want(http.StatusOK)
	check("post /v1/queues/{name}/pause", s.Post("/v1/queues/q/pause", nil)).Want(http.StatusOK)
	check("post /v1/queues/{name}/resume", s.Post("/v1/queues/q/resume", nil)).Want(http.StatusOK)
	check("post /v1/queues/{name}/purge", s.Post("/v1/queues/q/purge", `{"state": "available"}`)).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/queues/unused", `{}`)
	check("delete /v1/queues/{name}", s.Do(http.MethodDelete, "/v1/queues/unused", nil)).Want(http.StatusNoContent)

	dead := s.Kill(obj{"kind": "k", "queue": "dead", "metadata": obj{"x": 1}})
	check("get /v1/dead", s.Get("/v1/dead")).Want(http.StatusOK)
	check("get /v1/dead/{id}", s.Get("/v1/dead/"+dead)).Want(http.StatusOK)
	check("get /v1/dead/{id}", s.Get("/v1/dead/123456")).Want(http.StatusNotFound)
	check("post /v1/dead/redrive", s.Post("/v1/dead/redrive", `{"filter": {"queue": "dead"}, "dry_run": true}`)).Want(http.StatusOK)
	check("post /v1/dead/redrive", s.Post("/v1/dead/redrive", `{"filter": {"queue": "none"}, "rate_per_second": 0.5, "by": "ann"}`)).Want(http.StatusAccepted)
	operation := weirtest.Decode[weirtest.Operation](check("post /v1/dead/purge", s.Post("/v1/dead/purge", `{"filter": {"min_attempts": 100}}`)).Want(http.StatusAccepted)).ID
	check("get /v1/operations", s.Get("/v1/operations?limit=1")).Want(http.StatusOK)
	check("get /v1/operations/{id}", s.Get("/v1/operations/"+operation)).Want(http.StatusOK)
	check("post /v1/operations/{id}/cancel", s.Post("/v1/operations/"+operation+"/cancel", nil)).Want(http.StatusOK)
	check("post /v1/operations/{id}/cancel", s.Post("/v1/operations/"+operation+"/cancel", nil)).Want(http.StatusConflict)
	check("post /v1/dead/{id}/redrive", s.Post("/v1/dead/"+dead+"/redrive", `{"by": "ann"}`)).Want(http.StatusOK)
	j = s.ClaimOne("dead")
	check("post /v1/jobs/{id}/fail", s.Post(job(j.ID, "fail"), obj{"token": j.Token, "retry": false, "error": obj{"message": "m"}})).Want(http.StatusOK)
	check("delete /v1/dead/{id}", s.Do(http.MethodDelete, "/v1/dead/"+dead, nil)).Want(http.StatusNoContent)
	check("delete /v1/dead/{id}", s.Do(http.MethodDelete, "/v1/dead/"+dead, nil)).Want(http.StatusNotFound)

	check("post /v1/schedules", s.Post("/v1/schedules", `{"name": "s", "cron": "30 2 * * *", "timezone": "Europe/Berlin", "job": {"kind": "k", "args": {"at": "{{scheduled_at}}"}}}`)).Want(http.StatusCreated)
	check("post /v1/schedules", s.Post("/v1/schedules", `{"name": "s", "every_seconds": 60, "job": {"kind": "k"}}`)).Want(http.StatusConflict)
	check("post /v1/schedules", s.Post("/v1/schedules", `{"name": "t", "cron": "61 * * * *", "job": {"kind": "k"}}`)).Want(http.StatusUnprocessableEntity)
	check("put /v1/schedules/{name}", s.Do(http.MethodPut, "/v1/schedules/t", `{"every_seconds": 3600, "jitter_seconds": 9, "misfire": "all", "job": {"kind": "k", "tags": ["x"]}}`)).Want(http.StatusOK)
	check("patch /v1/schedules/{name}", s.Do(http.MethodPatch, "/v1/schedules/t", `{"max_runs": 3, "starts_at": null}`)).Want(http.StatusOK)
	check("get /v1/schedules", s.Get("/v1/schedules?limit=1")).Want(http.StatusOK)
	check("get /v1/schedules/{name}", s.Get("/v1/schedules/t")).Want(http.StatusOK)
	check("get /v1/schedules/{name}", s.Get("/v1/schedules/none")).Want(http.StatusNotFound)
	check("get /v1/schedules/{name}/preview", s.Get("/v1/schedules/s/preview?from=2026-03-28T00:00:00Z&count=3")).Want(http.StatusOK)
	check("post /v1/schedules/preview", s.Post("/v1/schedules/preview", `{"cron": "30 2 * * *", "timezone": "Europe/Berlin", "dst_gap": "skip", "from": "2026-03-28T00:00:00Z"}`)).Want(http.StatusOK)
	triggered := weirtest.Decode[struct {
		JobID string `json:"job_id"`
	}](check("post /v1/schedules/{name}/trigger", s.Post("/v1/schedules/t/trigger", nil)).Want(http.StatusCreated)).JobID
	check("get /v1/jobs/{id}", s.Get(job(triggered, ""))).Want(http.StatusOK)
	check("get /v1/schedules/{name}/runs", s.Get("/v1/schedules/t/runs")).Want(http.StatusOK)
	check("post /v1/schedules/{name}/pause", s.Post("/v1/schedules/t/pause", nil)).Want(http.StatusOK)
	check("post /v1/schedules/{name}/resume", s.Post("/v1/schedules/t/resume", nil)).Want(http.StatusOK)
	check("delete /v1/schedules/{name}", s.Do(http.MethodDelete, "/v1/schedules/t", nil)).Want(http.StatusNoContent)

	check("put /v1/workers/{name}", s.Do(http.MethodPut, "/v1/workers/w-1", `{"hostname": "h", "capacity": 3, "queues": ["q"], "version": "1", "labels": {"a": "b"}}`)).Want(http.StatusOK)
	check("patch /v1/workers/{name}", s.Do(http.MethodPatch, "/v1/workers/w-1", `{"capacity": 1}`)).Want(http.StatusOK)
	check("get /v1/workers/{name}", s.Get("/v1/workers/w-1")).Want(http.StatusOK)
	check("get /v1/workers/{name}", s.Get("/v1/workers/unknown")).Want(http.StatusNotFound)
	check("get /v1/workers", s.Get("/v1/workers?limit=1")).Want(http.StatusOK)
	check("post /v1/workers/{name}/heartbeat", s.Post("/v1/workers/w-1/heartbeat", `{"load": 0.5}`)).Want(http.StatusOK)
	for _, verb := range []string{"pause", "drain", "resume"} {
		check("post /v1/workers/{name}/"+verb, s.Post("/v1/workers/w-1/"+verb, nil)).Want(http.StatusOK)
	}
	s.Enqueue(obj{"kind": "k", "queue": "of"})
	check("post /v1/claims", s.Post("/v1/claims", `{"worker": "w-1", "queues": ["of"], "limit": 2}`)).Want(http.StatusOK)
	check("post /v1/claims", s.Post("/v1/claims", `{"worker": "w-1", "queues": ["of"]}`)).Want(http.StatusOK)
	check("get /v1/workers/{name}/jobs", s.Get("/v1/workers/w-1/jobs")).Want(http.StatusOK)
	check("get /v1/workers/{name}/history", s.Get("/v1/workers/w-1/history")).Want(http.StatusOK)
	check("delete /v1/workers/{name}", s.Do(http.MethodDelete, "/v1/workers/w-1", nil)).Want(http.StatusOK)

	check("put /v1/queues/{name}", s.Do(http.MethodPut, "/v1/queues/governed", `{"limits": {"concurrency": 9, "per_key": 2, "rate": {"per_second": 5}, "key_rate": {"per_second": 0.5, "burst": 2}, "tenants": {"weights": {"a": 2}}}}`)).Want(http.StatusOK)
	check("put /v1/queues/{name}/limits/keys/{key}", s.Do(http.MethodPut, "/v1/queues/governed/limits/keys/a%2Fb", `{"concurrency": 3, "rate": {"per_second": 7}}`)).Want(http.StatusOK)
	check("put /v1/queues/{name}/limits/keys/{key}", s.Do(http.MethodPut, "/v1/queues/none/limits/keys/a", `{"concurrency": 3}`)).Want(http.StatusNotFound)
	check("put /v1/queues/{name}/limits/tenants/{tenant}", s.Do(http.MethodPut, "/v1/queues/governed/limits/tenants/t", `{"weight": 3}`)).Want(http.StatusOK)
	check("get /v1/queues/{name}/limits", s.Get("/v1/queues/governed/limits?limit=1")).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "governed", "concurrency_key": "a/b", "tenant": "t"})
	check("get /v1/queues/{name}/lines", s.Get("/v1/queues/governed/lines")).Want(http.StatusOK)
	check("get /v1/queues/{name}/lines", s.Get("/v1/queues/none/lines")).Want(http.StatusNotFound)
	check("delete /v1/queues/{name}/limits/keys/{key}", s.Do(http.MethodDelete, "/v1/queues/governed/limits/keys/a%2Fb", nil)).Want(http.StatusNoContent)
	check("delete /v1/queues/{name}/limits/tenants/{tenant}", s.Do(http.MethodDelete, "/v1/queues/governed/limits/tenants/t", nil)).Want(http.StatusNoContent)
	order := obj{"name": "order", "on_failure": "continue", "metadata": obj{"x": 1}, "deadline_seconds": 3600, "steps": []obj{
		{"name": "a", "kind": "k", "queue": "wf", "args": obj{"n": 1}, "compensation": "undo"},
		{"name": "b", "kind": "k", "queue": "wf", "depends_on": []string{"a"}, "needs": "ended"},
		{"name": "s", "wait_for": obj{"signal": "go", "timeout_seconds": 600}},
		{"name": "undo", "kind": "k", "queue": "wf"},
	}}
	wf := func(id, operation string) string { return strings.TrimSuffix("/v1/workflows/"+id+"/"+operation, "/") }
	flow := weirtest.Decode[weirtest.Workflow](check("post /v1/workflows", s.Post("/v1/workflows", order)).Want(http.StatusCreated)).ID
	check("post /v1/workflows", s.Post("/v1/workflows", `{"name": "w", "steps": [{"name": "a", "kind": "k", "depends_on": ["a"]}]}`)).Want(http.StatusUnprocessableEntity)
	check("post /v1/workflows/{id}/signals/{name}", s.Post(wf(flow, "signals/go"), `{"payload": [1]}`)).Want(http.StatusOK)
	j = s.ClaimOne("wf")
	check("post /v1/workflows/{id}/steps", s.Post(wf(flow, "steps"), obj{"job_id": j.ID, "token": j.Token, "steps": []obj{{"name": "c", "kind": "k", "queue": "wf", "depends_on": []string{"a"}}}})).Want(http.StatusCreated)
	check("post /v1/workflows/{id}/steps", s.Post(wf(flow, "steps"), obj{"job_id": j.ID, "token": "99999", "steps": []obj{{"name": "d", "kind": "k"}}})).Want(http.StatusConflict)
	check("post /v1/jobs/{id}/complete", s.Post(job(j.ID, "complete"), obj{"token": j.Token, "result": 7, "add_steps": []obj{{"name": "e", "kind": "k", "queue": "wf", "depends_on": []string{"a"}}}})).Want(http.StatusOK)
	s.Settle()
	claimed := check("post /v1/claims", s.Post("/v1/claims", `{"worker": "w", "queues": ["wf"], "limit": 1}`)).Want(http.StatusOK)
	j = weirtest.Decode[weirtest.ClaimedJobs](claimed).Jobs[0]
	check("get /v1/jobs/{id}/dependencies", s.Get(job(j.ID, "dependencies"))).Want(http.StatusOK)
	check("get /v1/jobs/{id}", s.Get(job(j.ID, ""))).Want(http.StatusOK)
	check("post /v1/jobs/{id}/workflow", s.Post(job(j.ID, "workflow"), obj{"token": j.Token, "workflow": obj{"name": "child", "steps": []obj{{"name": "x", "kind": "k", "queue": "child"}}}})).Want(http.StatusCreated)
	check("get /v1/workflows", s.Get("/v1/workflows?limit=1")).Want(http.StatusOK)
	check("get /v1/workflows/{id}", s.Get(wf(flow, ""))).Want(http.StatusOK)
	check("get /v1/workflows/{id}", s.Get(wf("123456", ""))).Want(http.StatusNotFound)
	check("get /v1/workflows/{id}/graph", s.Get(wf(flow, "graph"))).Want(http.StatusOK)
	check("get /v1/workflows/{id}/steps", s.Get(wf(flow, "steps"))).Want(http.StatusOK)
	check("get /v1/workflows/{id}/timeline", s.Get(wf(flow, "timeline"))).Want(http.StatusOK)
	check("post /v1/workflows/{id}/fork", s.Post(wf(flow, "fork"), `{"from": ["a"], "by": "ann"}`)).Want(http.StatusCreated)
	check("post /v1/workflows/{id}/cancel", s.Post(wf(flow, "cancel"), `{"compensate": true}`)).Want(http.StatusOK)
	check("post /v1/workflows/{id}/cancel", s.Post(wf(flow, "cancel"), nil)).Want(http.StatusConflict)
	flow = weirtest.Decode[weirtest.Workflow](s.Post("/v1/workflows", `{"name": "w", "steps": [{"name": "a", "kind": "k", "queue": "idle"}]}`)).ID
	check("post /v1/workflows/{id}/cancel", s.Post(wf(flow, "cancel"), nil)).Want(http.StatusOK)
	check("post /v1/workflows/{id}/retry", s.Post(wf(flow, "retry"), nil)).Want(http.StatusOK)
	check("post /v1/workflows/{id}/retry", s.Post(wf(flow, "retry"), nil)).Want(http.StatusConflict)

	check("put /v1/breakers/{name}", s.Do(http.MethodPut, "/v1/breakers/b", `{"failure_ratio": 0.5, "counts": {"types": ["T"]}, "while_open": {"policy": "complete_default", "result": null, "for_seconds": 10}}`)).Want(http.StatusOK)
	check("patch /v1/breakers/{name}", s.Do(http.MethodPatch, "/v1/breakers/b", `{"while_open": {"policy": "hold"}}`)).Want(http.StatusOK)
	check("patch /v1/breakers/{name}", s.Do(http.MethodPatch, "/v1/breakers/none", `{}`)).Want(http.StatusNotFound)
	check("post /v1/breakers/{name}/report", s.Post("/v1/breakers/b/report", `{"outcome": "failure", "error": {"message": "m", "type": "T"}}`)).Want(http.StatusOK)
	check("post /v1/breakers/{name}/trip", s.Post("/v1/breakers/b/trip", `{"by": "ann", "reason": "r", "open_seconds": 60}`)).Want(http.StatusOK)
	check("get /v1/breakers/{name}", s.Get("/v1/breakers/b")).Want(http.StatusOK)
	check("delete /v1/breakers/{name}", s.Do(http.MethodDelete, "/v1/breakers/b", nil)).Want(http.StatusConflict)
	check("post /v1/breakers/{name}/pin", s.Post("/v1/breakers/b/pin", `{"state": "closed", "for_seconds": 60}`)).Want(http.StatusOK)
	check("post /v1/breakers/{name}/trip", s.Post("/v1/breakers/b/trip", nil)).Want(http.StatusConflict)
	check("post /v1/breakers/{name}/pin", s.Post("/v1/breakers/b/pin", `{"state": "none"}`)).Want(http.StatusOK)
	check("post /v1/breakers/{name}/reset", s.Post("/v1/breakers/b/reset", nil)).Want(http.StatusOK)
	check("get /v1/breakers", s.Get("/v1/breakers?limit=1")).Want(http.StatusOK)
	check("get /v1/breakers/{name}/events", s.Get("/v1/breakers/b/events?limit=2")).Want(http.StatusOK)
	check("put /v1/breakers/{name}", s.Do(http.MethodPut, "/v1/breakers/unused", `{}`)).Want(http.StatusOK)
	check("delete /v1/breakers/{name}", s.Do(http.MethodDelete, "/v1/breakers/unused", nil)).Want(http.StatusNoContent)
	check("delete /v1/breakers/{name}", s.Do(http.MethodDelete, "/v1/breakers/unused", nil)).Want(http.StatusNotFound)

	check("post /v1/jobs/bulk", s.Post("/v1/jobs/bulk", `{"action": "cancel", "filter": {"queue": "none"}, "dry_run": true}`)).Want(http.StatusOK)
	check("post /v1/jobs/bulk", s.Post("/v1/jobs/bulk", `{"action": "reprioritise", "filter": {"queue": "none", "parent_id": "7"}, "priority": 3}`)).Want(http.StatusAccepted)
	export := weirtest.Decode[weirtest.Operation](check("post /v1/jobs/export", s.Post("/v1/jobs/export", `{"filter": {"queue": "none"}, "format": "csv", "limit": 5}`)).Want(http.StatusAccepted)).ID
	check("get /v1/operations/{id}/result", s.Get("/v1/operations/"+export+"/result")).Want(http.StatusConflict)
	s.Eventually("the export is over", func() bool { return s.Count("select over::int from weir.run_operation($1::bigint)", export) == 1 })
	if r := s.Get("/v1/operations/" + export + "/result").Want(http.StatusOK); r.Header.Get("Content-Type") == "text/csv; charset=utf-8" {
		called["get /v1/operations/{id}/result"] = true // it is no JSON
	}
	check("post /v1/webhooks", s.Post("/v1/webhooks", `{"name": "hook", "url": "https://example.com", "events": ["dead"], "queues": ["q"]}`)).Want(http.StatusCreated)
	check("post /v1/webhooks", s.Post("/v1/webhooks", `{"name": "hook", "url": "https://example.com", "events": ["dead"]}`)).Want(http.StatusConflict)
	check("get /v1/webhooks", s.Get("/v1/webhooks?limit=1")).Want(http.StatusOK)
	check("get /v1/webhooks/{name}", s.Get("/v1/webhooks/hook")).Want(http.StatusOK)
	check("get /v1/webhooks/{name}", s.Get("/v1/webhooks/none")).Want(http.StatusNotFound)
	check("patch /v1/webhooks/{name}", s.Do(http.MethodPatch, "/v1/webhooks/hook", `{"kinds": ["k"]}`)).Want(http.StatusOK)
	check("post /v1/webhooks/{name}/rotate", s.Post("/v1/webhooks/hook/rotate", nil)).Want(http.StatusOK)
	check("post /v1/webhooks/{name}/disable", s.Post("/v1/webhooks/hook/disable", `{"reason": "r"}`)).Want(http.StatusOK)
	check("post /v1/webhooks/{name}/enable", s.Post("/v1/webhooks/hook/enable", nil)).Want(http.StatusOK)
	check("post /v1/webhooks/{name}/test", s.Post("/v1/webhooks/hook/test", nil)).Want(http.StatusAccepted)
	check("get /v1/webhooks/{name}/deliveries", s.Get("/v1/webhooks/hook/deliveries")).Want(http.StatusOK)
	check("delete /v1/webhooks/{name}", s.Do(http.MethodDelete, "/v1/webhooks/hook", nil)).Want(http.StatusNoContent)

	s.Do(http.MethodPut, "/v1/queues/full", `{"max_depth": 1}`)
	check("post /v1/jobs", s.Post("/v1/jobs", `{"kind": "k", "queue": "full"}`))
	check("post /v1/jobs", s.Post("/v1/jobs", `{"kind": "k", "queue": "full"}`))
	check("post /v1/jobs/batch", s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "full"}]}`))
	check("post /v1/jobs", s.Post("/v1/jobs", `{"kind": ""}`))
	check("post /v1/jobs", s.Post("/v1/jobs", `{`))
	check("post /v1/jobs", s.Post("/v1/jobs", `{"kind": "k", "args": "`+strings.Repeat("x", 1<<20)+`"}`))
	check("post /v1/jobs", s.Post("/v1/jobs", `{"kind": "k", "args": "`+strings.Repeat("x", 10<<20)+`"}`))
	check("get /v1/jobs/{id}", s.Get("/v1/jobs/123456"))
	check("get /v1/jobs/{id}", s.Get("/v1/jobs/x"))
	check("post /v1/jobs/{id}/cancel", s.Post("/v1/jobs/123456/cancel", nil))
	check("delete /v1/queues/{name}", s.Do(http.MethodDelete, "/v1/queues/full", nil))
	check("get /v1/queues/{name}", s.Get("/v1/queues/none"))

	for _, route := range operations {
		if !called[route] {
			t.Errorf("%s was not called with success", route)
		}
	}
}
