// Package webhook posts events, and what package alert has it post, to those who asked to be told: over HTTPS, signed, and never to an address inside the network that the service runs in,
// unless it is allowed.
//
// What is sent and how it is signed is that of Standard Webhooks (https://www.standardwebhooks.com), so that its libraries verify it.
//
// It knows the messages of package jobs, and nothing of databases or the REST API. The chores call it.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/jobs/clock"
)

// answerLimit is how much of an answer is read, so that the connection can be used again. Nothing of it is kept.
const answerLimit = 64 << 10

// azureWire is the address under which each machine of Azure finds its host, and with it the machine's settings. Unlike those of other clouds
// it is a public one.
var azureWire = netip.MustParsePrefix("168.63.129.16/32")

// Config is how a Sender is set up. The zero value sends to public addresses.
type Config struct {
	// Allow are networks that are not public and still allowed. Defaults to none.
	Allow []netip.Prefix
	// RootCAs are the authorities that sign receivers' certificates. Defaults to the system's.
	RootCAs *x509.CertPool
	// Version is weir's, for the User-Agent. Defaults to "dev".
	Version string
	// Clock gives the time that signatures carry. Defaults to the machine's.
	Clock clock.Clock
}

// Sender sends messages. It may be used by many at once.
type Sender struct {
	dialer *net.Dialer
	client *http.Client
	agent  string
	clock  clock.Clock
}

// NewSender makes a Sender.
func NewSender(c Config) *Sender {
	if c.Version == "" {
		c.Version = "dev"
	}
	var v4, v6 []netip.Prefix
	for _, p := range c.Allow {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	guard := ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(azureWire), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
	// The address is checked where it is dialled, after its name was looked up: a check beforehand would be of another answer of the DNS.
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(network, address string, c syscall.RawConn) error { return guard.Safe(network, address, c) }}
	return &Sender{
		dialer: dialer,
		agent:  "weir/" + c.Version,
		clock:  c.Clock,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:                  nil, // a proxy would dial whatever it is asked to
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
				TLSHandshakeTimeout:    5 * time.Second,
				MaxResponseHeaderBytes: answerLimit,
				MaxIdleConnsPerHost:    8,
				IdleConnTimeout:        time.Minute,
				ForceAttemptHTTP2:      true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Send posts a message, once. It takes no longer than the message's timeout.
func (s *Sender) Send(ctx context.Context, m jobs.Message) jobs.Sent {
	header, err := s.Headers(m.Secrets, m.EventID, m.Body)
	if err != nil {
		return jobs.Sent{Error: err.Error()}
	}
	return s.Post(ctx, m.URL, header, m.Body, m.Timeout)
}

// Headers are those of a signed message.
func (s *Sender) Headers(secrets []string, id string, body []byte) (http.Header, error) {
	now := s.clock.Now()
	signatures, err := Sign(secrets, id, now, body)
	return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {signatures}}, err
}

// Post posts JSON over HTTPS, once, and never into the private network. It takes no longer than the timeout.
func (s *Sender) Post(ctx context.Context, address string, header http.Header, body []byte, timeout time.Duration) jobs.Sent {
	began := s.clock.Now()
	status, err := s.post(ctx, address, header, body, timeout)
	sent := jobs.Sent{Status: status, Duration: s.clock.Since(began)}
	if err != nil {
		sent.Error = Explain(err, timeout)
	}
	return sent
}

// DialContext connects to a public address, or one that is allowed, for a protocol other than HTTP.
func (s *Sender) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return s.dialer.DialContext(ctx, network, address)
}

func (s *Sender) post(ctx context.Context, address string, header http.Header, body []byte, timeout time.Duration) (status int, err error) {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" {
		return 0, errors.New("the address is not one of HTTPS")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	maps.Copy(request.Header, header)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", s.agent)
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, answerLimit)
	switch {
	case answer.StatusCode >= 200 && answer.StatusCode < 300:
		return answer.StatusCode, nil
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return answer.StatusCode, fmt.Errorf("the receiver answered %d: redirects are not followed", answer.StatusCode)
	default:
		return answer.StatusCode, fmt.Errorf("the receiver answered %d", answer.StatusCode)
	}
}

// Explain says in a line why sending failed. A client's error quotes the address, which may hold a password.
func Explain(err error, timeout time.Duration) string {
	var wrapped *url.Error
	var named *net.DNSError
	switch {
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrProhibitedNetwork):
		return "the address is not public, and is not allowed by this service (--webhook-allow-networks)"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %g s", timeout.Seconds())
	case errors.As(err, &named):
		return "the name of the host could not be looked up"
	case errors.As(err, &wrapped):
		err = wrapped.Err
	}
	return err.Error()
}

// Sign returns the signatures of a message, one for each secret with spaces between: v1, a comma, and the HMAC-SHA256 in base64 of its id, the time in
// seconds and its body, with full stops between. A secret is whsec_ and its bytes in base64.
func Sign(secrets []string, id string, at time.Time, body []byte) (string, error) {
	var signatures []string
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			return "", errors.New("the secret is not one of base64")
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " "), nil
}
