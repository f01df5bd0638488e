// Package quota tests the quotas of tenants: at every door, under concurrency, and as they are shown and set.
package quota

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }

type obj = weirtest.Object

// quotaUse is the part of a problem that says which quota was exceeded.
type quotaUse struct {
	Quota struct {
		Tenant, Quota       string
		Limit, Used, Needed float64
	}
}

func set(t testing.TB, q weirtest.Querier, tenant, quota string) {
	t.Helper()
	weirtest.Exec(t, q, "select weir.set_tenant_quota($1, "+quota+")", tenant)
}

// refused fails the test unless a call was refused for this quota.
func refused(t *testing.T, r *weirtest.Response, tenant, quota string) quotaUse {
	t.Helper()
	r.Problem(http.StatusTooManyRequests, "quota_exceeded")
	use := weirtest.Decode[quotaUse](r)
	if use.Quota.Tenant != tenant || use.Quota.Quota != quota || use.Quota.Used+use.Quota.Needed <= use.Quota.Limit {
		t.Errorf("%v: it says %+v", r, use)
	}
	if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Errorf("%v: Retry-After is %q", r, r.Header.Get("Retry-After"))
	}
	return use
}

func waiting(t testing.TB, q weirtest.Querier, tenant string) int {
	t.Helper()
	return weirtest.Value[int](t, q, `select count(*) from weir.jobs where tenant = $1
		and state in ('available', 'scheduled', 'retryable', 'held')`, tenant)
}

// TestEveryDoorKeepsTheQuota fills a quota, and then tries each door that makes jobs wait.
func TestEveryDoorKeepsTheQuota(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	job := obj{"kind": "k", "queue": "q", "tenant": "acme"}
	other := obj{"kind": "k", "queue": "q", "tenant": "other"}
	dead := s.Kill(job)
	step := func(name string) obj {
		return obj{"name": name, "kind": "k", "queue": "steps", "tenant": "acme", "max_attempts": 1}
	}
	workflow := s.Submit(nil, step("a"), step("b"))
	failing := s.Submit(nil, step("c"))
	last := s.Submit(nil, step("adds"))
	for _, claimed := range s.ClaimAs("w", 3, "steps") {
		outcome, body := "complete", obj{"token": claimed.Token}
		if weirtest.Value[string](t, s.DB, "select step from weir.jobs where id = $1::text::bigint", claimed.ID) == "c" {
			outcome, body = "fail", obj{"token": claimed.Token, "error": obj{"message": "m"}}
		}
		s.Post("/v1/jobs/"+claimed.ID+"/"+outcome, body).Want(http.StatusOK)
	}
	running := s.ClaimAs("w", 1, "steps")[0]
	set(t, s.DB, "acme", "max_waiting => 2")
	s.Enqueue(job)
	s.Enqueue(obj{"kind": "k", "tenant": "acme", "delay_seconds": 3600})
	s.Do(http.MethodPut, "/v1/schedules/s", obj{"every_seconds": 3600, "job": job}).Want(http.StatusOK)
	before := waiting(t, s.DB, "acme")
	for door, call := range map[string]func() *weirtest.Response{
		"enqueue": func() *weirtest.Response { return s.Post("/v1/jobs", job) },
		"unique": func() *weirtest.Response {
			return s.Post("/v1/jobs", obj{"kind": "k", "tenant": "acme", "unique": obj{"key": "new"}})
		},
		"batch":    func() *weirtest.Response { return s.Post("/v1/jobs/batch", obj{"jobs": []obj{other, job, other}}) },
		"workflow": func() *weirtest.Response { return s.Post("/v1/workflows", obj{"name": "w", "steps": []obj{step("a")}}) },
		"trigger":  func() *weirtest.Response { return s.Post("/v1/schedules/s/trigger", nil) },
		"fork": func() *weirtest.Response {
			return s.Post("/v1/workflows/"+workflow+"/fork", obj{"from": []string{"a"}})
		},
		"retry workflow": func() *weirtest.Response { return s.Post("/v1/workflows/"+failing+"/retry", nil) },
		"retry":          func() *weirtest.Response { return s.Post("/v1/jobs/"+dead+"/retry", nil) },
		"redrive":        func() *weirtest.Response { return s.Post("/v1/dead/"+dead+"/redrive", nil) },
		"steps": func() *weirtest.Response {
			return s.Post("/v1/workflows/"+last+"/steps", obj{"job_id": running.ID, "token": running.Token, "steps": []obj{step("more")}})
		},
		"child workflow": func() *weirtest.Response {
			return s.Post("/v1/jobs/"+running.ID+"/workflow", obj{"token": running.Token, "workflow": obj{"name": "w", "steps": []obj{step("a")}}})
		},
	} {
		t.Run(door, func(t *testing.T) {
			r := call()
			if use := refused(t, r, "acme", "max_waiting"); use.Quota.Limit != 2 || use.Quota.Used < 2 || !strings.Contains(r.String(), "hint") {
				t.Errorf("%v", r)
			}
		})
	}
	refusal := weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.enqueue('k', options => '{"tenant": "acme"}')`), "WR019")
	if refusal.Hint == "" || !json.Valid([]byte(refusal.Detail)) {
		t.Errorf("SQL says %+v", refusal)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.enqueue_many('[{"kind": "k"}, {"kind": "k", "tenant": "acme"}]')`), "WR019")
	if n := waiting(t, s.DB, "acme"); n != before {
		t.Errorf("%d jobs wait, there were %d", n, before)
	}
	if n := waiting(t, s.DB, "other"); n != 0 {
		t.Errorf("%d jobs of the refused batch wait", n)
	}
	s.Enqueue(other)
	s.Enqueue(obj{"kind": "k"})
}

