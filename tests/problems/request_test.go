package problems

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestBodyMustBeDeclaredAsJSON(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	post := func(contentType string) *weirtest.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", strings.NewReader(`{"kind": "k"}`))
		if err != nil {
			t.Fatal(err)
		}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		answer, err := s.SendRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "application/jsonx", "application/octet-stream", "a/b/c", "application/cbor"} {
		post(contentType).Problem(http.StatusUnsupportedMediaType, "unsupported_media_type")
	}
	if n := s.Count(`select count(*) from weir.job`); n != 0 {
		t.Errorf("%d jobs are stored", n)
	}
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "APPLICATION/JSON"} {
		if r := post(contentType); r.Status != http.StatusCreated {
			t.Errorf("%s: %v", contentType, r)
		}
	}
}

// No job contains a text that PostgreSQL cannot hold.
func TestFilterMayBeAnyText(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(`{"kind": "k", "args": "some"}`)
	for _, text := range []string{"%00", "x%00y", "%ff", "%ed%a0%80", "%F0%9F%A6%AB", "%27%3B--", "%5C", "%25"} {
		for _, name := range []string{"q", "worker", "kind", "tenant", "tag", "queue"} {
			r := s.Get("/v1/jobs?" + name + "=" + text)
			if r.Status == http.StatusOK && len(weirtest.Decode[weirtest.Page[weirtest.Job]](r).Items) != 0 || r.Status != http.StatusOK && r.Status != http.StatusUnprocessableEntity {
				t.Error(r)
			}
		}
	}
}

// A body is bounded even if its length is missing or wrong.
func TestBodyOfUnknownLengthIsBounded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	endless := io.MultiReader(strings.NewReader(`{"kind": "k", "args": "`), io.LimitReader(zeros{}, 100<<20))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", endless)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := s.SendRequest(r)
	if err != nil { // the node may close the connection while the client is sending
		t.Logf("the client saw: %v", err)
	} else {
		answer.Problem(http.StatusRequestEntityTooLarge, "body_too_large")
	}

	chunked, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", io.MultiReader(strings.NewReader(`{"kind":`), strings.NewReader(` "k"}`)))
	if err != nil {
		t.Fatal(err)
	}
	chunked.Header.Set("Content-Type", "application/json")
	if answer, err = s.SendRequest(chunked); err != nil {
		t.Fatal(err)
	}
	answer.Want(http.StatusCreated)
}

// zeros is an endless text of zeros.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// A client that disconnects in the middle of a body has not enqueued anything.
func TestBrokenOffBodyIsRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"kind\": \"k\"}")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(weirtest.Patience))
	answer, _ := io.ReadAll(conn)
	if bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
		t.Errorf("answered with %s", answer)
	}
	if n := s.Count(`select count(*) from weir.job`); n != 0 {
		t.Errorf("%d jobs are stored", n)
	}
}

// A page of another site must not enqueue from a user's browser.
func TestPageOfAnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", strings.NewReader(`{"kind": "k"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(name, value)
		answer, err := s.SendRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Problem(http.StatusForbidden, "cross_origin")
	}
	if n := s.Count(`select count(*) from weir.job`); n != 0 {
		t.Errorf("%d jobs are stored", n)
	}
}

func TestRequestHasIDForTheLog(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for given, kept := range map[string]bool{"": false, "my-trace/1.2:3": true, "with spaces": false, "\"quoted\"": false, strings.Repeat("x", 129): false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/jobs/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if given != "" {
			r.Header.Set("X-Request-Id", given)
		}
		answer, err := s.SendRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		id := answer.Header.Get("X-Request-Id")
		if p := answer.Problem(http.StatusNotFound, "job_not_found"); id == "" || p.RequestID != id || (id == given) != kept {
			t.Errorf("the request called itself %q, the answer calls it %q", given, id)
		}
	}
}
