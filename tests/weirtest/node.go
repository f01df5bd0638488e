//go:build unix

package weirtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirhq/weir/api"
	"github.com/weirhq/weir/jobs"
)

// ExecUncommitted runs a statement in a transaction and returns the function that commits it.
func (s *Node) ExecUncommitted(sql string) func() {
	s.T.Helper()
	tx, err := s.DB.Begin(s.T.Context())
	if err != nil {
		s.T.Fatal(err)
	}
	var turn sync.Mutex // a timer may commit while the test ends
	s.T.Cleanup(func() {
		turn.Lock()
		defer turn.Unlock()
		_ = tx.Rollback(context.Background())
	})
	if _, err := tx.Exec(s.T.Context(), sql); err != nil {
		s.T.Fatal(err)
	}
	return func() {
		s.T.Helper()
		turn.Lock()
		defer turn.Unlock()
		if err := tx.Commit(context.WithoutCancel(s.T.Context())); err != nil {
			s.T.Error(err)
		}
	}
}

// StartNodeWithChores is StartNode with a node's background work.
func StartNodeWithChores(t *testing.T) *Node {
	t.Helper()
	database := New(t)
	s := StartNodeOn(t, database)
	t.Cleanup(s.RunChores())
	return s
}

// Node is a node that a test calls over HTTP. Methods without a context fail the test, and so belong on the test's own
// goroutine; others use Send.
type Node struct {
	T      *testing.T
	URL    string
	Client *http.Client
	DB     *Database    // the node's
	Engine *jobs.Engine // nil if the node is another process
	Log    *Log
	Key    string // an API key, sent with every call
}

// StartNode starts a node in this process, on a database of its own.
func StartNode(t *testing.T) *Node {
	t.Helper()
	return StartNodeOn(t, New(t))
}

// StartNodeOn starts a node in this process on this database.
func StartNodeOn(t *testing.T, d *Database) *Node {
	t.Helper()
	return StartNodeWith(t, d, jobs.Config{})
}

// StartNodeWith starts a node in this process with settings other than the defaults.
func StartNodeWith(t *testing.T, d *Database, config jobs.Config) *Node {
	t.Helper()
	return startAPI(t, d, config, api.Config{})
}

func startAPI(t *testing.T, d *Database, config jobs.Config, served api.Config) *Node {
	t.Helper()
	config.DatabaseURL, config.ListenURL = d.URL, d.Direct
	registry, log := prometheus.NewRegistry(), newLog(t)
	logger := slog.New(slog.NewTextHandler(log, nil))
	config.Logger, config.Metrics = logger, registry
	engine, err := jobs.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	served.Engine, served.Logger, served.Registry = engine, logger, registry
	handler, err := api.New(served)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { engine.Run(ctx) })
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		engine.Drain() // or Close would wait for the claims that wait
		server.Close()
		cancel()
		running.Wait()
		engine.Close()
	})
	return &Node{T: t, URL: server.URL, Client: newHTTPClient(t), DB: d, Engine: engine, Log: log}
}

// newHTTPClient returns a client that keeps connections for hundreds of calls at once. It asks for no compression:
// with the race detector, compressing /metrics costs more than everything else in a test.
func newHTTPClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 300, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Send makes one call. A body is nil, JSON as a string or bytes, or a value to encode.
func (s *Node) Send(ctx context.Context, method, path string, body any) (*Response, error) {
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	case []byte:
		text = b
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return s.SendRequest(r)
}

// SendRequest sends a request as it is.
func (s *Node) SendRequest(r *http.Request) (*Response, error) {
	if s.Key != "" && r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", "Bearer "+s.Key)
	}
	asked := r.Method + " " + strings.TrimPrefix(r.URL.String(), s.URL)
	answer, err := s.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") { // it ends only with its caller
		return &Response{t: s.T, Request: asked, Status: answer.StatusCode, Header: answer.Header}, nil
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: the answer broke off: %w", asked, answer.Status, err)
	}
	response := &Response{t: s.T, Request: asked, Status: answer.StatusCode, Header: answer.Header, Body: text}
	s.checkAnswer(r, response)
	return response, nil
}

// Do makes one call.
func (s *Node) Do(method, path string, body any) *Response {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), 2*Patience) // a claim may wait for a minute
	defer cancel()
	r, err := s.Send(ctx, method, path, body)
	if err != nil {
		s.T.Fatal(err)
	}
	return r
}

// Get makes a GET call.
func (s *Node) Get(path string) *Response {
	s.T.Helper()
	return s.Do(http.MethodGet, path, nil)
}

// Post makes a POST call.
func (s *Node) Post(path string, body any) *Response {
	s.T.Helper()
	return s.Do(http.MethodPost, path, body)
}

// Count returns the number that a query of the node's database gives.
func (s *Node) Count(sql string, args ...any) int {
	s.T.Helper()
	var n int
	if err := s.DB.QueryRow(s.T.Context(), sql, args...).Scan(&n); err != nil {
		s.T.Fatalf("%s: %v", sql, err)
	}
	return n
}

// Exec runs a statement in the node's database.
func (s *Node) Exec(sql string, args ...any) {
	s.T.Helper()
	if _, err := s.DB.Exec(s.T.Context(), sql, args...); err != nil {
		s.T.Fatalf("%s: %v", sql, err)
	}
}