// TestDuplicatesTakeNothing: a job that is not stored is not charged.
func TestDuplicatesTakeNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	set(t, s.DB, "acme", "max_waiting => 1, enqueues_per_second => 0.001, enqueue_burst => 1, max_bytes => 1000")
	job := obj{"kind": "k", "tenant": "acme", "unique": obj{"key": "u"}}
	id := s.Enqueue(job)
	if again := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", job).Want(http.StatusOK)); again.ID != id {
		t.Errorf("the second is %s, the first %s", again.ID, id)
	}
	refused(t, s.Post("/v1/jobs", obj{"kind": "k", "tenant": "acme"}), "acme", "max_waiting")
}

// TestJobsThatLeaveMakeRoom: what runs or has ended does not wait, whatever ended it.
func TestJobsThatLeaveMakeRoom(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	set(t, s.DB, "acme", "max_waiting => 2")
	job := obj{"kind": "k", "queue": "q", "tenant": "acme"}
	s.Enqueue(job)
	cancelled := s.Enqueue(job)
	held := s.ClaimOne("q")
	s.Post("/v1/jobs/"+cancelled+"/cancel", nil).Want(http.StatusOK)
	s.Enqueue(job) // the first runs, the second has ended
	s.Enqueue(job)
	refused(t, s.Post("/v1/jobs", job), "acme", "max_waiting")
	s.Post("/v1/jobs/"+held.ID+"/complete", obj{"token": held.Token}).Want(http.StatusOK)
	refused(t, s.Post("/v1/jobs", job), "acme", "max_waiting")
	for range 2 {
		got := s.ClaimOne("q")
		s.Post("/v1/jobs/"+got.ID+"/complete", obj{"token": got.Token}).Want(http.StatusOK)
	}
	s.Eventually("the node has counted again", func() bool {
		return s.Count("select waiting from weir.tenants") == 0 && s.Count("select count(*) from weir.tenant_job") == 0
	})
	s.EnqueueAll([]obj{job, job})
}

