// Package audit tests the audit trail: what it has, what it never has, and that it cannot be changed.
package audit

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

// hot are the operations that leave no entry: the work on jobs, what workers say of themselves, and a preview.
var hot = strings.Fields(`enqueueJob enqueueJobs dryRunJob submitWorkflow claimJobs ackJobs completeJob failJob snoozeJob releaseJob heartbeatJob heartbeatJobs logJob addSteps
	startWorkflow registerWorker heartbeatWorker reportToBreaker previewDefinition evaluateAlerts`)

// entry is one of the audit trail.
type entry struct {
	ID            string
	At            string
	Principal     string
	PrincipalKind string `json:"principal_kind"`
	KeyID         string `json:"key_id"`
	Remote        string
	RequestID     string `json:"request_id"`
	Operation     string
	Object        string
	Before, After json.RawMessage
}

// audit returns the newest entries, the newest first.
func audit(s *weirtest.Node, query string) []entry {
	s.T.Helper()
	return weirtest.Decode[weirtest.Page[entry]](s.Get("/v1/audit" + query).Want(http.StatusOK)).Items
}

// canary is in every payload and secret that the test sends. The audit trail must not have it.
const canary = "c4n4ry"

// step is a call that leaves one entry. Before and after are compared where they are given.
type step struct {
	operation, path string
	body            any
	object          string
	before, after   string
}

// setUp makes what the steps act on. It returns the ids that their paths name.
func setUp(t *testing.T, s *weirtest.Node) map[string]string {
	t.Helper()
	job := func(more obj) obj {
		o := obj{"kind": "k", "args": obj{"x": canary}, "metadata": obj{"x": canary}}
		for name, value := range more {
			o[name] = value
		}
		return o
	}
	ids := map[string]string{
		"edit": s.Enqueue(job(obj{"queue": "a", "delay_seconds": 3600})), "retry": s.Enqueue(job(obj{"queue": "a", "delay_seconds": 3600})),
		"cancel": s.Enqueue(job(obj{"queue": "a"})), "redrive": s.Kill(job(obj{"queue": "dead"})),
		"key": s.NewKey(obj{"name": "edited", "roles": []string{"reader"}}).ID,
	}
	ids["purge"] = s.Kill(job(obj{"queue": "dead2"}))
	s.Enqueue(job(obj{"queue": "purged"}))
	workflow := func() string {
		steps := []obj{job(obj{"name": "a", "queue": "wf"}), {"name": "b", "wait_for": obj{"signal": "go"}}}
		return weirtest.Decode[struct{ ID string }](s.Post("/v1/workflows", obj{"name": "w", "steps": steps}).Want(http.StatusCreated)).ID
	}
	ids["workflow"] = workflow()
	s.Do(http.MethodPut, "/v1/workers/w1", obj{"capacity": 3, "labels": obj{"zone": "a"}}).Want(http.StatusOK)
	return ids
}

