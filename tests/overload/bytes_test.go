package overload

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
)

// dial connects to a node for a request by hand.
func dial(t *testing.T, s *weirtest.Node) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Unfinished bodies take room only with what has arrived of them, and no more than the node has for all bodies together.
func TestUnfinishedBodiesAreBoundedTogether(t *testing.T) {
	t.Parallel()
	const size, most = 1_000_000, 3_000_000
	s, _ := weirtest.StartServe(t, weirtest.New(t), fmt.Sprint("WEIR_MAX_BODY_BYTES=", size), fmt.Sprint("WEIR_MAX_BYTES_IN_FLIGHT=", most))
	var slow []net.Conn
	for range 3 {
		conn := dial(t, s)
		fmt.Fprintf(conn, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
		if _, err := io.WriteString(conn, `{"kind": "k", "args": "`+strings.Repeat("a", size*9/10)); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	s.Eventually("the bodies have arrived", func() bool { return s.Metric("weir_http_body_bytes") > 3*size*9/10 })

	large := `{"kind": "k", "args": "` + strings.Repeat("a", size/2) + `"}`
	refused := s.Post("/v1/jobs", large)
	if refused.Problem(http.StatusServiceUnavailable, "overloaded"); refused.Header.Get("Retry-After") == "" {
		t.Errorf("%v: no Retry-After", refused)
	}
	unknown, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", struct{ io.Reader }{strings.NewReader(large)})
	if err != nil {
		t.Fatal(err)
	}
	unknown.Header.Set("Content-Type", "application/json")
	if answer, err := s.SendRequest(unknown); err != nil {
		t.Logf("the client saw: %v", err) // the node may close the connection while the client is sending
	} else {
		answer.Problem(http.StatusServiceUnavailable, "overloaded")
	}
	s.Enqueue(`{"kind": "small"}`)

	for _, conn := range slow {
		conn.Close()
	}
	s.Eventually("the room is free again", func() bool { return s.Metric("weir_http_body_bytes") == 0 })
	s.Post("/v1/jobs", large).Want(http.StatusCreated)
}

// A caller that has gone leaves its job in line, where it still takes memory.
func TestJobsOfCallersThatHaveGoneAreBounded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWith(t, weirtest.New(t), jobs.Config{MaxQueuedBytes: 1_000_000})
	commit := s.ExecUncommitted("lock table weir.job in access exclusive mode")
	body := `{"kind": "k", "args": "` + strings.Repeat("a", 400_000) + `"}`
	s.Eventually("the node refuses more", func() bool {
		ctx, hangUp := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer hangUp()
		answer, err := s.Send(ctx, http.MethodPost, "/v1/jobs", body)
		if err != nil {
			return false
		}
		answer.Problem(http.StatusServiceUnavailable, "overloaded")
		return true
	})
	commit()
	s.Eventually("the node takes jobs again", func() bool { return s.Post("/v1/jobs", body).Status == http.StatusCreated })
}

func TestCallsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := weirtest.StartServe(t, weirtest.New(t), "WEIR_MAX_WAITING=2", "WEIR_MAX_STREAMS=1")
	id := s.Enqueue(`{"kind": "k", "queue": "other"}`)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	for _, call := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/v1/claims", `{"worker": "w", "queues": ["q"], "wait_seconds": 60}`},
		{http.MethodGet, "/v1/jobs/" + id + "?wait_seconds=60", nil},
	} {
		go func() {
			if answer, err := s.Send(ctx, call.method, call.path, call.body); ctx.Err() == nil {
				t.Errorf("%s %s did not wait: %v, %v", call.method, call.path, answer, err)
			}
		}()
	}
	_, leave := s.WatchEvents("", "")
	defer leave()
	s.Eventually("all three wait", func() bool { return s.Metric("weir_http_requests_in_flight") >= 4 })
	s.Post("/v1/claims", `{"worker": "v", "queues": ["q"], "wait_seconds": 1}`).Problem(http.StatusServiceUnavailable, "overloaded")
	s.Get("/v1/jobs/"+id+"?wait_seconds=1").Problem(http.StatusServiceUnavailable, "overloaded")
	s.Get("/v1/events").Problem(http.StatusServiceUnavailable, "overloaded")
	s.Post("/v1/claims", `{"worker": "v", "queues": ["q"]}`).Want(http.StatusOK) // these do not wait
	s.Get("/v1/jobs/" + id).Want(http.StatusOK)
	hangUp()
	s.Eventually("the places are free again", func() bool { return s.Get("/v1/jobs/"+id+"?wait_seconds=0.01").Status == http.StatusOK })
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := weirtest.StartServe(t, weirtest.New(t), "WEIR_MAX_HTTP_CONNECTIONS=3")
	s.Client.CloseIdleConnections()
	ask := func(conn net.Conn) error {
		_ = conn.SetReadDeadline(time.Now().Add(weirtest.Patience))
		fmt.Fprint(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			answer.Body.Close()
		}
		return err
	}
	conns := []net.Conn{dial(t, s), dial(t, s), dial(t, s)}
	for _, conn := range conns {
		if err := ask(conn); err != nil {
			t.Fatal(err)
		}
	}
	fourth := dial(t, s)
	fmt.Fprint(fourth, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	_ = fourth.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := fourth.Read(make([]byte, 1)); err == nil {
		t.Fatalf("a fourth connection was answered (%d)", n)
	}
	conns[0].Close()
	if err := ask(fourth); err != nil {
		t.Errorf("its turn did not come: %v", err)
	}
}
