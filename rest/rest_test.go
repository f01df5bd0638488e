package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

func newTestClient(t *testing.T, handler http.HandlerFunc) *Client {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := New(Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestPathKeepsEveryNameOneSegment(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/workers/{name}/pause", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(r.PathValue("name"))
	})
	client := newTestClient(t, mux.ServeHTTP)
	for _, name := range []string{"mill", ".", "..", "...", "a/b", "../../x", "a b?c#d", "%2E", "ü;x=1", "a+b&c"} {
		got, err := Do[string](context.Background(), client, Post(Path("workers", name, "pause"), nil))
		if err != nil || got != name {
			t.Errorf("the name %q arrives as %q, %v", name, got, err)
		}
	}
}

func TestProblemIsOneLine(t *testing.T) {
	t.Parallel()
	p := &Problem{Title: "Invalid value", Detail: "the request is not valid", Hint: "Read the docs."}
	p.Errors = []ProblemError{{Message: "must be from\x1b[31m 1\n to 10", Location: "body.priority"}}
	const want = "the request is not valid: priority must be from[31m 1 to 10 (Read the docs.)"
	if got := p.Error(); got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestListStopsAtItsLimitAndAtTheEnd(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		var from, limit int
		_, _ = fmt.Sscan(r.URL.Query().Get("cursor"), &from)
		_, _ = fmt.Sscan(r.URL.Query().Get("limit"), &limit)
		page := map[string]any{"next_cursor": nil}
		items := []int{}
		for i := from; i < min(from+limit, 2500); i++ {
			items = append(items, i)
		}
		if page["items"] = items; from+limit < 2500 {
			page["next_cursor"] = fmt.Sprint(from + limit)
		}
		_ = json.NewEncoder(w).Encode(page)
	})
	for limit, want := range map[int]int{1: 1, 1000: 1000, 1500: 1500, 2500: 2500, All: 2500} {
		page, err := List(context.Background(), client, Get("/v1/things").With("state", "x"), limit)
		if err != nil || len(page.Items) != want || (page.NextCursor == nil) != (want == 2500) {
			t.Errorf("limit %d gives %d items, next cursor %v, %v", limit, len(page.Items), page.NextCursor, err)
		}
	}
}

func TestAnswerOfAnotherServiceIsExplained(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "<html>", http.StatusBadGateway)
	})
	_, err := Do[Page](context.Background(), client, Get("/v1/jobs"))
	if Status(err) != http.StatusBadGateway || Refused(err) {
		t.Errorf("the error is %v", err)
	}
	client = newTestClient(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") })
	if _, err := Do[Page](context.Background(), client, Get("/v1/jobs")); err == nil {
		t.Error("a page of HTML is taken for an answer")
	}
}
