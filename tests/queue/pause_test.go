package queue

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	running := s.EnqueueAndClaim("q")
	for range 2 { // a second pause changes nothing
		if q := weirtest.Decode[weirtest.Queue](s.Post("/v1/queues/q/pause", nil).Want(http.StatusOK)); !q.Paused {
			t.Errorf("paused: %+v", q)
		}
	}
	s.Enqueue(`{"kind": "k", "queue": "q"}`) // works as before
	s.Post("/v1/jobs/"+running.ID+"/heartbeat", obj{"token": running.Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+running.ID+"/complete", obj{"token": running.Token}).Want(http.StatusOK)
	if got := s.Claim(1, "q"); len(got) != 0 {
		t.Errorf("claimed %+v from a paused queue", got)
	}
	for range 2 {
		if q := weirtest.Decode[weirtest.Queue](s.Post("/v1/queues/q/resume", nil).Want(http.StatusOK)); q.Paused {
			t.Errorf("resumed: %+v", q)
		}
	}
	s.ClaimOne("q")
}

func TestPauseEndsAtItsTime(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.pause_queue('q', 'the mail server is down', clock_timestamp() + interval '700 ms')")
	until := weirtest.Value[time.Time](t, d, "select resume_at from weir.queue where name = 'q' and pause_reason = 'the mail server is down'")
	// Only the clock ends it: no loop runs here. Before that, nothing can be claimed.
	var got []weirtest.Lease
	weirtest.Eventually(t, "the pause is over", func() bool { got = weirtest.Claim(t, d, "q", 1); return len(got) == 1 })
	if began := weirtest.Value[time.Time](t, d, "select started_at from weir.jobs where id = $1", id); began.Before(until) {
		t.Errorf("claimed at %v, before the end of the pause at %v", began, until)
	}
	if is := weirtest.Value[string](t, d, "select concat_ws(' ', paused, pause_reason, resume_at) from weir.queue_depth where queue = 'q'"); is != "f" {
		t.Errorf("after the pause the view shows %q", is)
	}
	if n := weirtest.Value[int](t, d, "select resumed from weir.resume_due()"); n != 1 {
		t.Errorf("%d queues were resumed, want 1", n)
	}
	if clean := weirtest.Value[bool](t, d, "select paused_at is null and pause_reason is null and resume_at is null from weir.queue"); !clean {
		t.Error("something is left of the pause")
	}
}

func TestPauseReplacesPause(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	shown := func() string {
		return weirtest.Value[string](t, d, "select concat_ws(' ', paused, pause_reason, resume_at > now() + interval '59 minutes') from weir.queue_depth where queue = 'q'")
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
		weirtest.Exec(t, d, "select weir."+c.call)
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
		d.Unchanged(bad.call, func() {
			if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+bad.call), "WR010"); refusal.ColumnName != bad.field {
				t.Errorf("%s: the place is %q", bad.call, refusal.ColumnName)
			}
		})
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.pause_queue('none', 'x')"), "WR011")
}

// A parked claim gets the jobs soon after the pause, on every node.
func TestParkedClaimGetsJobsAfterPause(t *testing.T) {
	weirtest.Long(t, "it waits for the end of pauses")
	t.Parallel()
	s := weirtest.StartNode(t)
	other := weirtest.StartNodeOn(t, s.DB)
	s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}})
	q := weirtest.Decode[weirtest.Pause](s.Post("/v1/queues/q/pause", `{"reason": "deploying", "resume_in_seconds": 8}`).Want(http.StatusOK))
	if !q.Paused || q.PauseReason != "deploying" || q.PausedAt == nil || q.ResumeAt == nil || q.ResumeAt.Sub(*q.PausedAt).Round(time.Second) != 8*time.Second {
		t.Errorf("the queue is %+v", q)
	}
	answers := []<-chan weirtest.ClaimAnswer{
		s.Park(obj{"worker": "here", "queues": []string{"q"}, "wait_seconds": 60}), other.Park(obj{"worker": "there", "queues": []string{"q"}, "wait_seconds": 60}),
	}
	for _, answer := range answers {
		got := s.Answer(answer)
		if len(got) != 1 {
			t.Fatalf("a claim that waited got %+v", got)
		}
		if began := *s.Job(got[0].ID).StartedAt; began.Before(*q.ResumeAt) || began.Sub(*q.ResumeAt) > weirtest.Soon {
			t.Errorf("it got its job %v after the pause was over", began.Sub(*q.ResumeAt))
		}
	}
	s.Eventually("the queue is as it was", func() bool {
		return s.Count("select count(*) from weir.queue where paused_at is null and pause_reason is null and resume_at is null") == 1
	})
	if text := s.Get("/v1/queues/q").Want(http.StatusOK).String(); strings.Contains(text, "pause_reason") || strings.Contains(text, "resume_at") || strings.Contains(text, "paused_at") {
		t.Errorf("something is shown of the pause: %s", text)
	}

	at := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	q = weirtest.Decode[weirtest.Pause](s.Post("/v1/queues/q/pause", obj{"resume_at": at}).Want(http.StatusOK))
	if q.ResumeAt == nil || !q.ResumeAt.Equal(at) || q.PauseReason != "" {
		t.Errorf("the queue is %+v", q)
	}
	for body, place := range map[string]string{
		`{"resume_at": "2001-01-01T00:00:00Z"}`: "body.resume_at", `{"resume_in_seconds": 0}`: "body.resume_in_seconds", `{"resume_in_seconds": -1}`: "body.resume_in_seconds",
		`{"resume_in_seconds": 1, "resume_at": "2999-01-01T00:00:00Z"}`: "body.resume_at", `{"reason": ""}`: "body.reason", `{"why": "x"}`: "body.why", `{"resume_at": "soon"}`: "body.resume_at",
	} {
		p := s.Post("/v1/queues/q/pause", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != place {
			t.Errorf("%s: the place is %+v", body, p.Errors)
		}
	}
	if q := weirtest.Decode[weirtest.Pause](s.Get("/v1/queues/q")); q.ResumeAt == nil || !q.ResumeAt.Equal(at) {
		t.Errorf("a refused pause changed the queue: %+v", q)
	}
}
