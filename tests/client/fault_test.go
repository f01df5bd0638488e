//go:build unix

package client_test

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

// unreliable stands before a node. It refuses some calls with 503 and a time to wait, and breaks off some answers.
func unreliable(t *testing.T, s *weirtest.Node, refuse, breakOff func(*http.Request) bool) *weir.Client {
	t.Helper()
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ModifyResponse = func(r *http.Response) error {
		if breakOff(r.Request) {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse(r) {
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"code": "overloaded", "title": "Overloaded", "status": 503}`))
			return
		}
		forward.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	c, err := weir.HTTP("http://"+listener.Addr().String(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The first answer to each enqueue breaks off, so the client does not know whether there is a job, and sends it again.
func TestEnqueueIsSentAgainAndStoresOneJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var calls atomic.Int64
	c := unreliable(t, s, func(*http.Request) bool { return false }, func(*http.Request) bool { return calls.Add(1) == 1 })
	done, err := c.Enqueue(t.Context(), Double{N: 1})
	if err != nil || calls.Load() != 2 {
		t.Fatalf("after %d calls: %v", calls.Load(), err)
	}
	if n := s.Count("select count(*) from weir.job"); n != 1 || !done.Duplicate {
		t.Errorf("there are %d jobs, and the answer is %+v", n, done)
	}
}

func TestOverloadedNodeIsLeftAloneForAsLongAsItSays(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var mu sync.Mutex
	last := map[string]time.Time{} // when a path was refused last
	refused := map[string]int{}
	c := unreliable(t, s, func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if at, ok := last[r.URL.Path]; ok && time.Since(at) < 900*time.Millisecond {
			t.Errorf("%s was called again %s after it was refused for a second", r.URL.Path, time.Since(at))
		}
		delete(last, r.URL.Path)
		if refused[r.URL.Path] < 2 {
			refused[r.URL.Path]++
			last[r.URL.Path] = time.Now()
			return true
		}
		return false
	}, func(*http.Request) bool { return false })
	w := &way{Client: c, T: t, Node: s}
	w.work(weir.WorkerConfig{Concurrency: 1}, func(worker *weir.Worker) { weir.Handle(worker, double) })
	w.until(w.enqueue(Double{N: 3}), "completed")
	mu.Lock()
	defer mu.Unlock()
	for _, path := range []string{"/v1/jobs", "/v1/claims", "/v1/acks"} {
		if refused[path] != 2 {
			t.Errorf("%s was refused %d times", path, refused[path])
		}
	}
}
