package preset

import (
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func own(t *testing.T, s *weirtest.Node) []string {
	t.Helper()
	names := []string{}
	for _, p := range weirtest.Decode[weirtest.Page[preset]](s.Get("/v1/presets?limit=100").Want(http.StatusOK)).Items {
		if !p.BuiltIn {
			names = append(names, p.Tenant+"/"+p.Name)
		}
	}
	return names
}

func TestTenantsHaveTheirOwnPresets(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.Exec(`select weir.enqueue('k', queue => 'q' || i % 2, options => jsonb_build_object('tenant', case when i % 3 = 0 then 'a' else 'b' end)) from generate_series(1, 30) i`)
	a := s.AsNew("of a", obj{"tenant": "a"}, "operator")
	b := s.AsNew("of b", obj{"tenant": "b"}, "operator", "reader")
	for _, who := range []*weirtest.Node{a, b, s} {
		savePreset(who, "p", obj{"kind": "k"}).Want(http.StatusCreated)
	}
	savePreset(s, "of_all", obj{"kind": "k"}).Want(http.StatusCreated)
	if got := own(t, a); !slices.Equal(got, []string{"a/p"}) {
		t.Errorf("the tenant a sees %v", got)
	}
	if got := own(t, s); !slices.Equal(got, []string{"/of_all", "/p", "a/p", "b/p"}) {
		t.Errorf("an admin sees %v", got)
	}
	for who, want := range map[*weirtest.Node]int{a: 10, b: 20, s: 30} {
		if got := len(idsOf(who, "preset=p")); got != want {
			t.Errorf("it lists %d jobs, want %d", got, want)
		}
	}
	a.Get("/v1/presets/of_all").Problem(http.StatusNotFound, "preset_not_found")
	a.Get("/v1/jobs?preset=of_all").Problem(http.StatusNotFound, "preset_not_found")
	a.Get("/v1/presets/p?tenant=b").Problem(http.StatusNotFound, "preset_not_found")
	a.Do(http.MethodDelete, "/v1/presets/p?tenant=b", nil).Problem(http.StatusNotFound, "preset_not_found")
	a.Do(http.MethodDelete, "/v1/presets/of_all", nil).Problem(http.StatusNotFound, "preset_not_found")
	a.Get("/v1/presets/failed_today").Want(http.StatusOK)
	// Whatever tenant it names, it is its own.
	a.Do(http.MethodPut, "/v1/presets/new?tenant=b", obj{"title": "T", "filter": obj{"tenant": "b"}}).Want(http.StatusOK)
	if got := own(t, b); !slices.Equal(got, []string{"b/p"}) {
		t.Errorf("the tenant b sees %v", got)
	}
	if got := idsOf(a, "preset=new"); len(got) != 0 {
		t.Errorf("a preset shows %d jobs of another tenant", len(got))
	}
	// An admin names one of a tenant by the tenant of the filter.
	s.Do(http.MethodPut, "/v1/presets/p?tenant=a", obj{"title": "T", "filter": obj{"queue": "q1"}}).Want(http.StatusOK)
	if got, want := len(idsOf(s, "preset=p&tenant=a")), s.Count("select count(*) from weir.jobs where tenant = 'a' and queue = 'q1'"); got != want {
		t.Errorf("it lists %d jobs, want %d", got, want)
	}
}

func TestCallersOfSomeQueuesNameThem(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.Exec(`select weir.enqueue('k', queue => 'q' || i % 2) from generate_series(1, 30) i`)
	bound := s.AsNew("of a queue", obj{"queues": []string{"q1"}}, "operator")
	p := savePreset(bound, "p", obj{"kind": "k"}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if p.Errors[0].Location != "body.filter.queue" {
		t.Errorf("it is refused at %s", p.Errors[0].Location)
	}
	savePreset(bound, "p", obj{"queue": []string{"q1", "q0"}}).Problem(http.StatusNotFound, "queue_not_found")
	savePreset(bound, "p", obj{"queue": "q1"}).Want(http.StatusCreated)
	savePreset(s, "wide", obj{"kind": "k"}).Want(http.StatusCreated)
	if got := own(t, bound); !slices.Equal(got, []string{"/p"}) {
		t.Errorf("it sees %v", got)
	}
	bound.Get("/v1/jobs?preset=wide").Problem(http.StatusNotFound, "preset_not_found")
	bound.Do(http.MethodPut, "/v1/presets/wide", obj{"title": "T", "filter": obj{"queue": "q1"}}).Problem(http.StatusConflict, "preset_exists")
	bound.Do(http.MethodDelete, "/v1/presets/wide", nil).Problem(http.StatusNotFound, "preset_not_found")
	if got := len(idsOf(bound, "preset=p")); got != 15 {
		t.Errorf("it lists %d jobs", got)
	}
	if got := len(idsOf(bound, "preset=enqueued_lately")); got != 15 {
		t.Errorf("a built-in preset lists %d jobs", got)
	}
}

// A key that sees no args could guess them with a preset, as with a filter.
func TestRedactedKeysDoNotSearchWithAPreset(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	redacted := s.AsNew("redacted", obj{"redact": true}, "operator")
	for name, filter := range map[string]obj{"q": {"q": "secret"}, "error": {"error": "secret"}, "args": {"args": obj{"a": 1}}} {
		savePreset(s, name, filter).Want(http.StatusCreated)
		savePreset(redacted, "own_"+name, filter)
		for _, path := range []string{"/v1/jobs?preset=", "/v1/jobs/facets?preset=", "/v1/jobs?preset=own_"} {
			redacted.Get(path+name).Problem(http.StatusForbidden, "forbidden")
		}
		redacted.Post("/v1/jobs/bulk", obj{"action": "cancel", "filter": obj{"preset": name}, "dry_run": true}).Problem(http.StatusForbidden, "forbidden")
	}
	redacted.Get("/v1/jobs?preset=failed_today").Want(http.StatusOK)
}
