package api

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	bodyPatience = 30 * time.Second // how long a body may take to arrive,
	bodyStall    = 10 * time.Second // and how long each part of it
)

// dispatch passes a request to its route, or refuses it. raw is the connection's own ResponseWriter.
func (a *API) dispatch(w, raw http.ResponseWriter, r *http.Request) {
	if !a.hosts.allow(r.Host) {
		newProblem(r.Context(), hostNotAllowed, "the host of the request is not one of this node").write(w)
		return
	}
	fallback, pattern := a.mux.Handler(r)
	if pattern == "" {
		unrouted(w, r, fallback)
		return
	}
	r.Pattern = pattern // for the metrics, if the request is refused here
	if p := a.unwelcome(r); p != nil {
		p.write(w)
		return
	}
	r, p := a.authenticate(r)
	if p != nil {
		p.write(w)
		return
	}
	if r.ContentLength != 0 {
		r.Header.Set("Content-Type", "application/json") // in case huma would not know it: Application/JSON
		// MaxBytesReader has raw close the connection, if the body turns out too large.
		b := &body{ReadCloser: http.MaxBytesReader(raw, r.Body, a.maxBody), ctx: r.Context(), bytes: &a.bodyBytes, connection: http.NewResponseController(w)}
		defer func() { a.bodyBytes.give(b.taken) }()
		r.Body = b
	}
	a.mux.ServeHTTP(w, r)
}

// unrouted turns the plain text that ServeMux answers without a route into a problem.
func unrouted(w http.ResponseWriter, r *http.Request, fallback http.Handler) {
	said := &discarded{header: http.Header{}}
	fallback.ServeHTTP(said, r)
	p := newProblem(r.Context(), routeNotFound, "there is nothing at this path")
	if allow := said.header.Get("Allow"); said.status == http.StatusMethodNotAllowed {
		p = newProblem(r.Context(), methodNotAllowed, "this path takes "+allow)
		p.header = http.Header{"Allow": {allow}}
	}
	p.write(w)
}

// discarded is a ResponseWriter of which only the status and the header count.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

// unwelcome checks a request before its body is read.
func (a *API) unwelcome(r *http.Request) *Problem {
	ctx := r.Context()
	if err := a.origins.Check(r); err != nil || foreign(r) {
		return newProblem(ctx, crossOrigin, "the request comes from a page of another origin")
	}
	if r.ContentLength > a.maxBody {
		return newProblem(ctx, bodyTooLarge, fmt.Sprintf("the body is larger than %d bytes", a.maxBody))
	}
	if !a.bodyBytes.fits(r.ContentLength) {
		return tooManyBytes(ctx)
	}
	if r.ContentLength != 0 {
		// A missing type is refused too: a form or script of another site can send such a request without a preflight.
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/json" {
			return newProblem(ctx, unsupportedMediaType, "send the body with Content-Type: application/json")
		}
	}
	if p := pathProblem(ctx, r); p != nil {
		return p
	}
	if p := headerProblem(ctx, r); p != nil {
		return p
	}
	return readQuery(r, a.queries[r.Pattern])
}

// textProblem says why PostgreSQL cannot store a text.
func textProblem(s string) string {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return "has a zero character, which cannot be stored"
	case !utf8.ValidString(s):
		return "is not UTF-8"
	}
	return ""
}
