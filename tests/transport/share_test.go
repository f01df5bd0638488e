package transport

import (
	"context"
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestOneCallerCannotTakeAllPlaces(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	s, _ := a.start("WEIR_MAX_WAITING=8", "WEIR_MAX_STREAMS=4")
	greedy, other := s.AsNew("greedy", nil, "worker", "reader"), s.AsNew("other", nil, "worker", "reader")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	wait := weirtest.Object{"worker": "w", "queues": []string{"q"}, "wait_seconds": 60}
	for range 2 { // a quarter of 8
		go func() {
			for ctx.Err() == nil { // a short one below may have the place at first
				_, _ = greedy.Send(ctx, http.MethodPost, "/v1/claims", wait)
			}
		}()
	}
	short := weirtest.Object{"worker": "w", "queues": []string{"q"}, "wait_seconds": 0.01}
	s.Eventually("the caller has all of its places", func() bool {
		return greedy.Post("/v1/claims", short).Status == http.StatusTooManyRequests
	})
	greedy.Post("/v1/claims", short).Problem(http.StatusTooManyRequests, "rate_limited")
	other.Post("/v1/claims", short).Want(http.StatusOK)

	openEvents(t, greedy)
	greedy.Get("/v1/events").Problem(http.StatusTooManyRequests, "rate_limited")
	openEvents(t, other)

	stop()
	s.Eventually("places are given back", func() bool { return greedy.Post("/v1/claims", short).Status == http.StatusOK })
}
