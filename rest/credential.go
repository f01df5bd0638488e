package rest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"
)

// parseAddress takes the address of a service apart: without its user and password, and the header that carries them. Its errors do not
// repeat what may be a password.
func parseAddress(address string) (base, authorization string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "", fmt.Errorf("%q is not a URL of a service, such as %s", redacted(address), DefaultURL)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		u.User = nil
	}
	return strings.TrimSuffix(u.String(), "/"), authorization, nil
}

// redacted is a text that should be an address, without what comes before its host.
func redacted(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	scheme, _, found := strings.Cut(address, "://")
	if !found || len(scheme) > at {
		return "…" + address[at:]
	}
	return scheme + "://…" + address[at:]
}

// tokenFresh is how long a client uses a token before it asks for it again.
const tokenFresh = time.Second

// credential makes the header of calls.
type credential struct {
	fromAddress string
	token       func() (string, error) // nil: none

	mu     sync.Mutex
	header string
	readAt time.Time
}

// authorization returns the header; empty: none. Its errors do not repeat the token.
func (c *credential) authorization() (string, error) {
	if c.token == nil {
		return c.fromAddress, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readAt.IsZero() && time.Since(c.readAt) < tokenFresh {
		return c.header, nil
	}
	token, err := c.token()
	switch {
	case err != nil:
		return "", err
	case token == "":
		c.header = c.fromAddress
	case c.fromAddress != "":
		return "", errors.New("the address has a user, and there is a token (WEIR_TOKEN, --token-file): a call can carry only one of them")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("the token (WEIR_TOKEN, --token-file) has spaces, lines or characters other than ASCII")
	default:
		c.header = "Bearer " + token
	}
	c.readAt = time.Now()
	return c.header, nil
}
