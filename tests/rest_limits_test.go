package tests

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTAKeyOfOneHandsItsJobsOutInOrder(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.SetLimits("q", `{"per_key": 1}`)
	var ids []string
	for range 3 {
		ids = append(ids, s.Enqueue(obj{"kind": "k", "queue": "q", "concurrency_key": "a"}))
	}
	for i, id := range ids {
		job := s.ClaimOne("q")
		if job.ID != id {
			t.Fatalf("claimed %s, want %s", job.ID, id)
		}
		if i == 0 {
			if got := weirtest.Decode[jobs.Job](s.Get("/v1/jobs/" + ids[1]).Want(http.StatusOK)); got.State != "held" || got.HeldReason != "line" || got.ConcurrencyKey != "a" {
				t.Errorf("the second is %s, %s, of key %s", got.State, got.HeldReason, got.ConcurrencyKey)
			}
			why := s.Get("/v1/jobs/" + ids[2] + "/why").Want(http.StatusOK).String()
			if !strings.Contains(why, "held_line") || !strings.Contains(why, `"limit":"per_key"`) && !strings.Contains(why, `"limit": "per_key"`) || !strings.Contains(why, "1 job of its line") {
				t.Errorf("why: %s", why)
			}
			lines := weirtest.Decode[weirtest.Page[weirtest.Line]](s.Get("/v1/queues/q/lines").Want(http.StatusOK)).Items
			if len(lines) != 1 || lines[0].Key != "a" || lines[0].Waiting != 2 || lines[0].InFlight != 1 || *lines[0].Concurrency != 1 {
				t.Errorf("%+v", lines)
			}
		}
		// Somebody waits already when the key becomes free.
		waits := s.Park(obj{"worker": "other", "queues": []string{"q"}, "wait_seconds": 60})
		s.Post("/v1/jobs/"+job.ID+"/complete", obj{"token": job.Token}).Want(http.StatusOK)
		if i == len(ids)-1 {
			next := s.Enqueue(obj{"kind": "k", "queue": "q", "concurrency_key": "a"})
			if got := s.Answer(waits); len(got) != 1 || got[0].ID != next {
				t.Errorf("the one that waited got %+v", got)
			}
			return
		}
		got := s.Answer(waits)
		if len(got) != 1 || got[0].ID != ids[i+1] {
			t.Fatalf("the one that waited got %+v", got)
		}
		s.Post("/v1/jobs/"+got[0].ID+"/release", obj{"token": got[0].Token}).Want(http.StatusOK)
	}
}

func TestRESTLimitsAreSetAndRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for body, field := range map[string]string{
		`{"limits": {"concurrency": 0}}`: "body.limits.concurrency", `{"limits": {"per_key": -1}}`: "body.limits.per_key", `{"limits": {"rate": {"per_second": 0}}}`: "body.limits.rate.per_second",
		`{"limits": {"rate": {"burst": 1}}}`: "body.limits.rate", `{"limits": {"per_tenant": 1}}`: "body.limits", `{"limits": {"tenants": {"weights": {"a": 0}}}}`: "limits.tenants.weights",
	} {
		if p := s.Do(http.MethodPut, "/v1/queues/q", body).Problem(http.StatusUnprocessableEntity, "invalid_argument"); !strings.Contains(fmt.Sprint(p), field) {
			t.Errorf("%s: %+v does not name %s", body, p, field)
		}
	}
	s.Get("/v1/queues/q").Problem(http.StatusNotFound, "queue_not_found")
	s.SetLimits("q", `{"concurrency": 5, "tenants": {"weights": {"a": 2}}}`)
	s.Do(http.MethodPut, "/v1/queues/q/limits/keys/x%2Fy", `{"concurrency": 0}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Do(http.MethodPut, "/v1/queues/q/limits/tenants/b", `{"weight": 0}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Do(http.MethodPut, "/v1/queues/q/limits/keys/x%2Fy", `{"concurrency": 3, "rate": {"per_second": 9}}`).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/queues/q/limits/tenants/b", `{"weight": 7}`).Want(http.StatusOK)
	first := weirtest.Decode[weirtest.Page[jobs.LimitOverride]](s.Get("/v1/queues/q/limits?limit=1").Want(http.StatusOK))
	second := weirtest.Decode[weirtest.Page[jobs.LimitOverride]](s.Get("/v1/queues/q/limits?limit=1&cursor=" + *first.NextCursor).Want(http.StatusOK))
	if first.Items[0].Key != "x/y" || *first.Items[0].Concurrency != 3 || first.Items[0].Rate.Burst != 9 || second.Items[0].Tenant != "b" || *second.Items[0].Weight != 7 || second.NextCursor != nil {
		t.Errorf("%+v, %+v", first, second)
	}
	s.Do(http.MethodDelete, "/v1/queues/q/limits/keys/x%2Fy", nil).Want(http.StatusNoContent)
	s.Do(http.MethodDelete, "/v1/queues/q/limits/tenants/b", nil).Want(http.StatusNoContent)
	if page := weirtest.Decode[weirtest.Page[jobs.LimitOverride]](s.Get("/v1/queues/q/limits").Want(http.StatusOK)); len(page.Items) != 0 {
		t.Errorf("%+v", page)
	}
	q := weirtest.Decode[jobs.Queue](s.Do(http.MethodPatch, "/v1/queues/q", `{"priority": 7}`).Want(http.StatusOK))
	if q.Limits == nil || *q.Limits.Concurrency != 5 || q.Limits.Tenants.Weights["a"] != 2 {
		t.Errorf("a change of something else left %+v", q.Limits)
	}
	if q = weirtest.Decode[jobs.Queue](s.Do(http.MethodPatch, "/v1/queues/q", `{"limits": {}}`).Want(http.StatusOK)); q.Limits != nil {
		t.Errorf("limits are %+v", q.Limits)
	}
}

// Workers that complete, fail, vanish and release, over two nodes; one that looks on from outside; limits that change meanwhile.
func TestRESTALimitIsNeverPassed(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	other := weirtest.StartNodeOn(t, s.DB)
	s.SetLimits("q", `{"concurrency": 6, "per_key": 2}`)
	s.Do(http.MethodPut, "/v1/queues/q/limits/keys/k0", `{"concurrency": 1}`).Want(http.StatusOK)
	const total = 240
	var all []obj
	for i := range total {
		all = append(all, obj{"kind": "k", "queue": "q", "concurrency_key": fmt.Sprint("k", i%4), "max_attempts": 100, "retry": obj{"strategy": "fixed", "base_seconds": 0.05}})
	}
	s.EnqueueAll(all)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var crew sync.WaitGroup
	var turn atomic.Int64
	for i := range 8 {
		node := s
		if i%2 == 1 {
			node = other
		}
		crew.Go(func() {
			for ctx.Err() == nil {
				answer, err := node.Send(ctx, http.MethodPost, "/v1/claims", obj{"worker": fmt.Sprint("w", i), "queues": []string{"q"}, "limit": 3, "wait_seconds": 1, "lease_seconds": 1})
				if err != nil || answer.Status != http.StatusOK {
					continue
				}
				for _, job := range weirtest.Decode[struct{ Jobs []weirtest.ClaimedJob }](answer).Jobs {
					time.Sleep(time.Millisecond)
					switch turn.Add(1) % 12 {
					case 0: // the worker is killed
					case 1:
						_, _ = node.Send(ctx, http.MethodPost, "/v1/jobs/"+job.ID+"/fail", obj{"token": job.Token, "error": obj{"message": "m"}})
					case 2:
						_, _ = node.Send(ctx, http.MethodPost, "/v1/jobs/"+job.ID+"/release", obj{"token": job.Token})
					default:
						_, _ = node.Send(ctx, http.MethodPost, "/v1/jobs/"+job.ID+"/complete", obj{"token": job.Token})
					}
				}
			}
		})
	}
	allowed, highest, lowered, changed := 6, 0, false, time.Now()
	// What was let through before a limit was lowered may run on. Once there are no more of them than it allows, there never are.
	const inFlight = `select count(*) + (select count(*) from weir.job_ready r where exists (select from weir.queue q where q.id = r.queue_id)) from weir.job_lease
		having (select a.phase = 'open' and a.version = q.limits_version from weir.queue q join weir.admission a on a.queue_id = q.id where q.name = 'q' order by a.tick desc limit 1)`
	look := func() (over bool) {
		if time.Since(changed) > 2*time.Second { // down and up again
			changed = time.Now()
			allowed, lowered = 8-allowed, false
			s.Do(http.MethodPatch, "/v1/queues/q", fmt.Sprintf(`{"limits": {"concurrency": %d, "per_key": 2}}`, allowed)).Want(http.StatusOK)
		}
		running := s.Count("select count(*) from weir.job_lease")
		highest = max(highest, running)
		if running > 6 || lowered && running > allowed {
			t.Errorf("%d are running, %d may", running, allowed)
		}
		if there := weirtest.Values[int](t, s.DB, inFlight); len(there) == 1 && there[0] <= allowed {
			lowered = true
		}
		for _, line := range weirtest.Values[string](t, s.DB, `select j.concurrency_key || ' ' || count(*) from weir.job_lease l join weir.job j on j.id = l.job_id
			group by j.concurrency_key having count(*) > case j.concurrency_key when 'k0' then 1 else 2 end`) {
			t.Errorf("running of key %s", line)
		}
		for _, line := range weirtest.Values[string](t, s.DB, "select to_json(c)::text from weir.check_limits() c") {
			t.Error(line)
		}
		return t.Failed() || s.Count("select count(*) from weir.job_outcome") == total
	}
	for end := time.Now().Add(5 * weirtest.Patience); !look(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d jobs have ended", s.Count("select count(*) from weir.job_outcome"), total)
		}
	}
	cancel()
	crew.Wait()
	if highest < 4 {
		t.Errorf("never more than %d were running", highest)
	}
	if n := s.Count("select count(*) from weir.job_outcome where state = 'completed'"); n != total {
		t.Errorf("%d of %d jobs were completed", n, total)
	}
	if n := s.Metric("weir_limits_repaired_total") + other.Metric("weir_limits_repaired_total"); n != 0 {
		t.Errorf("%v counts were repaired", n)
	}
}

