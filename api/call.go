package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// call is the state of a request beside the request itself.
type call struct {
	id     string
	remote string // address of the client, with its port
	waited bool   // it asked to wait, so its duration is not a latency
	err    error  // why it was answered with a status of 500 or more

	principal string // who calls, where callers are authenticated
}

type callKey struct{}

// callOf is never nil, so that a problem can be made anywhere.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// requestID takes the client's id if it is valid, so that its log and ours can be joined.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.:/+=", c)
	}) {
		return rand.Text()
	}
	return id
}

// The headers of every answer. The pages of /docs set other values.
var (
	noSniff    = []string{"nosniff"}
	noStore    = []string{"no-store"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	sameOrigin = []string{"same-origin"}
)

// ServeHTTP answers a request, and counts and logs it however it ends.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c := &call{id: requestID(r), remote: r.RemoteAddr}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	out := newAnswer(w)
	out.http2 = r.ProtoMajor >= 2
	header := out.Header()
	header.Set("X-Request-Id", c.id)
	header["X-Content-Type-Options"], header["Cache-Control"] = noSniff, noStore
	header["Content-Security-Policy"], header["Cross-Origin-Resource-Policy"] = noContent, sameOrigin
	a.metrics.inFlight.Inc()
	defer func() {
		cut := a.recovered(recover(), out, r, c)
		switch {
		case !cut:
			out.finish()
		case out.status == 0:
			out.status = http.StatusInternalServerError
		}
		took := time.Since(began)
		a.metrics.inFlight.Dec()
		a.metrics.done(r, c, out.status, took)
		a.logCall(r, c, out, took)
		if cut {
			panic(http.ErrAbortHandler)
		}
	}()
	a.dispatch(out, w, r)
}

// crashed is a panic of another goroutine, with the stack of that one.
type crashed struct {
	cause any
	stack []byte
}

func (c *crashed) Error() string { return fmt.Sprintf("%v\n%s", c.cause, c.stack) }

// recovered answers after a panic. It reports whether to cut the connection, because part of an answer has been sent.
func (a *API) recovered(crash any, out *answer, r *http.Request, c *call) (cut bool) {
	if crash == nil {
		return false
	}
	err, isError := crash.(error)
	var elsewhere *crashed
	switch {
	case isError && errors.Is(err, http.ErrAbortHandler):
		return true
	case errors.As(err, &elsewhere):
		c.err = fmt.Errorf("panic: %w", elsewhere)
	default:
		c.err = fmt.Errorf("panic: %v\n%s", crash, debug.Stack())
	}
	if out.sent {
		return true
	}
	out.status = 0
	problemOf(r.Context(), c.err, func(string) string { return "" }).write(out)
	return false
}

// logCall logs a request, as a warning if weir was at fault. It leaves out the query, which may hold payloads.
func (a *API) logCall(r *http.Request, c *call, out *answer, took time.Duration) {
	level := slog.LevelDebug
	if out.status >= 500 {
		level = slog.LevelWarn
	}
	if !a.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", c.id), slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", out.status),
		slog.Float64("seconds", took.Seconds()), slog.Int64("bytes", out.bytes), slog.String("remote", r.RemoteAddr),
	}
	if c.principal != "" {
		attrs = append(attrs, slog.String("principal", c.principal))
	}
	if c.err != nil {
		attrs = append(attrs, slog.Any("error", c.err))
	}
	a.log.LogAttrs(r.Context(), level, "request", attrs...)
}
