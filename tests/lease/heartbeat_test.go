package lease

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestHeartbeatExtendsLease(t *testing.T) {
	t.Parallel()
	t.Run("SQL", heartbeatExtendsLeaseSQL)
	t.Run("REST", heartbeatExtendsLeaseREST)
}

func heartbeatExtendsLeaseSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 40, "timeout_seconds": 100}')`)
	for range 2 {
		weirtest.EnqueueOne(t, d, "q")
	}
	jobs := weirtest.Claim(t, d, "q", 2)
	leaseOf := func(j weirtest.Lease) time.Time {
		return weirtest.Value[time.Time](t, d, "select lease_expires_at from weir.jobs where id = $1", j.ID)
	}
	for _, c := range []struct {
		seconds string
		want    time.Duration
	}{{"null", 40 * time.Second}, {"7", 7 * time.Second}, {"null", 7 * time.Second}, {"90", 90 * time.Second}} {
		before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
		told := weirtest.Value[time.Time](t, d, "select expires_at from weir.heartbeat(array[$1::bigint], array[$2::bigint], "+c.seconds+")", jobs[0].ID, jobs[0].Token)
		after := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
		if kept := leaseOf(jobs[0]); !kept.Equal(told) || kept.Before(before.Add(c.want)) || kept.After(after.Add(c.want)) {
			t.Errorf("lease_seconds %s: told %s, kept %s, want %s after a time from %s to %s", c.seconds, told, kept, c.want, before, after)
		}
	}
	if lease := leaseOf(jobs[1]); !lease.Equal(jobs[1].Expires) {
		t.Errorf("the lease of the other job has moved from %s to %s", jobs[1].Expires, lease)
	}

	weirtest.Exec(t, d, "select weir.heartbeat(array[$1::bigint], array[$2::bigint], 3600)", jobs[0].ID, jobs[0].Token)
	deadline := weirtest.Value[time.Time](t, d, "select leased_at + interval '100 s' from weir.job_lease where job_id = $1", jobs[0].ID)
	if lease := leaseOf(jobs[0]); !lease.Equal(deadline) {
		t.Errorf("a heartbeat moved the expiry to %s, past the timeout at %s", lease, deadline)
	}
}

func heartbeatExtendsLeaseREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(`{"kind": "k", "timeout_seconds": 600}`)
	got := s.ClaimOne("default")
	beat := func(body obj) time.Time {
		t.Helper()
		r := s.Post("/v1/jobs/"+got.ID+"/heartbeat", weirtest.With(body, obj{"token": got.Token})).Want(http.StatusOK)
		at := weirtest.Decode[struct {
			LeaseExpiresAt time.Time `json:"lease_expires_at"`
		}](r).LeaseExpiresAt
		if j := s.Job(got.ID); !j.LeaseExpiresAt.Equal(at) {
			t.Errorf("the answer says %v, the job %v", at, j.LeaseExpiresAt)
		}
		return at
	}
	started := *s.Job(got.ID).StartedAt
	if at := beat(obj{"lease_seconds": 400}); at.Sub(started) < 400*time.Second {
		t.Errorf("a lease of 400 s ends %v after its start", at.Sub(started))
	}
	first := beat(nil) // as long as before
	if first.Sub(started) < 400*time.Second || first.Sub(started) > 500*time.Second {
		t.Errorf("the length was 400 s, and now it ends %v after its start", first.Sub(started))
	}
	if second := beat(nil); !second.After(first) {
		t.Errorf("a second heartbeat moved the end from %v to %v", first, second)
	}
	if at := beat(obj{"lease_seconds": 3600}); at.Sub(started) != 600*time.Second {
		t.Errorf("the lease ends %v after its start, beyond the timeout of 600 s", at.Sub(started))
	}
	beat(obj{"progress": obj{"percent": 10, "message": "begun"}})
	beat(nil)
	if p := s.Job(got.ID).Progress; p == nil || p.Percent != 10 || p.Message != "begun" {
		t.Errorf("progress: %+v", p)
	}
}