func steps(ids map[string]string) []step {
	job := obj{"kind": "k", "args": obj{"x": canary}, "metadata": obj{"x": canary}}
	return []step{
		{"putQueue", "PUT /v1/queues/mail", obj{"priority": 7, "dead_letter_queue": "graves", "breaker": "smtp"}, "queues/mail", "", ""},
		{"editQueue", "PATCH /v1/queues/mail", obj{"priority": 8, "max_attempts": 5}, "queues/mail", `{"priority": 7}`, `{"priority": 8}`},
		{"pauseQueue", "POST /v1/queues/mail/pause", obj{"reason": "repairs"}, "queues/mail", `{}`, ""},
		{"resumeQueue", "POST /v1/queues/mail/resume", nil, "queues/mail", "", `{}`},
		{"purgeQueue", "POST /v1/queues/purged/purge", obj{"state": "available"}, "queues/purged", "", `{"state": "available", "purged": 1}`},
		{"putTenant", "PUT /v1/tenants/t1", obj{"max_waiting": 3}, "tenants/t1", "", `{"max_waiting": 3}`},
		{"putTenant", "PUT /v1/tenants/t1", obj{"max_waiting": 4}, "tenants/t1", `{"max_waiting": 3}`, `{"max_waiting": 4}`},
		{"deleteTenant", "DELETE /v1/tenants/t1", nil, "tenants/t1", `{"max_waiting": 4}`, ""},
		{"putKeyLimit", "PUT /v1/queues/mail/limits/keys/k1", obj{"concurrency": 3}, "queues/mail/limits/keys/k1", "", `{"concurrency": 3}`},
		{"deleteKeyLimit", "DELETE /v1/queues/mail/limits/keys/k1", nil, "queues/mail/limits/keys/k1", `{"concurrency": 3}`, ""},
		{"putTenantLimit", "PUT /v1/queues/mail/limits/tenants/t1", obj{"concurrency": 2}, "queues/mail/limits/tenants/t1", "", `{"concurrency": 2}`},
		{"putTenantLimit", "PUT /v1/queues/mail/limits/tenants/t1", obj{"concurrency": 4}, "queues/mail/limits/tenants/t1", `{"concurrency": 2}`, `{"concurrency": 4}`},
		{"deleteTenantLimit", "DELETE /v1/queues/mail/limits/tenants/t1", nil, "queues/mail/limits/tenants/t1", "", ""},
		{"putKeyLimit", "PUT /v1/queues/mail/limits/keys/k1", obj{"concurrency": 3}, "queues/mail/limits/keys/k1", "", ""},
		{"deleteQueue", "DELETE /v1/queues/mail", nil, "queues/mail", "", ""},

		{"putBreaker", "PUT /v1/breakers/b1", obj{"while_open": obj{"policy": "complete_default", "result": obj{"x": canary}}}, "breakers/b1", "", ""},
		{"editBreaker", "PATCH /v1/breakers/b1", obj{"open_seconds": 7}, "breakers/b1", `{"open_seconds": 60}`, `{"open_seconds": 7}`},
		{"tripBreaker", "POST /v1/breakers/b1/trip", obj{"reason": "test"}, "breakers/b1", `{"state": "closed"}`, `{"state": "open", "reason": "test"}`},
		{"resetBreaker", "POST /v1/breakers/b1/reset", obj{}, "breakers/b1", `{"state": "open"}`, `{"state": "closed"}`},
		{"pinBreaker", "POST /v1/breakers/b2/pin", obj{"state": "closed"}, "breakers/b2", `{"state": "closed"}`, `{"pinned": "closed"}`},
		{"deleteBreaker", "DELETE /v1/breakers/b3", nil, "breakers/b3", "", ""},

		{"createPreset", "POST /v1/presets", obj{"name": "p1", "title": "P", "filter": obj{"state": "dead", "q": canary, "error": canary, "args": obj{"x": canary}}}, "presets/p1", "", `{"title": "P", "filter": {"state": "dead"}}`},
		{"putPreset", "PUT /v1/presets/p1", obj{"title": "P2", "filter": obj{"state": "dead"}}, "presets/p1", "", ""},
		{"deletePreset", "DELETE /v1/presets/p1", nil, "presets/p1", `{"title": "P2", "filter": {"state": "dead"}}`, ""},

		{"createSchedule", "POST /v1/schedules", obj{"name": "s1", "every_seconds": 3600, "job": job}, "schedules/s1", "", ""},
		{"putSchedule", "PUT /v1/schedules/s1", obj{"every_seconds": 7200, "job": job}, "schedules/s1", `{"every_seconds": 3600}`, `{"every_seconds": 7200}`},
		{"editSchedule", "PATCH /v1/schedules/s1", obj{"job": obj{"kind": "k", "args": obj{"y": canary}}}, "schedules/s1", `{"job": {"kind": "k"}}`, `{"job": {"kind": "k"}}`},
		{"pauseSchedule", "POST /v1/schedules/s1/pause", nil, "schedules/s1", "", ""},
		{"resumeSchedule", "POST /v1/schedules/s1/resume", nil, "schedules/s1", "", ""},
		{"triggerSchedule", "POST /v1/schedules/s1/trigger", nil, "schedules/s1", "", ""},
		{"deleteSchedule", "DELETE /v1/schedules/s1", nil, "schedules/s1", "", ""},

		{"createWebhook", "POST /v1/webhooks", obj{"name": "h1", "url": "https://example.com/in?token=" + canary, "events": []string{"dead"}}, "webhooks/h1", "", ""},
		{"editWebhook", "PATCH /v1/webhooks/h1", obj{"timeout_seconds": 5}, "webhooks/h1", `{"timeout_seconds": 10}`, `{"timeout_seconds": 5}`},
		{"rotateWebhookSecret", "POST /v1/webhooks/h1/rotate", obj{}, "webhooks/h1", "", ""},
		{"testWebhook", "POST /v1/webhooks/h1/test", nil, "webhooks/h1", "", ""},
		{"disableWebhook", "POST /v1/webhooks/h1/disable", nil, "webhooks/h1", "", ""},
		{"enableWebhook", "POST /v1/webhooks/h1/enable", nil, "webhooks/h1", "", ""},
		{"deleteWebhook", "DELETE /v1/webhooks/h1", nil, "webhooks/h1", "", ""},

		{"createAlertTarget", "POST /v1/alert-targets", obj{"name": "t1", "kind": "slack", "url": "https://example.com/in?token=" + canary}, "alert-targets/t1", "", ""},
		{"editAlertTarget", "PATCH /v1/alert-targets/t1", obj{"url": "https://example.com/other?token=" + canary}, "alert-targets/t1", "", ""},
		{"testAlertTarget", "POST /v1/alert-targets/t1/test", nil, "alert-targets/t1", "", ""},
		{"createAlertTarget", "POST /v1/alert-targets", obj{"name": "t2", "kind": "pagerduty", "routing_key": canary}, "alert-targets/t2", "", ""},
		{"deleteAlertTarget", "DELETE /v1/alert-targets/t2", nil, "alert-targets/t2", "", ""},
		{"createAlertRule", "POST /v1/alert-rules", obj{"name": "r1", "condition": "queue_depth", "threshold": 5, "notify": []string{"t1"}}, "alert-rules/r1", "", ""},
		{"putAlertRule", "PUT /v1/alert-rules/r1", obj{"condition": "queue_depth", "threshold": 6, "notify": []string{"t1"}}, "alert-rules/r1", `{"threshold": 5}`, `{"threshold": 6}`},
		{"editAlertRule", "PATCH /v1/alert-rules/r1", obj{"severity": "critical"}, "alert-rules/r1", `{"severity": "warning"}`, `{"severity": "critical"}`},
		{"muteAlertRule", "POST /v1/alert-rules/r1/mute", obj{"seconds": 60}, "alert-rules/r1", `{}`, ""},
		{"unmuteAlertRule", "POST /v1/alert-rules/r1/unmute", nil, "alert-rules/r1", "", `{}`},
		{"acknowledgeAlert", "POST /v1/alerts/1/acknowledge", obj{"note": "seen"}, "alerts/1", `{"state": "open"}`, `{"state": "acknowledged", "note": "seen"}`},
		{"deleteAlertRule", "DELETE /v1/alert-rules/r1", nil, "alert-rules/r1", "", ""},

		{"editWorker", "PATCH /v1/workers/w1", obj{"capacity": 4}, "workers/w1", `{"capacity": 3}`, `{"capacity": 4}`},
		{"pauseWorker", "POST /v1/workers/w1/pause", nil, "workers/w1", "", ""},
		{"resumeWorker", "POST /v1/workers/w1/resume", nil, "workers/w1", "", ""},
		{"drainWorker", "POST /v1/workers/w1/drain", nil, "workers/w1", "", ""},
		{"removeWorker", "DELETE /v1/workers/w1", nil, "workers/w1", "", ""},

		{"editJob", "PATCH /v1/jobs/" + ids["edit"], obj{"priority": 9}, "jobs/" + ids["edit"], `{"priority": 5}`, `{"priority": 9}`},
		{"replayJob", "POST /v1/jobs/" + ids["retry"] + "/replay", nil, "jobs/" + ids["retry"], "", ""},
		{"retryJob", "POST /v1/jobs/" + ids["retry"] + "/retry", nil, "jobs/" + ids["retry"], "", ""},
		{"cancelJob", "POST /v1/jobs/" + ids["cancel"] + "/cancel", nil, "jobs/" + ids["cancel"], `{"state": "available"}`, `{"state": "cancelled"}`},
		{"redriveDeadLetter", "POST /v1/dead/" + ids["redrive"] + "/redrive", nil, "dead/" + ids["redrive"], "", ""},
		{"purgeDeadLetter", "DELETE /v1/dead/" + ids["purge"], nil, "dead/" + ids["purge"], "", ""},
		{"redriveDeadLetters", "POST /v1/dead/redrive", obj{"filter": obj{"queue": "x", "q": canary}}, "operations/1", "", ""},
		{"purgeDeadLetters", "POST /v1/dead/purge", obj{"filter": obj{"queue": "x", "q": canary}}, "operations/2", "", ""},
		{"changeJobs", "POST /v1/jobs/bulk", obj{"action": "cancel", "filter": obj{"queue": "x", "q": canary}}, "operations/3", "", ""},
		{"exportJobs", "POST /v1/jobs/export", obj{"filter": obj{"queue": "x", "q": canary}}, "operations/4", "", ""},
		{"cancelOperation", "POST /v1/operations/4/cancel", nil, "operations/4", `{"state": "pending"}`, `{"state": "cancelled"}`},

		{"signalWorkflow", "POST /v1/workflows/" + ids["workflow"] + "/signals/go", obj{"payload": obj{"x": canary}}, "workflows/" + ids["workflow"], "", `{"signal": "go", "steps": 1}`},
		{"cancelWorkflow", "POST /v1/workflows/" + ids["workflow"] + "/cancel", nil, "workflows/" + ids["workflow"], `{"state": "running"}`, ""},
		{"retryWorkflow", "POST /v1/workflows/" + ids["workflow"] + "/retry", nil, "workflows/" + ids["workflow"], "", ""},
		{"forkWorkflow", "POST /v1/workflows/" + ids["workflow"] + "/fork", obj{"from": []string{"a"}}, "workflows/" + ids["workflow"], "", ""},

		{"createKey", "POST /v1/keys", obj{"name": "new", "roles": []string{"reader"}}, "", "", `{"name": "new", "roles": ["reader"], "redact": false}`},
		{"editKey", "PATCH /v1/keys/" + ids["key"], obj{"roles": []string{"operator"}}, "keys/" + ids["key"], `{"roles": ["reader"]}`, `{"roles": ["operator"]}`},
		{"rotateKey", "POST /v1/keys/" + ids["key"] + "/rotate", obj{}, "keys/" + ids["key"], "", ""},
		{"revokeKey", "DELETE /v1/keys/" + ids["key"], nil, "keys/" + ids["key"], "", ""},
	}
}

