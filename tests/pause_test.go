package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAPauseEndsByTheClock(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	id := enqueueOne(t, d, "q")
	do(t, d, "select weir.pause_queue('q', 'the mail server is down', clock_timestamp() + interval '700 ms')")
	until := ask[time.Time](t, d, "select resume_at from weir.queue where name = 'q' and pause_reason = 'the mail server is down'")
	// Nothing but the clock ends it: no loop runs here. Before, there is nothing to claim.
	var got []held
	eventually(t, "the pause is over", func() bool { got = claim(t, d, "q", 1); return len(got) == 1 })
	if began := ask[time.Time](t, d, "select started_at from weir.jobs where id = $1", id); began.Before(until) {
		t.Errorf("claimed at %v, before the end of the pause at %v", began, until)
	}
	if is := ask[string](t, d, "select concat_ws(' ', paused, pause_reason, resume_at) from weir.queue_depth where queue = 'q'"); is != "f" {
		t.Errorf("after the pause the view shows %q", is)
	}
	if n := ask[int](t, d, "select resumed from weir.resume_due()"); n != 1 {
		t.Errorf("%d queues were resumed, want 1", n)
	}
	if clean := ask[bool](t, d, "select paused_at is null and pause_reason is null and resume_at is null from weir.queue"); !clean {
		t.Error("something is left of the pause")
	}
}

func TestAPauseIsReplacedByTheNext(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	enqueueOne(t, d, "q")
	shown := func() string {
		return ask[string](t, d, "select concat_ws(' ', paused, pause_reason, resume_at > now() + interval '59 minutes') from weir.queue_depth where queue = 'q'")
	}
	for _, c := range []struct{ call, want string }{
		{"pause_queue('q')", "t"},
		{"pause_queue('q', 'first')", "t first"},
		{"pause_queue('q', resume_at => now() + interval '1 hour')", "t t"},
		{"pause_queue('q', 'second', now() + interval '1 hour')", "t second t"},
		{"pause_queue('q')", "t"},
		{"pause_queue('q', 'third', now() + interval '1 hour')", "t third t"},
		{"resume_queue('q')", "f"},
	} {
		do(t, d, "select weir."+c.call)
		if got := shown(); got != c.want {
			t.Errorf("after %s: %q, want %q", c.call, got, c.want)
		}
	}
	for _, bad := range []struct{ call, field string }{
		{"pause_queue('q', '')", "reason"},
		{"pause_queue('q', repeat('x', 501))", "reason"},
		{"pause_queue('q', resume_at => now() - interval '1 s')", "resume_at"},
		{"pause_queue('q', resume_at => 'infinity')", "resume_at"},
		{"pause_queue('q', resume_at => '-infinity')", "resume_at"},
	} {
		d.unchanged(bad.call, func() {
			if refusal := refused(t, try(d, "select weir."+bad.call), "WR010"); refusal.ColumnName != bad.field {
				t.Errorf("%s: the place is %q", bad.call, refusal.ColumnName)
			}
		})
	}
	refused(t, try(d, "select weir.pause_queue('none', 'x')"), "WR011")
}

// A claim that waits gets the jobs soon after the pause is over, through whatever node.
func TestRESTAParkedClaimGetsTheJobsWhenThePauseIsOver(t *testing.T) {
	t.Parallel()
	s := startService(t)
	other := startServiceOn(t, s.pool.Config().ConnString())
	s.enqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}})
	q := readAs[servedPause](s.post("/v1/queues/q/pause", `{"reason": "deploying", "resume_in_seconds": 8}`).want(http.StatusOK))
	if !q.Paused || q.PauseReason != "deploying" || q.PausedAt == nil || q.ResumeAt == nil || q.ResumeAt.Sub(*q.PausedAt).Round(time.Second) != 8*time.Second {
		t.Errorf("the queue is %+v", q)
	}
	answers := []<-chan servedAnswer{
		s.parked(obj{"worker": "here", "queues": []string{"q"}, "wait_seconds": 60}), other.parked(obj{"worker": "there", "queues": []string{"q"}, "wait_seconds": 60}),
	}
	for _, answer := range answers {
		got := s.answerOf(answer)
		if len(got) != 1 {
			t.Fatalf("a claim that waited got %+v", got)
		}
		if began := *s.job(got[0].ID).StartedAt; began.Before(*q.ResumeAt) || began.Sub(*q.ResumeAt) > soon {
			t.Errorf("it got its job %v after the pause was over", began.Sub(*q.ResumeAt))
		}
	}
	s.eventually("the queue is as it was", func() bool {
		return s.count("select count(*) from weir.queue where paused_at is null and pause_reason is null and resume_at is null") == 1
	})
	if text := s.get("/v1/queues/q").want(http.StatusOK).String(); strings.Contains(text, "pause_reason") || strings.Contains(text, "resume_at") || strings.Contains(text, "paused_at") {
		t.Errorf("something is shown of the pause: %s", text)
	}

	at := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	q = readAs[servedPause](s.post("/v1/queues/q/pause", obj{"resume_at": at}).want(http.StatusOK))
	if q.ResumeAt == nil || !q.ResumeAt.Equal(at) || q.PauseReason != "" {
		t.Errorf("the queue is %+v", q)
	}
	for body, place := range map[string]string{
		`{"resume_at": "2001-01-01T00:00:00Z"}`: "body.resume_at", `{"resume_in_seconds": 0}`: "body.resume_in_seconds", `{"resume_in_seconds": -1}`: "body.resume_in_seconds",
		`{"resume_in_seconds": 1, "resume_at": "2999-01-01T00:00:00Z"}`: "body.resume_at", `{"reason": ""}`: "body.reason", `{"why": "x"}`: "body.why", `{"resume_at": "soon"}`: "body.resume_at",
	} {
		p := s.post("/v1/queues/q/pause", body).problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != place {
			t.Errorf("%s: the place is %+v", body, p.Errors)
		}
	}
	if q := readAs[servedPause](s.get("/v1/queues/q")); q.ResumeAt == nil || !q.ResumeAt.Equal(at) {
		t.Errorf("a refused pause changed the queue: %+v", q)
	}
}

