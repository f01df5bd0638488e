package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Each operation is called at least once with success; what it answers is what the documents say, and so are the problems.
func TestRESTAnswersAreWhatTheDocumentsSay(t *testing.T) {
	t.Parallel()
	s := startService(t)
	documents := map[string]apiDocument{"3.1": s.document("/openapi.json"), "3.0": s.document("/openapi-3.0.json")}
	called := map[string]bool{}
	check := func(route string, r *reply) *reply {
		t.Helper()
		for version, d := range documents {
			op, ok := d.Paths[strings.SplitN(route, " ", 2)[1]][strings.SplitN(route, " ", 2)[0]]
			if !ok {
				t.Fatalf("OpenAPI %s has no %s", version, route)
			}
			described, ok := op.Responses[fmt.Sprint(r.status)]
			if !ok {
				t.Errorf("OpenAPI %s does not describe %v", version, r)
				continue
			}
			described = d.response(t, described)
			if len(r.body) == 0 && len(described.Content) == 0 {
				continue
			}
			content, ok := described.Content[r.header.Get("Content-Type")]
			if !ok {
				t.Errorf("OpenAPI %s does not describe the type %s of %v", version, r.header.Get("Content-Type"), r)
				continue
			}
			if err := d.conforms(content.Schema, readAs[any](r)); err != nil {
				t.Errorf("OpenAPI %s: %v\n%v", version, r, err)
			}
		}
		if r.status < 300 {
			called[route] = true
		}
		return r
	}
	job := func(id, operation string) string { return strings.TrimSuffix("/v1/jobs/"+id+"/"+operation, "/") }

	check("get /livez", s.get("/livez"))
	check("get /readyz", s.get("/readyz"))
	check("get /v1/info", s.get("/v1/info"))
	check("get /v1/health", s.get("/v1/health"))
	check("get /v1/health/summary", s.get("/v1/health/summary"))
	check("put /v1/queues/{name}", s.do(http.MethodPut, "/v1/queues/q", `{"max_depth": 1000, "retry": {"jitter": false}}`))
	full := obj{
		"kind": "k", "queue": "q", "args": []any{1, nil, obj{"a": "b"}}, "priority": 7, "max_attempts": 2, "timeout_seconds": 100, "retry": obj{"strategy": "fixed", "base_seconds": 3600, "jitter": false},
		"unique": obj{"key": "once"}, "tenant": "acme", "tags": []string{"a", "b"}, "metadata": obj{"x": obj{"y": 1}},
	}
	id := readAs[servedJob](check("post /v1/jobs", s.post("/v1/jobs", full)).want(http.StatusCreated)).ID
	check("post /v1/jobs", s.post("/v1/jobs", full)).want(http.StatusOK)
	check("post /v1/jobs/batch", s.post("/v1/jobs/batch", obj{"jobs": []obj{full, {"kind": "k", "args": 7}, {"kind": "k", "queue": "q", "args": "text"}}})).want(http.StatusCreated)
	check("patch /v1/jobs/{id}", s.do(http.MethodPatch, job(id, ""), `{"priority": 10}`)).want(http.StatusOK)
	s.settle()
	token := readAs[servedClaims](check("post /v1/claims", s.post("/v1/claims", `{"worker": "w", "queues": ["q"]}`)).want(http.StatusOK)).Jobs[0].Token
	check("post /v1/claims", s.post("/v1/claims", `{"worker": "w", "queues": ["empty"]}`)).want(http.StatusOK)
	check("get /v1/jobs/{id}", s.get(job(id, ""))).want(http.StatusOK)
	s.enqueue(obj{"kind": "part", "queue": "parts", "parent_id": id, "result_ttl_seconds": 60})
	check("get /v1/jobs/{id}/children", s.get(job(id, "children"))).want(http.StatusOK)
	check("post /v1/jobs/{id}/heartbeat", s.post(job(id, "heartbeat"), obj{"token": token, "progress": obj{"percent": 33.3, "message": "a third"}})).want(http.StatusOK)
	check("post /v1/jobs/{id}/cancel", s.post(job(id, "cancel"), nil)).want(http.StatusOK)
	check("get /v1/jobs/{id}", s.get(job(id, ""))).want(http.StatusOK)
	check("post /v1/jobs/{id}/fail", s.post(job(id, "fail"), obj{"token": token, "error": obj{"message": "m", "type": "T", "stack": "s"}})).want(http.StatusOK)
	check("post /v1/jobs/{id}/retry", s.post(job(id, "retry"), `{"reset_attempts": true}`)).want(http.StatusOK)
	for _, operation := range []string{"snooze", "release", "complete", "fail", "fail", "fail"} {
		s.enqueue(obj{"kind": "k", "queue": operation, "max_attempts": 2})
		j := s.claimOne(operation)
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
		check(route, s.post(job(j.ID, operation), body)).want(http.StatusOK)
		check(route, s.post(job(j.ID, operation), body)).want(http.StatusConflict)
		check("get /v1/jobs/{id}", s.get(job(j.ID, "")))
	}
	j := s.claimOne("q")
	check("post /v1/acks", s.post("/v1/acks", obj{"acks": []obj{
		{"id": j.ID, "token": "99999", "outcome": "complete"}, {"id": j.ID, "token": j.Token, "outcome": "fail", "error": obj{"message": "m"}, "retry_in_seconds": 3600}, {"id": "99999", "token": "1", "outcome": "release"},
	}})).want(http.StatusOK)
	check("get /v1/jobs/{id}/why", s.get(job(j.ID, "why"))).want(http.StatusOK)
	check("get /v1/jobs/{id}/timeline", s.get(job(j.ID, "timeline"))).want(http.StatusOK)
	check("get /v1/jobs/{id}/timeline", s.get(job(j.ID, "timeline?limit=2"))).want(http.StatusOK)
	check("get /v1/jobs", s.get("/v1/jobs?limit=2")).want(http.StatusOK)
	check("get /v1/jobs", s.get("/v1/jobs?limit=1000")).want(http.StatusOK)
	check("get /v1/queues", s.get("/v1/queues?limit=1")).want(http.StatusOK)
	check("get /v1/queues", s.get("/v1/queues")).want(http.StatusOK)
	check("get /v1/queues/{name}", s.get("/v1/queues/q")).want(http.StatusOK)
	check("get /v1/queues/{name}/stats", s.get("/v1/queues/fail/stats")).want(http.StatusOK)
	check("patch /v1/queues/{name}", s.do(http.MethodPatch, "/v1/queues/q", `{"lease_seconds": 9}`)).want(http.StatusOK)
	check("post /v1/queues/{name}/pause", s.post("/v1/queues/q/pause", nil)).want(http.StatusOK)
	check("post /v1/queues/{name}/resume", s.post("/v1/queues/q/resume", nil)).want(http.StatusOK)
	check("post /v1/queues/{name}/purge", s.post("/v1/queues/q/purge", `{"state": "available"}`)).want(http.StatusOK)
	s.do(http.MethodPut, "/v1/queues/unused", `{}`)
	check("delete /v1/queues/{name}", s.do(http.MethodDelete, "/v1/queues/unused", nil)).want(http.StatusNoContent)

	dead := s.kill(obj{"kind": "k", "queue": "dead", "metadata": obj{"x": 1}})
	check("get /v1/dead", s.get("/v1/dead")).want(http.StatusOK)
	check("get /v1/dead/{id}", s.get("/v1/dead/"+dead)).want(http.StatusOK)
	check("get /v1/dead/{id}", s.get("/v1/dead/123456")).want(http.StatusNotFound)
	check("post /v1/dead/redrive", s.post("/v1/dead/redrive", `{"filter": {"queue": "dead"}, "dry_run": true}`)).want(http.StatusOK)
	check("post /v1/dead/redrive", s.post("/v1/dead/redrive", `{"filter": {"queue": "none"}, "rate_per_second": 0.5, "by": "ann"}`)).want(http.StatusAccepted)
	operation := readAs[servedOperation](check("post /v1/dead/purge", s.post("/v1/dead/purge", `{"filter": {"min_attempts": 100}}`)).want(http.StatusAccepted)).ID
	check("get /v1/operations", s.get("/v1/operations?limit=1")).want(http.StatusOK)
	check("get /v1/operations/{id}", s.get("/v1/operations/"+operation)).want(http.StatusOK)
	check("post /v1/operations/{id}/cancel", s.post("/v1/operations/"+operation+"/cancel", nil)).want(http.StatusOK)
	check("post /v1/operations/{id}/cancel", s.post("/v1/operations/"+operation+"/cancel", nil)).want(http.StatusConflict)
	check("post /v1/dead/{id}/redrive", s.post("/v1/dead/"+dead+"/redrive", `{"by": "ann"}`)).want(http.StatusOK)
	j = s.claimOne("dead")
	check("post /v1/jobs/{id}/fail", s.post(job(j.ID, "fail"), obj{"token": j.Token, "retry": false, "error": obj{"message": "m"}})).want(http.StatusOK)
	check("delete /v1/dead/{id}", s.do(http.MethodDelete, "/v1/dead/"+dead, nil)).want(http.StatusNoContent)
	check("delete /v1/dead/{id}", s.do(http.MethodDelete, "/v1/dead/"+dead, nil)).want(http.StatusNotFound)

	check("post /v1/schedules", s.post("/v1/schedules", `{"name": "s", "cron": "30 2 * * *", "timezone": "Europe/Berlin", "job": {"kind": "k", "args": {"at": "{{scheduled_at}}"}}}`)).want(http.StatusCreated)
	check("post /v1/schedules", s.post("/v1/schedules", `{"name": "s", "every_seconds": 60, "job": {"kind": "k"}}`)).want(http.StatusConflict)
	check("post /v1/schedules", s.post("/v1/schedules", `{"name": "t", "cron": "61 * * * *", "job": {"kind": "k"}}`)).want(http.StatusUnprocessableEntity)
	check("put /v1/schedules/{name}", s.do(http.MethodPut, "/v1/schedules/t", `{"every_seconds": 3600, "jitter_seconds": 9, "misfire": "all", "job": {"kind": "k", "tags": ["x"]}}`)).want(http.StatusOK)
	check("patch /v1/schedules/{name}", s.do(http.MethodPatch, "/v1/schedules/t", `{"max_runs": 3, "starts_at": null}`)).want(http.StatusOK)
	check("get /v1/schedules", s.get("/v1/schedules?limit=1")).want(http.StatusOK)
	check("get /v1/schedules/{name}", s.get("/v1/schedules/t")).want(http.StatusOK)
	check("get /v1/schedules/{name}", s.get("/v1/schedules/none")).want(http.StatusNotFound)
	check("get /v1/schedules/{name}/preview", s.get("/v1/schedules/s/preview?from=2026-03-28T00:00:00Z&count=3")).want(http.StatusOK)
	check("post /v1/schedules/preview", s.post("/v1/schedules/preview", `{"cron": "30 2 * * *", "timezone": "Europe/Berlin", "dst_gap": "skip", "from": "2026-03-28T00:00:00Z"}`)).want(http.StatusOK)
	triggered := readAs[struct {
		JobID string `json:"job_id"`
	}](check("post /v1/schedules/{name}/trigger", s.post("/v1/schedules/t/trigger", nil)).want(http.StatusCreated)).JobID
	check("get /v1/jobs/{id}", s.get(job(triggered, ""))).want(http.StatusOK)
	check("get /v1/schedules/{name}/runs", s.get("/v1/schedules/t/runs")).want(http.StatusOK)
	check("post /v1/schedules/{name}/pause", s.post("/v1/schedules/t/pause", nil)).want(http.StatusOK)
	check("post /v1/schedules/{name}/resume", s.post("/v1/schedules/t/resume", nil)).want(http.StatusOK)
	check("delete /v1/schedules/{name}", s.do(http.MethodDelete, "/v1/schedules/t", nil)).want(http.StatusNoContent)

	check("put /v1/workers/{name}", s.do(http.MethodPut, "/v1/workers/w-1", `{"hostname": "h", "capacity": 3, "queues": ["q"], "version": "1", "labels": {"a": "b"}}`)).want(http.StatusOK)
	check("patch /v1/workers/{name}", s.do(http.MethodPatch, "/v1/workers/w-1", `{"capacity": 1}`)).want(http.StatusOK)
	check("get /v1/workers/{name}", s.get("/v1/workers/w-1")).want(http.StatusOK)
	check("get /v1/workers/{name}", s.get("/v1/workers/nobody")).want(http.StatusNotFound)
	check("get /v1/workers", s.get("/v1/workers?limit=1")).want(http.StatusOK)
	check("post /v1/workers/{name}/heartbeat", s.post("/v1/workers/w-1/heartbeat", `{"load": 0.5}`)).want(http.StatusOK)
	for _, verb := range []string{"pause", "drain", "resume"} {
		check("post /v1/workers/{name}/"+verb, s.post("/v1/workers/w-1/"+verb, nil)).want(http.StatusOK)
	}
	s.enqueue(obj{"kind": "k", "queue": "of"})
	check("post /v1/claims", s.post("/v1/claims", `{"worker": "w-1", "queues": ["of"], "limit": 2}`)).want(http.StatusOK)
	check("post /v1/claims", s.post("/v1/claims", `{"worker": "w-1", "queues": ["of"]}`)).want(http.StatusOK)
	check("get /v1/workers/{name}/jobs", s.get("/v1/workers/w-1/jobs")).want(http.StatusOK)
	check("get /v1/workers/{name}/history", s.get("/v1/workers/w-1/history")).want(http.StatusOK)
	check("delete /v1/workers/{name}", s.do(http.MethodDelete, "/v1/workers/w-1", nil)).want(http.StatusOK)

	check("put /v1/queues/{name}", s.do(http.MethodPut, "/v1/queues/governed", `{"limits": {"concurrency": 9, "per_key": 2, "rate": {"per_second": 5}, "key_rate": {"per_second": 0.5, "burst": 2}, "tenants": {"weights": {"a": 2}}}}`)).want(http.StatusOK)
	check("put /v1/queues/{name}/limits/keys/{key}", s.do(http.MethodPut, "/v1/queues/governed/limits/keys/a%2Fb", `{"concurrency": 3, "rate": {"per_second": 7}}`)).want(http.StatusOK)
	check("put /v1/queues/{name}/limits/keys/{key}", s.do(http.MethodPut, "/v1/queues/none/limits/keys/a", `{"concurrency": 3}`)).want(http.StatusNotFound)
	check("put /v1/queues/{name}/limits/tenants/{tenant}", s.do(http.MethodPut, "/v1/queues/governed/limits/tenants/t", `{"weight": 3}`)).want(http.StatusOK)
	check("get /v1/queues/{name}/limits", s.get("/v1/queues/governed/limits?limit=1")).want(http.StatusOK)
	s.enqueue(obj{"kind": "k", "queue": "governed", "concurrency_key": "a/b", "tenant": "t"})
	check("get /v1/queues/{name}/lines", s.get("/v1/queues/governed/lines")).want(http.StatusOK)
	check("get /v1/queues/{name}/lines", s.get("/v1/queues/none/lines")).want(http.StatusNotFound)
	check("delete /v1/queues/{name}/limits/keys/{key}", s.do(http.MethodDelete, "/v1/queues/governed/limits/keys/a%2Fb", nil)).want(http.StatusNoContent)
	check("delete /v1/queues/{name}/limits/tenants/{tenant}", s.do(http.MethodDelete, "/v1/queues/governed/limits/tenants/t", nil)).want(http.StatusNoContent)
	order := obj{"name": "order", "on_failure": "continue", "metadata": obj{"x": 1}, "deadline_seconds": 3600, "steps": []obj{
		{"name": "a", "kind": "k", "queue": "wf", "args": obj{"n": 1}, "compensation": "undo"},
		{"name": "b", "kind": "k", "queue": "wf", "depends_on": []string{"a"}, "needs": "ended"},
		{"name": "s", "wait_for": obj{"signal": "go", "timeout_seconds": 600}},
		{"name": "undo", "kind": "k", "queue": "wf"},
	}}
	wf := func(id, operation string) string { return strings.TrimSuffix("/v1/workflows/"+id+"/"+operation, "/") }
	flow := readAs[servedWorkflow](check("post /v1/workflows", s.post("/v1/workflows", order)).want(http.StatusCreated)).ID
	check("post /v1/workflows", s.post("/v1/workflows", `{"name": "w", "steps": [{"name": "a", "kind": "k", "depends_on": ["a"]}]}`)).want(http.StatusUnprocessableEntity)
	check("post /v1/workflows/{id}/signals/{name}", s.post(wf(flow, "signals/go"), `{"payload": [1]}`)).want(http.StatusOK)
	j = s.claimOne("wf")
	check("post /v1/workflows/{id}/steps", s.post(wf(flow, "steps"), obj{"job_id": j.ID, "token": j.Token, "steps": []obj{{"name": "c", "kind": "k", "queue": "wf", "depends_on": []string{"a"}}}})).want(http.StatusCreated)
	check("post /v1/workflows/{id}/steps", s.post(wf(flow, "steps"), obj{"job_id": j.ID, "token": "99999", "steps": []obj{{"name": "d", "kind": "k"}}})).want(http.StatusConflict)
	check("post /v1/jobs/{id}/complete", s.post(job(j.ID, "complete"), obj{"token": j.Token, "result": 7, "add_steps": []obj{{"name": "e", "kind": "k", "queue": "wf", "depends_on": []string{"a"}}}})).want(http.StatusOK)
	s.settle()
	claimed := check("post /v1/claims", s.post("/v1/claims", `{"worker": "w", "queues": ["wf"], "limit": 1}`)).want(http.StatusOK)
	j = readAs[servedClaims](claimed).Jobs[0]
	check("get /v1/jobs/{id}/dependencies", s.get(job(j.ID, "dependencies"))).want(http.StatusOK)
	check("get /v1/jobs/{id}", s.get(job(j.ID, ""))).want(http.StatusOK)
	check("post /v1/jobs/{id}/workflow", s.post(job(j.ID, "workflow"), obj{"token": j.Token, "workflow": obj{"name": "child", "steps": []obj{{"name": "x", "kind": "k", "queue": "child"}}}})).want(http.StatusCreated)
	check("get /v1/workflows", s.get("/v1/workflows?limit=1")).want(http.StatusOK)
	check("get /v1/workflows/{id}", s.get(wf(flow, ""))).want(http.StatusOK)
	check("get /v1/workflows/{id}", s.get(wf("123456", ""))).want(http.StatusNotFound)
	check("get /v1/workflows/{id}/graph", s.get(wf(flow, "graph"))).want(http.StatusOK)
	check("get /v1/workflows/{id}/steps", s.get(wf(flow, "steps"))).want(http.StatusOK)
	check("get /v1/workflows/{id}/timeline", s.get(wf(flow, "timeline"))).want(http.StatusOK)
	check("post /v1/workflows/{id}/fork", s.post(wf(flow, "fork"), `{"from": ["a"], "by": "ann"}`)).want(http.StatusCreated)
	check("post /v1/workflows/{id}/cancel", s.post(wf(flow, "cancel"), `{"compensate": true}`)).want(http.StatusOK)
	check("post /v1/workflows/{id}/cancel", s.post(wf(flow, "cancel"), nil)).want(http.StatusConflict)
	flow = readAs[servedWorkflow](s.post("/v1/workflows", `{"name": "w", "steps": [{"name": "a", "kind": "k", "queue": "idle"}]}`)).ID
	check("post /v1/workflows/{id}/cancel", s.post(wf(flow, "cancel"), nil)).want(http.StatusOK)
	check("post /v1/workflows/{id}/retry", s.post(wf(flow, "retry"), nil)).want(http.StatusOK)
	check("post /v1/workflows/{id}/retry", s.post(wf(flow, "retry"), nil)).want(http.StatusConflict)

	check("put /v1/breakers/{name}", s.do(http.MethodPut, "/v1/breakers/b", `{"failure_ratio": 0.5, "counts": {"types": ["T"]}, "while_open": {"policy": "complete_default", "result": null, "for_seconds": 10}}`)).want(http.StatusOK)
	check("patch /v1/breakers/{name}", s.do(http.MethodPatch, "/v1/breakers/b", `{"while_open": {"policy": "hold"}}`)).want(http.StatusOK)
	check("patch /v1/breakers/{name}", s.do(http.MethodPatch, "/v1/breakers/none", `{}`)).want(http.StatusNotFound)
	check("post /v1/breakers/{name}/report", s.post("/v1/breakers/b/report", `{"outcome": "failure", "error": {"message": "m", "type": "T"}}`)).want(http.StatusOK)
	check("post /v1/breakers/{name}/trip", s.post("/v1/breakers/b/trip", `{"by": "ann", "reason": "r", "open_seconds": 60}`)).want(http.StatusOK)
	check("get /v1/breakers/{name}", s.get("/v1/breakers/b")).want(http.StatusOK)
	check("delete /v1/breakers/{name}", s.do(http.MethodDelete, "/v1/breakers/b", nil)).want(http.StatusConflict)
	check("post /v1/breakers/{name}/pin", s.post("/v1/breakers/b/pin", `{"state": "closed", "for_seconds": 60}`)).want(http.StatusOK)
	check("post /v1/breakers/{name}/trip", s.post("/v1/breakers/b/trip", nil)).want(http.StatusConflict)
	check("post /v1/breakers/{name}/pin", s.post("/v1/breakers/b/pin", `{"state": "none"}`)).want(http.StatusOK)
	check("post /v1/breakers/{name}/reset", s.post("/v1/breakers/b/reset", nil)).want(http.StatusOK)
	check("get /v1/breakers", s.get("/v1/breakers?limit=1")).want(http.StatusOK)
	check("get /v1/breakers/{name}/events", s.get("/v1/breakers/b/events?limit=2")).want(http.StatusOK)
	check("put /v1/breakers/{name}", s.do(http.MethodPut, "/v1/breakers/unused", `{}`)).want(http.StatusOK)
	check("delete /v1/breakers/{name}", s.do(http.MethodDelete, "/v1/breakers/unused", nil)).want(http.StatusNoContent)
	check("delete /v1/breakers/{name}", s.do(http.MethodDelete, "/v1/breakers/unused", nil)).want(http.StatusNotFound)

	check("post /v1/jobs/bulk", s.post("/v1/jobs/bulk", `{"action": "cancel", "filter": {"queue": "none"}, "dry_run": true}`)).want(http.StatusOK)
	check("post /v1/jobs/bulk", s.post("/v1/jobs/bulk", `{"action": "reprioritise", "filter": {"queue": "none", "parent_id": "7"}, "priority": 3}`)).want(http.StatusAccepted)
	export := readAs[servedOperation](check("post /v1/jobs/export", s.post("/v1/jobs/export", `{"filter": {"queue": "none"}, "format": "csv", "limit": 5}`)).want(http.StatusAccepted)).ID
	check("get /v1/operations/{id}/result", s.get("/v1/operations/"+export+"/result")).want(http.StatusConflict)
	s.eventually("the export is over", func() bool { return s.count("select over::int from weir.work_operation($1::bigint)", export) == 1 })
	if r := s.get("/v1/operations/" + export + "/result").want(http.StatusOK); r.header.Get("Content-Type") == "text/csv; charset=utf-8" {
		called["get /v1/operations/{id}/result"] = true // it is no JSON
	}
	check("post /v1/webhooks", s.post("/v1/webhooks", `{"name": "hook", "url": "https://example.com", "events": ["dead"], "queues": ["q"]}`)).want(http.StatusCreated)
	check("post /v1/webhooks", s.post("/v1/webhooks", `{"name": "hook", "url": "https://example.com", "events": ["dead"]}`)).want(http.StatusConflict)
	check("get /v1/webhooks", s.get("/v1/webhooks?limit=1")).want(http.StatusOK)
	check("get /v1/webhooks/{name}", s.get("/v1/webhooks/hook")).want(http.StatusOK)
	check("get /v1/webhooks/{name}", s.get("/v1/webhooks/none")).want(http.StatusNotFound)
	check("patch /v1/webhooks/{name}", s.do(http.MethodPatch, "/v1/webhooks/hook", `{"kinds": ["k"]}`)).want(http.StatusOK)
	check("post /v1/webhooks/{name}/rotate", s.post("/v1/webhooks/hook/rotate", nil)).want(http.StatusOK)
	check("post /v1/webhooks/{name}/disable", s.post("/v1/webhooks/hook/disable", `{"reason": "r"}`)).want(http.StatusOK)
	check("post /v1/webhooks/{name}/enable", s.post("/v1/webhooks/hook/enable", nil)).want(http.StatusOK)
	check("post /v1/webhooks/{name}/test", s.post("/v1/webhooks/hook/test", nil)).want(http.StatusAccepted)
	check("get /v1/webhooks/{name}/deliveries", s.get("/v1/webhooks/hook/deliveries")).want(http.StatusOK)
	check("delete /v1/webhooks/{name}", s.do(http.MethodDelete, "/v1/webhooks/hook", nil)).want(http.StatusNoContent)

	s.do(http.MethodPut, "/v1/queues/full", `{"max_depth": 1}`)
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": "k", "queue": "full"}`))
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": "k", "queue": "full"}`))
	check("post /v1/jobs/batch", s.post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "full"}]}`))
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": ""}`))
	check("post /v1/jobs", s.post("/v1/jobs", `{`))
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": "k", "args": "`+strings.Repeat("x", 1<<20)+`"}`))
	check("post /v1/jobs", s.post("/v1/jobs", `{"kind": "k", "args": "`+strings.Repeat("x", 10<<20)+`"}`))
	check("get /v1/jobs/{id}", s.get("/v1/jobs/123456"))
	check("get /v1/jobs/{id}", s.get("/v1/jobs/x"))
	check("post /v1/jobs/{id}/cancel", s.post("/v1/jobs/123456/cancel", nil))
	check("delete /v1/queues/{name}", s.do(http.MethodDelete, "/v1/queues/full", nil))
	check("get /v1/queues/{name}", s.get("/v1/queues/none"))

	for _, route := range servedOperations {
		if !called[route] {
			t.Errorf("%s was not called with success", route)
		}
	}
}