// TestEveryOperationLeavesOneEntry makes every call that changes something. An operation that is neither here nor on
// the list of hot ones fails the test.
func TestEveryOperationLeavesOneEntry(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	ids := setUp(t, s)
	s.Exec("select weir.set_breaker('b2'), weir.set_breaker('b3')")
	s.Exec("select weir.set_alert_rule('alerting', '{\"condition\": \"database_size\", \"threshold\": 1}')")
	s.EvaluateAlerts()
	var tried []string
	last, secrets := s.Count("select coalesce(max(id), 0) from weir.audit"), []string{canary, "whsec_", "weir_"}
	for _, c := range steps(ids) {
		method, path, _ := strings.Cut(c.path, " ")
		r := s.Do(method, path, c.body)
		if r.Status >= 300 {
			t.Errorf("%s: %v", c.operation, r)
			continue
		}
		tried = append(tried, c.operation)
		found := audit(s, "?limit=5")
		found = found[:s.Count("select count(*) from weir.audit where id > $1", last)]
		last = s.Count("select max(id) from weir.audit")
		if len(found) != 1 {
			t.Errorf("%s left %d entries, want 1: %+v", c.operation, len(found), found)
			continue
		}
		e := found[0]
		if e.Operation != c.operation || c.object != "" && e.Object != c.object || e.Principal != "admin of the test" || e.PrincipalKind != "key" ||
			len(e.KeyID) != 16 || e.Remote != "127.0.0.1" || e.RequestID != r.Header.Get("X-Request-Id") {
			t.Errorf("%s left %+v, want object %s", c.operation, e, c.object)
		}
		for name, want := range map[string][2]string{"before": {string(e.Before), c.before}, "after": {string(e.After), c.after}} {
			if want[1] != "" && !sameJSON(t, want[0], want[1]) {
				t.Errorf("%s: got %s %s, want %s", c.operation, name, want[0], want[1])
			}
		}
	}
	for _, path := range s.Document("/openapi.json").Paths {
		for method, o := range path {
			if method != "get" && !slices.Contains(hot, o.OperationID) && !slices.Contains(tried, o.OperationID) {
				t.Errorf("%s is neither tried here nor on the list of hot operations", o.OperationID)
			}
		}
	}
	for _, secret := range secrets {
		if n := s.Count("select count(*) from weir.audit a where strpos(a::text, $1) > 0", secret); n > 0 {
			t.Errorf("%d entries have %q", n, secret)
		}
	}
	if n := s.Count("select count(*) from weir.audit a, weir.principal p where strpos(a::text, encode(p.key_hash, 'hex')) > 0"); n > 0 {
		t.Errorf("%d entries have the hash of a key", n)
	}
}

func sameJSON(t *testing.T, got, want string) bool {
	t.Helper()
	var a, b any
	if got == "" || json.Unmarshal([]byte(got), &a) != nil {
		return false
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}
