package key

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

// takenNames are the operations whose answer tells that another tenant has a name, and why that is so.
var takenNames = map[string]string{
	"registerWorker": "names of workers are those of the whole database",
}

// things makes one of each kind of thing for a caller, and returns the path parameters that name them: by the beginning
// of the path, then by the parameter.
func things(s, owner *weirtest.Node, queue string) map[string]map[string]string {
	s.Do(http.MethodPut, "/v1/queues/"+queue, obj{"tenant": "a"}).Want(http.StatusOK)
	job := owner.Enqueue(obj{"kind": "k", "queue": queue})
	dead := owner.Kill(obj{"kind": "k", "queue": queue + "-dying", "max_attempts": 1})
	workflow := owner.Submit(nil, obj{"name": "x", "kind": "k", "queue": queue})
	owner.Do(http.MethodPut, "/v1/workers/their-worker", obj{"queues": []string{queue}}).Want(http.StatusOK)
	owner.Post("/v1/schedules", obj{"name": "their-schedule", "every_seconds": 3600, "job": obj{"kind": "k", "queue": queue}}).Want(http.StatusCreated)
	owner.Post("/v1/webhooks", obj{"name": "their-webhook", "url": "https://hooks.example.com/x", "events": []string{"completed"}}).Want(http.StatusCreated)
	owner.Post("/v1/presets", obj{"name": "their-preset", "title": "Theirs", "filter": obj{"queue": queue}}).Want(http.StatusCreated)
	owner.Do(http.MethodPut, "/v1/breakers/their-breaker", obj{}).Want(http.StatusOK)
	owner.Do(http.MethodPut, "/v1/alert-rules/their-rule", obj{"condition": "queue_depth", "threshold": 0}).Want(http.StatusOK)
	s.Post("/v1/alert-targets?tenant=a", obj{"name": "their-target", "kind": "slack", "url": "https://hooks.example.com/x"}).Want(http.StatusCreated)
	owner.EvaluateAlerts()
	alert := owner.Alerts("")[0].ID
	operation := weirtest.Decode[struct{ ID string }](owner.Post("/v1/jobs/export", obj{"format": "csv", "filter": obj{}}).Want(http.StatusAccepted)).ID
	return map[string]map[string]string{
		"/v1/jobs/": {"id": job, "other": job}, "/v1/dead/": {"id": dead}, "/v1/workflows/": {"id": workflow, "name": "signal"},
		"/v1/workers/": {"name": "their-worker"}, "/v1/schedules/": {"name": "their-schedule"},
		"/v1/webhooks/": {"name": "their-webhook"}, "/v1/presets/": {"name": "their-preset"}, "/v1/operations/": {"id": operation},
		"/v1/queues/": {"name": queue, "key": "k", "tenant": "b"},
		"/v1/alerts/": {"id": alert}, "/v1/alert-rules/": {"name": "their-rule"}, "/v1/alert-targets/": {"name": "their-target"},
		"/v1/breakers/": {"name": "their-breaker"}, "/v1/tenants/": {"tenant": "a"}, "/v1/keys/": {"id": "0123456789abcdef"},
	}
}

// TestAnothersThingsAreAsIfTheyWereNotThere sends every operation that names something to what another tenant has, and to
// what does not exist. The two answers are the same. A new operation is walked too; one whose path names a new kind of thing
// fails until things makes one.
func TestAnothersThingsAreAsIfTheyWereNotThere(t *testing.T) {
	weirtest.Long(t, "some hundred calls")
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	all := []string{"producer", "worker", "reader", "operator"}
	owner := s.AsNew("owner", obj{"tenant": "a", "queues": []string{"*"}}, all...)
	other := s.AsNew("other", obj{"tenant": "b", "queues": []string{"*"}}, all...)
	theirs := things(s, owner, "their-queue")
	walked := 0
	walk := targets(t, s)
	slices.SortStableFunc(walk, func(a, b target) int { // what makes something, under the caller's own name, comes last
		return strings.Compare(strings.TrimPrefix(a.Method, "DELETE"), strings.TrimPrefix(b.Method, "DELETE"))
	})
	for _, o := range walk {
		if !strings.Contains(o.Path, "{") {
			continue
		}
		var names map[string]string
		for prefix, n := range theirs {
			if strings.HasPrefix(o.Path, prefix) {
				names = n
			}
		}
		if names == nil {
			t.Errorf("%s: there is nothing of another tenant for %s", o.ID, o.Path)
			continue
		}
		path := func(first string) string { // the first parameter names the thing
			return parameter.ReplaceAllStringFunc(o.Path, func(p string) string {
				name := names[strings.Trim(p, "{}")]
				if first != "" {
					name, first = first, ""
				}
				return name
			})
		}
		nothing := "nothing-here"
		if strings.Contains(o.Path, "{id}") {
			nothing = "999999"
		}
		var body any
		if o.example != nil {
			body = o.example
		}
		there, absent := other.Do(o.Method, path(""), body), other.Do(o.Method, path(nothing), body)
		code := func(r *weirtest.Response) string {
			if r.Status < 400 {
				return ""
			}
			return weirtest.Decode[struct{ Code string }](r).Code
		}
		if takenNames[o.ID] != "" {
			if there.Status != http.StatusConflict {
				t.Errorf("%s: %v, want 409: %s", o.ID, there, takenNames[o.ID])
			}
			continue
		}
		if there.Status != absent.Status || code(there) != code(absent) {
			t.Errorf("%s %s: what another has gives %v, what does not exist %v", o.Method, o.Path, there, absent)
		}
		if there.Status < 400 && o.Method != http.MethodPut {
			t.Errorf("%s: a call for what another has succeeds: %v", o.ID, there)
		}
		walked++
	}
	if walked < 60 {
		t.Errorf("only %d operations were walked", walked)
	}
	for prefix, names := range theirs {
		if strings.Contains("/v1/keys/ /v1/tenants/", prefix) {
			continue // the owner may not see them
		}
		owner.Get(prefix + cmp.Or(names["id"], names["name"])).Want(http.StatusOK)
	}
}