type servedPause struct {
	Paused      bool
	PausedAt    *time.Time `json:"paused_at"`
	PauseReason string     `json:"pause_reason"`
	ResumeAt    *time.Time `json:"resume_at"`
}

func TestAPurgeCancelsWhatWaitsInItsState(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{
		"available": "available 2", "scheduled": "scheduled 1", "retryable": "retryable 1", "held": "held 1", "waiting": "available 2, held 1, retryable 1, scheduled 1",
	} {
		d := newDatabase(t)
		jobs := inEachState(t, d)
		do(t, d, "update weir.job set queue_id = 1")
		for _, place := range []string{"ready", "scheduled", "held", "lease", "outcome", "dead"} {
			do(t, d, "update weir.job_"+place+" set queue_id = 1")
		}
		do(t, d, "update weir.queue set name = 'all' where id = 1")
		n := 0
		for _, part := range strings.Split(want, ", ") {
			var name string
			var count int
			if _, err := fmt.Sscan(part, &name, &count); err != nil {
				t.Fatal(err)
			}
			n += count
		}
		before := ask[int](t, d, "select count(*) from weir.jobs where state = 'cancelled'")
		d.unchanged("counting", func() {
			if got := ask[int](t, d, "select weir.count_waiting('all', $1)", state); got != n {
				t.Errorf("%s: counted %d, want %d", state, got, n)
			}
		})
		purged := 0
		for range 10 {
			purged += ask[int](t, d, "select weir.purge_queue('all', 2, $1)", state)
		}
		if purged != n || ask[int](t, d, "select count(*) from weir.jobs where state = 'cancelled'") != before+n {
			t.Errorf("%s: purged %d, want %d", state, purged, n)
		}
		for was, j := range jobs {
			in := was
			if was == "new" {
				in = "available"
			}
			now := stateOf(t, d, j.ID)
			if hit := strings.Contains(want, in); hit != (now == "cancelled" && was != "cancelled") || !hit && now != in {
				t.Errorf("a purge of what is %s leaves a job that was %s %s", state, was, now)
			}
		}
		d.unchanged("an unknown state", func() {
			for _, call := range []string{"purge_queue('all', 1, 'running')", "purge_queue('all', 1, null)", "count_waiting('all', 'dead')"} {
				if refusal := refused(t, try(d, "select weir."+call), "WR010"); refusal.ColumnName != "state" {
					t.Errorf("%s: the place is %q", call, refusal.ColumnName)
				}
			}
		})
		refused(t, try(d, "select weir.count_waiting('none')"), "WR011")
	}
}

func TestRESTAPurgeCountsFirst(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for state, enter := range servedStates {
		if state != "available" {
			enter(s, "q")
		}
	}
	s.enqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}})
	type purge struct{ Purged, Matching int }
	for _, c := range []struct {
		body string
		want purge
	}{
		{`{"state": "available", "dry_run": true}`, purge{0, 2}},
		{`{"state": "waiting", "dry_run": true}`, purge{0, 4}},
		{`{"state": "scheduled", "dry_run": true}`, purge{0, 1}},
		{`{"state": "available"}`, purge{2, 2}},
		{`{"state": "available", "dry_run": false}`, purge{0, 0}},
		{`{"state": "retryable"}`, purge{1, 1}},
		{`{"state": "waiting"}`, purge{1, 1}},
		{`{"state": "held"}`, purge{0, 0}},
	} {
		if got := readAs[purge](s.post("/v1/queues/q/purge", c.body).want(http.StatusOK)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.body, got, c.want)
		}
	}
	if q := s.queue("q"); q.Available+q.Scheduled+q.Retryable != 0 || q.Running != 1 || q.Dead != 1 {
		t.Errorf("the queue is %+v", q)
	}
	for _, body := range []string{`{"state": "running"}`, `{"state": "dead"}`, `{"state": ""}`, `{}`, `{"dry_run": true}`, `{"state": "available", "dry_run": "yes"}`} {
		s.post("/v1/queues/q/purge", body).problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.post("/v1/queues/none/purge", `{"state": "waiting", "dry_run": true}`).problem(http.StatusNotFound, "queue_not_found")
}
