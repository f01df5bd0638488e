package problems

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// sendAs sends a request that names a host and, unless empty, an origin.
func sendAs(t *testing.T, s *weirtest.Node, method, path, host, origin string) *weirtest.Response {
	t.Helper()
	body := ""
	if method == http.MethodPost {
		body = `{"kind": "k"}`
	}
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	answer, err := s.SendRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// A page can have its own name resolve to the node's address. To the browser the node then is of the page's origin, and only the
// name in Host tells.
func TestForeignHostIsRefusedOnEveryPath(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, host := range []string{"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example.", "0x7f000001"} {
		for _, path := range []string{"/v1/jobs", "/v1/events", "/docs/", "/docs", "/metrics", "/livez", "/readyz", "/openapi.json", "/nothing"} {
			sendAs(t, s, http.MethodGet, path, host, "").Problem(http.StatusMisdirectedRequest, "host_not_allowed")
		}
		sendAs(t, s, http.MethodPost, "/v1/jobs", host, "http://"+host).Problem(http.StatusMisdirectedRequest, "host_not_allowed")
	}
	if n := s.Count(`select count(*) from weir.job`); n != 0 {
		t.Errorf("%d jobs are stored", n)
	}
}

// No page can have a name resolve to an address under the name of that address.
func TestLoopbackNamesAndAddressesAreAllowed(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, host := range []string{"localhost", "LOCALHOST:1234", "localhost.", "weir.localhost:80", "127.0.0.1", "127.1.2.3:9", "[::1]", "[::1]:8080", "10.1.2.3:8080", "[fe80::1%25eth0]:8080"} {
		sendAs(t, s, http.MethodGet, "/livez", host, "").Want(http.StatusOK)
	}
}

// An image on a page of another site is read by no script, but loading it is work for the node.
func TestReadsForPagesOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, c := range []struct {
		site, mode, dest string
		status           int
	}{
		{"cross-site", "no-cors", "image", http.StatusForbidden},
		{"same-site", "cors", "empty", http.StatusForbidden},
		{"cross-site", "navigate", "iframe", http.StatusForbidden},
		{"cross-site", "navigate", "document", http.StatusOK}, // a link
		{"same-origin", "cors", "empty", http.StatusOK},
		{"none", "navigate", "document", http.StatusOK},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/jobs?q=a", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", c.site)
		r.Header.Set("Sec-Fetch-Mode", c.mode)
		r.Header.Set("Sec-Fetch-Dest", c.dest)
		answer, err := s.SendRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Want(c.status); c.status == http.StatusForbidden {
			answer.Problem(c.status, "cross_origin")
		}
	}
}

// What the node answers stays out of caches, out of frames and out of other sites' pages.
func TestAnswersHaveHeadersForBrowsers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, path := range []string{"/v1/jobs", "/v1/jobs/1", "/v1/queues", "/v1/info", "/metrics", "/readyz", "/nothing", "/v1/jobs?limit=0"} {
		answer := s.Get(path)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	page := s.Get("/docs/").Want(http.StatusOK)
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "script-src 'self'") {
		t.Errorf("the policy of /docs/ is %q", policy)
	}
}
