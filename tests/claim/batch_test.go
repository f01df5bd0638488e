package claim

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestBatchClaimServesEachWorkerItsNumber(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 12)")
	tx := d.Tx()
	weirtest.Exec(t, tx, "create temporary table given on commit drop as select row_number() over () as n, * from weir.claim_batch(array['q'], array['a', 'b', 'c'], array[2, 7, 9], array[10, null, 60])")
	got := weirtest.Values[string](t, tx, `select concat_ws(' ', g.slot, g.job_id - (select min(id) from weir.job), g.token = g.job_id, round(extract(epoch from g.lease_expires_at - l.leased_at)))
		from given g join weir.job_lease l on l.job_id = g.job_id order by g.n`)
	weirtest.Commit(t, tx)
	var want []string
	for i := range 12 {
		slot, lease := 1, 10
		if i >= 2 {
			slot, lease = 2, 30
		}
		if i >= 9 {
			slot, lease = 3, 60
		}
		want = append(want, fmt.Sprintf("%d %d t %d", slot, i, lease))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if workers := weirtest.Value[string](t, d, "select string_agg(worker || n, ' ' order by worker) from (select worker, count(*) as n from weir.job_lease group by 1) x"); workers != "a2 b7 c3" {
		t.Errorf("the workers have %s", workers)
	}
}

// A claim for a few jobs is not given more because others asked for more in the same moment.
func TestClaimGivesNoMoreThanAsked(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	waiting := s.ParkMany(30, func(i int) obj {
		return obj{"worker": fmt.Sprintf("w%d", i), "queues": []string{"q"}, "limit": 1 + i%5, "wait_seconds": 60, "lease_seconds": 100 + i}
	})
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q", "timeout_seconds": 3600}}, 200))
	for i, answer := range waiting {
		got := s.Answer(answer)
		if len(got) == 0 || len(got) > 1+i%5 {
			t.Errorf("worker %d asked for %d jobs and got %d", i, 1+i%5, len(got))
		}
		for _, j := range got {
			seen := s.Job(j.ID)
			if seen.Worker != fmt.Sprintf("w%d", i) || seen.LeaseExpiresAt.Sub(*seen.StartedAt) != time.Duration(100+i)*time.Second {
				t.Errorf("worker %d got a job that is %s's, for %v", i, seen.Worker, seen.LeaseExpiresAt.Sub(*seen.StartedAt))
			}
		}
	}
}

func TestClientThatDisconnectsLosesNoJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	start := func() (goAway func()) {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = s.Send(ctx, http.MethodPost, "/v1/claims", `{"worker": "gone", "queues": ["q"], "wait_seconds": 60, "lease_seconds": 1}`)
		}()
		return func() { cancel(); <-gone }
	}
	nobodyWaits := func() bool { return s.Metric("weir_claims_waiting") == 0 }
	goAway := start()
	s.Eventually("the claim waits", func() bool { return s.Metric("weir_claims_waiting") == 1 })
	goAway()
	s.Eventually("nobody waits", nobodyWaits)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	if got := s.ClaimOne("q"); got.ID != id || got.Attempt != 1 {
		t.Errorf("claimed %+v, want the first attempt of job %s", got, id)
	}

	// The client disconnects in the very moment in which a job arrives. If the job was handed out already, its lease
	// expires.
	var ids []string
	for i := range 30 {
		goAway := start()
		var going sync.WaitGroup
		if i%2 == 0 {
			going.Go(goAway)
		}
		ids = append(ids, s.Enqueue(`{"kind": "k", "queue": "q", "max_attempts": 100}`))
		if i%2 == 1 {
			going.Go(goAway)
		}
		going.Wait()
	}
	s.Eventually("nobody waits", nobodyWaits)
	for _, got := range s.ClaimAs("w", len(ids), "q") {
		s.Post("/v1/jobs/"+got.ID+"/complete", obj{"token": got.Token}).Want(http.StatusOK)
	}
	for _, id := range ids {
		if j := s.Job(id); j.State != "completed" {
			t.Errorf("%+v", j)
		}
	}
}
