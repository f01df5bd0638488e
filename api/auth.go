package api

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/jobs"
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
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if credential == "" || !strings.EqualFold(scheme, "Bearer") {
		return r, unauthenticatedProblem(r, "send an API key: Authorization: Bearer weir_…")
	}
	key, ok := access.ParseKey(strings.TrimSpace(credential))
	if !ok {
		return r, unauthenticatedProblem(r, "the credential is not an API key of weir, or part of it is missing")
	}
	p, err := a.engine.Authenticate(ctx, key)
	if errors.Is(err, jobs.ErrUnauthenticated) {
		return r, unauthenticatedProblem(r, err.Error())
	}
	if err != nil {
		return r, problemOf(ctx, err, func(string) string { return "" })
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
