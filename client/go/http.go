package weir

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/client/go/rest"
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
	t := &httpTransport{base: u.String(), http: s.http.client, token: s.http.token}
	if t.http == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost, transport.MaxIdleConns = 100, 100
		t.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if t.rest, err = rest.NewClient(t.base, rest.WithHTTPClient(t.http), rest.WithRequestEditorFn(t.sign)); err != nil {
		return nil, fmt.Errorf("weir: %w", err)
	}
	return newClient(t, s), nil
}

// httpTransport talks to nodes over HTTP, through the client that is generated from their document. It reads answers itself: what a claim or an ack
// says is the same over SQL.
type httpTransport struct {
	base  string
	http  *http.Client
	rest  *rest.Client
	token func(context.Context) (string, error)
}

const (
	callIn   = 30 * time.Second // a call takes no longer, on top of what it asks weir to wait
	jsonType = "application/json"
)

func (t *httpTransport) sign(ctx context.Context, r *http.Request) error {
	r.Header.Set("User-Agent", "weir-go")
	if t.token == nil {
		return nil
	}
	token, err := t.token(ctx)
	if err != nil {
		return fmt.Errorf("weir: reading the token: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// send is a call of the generated client.
type send func(context.Context, io.Reader) (*http.Response, error)

// call makes a call and decodes its answer, if that is wanted.
func (t *httpTransport) call(ctx context.Context, wait time.Duration, body, answer any, do send) error {
	ctx, cancel := context.WithTimeout(ctx, wait+callIn)
	defer cancel()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("weir: encoding a request: %w", err)
		}
	}
	response, err := do(ctx, bytes.NewReader(text))
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

// problem reads an answer that refuses a call.
func problem(response *http.Response, text []byte) error {
	var p rest.Problem
	e := &Error{Status: response.StatusCode}
	if json.Unmarshal(text, &p) != nil || p.Code == "" {
		e.Message = response.Status + " in a form that is not weir's: is the address right?"
	} else {
		e.Code, e.Message, e.Hint = p.Code, p.Detail, value(p.Hint)
		if e.Message == "" {
			e.Message = p.Title
		}
		for i, wrong := range value(p.Errors) {
			place := strings.TrimPrefix(wrong.Location, "body.")
			if i == 0 {
				e.Field = place
			}
			if !strings.Contains(e.Message, wrong.Message) {
				e.Message += "; " + place + ": " + wrong.Message
			}
		}
	}
	if seconds, err := strconv.ParseFloat(response.Header.Get("Retry-After"), 64); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds * float64(time.Second))
	}
	return e
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// given is a parameter, or nil for an empty one.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func (t *httpTransport) close() { t.http.CloseIdleConnections() }

func (t *httpTransport) enqueue(ctx context.Context, j *NewJob) (Enqueued, error) {
	var job struct {
		ID        ID   `json:"id"`
		Duplicate bool `json:"duplicate"`
	}
	err := t.call(ctx, 0, j, &job, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.EnqueueJobWithBody(ctx, &rest.EnqueueJobParams{IdempotencyKey: given(j.idempotencyKey)}, jsonType, body)
	})
	return Enqueued{ID: job.ID, Duplicate: job.Duplicate}, err
}

func (t *httpTransport) enqueueMany(ctx context.Context, jobs []NewJob) ([]Enqueued, error) {
	var answer struct {
		IDs []ID `json:"ids"`
	}
	err := t.call(ctx, 0, map[string]any{"jobs": jobs}, &answer, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.EnqueueJobsWithBody(ctx, &rest.EnqueueJobsParams{IdempotencyKey: given(keyOf(jobs))}, jsonType, body)
	})
	if err != nil {
		return nil, err
	}
	done := make([]Enqueued, len(answer.IDs))
	for i, id := range answer.IDs {
		done[i].ID = id
	}
	return done, nil
}

// keyOf is the idempotency key of a call with several jobs: made of those of the jobs, or nothing where none has one.
func keyOf(jobs []NewJob) string {
	sum, keyed := sha256.New(), false
	for _, j := range jobs {
		fmt.Fprintf(sum, "%d %s", len(j.idempotencyKey), j.idempotencyKey)
		keyed = keyed || j.idempotencyKey != ""
	}
	if !keyed {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}