func TestRESTARateHoldsOverTheNodes(t *testing.T) {
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
	// Never more than the burst and what the rate gives, from any moment on.
	worst := weirtest.Value[float64](t, s.DB, `select coalesce(max(n - 50 * extract(epoch from b - a)::float8), 0) from (
		select a.leased_at as a, b.leased_at as b, (select count(*) from weir.job_lease l where l.leased_at between a.leased_at and b.leased_at) as n
		from (select distinct leased_at from weir.job_lease) a join (select distinct leased_at from weir.job_lease) b on b.leased_at >= a.leased_at) x`)
	if worst > 5.5 {
		t.Errorf("at some moment %v more than the rate gives were handed out, want at most the burst of 5", worst)
	}
}

func TestCLILimits(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{}`).Want(http.StatusOK)
	s.CLI("queue", "limits", "q", "concurrency=5", "rate.per_second=10", "per_key=1").Says(0, "queue q is active")
	s.CLI("queue", "limits", "q", "--key", "a/b", "concurrency=3").Says(0, "a/b has limits of its own")
	s.CLI("queue", "limits", "q", "--tenant", "acme", "weight=4").Says(0, "acme has limits of its own")
	s.Enqueue(obj{"kind": "k", "queue": "q", "tenant": "acme", "concurrency_key": "a/b"})
	s.Eventually("the job is in a line", func() bool { return s.Count("select count(*) from weir.lines") == 1 })
	s.CLI("queue", "limits", "q").Says(0, `"concurrency":5`, "key a/b", "tenant acme", "WAITING", "acme")
	s.CLI("queue", "limits", "q", "--key", "a/b", "--off").Says(0, "no limits of its own")
	s.CLI("queue", "limits", "q", "--off").Says(0)
	s.CLI("queue", "limits", "q", "--tenant", "acme", "--off").Says(0)
	s.CLI("queue", "limits", "q").Says(0, "limits of queue q: {}")
	s.CLI("queue", "limits", "q", "concurrency=0").Says(1, "limits.concurrency")
	s.CLI("queue", "limits", "q", "--key", "a").Says(2, "concurrency=2")
	s.CLI("queue", "limits", "none").Says(1, "no queue")
}
