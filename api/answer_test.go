package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// stalled connects to a server, asks for something and never reads the answer.
func stalled(t *testing.T, server *httptest.Server) {
	t.Helper()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: weir\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

func TestClientThatStopsReadingIsDisconnected(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"many small writes": 1000, "one large write": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				out := newAnswer(w)
				out.patience = 100 * time.Millisecond
				part := make([]byte, size)
				for {
					if _, err := out.Write(part); err != nil {
						ended <- err
						return
					}
				}
			}))
			defer server.Close()
			stalled(t, server)
			select {
			case err := <-ended:
				if !strings.Contains(err.Error(), "timeout") {
					t.Errorf("the write ended with %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("the write still waits for the client")
			}
		})
	}
}

func TestClientThatReadsSlowlyGetsTheWholeAnswer(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := newAnswer(w)
		out.patience = 2 * time.Second // the whole answer takes longer
		_, _ = out.Write(make([]byte, size))
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	total := int64(0)
	for {
		n, err := io.CopyN(io.Discard, response.Body, 1<<20)
		total += n
		if err != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if total != size {
		t.Errorf("got %d bytes of %d", total, size)
	}
}

// A deadline that an earlier answer set must not end a later one on the same connection.
func TestDeadlineOfAnAnswerDoesNotReachTheNext(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := newAnswer(w)
		if r.URL.Path == "/first" {
			out.patience = 50 * time.Millisecond
		}
		out.WriteHeader(http.StatusNoContent)
		out.finish()
	}))
	defer server.Close()
	for _, path := range []string{"/first", "/second"} {
		response, err := server.Client().Get(server.URL + path)
		if err != nil || response.StatusCode != http.StatusNoContent {
			t.Fatalf("%s: %v %v", path, response, err)
		}
		_ = response.Body.Close()
		time.Sleep(200 * time.Millisecond)
	}
}

type explosive struct{}

func (*explosive) UnmarshalJSON([]byte) error { panic("boom") }

func TestPanicOfAnotherGoroutineKeepsItsStack(t *testing.T) {
	t.Parallel()
	a := describe(Config{})
	a.bodies[reflect.TypeFor[explosive]()] = &huma.Schema{}
	defer func() {
		c, ok := recover().(*crashed)
		if !ok || !strings.Contains(c.Error(), "boom") || !strings.Contains(c.Error(), "(*explosive).UnmarshalJSON") {
			t.Errorf("recovered %v", c)
		}
	}()
	_, _ = decodeApart[explosive](context.Background(), a, []byte("{}"))
	t.Error("there was no panic")
}
