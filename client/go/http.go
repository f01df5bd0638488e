package weir

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DefaultURL is where a node listens unless told otherwise.
const DefaultURL = "http://127.0.0.1:8080"

// httpSettings are the settings of [HTTP] alone.
type httpSettings struct {
	client *http.Client
	token  func(context.Context) (string, error)
}

// WithToken sends an API key or an access token with each call of [HTTP]. The function is called for each call, so that it can follow a rotation; it
// should be quick. Defaults to none.
func WithToken(token func(context.Context) (string, error)) ClientOption {
	return func(s *settings) { s.http.token = token }
}

// WithKey sends an API key with each call of [HTTP].
func WithKey(key string) ClientOption {
	return WithToken(func(context.Context) (string, error) { return key, nil })
}

// WithHTTPClient sets what sends the calls of [HTTP]: for certificates, proxies and the like. It must not have a timeout below 60 s, because claims
// wait. Defaults to a client of its own with the settings of http.DefaultTransport.
func WithHTTPClient(c *http.Client) ClientOption { return func(s *settings) { s.http.client = c } }

// HTTP is a client of the nodes at an address, such as [DefaultURL]. It does not connect yet. Errors: the address is no URL.
func HTTP(address string, opts ...ClientOption) (*Client, error) {
	s := settingsOf(opts)
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("weir: the address of weir must be a URL without a user, such as %s", DefaultURL)
	}
	t := &httpTransport{base: strings.TrimSuffix(u.String(), "/"), client: s.http.client, token: s.http.token}
	if t.client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost, transport.MaxIdleConns = 100, 100
		t.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return newClient(t, s), nil
}

// httpTransport talks to nodes over HTTP.
type httpTransport struct {
	base   string
	client *http.Client
	token  func(context.Context) (string, error)
}

const (
	callIn = 30 * time.Second // a call takes no longer, on top of what it asks weir to wait
)

// call makes a call and decodes its answer, if that is wanted.
func (t *httpTransport) call(ctx context.Context, method, path string, header http.Header, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("weir: encoding a request: %w", err)
		}
	}
	response, err := t.send(ctx, method, path, header, text)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("weir: %w: %w", errBrokenOff, err)
	}
	if response.StatusCode >= 300 {
		return problem(response, read)
	}
	if answer == nil || len(read) == 0 {
		return nil
	}
	if err := json.Unmarshal(read, answer); err != nil {
		return fmt.Errorf("weir: %s gives an answer that is not weir's: is the address right? %w", t.base, err)
	}
	return nil
}

func (t *httpTransport) send(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, t.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("User-Agent", "weir-go")
	if t.token != nil {
		token, err := t.token(ctx)
		if err != nil {
			return nil, fmt.Errorf("weir: reading the token: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return t.client.Do(r)
}

// problem reads an answer that refuses a call.
func problem(response *http.Response, text []byte) error {
	var p struct {
		Code   string `json:"code"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Hint   string `json:"hint"`
		Errors []struct {
			Location string `json:"location"`
			Message  string `json:"message"`
		} `json:"errors"`
	}
	e := &Error{Status: response.StatusCode}
	if json.Unmarshal(text, &p) != nil || p.Code == "" {
		e.Message = response.Status + " in a form that is not weir's: is the address right?"
	} else {
		e.Code, e.Message, e.Hint = p.Code, p.Detail, p.Hint
		if e.Message == "" {
			e.Message = p.Title
		}
		for i, wrong := range p.Errors {
			if i == 0 {
				e.Field = strings.TrimPrefix(wrong.Location, "body.")
			}
			if !strings.Contains(e.Message, wrong.Message) {
				e.Message += "; " + strings.TrimPrefix(wrong.Location, "body.") + ": " + wrong.Message
			}
		}
	}
	if seconds, err := strconv.ParseFloat(response.Header.Get("Retry-After"), 64); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds * float64(time.Second))
	}
	return e
}

func (t *httpTransport) post(ctx context.Context, path string, body, answer any) error {
	return t.bounded(ctx, 0, http.MethodPost, path, nil, body, answer)
}

// bounded is call with a bound on its time, beside what it asks weir to wait.
func (t *httpTransport) bounded(ctx context.Context, wait time.Duration, method, path string, header http.Header, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, wait+callIn)
	defer cancel()
	return t.call(ctx, method, path, header, body, answer)
}

func (t *httpTransport) close() { t.client.CloseIdleConnections() }

func idempotency(key string) http.Header {
	if key == "" {
		return nil
	}
	return http.Header{"Idempotency-Key": {key}}
}

func (t *httpTransport) enqueue(ctx context.Context, j *NewJob) (Enqueued, error) {
	var job struct {
		ID        ID   `json:"id"`
		Duplicate bool `json:"duplicate"`
	}
	err := t.bounded(ctx, 0, http.MethodPost, "/v1/jobs", idempotency(j.idempotencyKey), j, &job)
	return Enqueued{ID: job.ID, Duplicate: job.Duplicate}, err
}

func (t *httpTransport) enqueueMany(ctx context.Context, jobs []NewJob) ([]Enqueued, error) {
	var answer struct {
		IDs []ID `json:"ids"`
	}
	if err := t.post(ctx, "/v1/jobs/batch", map[string]any{"jobs": jobs}, &answer); err != nil {
		return nil, err
	}
	done := make([]Enqueued, len(answer.IDs))
	for i, id := range answer.IDs {
		done[i].ID = id
	}
	return done, nil
}