// TestJobsThatComeBackAreCounted: the engine brings them back whatever the quota says, and then they are in the way of new ones.
func TestJobsThatComeBackAreCounted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	weirtest.Exec(t, s.DB, `select weir.set_queue('letters', '{}'), weir.set_queue('q', '{"dead_letter_queue": "letters"}')`)
	set(t, s.DB, "acme", "max_waiting => 2")
	job := obj{"kind": "k", "queue": "q", "tenant": "acme", "max_attempts": 1}
	s.EnqueueAll([]obj{job, job})
	one, two := s.ClaimOne("q"), s.ClaimOne("q")
	s.EnqueueAll([]obj{job, job})
	s.Post("/v1/jobs/"+one.ID+"/release", obj{"token": one.Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+two.ID+"/fail", obj{"token": two.Token, "error": obj{"message": "m"}}).Want(http.StatusOK)
	if n := waiting(t, s.DB, "acme"); n != 4 {
		t.Fatalf("%d jobs wait", n)
	}
	s.Eventually("they are counted", func() bool { return s.Count("select waiting from weir.tenants") == 4 })
	refused(t, s.Post("/v1/jobs", job), "acme", "max_waiting")
}

func TestTheRateOfEnqueues(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	set(t, s.DB, "acme", "enqueues_per_second => 0.01, enqueue_burst => 5")
	job := obj{"kind": "k", "tenant": "acme"}
	if use := refused(t, s.Post("/v1/jobs/batch", obj{"jobs": []obj{job, job, job, job, job, job}}), "acme", "enqueues_per_second"); use.Quota.Limit != 5 || use.Quota.Needed != 6 {
		t.Errorf("a batch over the burst: %+v", use)
	}
	s.EnqueueAll([]obj{job, job, job, job})
	s.Submit(nil, obj{"name": "a", "kind": "k", "tenant": "acme"})
	r := s.Post("/v1/jobs", job)
	refused(t, r, "acme", "enqueues_per_second")
	if after, _ := strconv.Atoi(r.Header.Get("Retry-After")); after < 60 || after > 100 {
		t.Errorf("at a job in 100 s, Retry-After is %d", after)
	}
	weirtest.Exec(t, s.DB, "update weir.tenant_usage set filled_at = filled_at - interval '200 s'") // two more
	s.EnqueueAll([]obj{job, job})
	refused(t, s.Post("/v1/jobs", job), "acme", "enqueues_per_second")
}

// TestBytesAreThoseOfEndedJobsToo until retention removes them.
func TestBytesAreThoseOfEndedJobsToo(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	set(t, s.DB, "acme", "max_bytes => 2500")
	job := obj{"kind": "k", "queue": "q", "tenant": "acme", "args": obj{"x": strings.Repeat("y", 1000)}}
	s.Enqueue(job)
	s.Enqueue(job)
	refused(t, s.Post("/v1/jobs", job), "acme", "max_bytes")
	for range 2 {
		got := s.ClaimOne("q")
		s.Post("/v1/jobs/"+got.ID+"/complete", obj{"token": got.Token}).Want(http.StatusOK)
	}
	refused(t, s.Post("/v1/jobs", job), "acme", "max_bytes")
	weirtest.RollOver(t, s.DB)
	weirtest.Exec(t, s.DB, "update weir.job_partition set sealed_at = now() where number = 0")
	s.Eventually("the partition is measured", func() bool {
		return s.Count("select count(*) from weir.tenant_bytes where measured = 'sealed' and bytes between 200 and 2400") == 1
	})
	weirtest.Exec(t, s.DB, "update weir.queue set retention_seconds = 60")
	weirtest.Exec(t, s.DB, "update weir.job_outcome set finished_at = now() - interval '1 hour'")
	if did := weirtest.Value[string](t, s.DB, "select weir.retain_partition(0)"); did != "emptied" {
		t.Fatalf("retention: %s", did)
	}
	s.Eventually("its bytes are gone", func() bool { return s.Count("select bytes from weir.tenants") == 0 })
	s.Eventually("the partition is dropped", func() bool { return weirtest.TryExec(s.DB, "select weir.drop_partition(0)") == nil })
	s.Eventually("its row is gone", func() bool { return s.Count("select count(*) from weir.tenant_bytes") == 0 })
	s.Enqueue(job)
}

