package tenant

import (
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestOnlyOwnQueuesAreListed: a queue that tenants share is no tenant's.
func TestOnlyOwnQueuesAreListed(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	for _, queue := range []string{"q_a", "q_b", "qxa", "other"} {
		s.Enqueue(obj{"kind": "k", "queue": queue})
	}
	names := func(who *weirtest.Node, path string) (list []string) {
		for _, q := range weirtest.Decode[struct{ Items []struct{ Name string } }](who.Get(path).Want(http.StatusOK)).Items {
			list = append(list, q.Name)
		}
		return list
	}
	bound := s.AsNew("bound", obj{"queues": []string{"q_*", "none"}}, "reader")
	tenant := s.AsNew("tenant", obj{"tenant": "a"}, "reader")
	if got := names(bound, "/v1/queues"); !slices.Equal(got, []string{"q_a", "q_b"}) {
		t.Errorf("a key of some queues sees %v", got)
	}
	if got := names(bound, "/v1/queues?limit=1"); !slices.Equal(got, []string{"q_a"}) {
		t.Errorf("its first page is %v", got)
	}
	if got := names(tenant, "/v1/queues"); len(got) != 0 {
		t.Errorf("a tenant sees %v", got)
	}
	if got := names(s, "/v1/queues"); len(got) != 4 {
		t.Errorf("an admin sees %v", got)
	}
	tenant.Get("/v1/queues/q_a").Problem(http.StatusNotFound, "queue_not_found")
	bound.Get("/v1/queues/other").Problem(http.StatusNotFound, "queue_not_found")
}
