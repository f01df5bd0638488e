package api

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/sso"
)

// The codes of requests that are refused because of who sends them.
const (
	unauthenticated jobs.Code = "unauthenticated"
	rateLimited     jobs.Code = "rate_limited"
)

// bearer is the name of the security scheme in the OpenAPI document.
const bearer = "bearer"

// authenticate finds out who sends a request and whether they may call its operation. It returns the request with the
// principal in its context. Without authentication every request passes.
func (a *API) authenticate(r *http.Request) (*http.Request, *Problem) {
	rule, ok := a.rules[r.Pattern]
	if !a.auth || !ok || rule.public() {
		return r, nil
	}
	ctx := r.Context()
	p, problem := a.caller(r)
	if problem != nil {
		return r, problem
	}
	callOf(ctx).principal = p.Name
	if !a.rates.allow(p) {
		return r, newProblem(ctx, rateLimited, "the key has used up its calls of this second")
	}
	if problem := rule.admits(ctx, p); problem != nil {
		return r, problem
	}
	return r.WithContext(access.With(ctx, p)), nil
}

// caller returns who sends a request. A credential in its header counts before the certificate of its connection, which
// may be that of a proxy with many users.
func (a *API) caller(r *http.Request) (*access.Principal, *Problem) {
	header := r.Header.Get("Authorization")
	if cert := verifiedCertificate(r); cert != nil && header == "" {
		return a.ofCertificate(r, cert)
	}
	scheme, credential, _ := strings.Cut(header, " ")
	if credential == "" || !strings.EqualFold(scheme, "Bearer") {
		return nil, unauthenticatedProblem(r, "send an API key: Authorization: Bearer weir_…")
	}
	credential = strings.TrimSpace(credential)
	if a.issuer != nil && !strings.HasPrefix(credential, "weir_") {
		return a.ofToken(r, credential)
	}
	key, ok := access.ParseKey(credential)
	if !ok {
		return nil, unauthenticatedProblem(r, "the credential is not an API key of weir, or part of it is missing")
	}
	p, err := a.engine.Authenticate(r.Context(), key)
	return p, refusalOfCaller(r, err, jobs.ErrUnauthenticated.Error())
}

// ofToken returns the principal of an access token.
func (a *API) ofToken(r *http.Request, token string) (*access.Principal, *Problem) {
	subject, err := a.issuer.Subject(r.Context(), token)
	switch {
	case errors.Is(err, sso.ErrAway):
		return nil, newProblem(r.Context(), jobs.Unavailable, err.Error())
	case errors.Is(err, sso.ErrUnknown):
		return nil, newProblem(r.Context(), jobs.Forbidden, err.Error())
	case err != nil:
		return nil, unauthenticatedProblem(r, err.Error())
	}
	p, err := a.engine.AuthenticateSubject(r.Context(), subject)
	return p, refusalOfCaller(r, err, "the subject of the access token was revoked, or too many subjects are recorded")
}

// refusalOfCaller is the problem of an error in finding out who calls; detail says why a caller is not accepted.
func refusalOfCaller(r *http.Request, err error, detail string) *Problem {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jobs.ErrUnauthenticated):
		return unauthenticatedProblem(r, detail)
	}
	return problemOf(r.Context(), err, func(string) string { return "" })
}

func unauthenticatedProblem(r *http.Request, detail string) *Problem {
	p := newProblem(r.Context(), unauthenticated, detail)
	p.header = http.Header{"WWW-Authenticate": {`Bearer realm="weir"`}}
	return p
}

// rates holds the limiters of principals with a rate. Its size is that of the keys in use.
type rates struct {
	mu sync.Mutex
	of map[int32]*rate.Limiter
}

// allow takes one call from the principal's rate. A burst is what a second gives.
func (l *rates) allow(p *access.Principal) bool {
	if p.RatePerSecond == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.of[p.ID]
	if limiter == nil || limiter.Limit() != rate.Limit(p.RatePerSecond) {
		limiter = rate.NewLimiter(rate.Limit(p.RatePerSecond), max(1, int(p.RatePerSecond)))
		l.of[p.ID] = limiter
	}
	return limiter.Allow()
}
