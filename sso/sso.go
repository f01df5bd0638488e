// Package sso checks access tokens of an OpenID Connect issuer and says who their subject is and what it may do. It knows
// no database: package jobs records the subject.
//
// It must not import api or jobs. It keeps the issuer's public keys, so that tokens are checked without a call to it.
package sso

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/weirhq/weir/access"
)

const (
	leeway   = 30 * time.Second // how far the clocks of the issuer and of a node may be apart
	maxToken = 16 << 10         // bytes
	maxName  = 200              // characters of issuer, | and subject together, as the database keeps them
)

// methods are the signatures that are accepted: those with a public key. A token says which one it has, so others must
// never be added: with HMAC the public key would be the secret.
var methods = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

var (
	// ErrToken is the error of a token that is not accepted. It says why, without a part of the token.
	ErrToken = errors.New("the access token is not accepted")
	// ErrUnknown is the error of a valid token that allows nothing.
	ErrUnknown = errors.New("the access token allows nothing")
	// ErrAway is the error while the issuer has not been reached and its keys are not known.
	ErrAway = errors.New("the issuer of access tokens cannot be reached")
)

// Config says which tokens are accepted. Issuer, Audience and Roles are required.
type Config struct {
	// Issuer is the URL of the issuer, as its tokens have it.
	Issuer string
	// Audience is what tokens for weir have among their audiences.
	Audience string
	// RolesClaim is the claim with what Roles maps; a dot leads into an object, as in realm_access.roles. Defaults to "roles".
	RolesClaim string
	// Roles are roles of weir by values of the claim.
	Roles map[string][]access.Role
	// TenantClaim has the tenant that a subject is bound to, or * for none. Defaults to none: no subject is bound.
	TenantClaim string
	// QueuesClaim has the patterns of the queues that a subject may use. Defaults to none: all subjects use all.
	QueuesClaim string
	// RootCAs are the authorities that sign the issuer's certificate. Defaults to the system's.
	RootCAs *x509.CertPool
	Logger  *slog.Logger
}

// Issuer checks tokens of one issuer.
type Issuer struct {
	config Config
	keys   *keys
}

// New makes an Issuer. It does not call the issuer, which may be away.
func New(c Config) (*Issuer, error) {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("the issuer must be an https URL")
	}
	if c.Audience == "" || len(c.Roles) == 0 {
		return nil, errors.New("an issuer takes an audience and a role for at least one value of its roles claim")
	}
	if c.RolesClaim == "" {
		c.RolesClaim = "roles"
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}
	client := &http.Client{Transport: transport, Timeout: fetchTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return &Issuer{config: c, keys: &keys{issuer: c.Issuer, client: client, log: c.Logger}}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Subject checks a token, and returns its subject with what the token allows. Errors: ErrToken, ErrUnknown, ErrAway. They
// quote no part of the token.
func (i *Issuer) Subject(ctx context.Context, token string) (access.Principal, error) {
	var none access.Principal
	if len(token) > maxToken {
		return none, fmt.Errorf("%w: it is larger than %d bytes", ErrToken, maxToken)
	}
	parsed, err := jwt.ParseSigned(token, methods)
	if err != nil || len(parsed.Headers) != 1 {
		return none, fmt.Errorf("%w: it is not a JWT with one of the signatures %v", ErrToken, methods)
	}
	key, err := i.keys.find(ctx, parsed.Headers[0].KeyID, parsed.Headers[0].Algorithm)
	if err != nil {
		return none, err
	}
	var claims jwt.Claims
	var all map[string]any
	if err := parsed.Claims(key, &claims, &all); err != nil {
		return none, fmt.Errorf("%w: its signature or its form is wrong", ErrToken)
	}
	expected := jwt.Expected{Issuer: i.config.Issuer, AnyAudience: jwt.Audience{i.config.Audience}, Time: time.Now()}
	if err := claims.ValidateWithLeeway(expected, leeway); err != nil {
		return none, fmt.Errorf("%w: %s", ErrToken, reason(err))
	}
	name := i.config.Issuer + "|" + claims.Subject
	switch {
	case claims.Expiry == nil:
		return none, fmt.Errorf("%w: it never expires", ErrToken)
	case claims.Subject == "":
		return none, fmt.Errorf("%w: it has no subject", ErrToken)
	case utf8.RuneCountInString(name) > maxName || strings.ContainsRune(name, 0):
		return none, fmt.Errorf("%w: its subject is too long, or has a zero character", ErrToken)
	}
	return i.allowed(name, all)
}

func reason(err error) string {
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return "it has expired"
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return "it is not valid yet"
	case errors.Is(err, jwt.ErrInvalidAudience):
		return "it is for another audience"
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return "it is of another issuer"
	}
	return "its claims are wrong"
}