func TestHeartbeatKeepsProgressAndTellsOfCancel(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 3 {
		weirtest.EnqueueOne(t, d, "q")
	}
	jobs := weirtest.Claim(t, d, "q", 3)
	weirtest.Exec(t, d, "select weir.cancel($1)", jobs[1].ID)
	got := weirtest.Values[string](t, d, `select concat_ws(' ', job_id, cancel_requested) from weir.heartbeat($1, $2, null, array['{"percent": 5}', null, '{"percent": 7}']::jsonb[]) order by job_id`,
		[]int64{jobs[2].ID, jobs[0].ID, jobs[1].ID}, []int64{jobs[2].Token, jobs[0].Token, jobs[1].Token})
	if want := []string{fmt.Sprint(jobs[0].ID, " f"), fmt.Sprint(jobs[1].ID, " t"), fmt.Sprint(jobs[2].ID, " f")}; !slices.Equal(got, want) {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	weirtest.Exec(t, d, "select weir.heartbeat($1, $2)", weirtest.IDs(jobs), weirtest.Tokens(jobs)) // keeps what was said before
	progress := weirtest.Values[string](t, d, "select coalesce(progress ->> 'percent', 'none') from weir.jobs order by id")
	if want := []string{"none", "7", "5"}; !slices.Equal(progress, want) {
		t.Errorf("the progress is %q, want %q", progress, want)
	}
	for _, seconds := range []int{0, -1, 3601} {
		d.Unchanged("a bad heartbeat", func() {
			weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.heartbeat($1, $2, $3)", weirtest.IDs(jobs), weirtest.Tokens(jobs), seconds), "WR010")
		})
	}
}

func TestHeartbeatsOfManyJobsAnswerOneByOne(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for range 3 {
		s.Enqueue(`{"kind": "k", "timeout_seconds": 600}`)
	}
	held := s.ClaimAs("w", 3, "default")
	s.Post("/v1/jobs/"+held[1].ID+"/cancel", nil).Want(http.StatusOK)
	body := obj{"lease_seconds": 400, "heartbeats": []obj{
		{"id": held[0].ID, "token": held[0].Token, "progress": obj{"percent": 30}},
		{"id": held[1].ID, "token": held[1].Token},
		{"id": held[2].ID, "token": "1"},
		{"id": "999", "token": "1"},
	}}
	r := s.Post("/v1/heartbeats", body).Want(http.StatusOK)
	type answer struct {
		ID, Status      string
		LeaseExpiresAt  *time.Time `json:"lease_expires_at"`
		CancelRequested bool       `json:"cancel_requested"`
	}
	results := weirtest.Decode[struct{ Results []answer }](r).Results
	for i, want := range []answer{{ID: held[0].ID, Status: "ok"}, {ID: held[1].ID, Status: "ok", CancelRequested: true}, {ID: held[2].ID, Status: "lost"}, {ID: "999", Status: "lost"}} {
		got := results[i]
		if got.ID != want.ID || got.Status != want.Status || got.CancelRequested != want.CancelRequested || (got.LeaseExpiresAt != nil) != (want.Status == "ok") {
			t.Errorf("results[%d] is %+v, want %+v", i, got, want)
		}
	}
	j := s.Job(held[0].ID)
	if j.Progress == nil || j.Progress.Percent != 30 || !j.LeaseExpiresAt.Equal(*results[0].LeaseExpiresAt) || j.LeaseExpiresAt.Sub(*j.StartedAt) < 400*time.Second {
		t.Errorf("after its heartbeat the job is %+v", j)
	}
	s.Post("/v1/heartbeats", obj{"heartbeats": []obj{}}).Want(http.StatusOK)
	s.Post("/v1/heartbeats", obj{"lease_seconds": 0, "heartbeats": []obj{{"id": "1"}}}).Want(http.StatusUnprocessableEntity)
}

// A worker that lost a job and claimed it again has two runs of it. Each token is answered for itself.
func TestHeartbeatsOfOneJobAnswerEachToken(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k"})
	lost := s.ClaimOne("default")
	s.Post("/v1/jobs/"+lost.ID+"/release", obj{"token": lost.Token}).Want(http.StatusOK)
	held := s.ClaimOne("default")
	results := weirtest.Decode[struct{ Results []struct{ Status string } }](s.Post("/v1/heartbeats", obj{"heartbeats": []obj{
		{"id": lost.ID, "token": lost.Token, "progress": obj{"percent": 90}}, {"id": held.ID, "token": held.Token, "progress": obj{"percent": 10}}, {"id": lost.ID, "token": lost.Token}, {"id": held.ID, "token": held.Token},
	}}).Want(http.StatusOK)).Results
	if got := fmt.Sprint(results); got != "[{lost} {ok} {lost} {ok}]" {
		t.Errorf("the answers are %s", got)
	}
	if p := s.Job(held.ID).Progress; p == nil || p.Percent != 10 {
		t.Errorf("the progress is %+v, want that of the current token", p)
	}
}
