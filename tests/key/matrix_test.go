package key

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

var roles = []string{"producer", "worker", "reader", "operator", "admin"}

// public are the operations that need no key: what a load balancer asks.
var public = []string{"getLiveness", "getReadiness"}

// operation is one of the OpenAPI document.
type operation struct {
	ID     string   `json:"operationId"`
	Roles  []string `json:"x-weir-roles"`
	Method string   `json:"-"`
	Path   string   `json:"-"`
}

// operations reads all operations of the document of a node.
func operations(t *testing.T, s *weirtest.Node) (all []operation) {
	t.Helper()
	document := weirtest.Decode[struct {
		Paths map[string]map[string]json.RawMessage
	}](s.Get("/openapi.json").Want(http.StatusOK))
	for path, methods := range document.Paths {
		for method, text := range methods {
			o := operation{Method: strings.ToUpper(method), Path: path}
			if err := json.Unmarshal(text, &o); err != nil {
				t.Fatal(err)
			}
			all = append(all, o)
		}
	}
	if len(all) < 100 {
		t.Fatalf("the document has only %d operations", len(all))
	}
	return all
}

var parameter = regexp.MustCompile(`\{(\w+)\}`)

// call sends an operation with a path that names nothing and without a body, and returns the status.
func call(s *weirtest.Node, o operation) *weirtest.Response {
	path := parameter.ReplaceAllStringFunc(o.Path, func(name string) string {
		switch {
		case name == "{id}" && strings.Contains(o.Path, "/keys/"):
			return "0123456789abcdef"
		case name == "{id}":
			return "999999"
		}
		return "nothing-here"
	})
	return s.Do(o.Method, path, nil)
}

// TestEveryOperationAsksForItsRoles walks every operation with every role, without a key, and with keys that are not in
// force. Bound callers are in bound_test.go.
func TestEveryOperationAsksForItsRoles(t *testing.T) {
	weirtest.Long(t, "a thousand calls")
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	callers := map[string]*weirtest.Node{}
	for _, role := range roles {
		callers[role] = s.AsNew(role, nil, role)
	}
	expired := s.NewKey(weirtest.Object{"name": "expired", "roles": []string{"admin"}})
	s.Exec("update weir.principal set expires_at = clock_timestamp() where key_id = $1", expired.ID)
	revoked := s.NewKey(weirtest.Object{"name": "revoked", "roles": []string{"admin"}})
	s.Do(http.MethodDelete, "/v1/keys/"+revoked.ID, nil).Want(http.StatusNoContent)
	strangers := map[string]*weirtest.Node{"no key": s.As(""), "an expired key": s.As(expired.Secret), "a revoked key": s.As(revoked.Secret)}

	for _, o := range operations(t, s) {
		for name, caller := range strangers {
			r := call(caller, o)
			if got := r.Status != http.StatusUnauthorized; got != slices.Contains(public, o.ID) {
				t.Errorf("%s with %s: %v", o.ID, name, r)
			}
		}
		if slices.Contains(public, o.ID) {
			continue
		}
		if !slices.Contains(o.Roles, "admin") {
			t.Errorf("%s: the document does not say that an admin may call it", o.ID)
		}
		for role, caller := range callers {
			r := call(caller, o)
			refused := r.Status == http.StatusForbidden
			if r.Status == http.StatusUnauthorized || r.Status >= 500 || refused == slices.Contains(o.Roles, role) {
				t.Errorf("%s by a %s: %v; the document has %v", o.ID, role, r, o.Roles)
			}
		}
	}
}

// TestRolesAreDocumented compares the table of docs/security.md with what the node says.
func TestRolesAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range operations(t, weirtest.StartNode(t)) {
		row := "| `" + o.Method + " " + o.Path + "` |"
		for _, role := range roles[:4] {
			mark := " "
			if slices.Contains(o.Roles, role) {
				mark = " ● "
			}
			row += mark + "|"
		}
		if slices.Contains(public, o.ID) {
			row = "| `" + o.Method + " " + o.Path + "` | everyone | | | |"
		}
		if !strings.Contains(string(text), row+"\n") {
			t.Errorf("docs/security.md lacks the row\n%s", row)
		}
	}
}
