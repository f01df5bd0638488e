package job

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// timeline returns a job's life in words: event, attempt, worker, cause, whether it then waits for a time.
func timeline(t *testing.T, q weirtest.Querier, id int64) []string {
	t.Helper()
	return weirtest.Values[string](t, q, `select concat_ws(' ', event, attempt, worker, '<' || cause, case when run_at is not null then 'waits' end, coalesce(detail ->> 'message', detail ->> 'state', detail ->> 'reason'))
		from weir.timeline($1)`, id)
}

func wantTimeline(t *testing.T, q weirtest.Querier, id int64, want ...string) {
	t.Helper()
	if got := timeline(t, q, id); !slices.Equal(got, want) {
		t.Errorf("the timeline of job %d is\n  %s\nwant\n  %s", id, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	times := weirtest.Values[time.Time](t, q, "select at from weir.timeline($1) where event not in ('dead', 'cancelled')", id)
	if !slices.IsSortedFunc(times, time.Time.Compare) {
		t.Errorf("the times of job %d are not in order: %v", id, times)
	}
}

func TestTimelineOfUneventfulLife(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	wantTimeline(t, d, id, "enqueued 0", "available 0 <enqueued")
	j := weirtest.ClaimOne(t, d, "q")
	wantTimeline(t, d, id, "enqueued 0", "available 0 <enqueued", "started 1 worker")
	weirtest.Complete(t, d, j)
	wantTimeline(t, d, id, "enqueued 0", "available 0 <enqueued", "started 1 worker", "completed 1 worker")
	if exact := weirtest.Value[bool](t, d, `select array_agg(m.at order by m.at) = (select array[j.created_at, j.created_at, j.started_at, j.finished_at] from weir.jobs j where j.id = $1) from weir.timeline($1) m`, id); !exact {
		t.Error("the times are not those of the job")
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_event"); n != 0 {
		t.Errorf("an uneventful life wrote %d events", n)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.timeline(99999)"), "WR002")
}

func TestTimelineIsInOrder(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"max_attempts": 4, "retry": {"strategy": "fixed", "base_seconds": 0.2, "jitter": false}}')`)
	id := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "delay_seconds": 2}`)[0]
	wantTimeline(t, d, id, "enqueued 0 waits")
	weirtest.Exec(t, d, `select weir.edit($1, '{"priority": 9}')`, id)
	due := func() weirtest.Lease {
		t.Helper()
		var j []weirtest.Lease
		weirtest.Eventually(t, "it is due", func() bool {
			weirtest.Exec(t, d, "select weir.promote_due()")
			j = weirtest.Claim(t, d, "q", 1)
			return len(j) == 1
		})
		return j[0]
	}
	due().Call(t, d, `fail($1, $2, '{"message": "first", "started_at": "never", "state": "mine"}')`)
	due().Call(t, d, "snooze($1, $2, '0.1 s')")
	due().Call(t, d, "release($1, $2)")
	weirtest.ClaimOne(t, d, "q").Call(t, d, `fail($1, $2, '{"message": "second"}', retry_in => '0')`)
	lost := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "update weir.job_lease set expires_at = clock_timestamp() - interval '1 s'")
	weirtest.Tick(t, d)
	weirtest.Exec(t, d, "select weir.expire_leases()")
	last := weirtest.ClaimOne(t, d, "q")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", lost.ID, lost.Token), "WR001")
	weirtest.Exec(t, d, "select weir.cancel($1)", id)
	last.Call(t, d, `fail($1, $2, '{"message": "third"}')`)
	weirtest.Exec(t, d, "select weir.retry($1, reset_attempts => true)", id)
	weirtest.ClaimOne(t, d, "q").Call(t, d, `fail($1, $2, '{"message": "fourth"}', retry => false)`)
	weirtest.Exec(t, d, "select weir.retry($1)", id)
	weirtest.Exec(t, d, "select weir.cancel($1)", id)
	weirtest.Exec(t, d, "select weir.retry($1)", id)
	weirtest.Complete(t, d, weirtest.ClaimOne(t, d, "q"))
	wantTimeline(t, d, id,
		"enqueued 0 waits", "edited 0 waits", "available 0 <due",
		"started 1 worker", "failed 1 worker waits first", "available 1 <due",
		"started 2 worker", "snoozed 2 worker waits", "available 1 <due",
		"started 2 worker", "released 2 worker", "available 1 <released",
		"started 2 worker", "failed 2 worker second", "available 2 <failed",
		"started 3 worker", "lost 3 worker the lease ran out: no heartbeat came in time", "available 3 <lost",
		"started 4 worker", "cancel_requested 4 worker", "failed 4 worker third", "cancelled 4 worker <failed",
		"retried 4 cancelled", "available 0 <retried",
		"started 1 worker", "failed 1 worker fourth", "dead 1 worker <failed",
		"retried 1 dead", "available 1 <retried",
		"cancelled 1",
		"retried 1 cancelled", "available 1 <retried",
		"started 2 worker", "completed 2 worker")

	errors := weirtest.Value[string](t, d, "select string_agg(concat_ws(' ', e ->> 'attempt', e ->> 'message', (e ->> 'started_at')::timestamptz < (e ->> 'at')::timestamptz, e ->> 'state'), ', ') from weir.jobs j, jsonb_array_elements(j.errors) e where j.id = $1", id)
	if want := "1 first t mine, 2 second t, 3 the lease ran out: no heartbeat came in time t, 4 third t, 1 fourth t"; errors != want {
		t.Errorf("the errors are\n%s\nwant\n%s", errors, want)
	}
}

func TestTimelineShowsPresent(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
	for state, want := range map[string]string{
		"new": "available 0 <enqueued", "available": "available 0 <released", "scheduled": "snoozed 1 worker waits", "retryable": "failed 1 worker waits no", "held": "held 0 signal",
		"running": "started 1 worker", "completed": "completed 1 worker", "cancelled": "cancelled 0", "dead": "dead 1 worker <failed",
	} {
		got := timeline(t, d, jobs[state].ID)
		if len(got) == 0 || got[0][:8] != "enqueued" || got[len(got)-1] != want {
			t.Errorf("the life of the one that is %s is\n  %s\nwant the last to be %s", state, strings.Join(got, "\n  "), want)
		}
	}
}

// A timeout has a test of its own: the database keeps the deadline.
func TestTimelineShowsTimeoutAndEdit(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"timeout_seconds": 1, "max_attempts": 1}')`)
	id := weirtest.EnqueueOne(t, d, "q")
	weirtest.ClaimOne(t, d, "q")
	weirtest.Eventually(t, "it ran past its timeout", func() bool {
		weirtest.Tick(t, d)
		weirtest.Exec(t, d, "select weir.expire_leases()")
		return weirtest.State(t, d, id) == "dead"
	})
	wantTimeline(t, d, id, "enqueued 0", "available 0 <enqueued", "started 1 worker", "timed_out 1 worker ran past its timeout of 1 seconds", "dead 1 worker <timed_out")

	moved := weirtest.EnqueueOne(t, d, "moved")
	weirtest.Exec(t, d, `select weir.edit($1, '{"run_at": "2999-01-01T00:00:00Z"}')`, moved)
	weirtest.Exec(t, d, `select weir.edit($1, '{"run_at": "2001-01-01T00:00:00Z"}')`, moved)
	weirtest.Exec(t, d, `select weir.edit($1, '{"priority": 3}')`, moved)
	wantTimeline(t, d, moved, "enqueued 0", "available 0 <enqueued", "edited 0 waits", "edited 0", "available 0 <edited", "edited 0", "available 0 <edited")
	if changed := weirtest.Value[string](t, d, "select string_agg(detail::text, ' ') from weir.timeline($1) where event = 'edited'", moved); changed != `{"run_at": "2999-01-01T00:00:00Z"} {"run_at": "2001-01-01T00:00:00Z"} {"priority": 3}` {
		t.Errorf("the edits say %s", changed)
	}
}

