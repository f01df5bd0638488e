package limit

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRateIsTokenBucket(t *testing.T) {
	t.Parallel()
	t.Run("SQL", rateIsTokenBucketSQL)
	t.Run("REST", rateIsTokenBucketREST)
}

func rateIsTokenBucketSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"rate": {"per_second": 0.01, "burst": 3}}`)
	weirtest.SetLimits(t, d, "k", `{"key_rate": {"per_second": 0.01, "burst": 2}}`)
	enqueueKeyed(t, d, "q", "a a a a a a a a a a")
	enqueueKeyed(t, d, "k", "a a a a b b b b")
	if n := weirtest.Admit(t, d, "q", 100); n != 3 {
		t.Errorf("admitted %d at once, want the burst of 3", n)
	}
	if next := weirtest.Value[float64](t, d, "select next_in from weir.admit('q', 100)"); next < 50 || next > 100 {
		t.Errorf("the next is due in %v s, want somewhat less than 100", next)
	}
	if n := weirtest.Admit(t, d, "k", 100); n != 4 {
		t.Errorf("admitted %d at once of two keys, want 2 of each", n)
	}
	// An hour later the bucket is full, but jobs that were admitted and not claimed are part of it.
	weirtest.Exec(t, d, "update weir.admission set tokens_at = tokens_at - interval '1 hour', rate_until = rate_until - interval '1 hour'")
	if n := weirtest.Admit(t, d, "q", 100); n != 0 {
		t.Errorf("admitted %d on top of an unclaimed burst", n)
	}
	weirtest.Claim(t, d, "q", 2)
	weirtest.Exec(t, d, "update weir.admission set rate_until = null")
	if n := weirtest.Admit(t, d, "q", 100); n != 0 {
		t.Errorf("admitted %d right after two were claimed, want 0", n)
	}
	weirtest.Exec(t, d, "update weir.admission set tokens_at = tokens_at - interval '1 hour', rate_until = rate_until - interval '1 hour'")
	if n := weirtest.Admit(t, d, "q", 100); n != 2 {
		t.Errorf("admitted %d, want 2 beside the unclaimed one", n)
	}
	weirtest.Exec(t, d, "update weir.line set tokens_at = tokens_at - interval '100 s', rest_until = rest_until - interval '100 s' where name = '1a'")
	weirtest.Claim(t, d, "k", 10)
	if n := weirtest.Admit(t, d, "k", 100); n != 1 {
		t.Errorf("admitted %d of a key after 100 s, want 1", n)
	}
	weirtest.CheckLimits(t, d)
}

func rateIsTokenBucketREST(t *testing.T) {
	weirtest.Long(t, "it watches a rate")
	t.Parallel()
	s := weirtest.StartNode(t)
	other := weirtest.StartNodeOn(t, s.DB)
	s.SetLimits("q", `{"rate": {"per_second": 50, "burst": 5}}`)
	var all []obj
	for range 1000 {
		all = append(all, obj{"kind": "k", "queue": "q"})
	}
	s.EnqueueAll(all)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	var crew sync.WaitGroup
	for i := range 4 {
		node := s
		if i%2 == 1 {
			node = other
		}
		crew.Go(func() {
			for ctx.Err() == nil {
				_, _ = node.Send(ctx, http.MethodPost, "/v1/claims", obj{"worker": fmt.Sprint("w", i), "queues": []string{"q"}, "limit": 20, "wait_seconds": 1, "lease_seconds": 300})
			}
		})
	}
	s.Eventually("enough to judge by were handed out", func() bool {
		return time.Since(began) > 4*time.Second && s.Count("select count(*) from weir.job_lease") >= 50
	})
	cancel()
	crew.Wait()
	// From any moment on, never more than the burst and what the rate gives.
	worst := weirtest.Value[float64](t, s.DB, `select coalesce(max(n - 50 * extract(epoch from b - a)::float8), 0) from (
		select a.leased_at as a, b.leased_at as b, (select count(*) from weir.job_lease l where l.leased_at between a.leased_at and b.leased_at) as n
		from (select distinct leased_at from weir.job_lease) a join (select distinct leased_at from weir.job_lease) b on b.leased_at >= a.leased_at) x`)
	if worst > 5.5 {
		t.Errorf("at some moment %v more than the rate gives were handed out, want at most the burst of 5", worst)
	}
}