// TestJobsFromBeforeTheQuotaAreCounted: also one whose transaction did not know of the quota and ends after it was set.
func TestJobsFromBeforeTheQuotaAreCounted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	job := obj{"kind": "k", "queue": "q", "tenant": "acme"}
	s.EnqueueAll([]obj{job, job, {"kind": "k", "tenant": "other"}})
	s.EndedJob("done", "complete", obj{})
	commit := s.ExecUncommitted(`select weir.enqueue('k', options => '{"tenant": "acme"}')`)
	set(t, s.DB, "acme", "max_waiting => 100")
	s.Enqueue(job)
	commit()
	s.Eventually("all are counted", func() bool {
		return s.Count("select count(*) from weir.tenants where exact and waiting = 4") == 1
	})
	weirtest.Exec(t, s.DB, "select weir.set_tenant_quota('acme', 4)")
	refused(t, s.Post("/v1/jobs", job), "acme", "max_waiting")
}

// TestASlotThatHitsAQuotaIsRefusedAlone and says why.
func TestASlotThatHitsAQuotaIsRefusedAlone(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	set(t, d, "full", "max_waiting => 0")
	for name, tenant := range map[string]string{"a": "full", "b": "other", "c": "full"} {
		weirtest.Exec(t, d, `select weir.set_schedule($1, jsonb_build_object('every_seconds', 3600, 'job', jsonb_build_object('kind', 'k', 'tenant', $2::text)))`, name, tenant)
	}
	weirtest.Exec(t, d, `select weir.set_schedule('w', '{"every_seconds": 3600, "workflow": {"name": "w", "steps": [{"name": "a", "kind": "k", "tenant": "full"}]}}')`)
	at := time.Now().Add(2 * time.Hour)
	if fired := weirtest.Value[int](t, d, "select fired from weir.fire_due(as_of => $1)", at); fired != 1 {
		t.Errorf("%d fired", fired)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.schedules where name in ('a', 'c', 'w') and problem like '%quota max_waiting%' and tries = 1"); n != 3 {
		t.Errorf("%d say that they were refused", n)
	}
	weirtest.Exec(t, d, "select weir.fire_due(as_of => $1)", at.Add(90*time.Minute))
	if n := weirtest.Value[int](t, d, "select count(*) from weir.schedule_runs where outcome = 'refused' and detail like '%quota max_waiting%'"); n != 3 {
		t.Errorf("%d slots are recorded as refused", n)
	}
}

// TestBulkRedriveGoesAsFarAsTheQuota and leaves the rest of the letters.
func TestBulkRedriveGoesAsFarAsTheQuota(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	for range 4 {
		s.Kill(obj{"kind": "k", "queue": "q", "tenant": "acme"})
	}
	s.Kill(obj{"kind": "k", "queue": "q"})
	set(t, s.DB, "acme", "max_waiting => 3")
	if o := s.WaitForOperation(s.StartOperation("/v1/dead/redrive", obj{"filter": obj{}}).ID); o.Done != 4 || o.Failed != 1 {
		t.Errorf("redriving is %+v", o)
	}
	if n := waiting(t, s.DB, "acme"); n != 3 {
		t.Errorf("%d jobs of the tenant wait", n)
	}
	if o := s.WaitForOperation(s.StartOperation("/v1/jobs/bulk", obj{"action": "retry", "filter": obj{"state": "dead"}}).ID); o.Done != 0 {
		t.Errorf("retrying is %+v", o)
	}
}
