package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// defaultURL is where a node listens unless told otherwise.
const defaultURL = "http://127.0.0.1:8080"

// callPatience bounds a call, beyond what it asks the service to wait.
const callPatience = 30 * time.Second

// clientFlags say where weir is.
type clientFlags struct {
	URL string `help:"Where weir is." env:"WEIR_URL" default:"http://127.0.0.1:8080"`
}

// answerFlags are those of a command that prints what the service answers.
type answerFlags struct {
	JSON bool `name:"json" help:"Print the service's answer."`
	clientFlags
}

// client calls weir over HTTP, like any other client would.
type client struct {
	base string
	http *http.Client
}

func (f clientFlags) client() (*client, error) {
	u, err := url.Parse(f.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usagef("--url must be like %s, and %q is not", defaultURL, f.URL)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost = 32
	transport.MaxIdleConnsPerHost = transport.MaxConnsPerHost
	return &client{base: strings.TrimSuffix(f.URL, "/"), http: &http.Client{Transport: transport}}, nil
}

// problem is an answer that says no.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Hint   string `json:"hint"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

// Error is one line: what is wrong, where, and what to do.
func (p *problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	var places []string
	for _, e := range p.Errors {
		place := strings.TrimPrefix(strings.TrimPrefix(e.Location, "body"), ".")
		if place != "" && !strings.HasPrefix(e.Message, place) {
			place += " "
		} else {
			place = ""
		}
		if e.Message != "" && e.Message != text {
			places = append(places, place+e.Message)
		}
	}
	if len(places) > 0 {
		text += ": " + strings.Join(places, "; ")
	}
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return oneLine(text)
}

// call sends a body, nil for none, as JSON and decodes the answer. A status that says no becomes a *problem. waiting is how long
// the service was asked to wait with its answer.
func (c *client) call(ctx context.Context, method, path string, body, answer any, waiting time.Duration) error {
	return c.send(ctx, method, path, nil, body, answer, waiting)
}

// send is call with headers of its own.
func (c *client) send(ctx context.Context, method, path string, header http.Header, body, answer any, waiting time.Duration) error {
	text, err := c.exchange(ctx, method, path, header, body, waiting)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s answers with something that is not weir's: is the URL right?", c.base)
	}
	return nil
}

// copy writes an answer of a media type that is not JSON.
func (c *client) copy(ctx context.Context, path, kind string, out io.Writer) error {
	text, err := c.exchange(ctx, http.MethodGet, path, http.Header{"Accept": {kind}}, nil, 0)
	if err == nil {
		_, err = io.WriteString(out, printable(string(text)))
	}
	return err
}

func (c *client) exchange(ctx context.Context, method, path string, header http.Header, body any, waiting time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, waiting+callPatience)
	defer cancel()
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", "weir/"+readBuild().version)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", c.base, err)
	}
	if response.StatusCode >= 300 {
		return nil, c.refusal(response, text)
	}
	return text, nil
}

func (c *client) post(ctx context.Context, path string, body, answer any) error {
	return c.call(ctx, http.MethodPost, path, body, answer, 0)
}

func (c *client) get(ctx context.Context, path string, answer any) error {
	return c.call(ctx, http.MethodGet, path, nil, answer, 0)
}

// refusal reads an answer that says no. What is not a problem of weir's comes from something before it, or from another service.
func (c *client) refusal(response *http.Response, text []byte) error {
	p := &problem{}
	kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if kind != "application/problem+json" || json.Unmarshal(text, p) != nil || p.Title == "" && p.Detail == "" {
		p = &problem{Detail: fmt.Sprintf("%s answers %s, and not as weir would: is the URL right?", c.base, response.Status)}
	}
	p.Status = response.StatusCode
	if p.Code == "not_found" {
		p.Hint = "is " + c.base + " where weir is?"
	}
	return p
}

// explain says of a call that had no answer where it went.
func (c *client) explain(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	var dial *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("nothing answers at %s (%w): start weir with weir dev, or say where it is with --url or WEIR_URL", c.base, dial.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer in time", c.base)
	}
	return fmt.Errorf("calling %s: %w", c.base, err)
}

// refused says whether the service understood a request and will not have it, now or later.
func refused(err error) bool {
	var p *problem
	if !errors.As(err, &p) {
		return false
	}
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return p.Status >= 400 && p.Status < 500
}

// statusOf is the HTTP status of an answer that said no, or 0.
func statusOf(err error) int {
	var p *problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}
