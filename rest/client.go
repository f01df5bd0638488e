// Package rest calls a node's REST API over HTTP, for the client commands and the worker. It knows how to send a call,
// how to read a problem, and how to page through a list; it knows no resource.
//
// It must not import api, jobs, db or migrations: what it relies on is what every client can rely on.
package rest

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"
)

// DefaultURL is where a node listens unless told otherwise.
const DefaultURL = "http://127.0.0.1:8080"

// callTimeout bounds a call, on top of what it asks the service to wait.
const callTimeout = 30 * time.Second

// maxConnections bounds a client's connections to one node.
const maxConnections = 32

// Client calls weir over HTTP. It is safe for use by several goroutines.
type Client struct {
	base       string // without user and password
	agent      string
	credential *credential
	http       *http.Client
}

// Config is how a Client is set up. Address is required.
type Config struct {
	Address string
	// Version goes into the User-Agent.
	Version string
	// Token returns what goes with each call, an API key or an access token; empty: nothing. A client asks for it again when it is a second
	// old, so that it follows a rotation. Defaults to nothing.
	Token func() (string, error)
	TLS   TLS
}

// New makes a client of the service at an address.
func New(c Config) (*Client, error) {
	base, authorization, err := parseAddress(c.Address)
	if err != nil {
		return nil, err
	}
	credential := &credential{fromAddress: authorization, token: c.Token}
	if _, err := credential.authorization(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if transport.TLSClientConfig, err = c.TLS.config(); err != nil {
		return nil, err
	}
	transport.MaxConnsPerHost = maxConnections
	transport.MaxIdleConnsPerHost = maxConnections
	return &Client{
		base: base, agent: "weir/" + c.Version, credential: credential,
		// weir redirects no call, and another service that does must not get the token.
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// CheckURL returns an error unless an address can be that of a service.
func CheckURL(address string) error {
	_, _, err := parseAddress(address)
	return err
}

// URL is the service's address, without user and password.
func (c *Client) URL() string { return c.base }

// Do makes a call and decodes its answer as a T; json.RawMessage keeps it as it came. An answer that refuses the call
// becomes a *Problem.
func Do[T any](ctx context.Context, c *Client, call Call) (T, error) {
	var answer T
	text, err := c.exchange(ctx, call)
	if err != nil {
		return answer, err
	}
	if len(bytes.TrimSpace(text)) == 0 { // 204
		return answer, nil
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, c.foreign("an answer that is not weir's")
	}
	return answer, nil
}

// Text makes a call and returns its answer, of whatever media type, as it came.
func (c *Client) Text(ctx context.Context, call Call) (string, error) {
	text, err := c.exchange(ctx, call)
	return string(text), err
}

func (c *Client) exchange(ctx context.Context, call Call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, call.Wait+callTimeout)
	defer cancel()
	request, err := c.request(ctx, call)
	if err != nil {
		return nil, err
	}
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
		return nil, c.problem(response, text)
	}
	return text, nil
}

func (c *Client) request(ctx context.Context, call Call) (*http.Request, error) {
	var body io.Reader
	if call.Body != nil {
		text, err := json.Marshal(call.Body)
		if err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	address := c.base + call.Path
	if len(call.Query) > 0 {
		address += "?" + call.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, call.Method, address, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, call.Header)
	if call.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", c.agent)
	authorization, err := c.credential.authorization()
	if err != nil {
		return nil, err
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	return request, nil
}

// explain says where a call went that had no answer.
func (c *Client) explain(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	var dial *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("nothing answers at %s (%w): "+
			"start weir with weir dev, or give its address with --url or WEIR_URL", c.base, dial.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer in time", c.base)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return fmt.Errorf("the certificate of %s is not trusted: name the authority that signed it with --ca-file or WEIR_CA_FILE", c.base)
	}
	return fmt.Errorf("calling %s: %w", c.base, err)
}

// foreign is the error of an answer that no weir gives: something in front of it answered, or another service did.
func (c *Client) foreign(what string) error {
	return fmt.Errorf("%s gives %s: is the URL right?", c.base, what)
}