func TestTimelineIsPaged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	for range 3 {
		j := s.ClaimOne("q")
		s.Post("/v1/jobs/"+id+"/release", obj{"token": j.Token}).Want(http.StatusOK)
	}
	type moment struct {
		At            time.Time
		Event, Worker string
		Attempt       int
		Cause         string
	}
	whole := weirtest.Decode[weirtest.Page[moment]](s.Get("/v1/jobs/" + id + "/timeline").Want(http.StatusOK))
	if len(whole.Items) != 11 || whole.NextCursor != nil {
		t.Fatalf("the timeline is %+v", whole)
	}
	if m := whole.Items[2]; m.Event != "started" || m.Worker != "worker" || m.Attempt != 1 || m.At.IsZero() {
		t.Errorf("the third moment is %+v", m)
	}
	for _, limit := range []int{1, 4, 11} {
		var got []moment
		for cursor := ""; ; {
			page := weirtest.Decode[weirtest.Page[moment]](s.Get(fmt.Sprintf("/v1/jobs/%s/timeline?limit=%d&cursor=%s", id, limit, cursor)).Want(http.StatusOK))
			got = append(got, page.Items...)
			if page.NextCursor == nil || len(page.Items) != limit {
				break
			}
			cursor = *page.NextCursor
		}
		if !slices.Equal(got, whole.Items) {
			t.Errorf("%d at a time: %+v", limit, got)
		}
	}
	s.Get("/v1/jobs/99999/timeline").Problem(http.StatusNotFound, "job_not_found")
	s.Get("/v1/jobs/"+id+"/timeline?cursor=am9iczox").Problem(http.StatusUnprocessableEntity, "invalid_argument")
}
