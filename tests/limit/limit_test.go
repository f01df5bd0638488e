package limit

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
)

// enqueueKeyed enqueues one job for each of some keys, separated by spaces.
func enqueueKeyed(t testing.TB, q weirtest.Querier, queue, keys string) []int64 {
	t.Helper()
	var jobs []string
	for key := range strings.FieldsSeq(keys) {
		jobs = append(jobs, fmt.Sprintf(`{"kind": "work", "queue": %q, "concurrency_key": %q}`, queue, key))
	}
	return weirtest.Enqueue(t, q, jobs...)
}

func TestKeyOfOneRunsJobsInOrder(t *testing.T) {
	t.Parallel()
	t.Run("SQL", keyOfOneRunsJobsInOrderSQL)
	t.Run("REST", keyOfOneRunsJobsInOrderREST)
}

func keyOfOneRunsJobsInOrderSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	ids := enqueueKeyed(t, d, "q", "a a b a")
	free := weirtest.EnqueueOne(t, d, "q")
	weirtest.Admit(t, d, "q", 10)
	first := weirtest.Claim(t, d, "q", 10)
	if got := weirtest.IDs(first); !slices.Equal(got, []int64{ids[0], ids[2], free}) {
		t.Fatalf("claimed %v, want the first of each key and the one without", got)
	}
	weirtest.CheckLimits(t, d)
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Fatalf("claimed %d more", n)
	}
	weirtest.Complete(t, d, first[0])
	weirtest.Admit(t, d, "q", 10)
	if next := weirtest.ClaimOne(t, d, "q"); next.ID != ids[1] {
		t.Errorf("claimed %d, want %d", next.ID, ids[1])
	}
	weirtest.CheckLimits(t, d)
}

func keyOfOneRunsJobsInOrderREST(t *testing.T) {
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
		// A job waits already when the key becomes free.
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

func TestRetriedJobKeepsItsKey(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	ids := enqueueKeyed(t, d, "q", "a a")
	weirtest.Admit(t, d, "q", 10)
	job := weirtest.ClaimOne(t, d, "q")
	for i, how := range []string{"fail($1, $2, '{}', interval '1 hour')", "snooze($1, $2, interval '1 hour')", "release($1, $2)"} {
		job.Call(t, d, how)
		if weirtest.Admit(t, d, "q", 10); how[0] != 'r' {
			if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
				t.Fatalf("after %s its key's next was claimed", how)
			}
			weirtest.CheckLimits(t, d)
			weirtest.Exec(t, d, "select weir.retry($1)", job.ID)
			weirtest.Admit(t, d, "q", 10)
		}
		if job = weirtest.ClaimOne(t, d, "q"); job.ID != ids[0] {
			t.Fatalf("step %d: claimed %d, want %d again", i, job.ID, ids[0])
		}
	}
	job.Call(t, d, "fail($1, $2, '{}', null, false)") // now it is dead
	weirtest.Admit(t, d, "q", 10)
	if next := weirtest.ClaimOne(t, d, "q"); next.ID != ids[1] {
		t.Errorf("claimed %d, want %d", next.ID, ids[1])
	}
	weirtest.CheckLimits(t, d)
}

func TestCancelFreesKey(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	ids := enqueueKeyed(t, d, "q", "a a a a")
	weirtest.Admit(t, d, "q", 10)
	weirtest.Exec(t, d, "select weir.cancel($1)", ids[0]) // admitted
	weirtest.Exec(t, d, "select weir.cancel($1)", ids[1]) // in the line
	weirtest.Admit(t, d, "q", 10)
	job := weirtest.ClaimOne(t, d, "q")
	if job.ID != ids[2] {
		t.Fatalf("claimed %d, want %d", job.ID, ids[2])
	}
	job.Call(t, d, "fail($1, $2, '{}', interval '1 hour')")
	weirtest.Exec(t, d, "select weir.cancel($1)", job.ID) // waits for its retry and keeps its key
	weirtest.Admit(t, d, "q", 10)
	if job = weirtest.ClaimOne(t, d, "q"); job.ID != ids[3] {
		t.Errorf("claimed %d, want %d", job.ID, ids[3])
	}
	weirtest.CheckLimits(t, d)
}

func TestQueueLimitsJobsInFlight(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 3}`)
	for range 10 {
		weirtest.EnqueueOne(t, d, "q")
	}
	if n := weirtest.Admit(t, d, "q", 100); n != 3 {
		t.Errorf("admitted %d, want 3", n)
	}
	jobs := weirtest.Claim(t, d, "q", 10)
	weirtest.Exec(t, d, "update weir.job_lease set expires_at = clock_timestamp()") // their worker was killed
	weirtest.Exec(t, d, "select weir.expire_leases()")
	weirtest.Admit(t, d, "q", 100)
	again := weirtest.Claim(t, d, "q", 10)
	if len(jobs) != 3 || len(again) != 3 {
		t.Errorf("claimed %d, and %d when the leases had run out; want 3 each", len(jobs), len(again))
	}
	weirtest.CheckLimits(t, d)
}

// Workers complete, fail, vanish and release on two nodes, while the limits change and this test watches.
func TestLimitIsNeverExceeded(t *testing.T) {
	weirtest.Long(t, "it works many jobs")
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
	// Jobs admitted before a limit was lowered may run on. Once they fit the new limit, it holds.
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
