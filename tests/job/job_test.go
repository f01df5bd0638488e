package job

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestJobRunsFromEnqueueToCompletion(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	created := s.Post("/v1/jobs", `{"kind": "send_receipt", "queue": "mail", "args": {"order": 42}}`).Want(http.StatusCreated)
	job := weirtest.Decode[weirtest.Job](created)
	if path := created.Header.Get("Location"); path != "/v1/jobs/"+job.ID {
		t.Errorf("Location is %q", path)
	}
	if job.State != "available" || job.Kind != "send_receipt" || job.Queue != "mail" || job.Priority != 5 || job.Attempt != 0 ||
		job.MaxAttempts != 5 || job.TimeoutSeconds != 300 || job.Duplicate || job.Errors == nil || job.Tags == nil || string(job.Metadata) != "{}" {
		t.Errorf("enqueued: %+v", job)
	}

	got := s.ClaimAs("mailer-1", 1, "mail")
	if got[0].ID != job.ID || got[0].Kind != "send_receipt" || got[0].Queue != "mail" || got[0].Attempt != 1 ||
		got[0].MaxAttempts != 5 || got[0].TimeoutSeconds != 300 || got[0].Tags == nil || string(got[0].Metadata) != "{}" {
		t.Fatalf("claimed: %+v", got)
	}
	running := s.Job(job.ID)
	if running.State != "running" || running.Worker != "mailer-1" || running.Attempt != 1 || running.StartedAt == nil ||
		running.LeaseExpiresAt == nil || !running.LeaseExpiresAt.Equal(got[0].LeaseExpiresAt) {
		t.Errorf("running: %+v", running)
	}

	s.Post("/v1/jobs/"+job.ID+"/heartbeat", obj{"token": got[0].Token, "progress": obj{"percent": 40.5, "message": "half"}}).Want(http.StatusOK)
	if p := s.Job(job.ID).Progress; p == nil || p.Percent != 40.5 || p.Message != "half" {
		t.Errorf("progress: %+v", p)
	}

	ack := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+job.ID+"/complete", obj{"token": got[0].Token, "result": obj{"message_id": "m-1"}}).Want(http.StatusOK))
	if ack.ID != job.ID || ack.Status != "ok" {
		t.Errorf("completing said %+v", ack)
	}
	done := s.Job(job.ID)
	if done.State != "completed" || done.FinishedAt == nil || done.FinishedAt.Before(*done.StartedAt) || done.Worker != "mailer-1" ||
		done.Attempt != 1 || !weirtest.SameJSON(t, done.Result, []byte(`{"message_id": "m-1"}`)) || done.LeaseExpiresAt != nil || done.Error != nil {
		t.Errorf("done: %+v", done)
	}
	if again := s.Claim(1, "mail"); len(again) != 0 {
		t.Errorf("it was given out again: %+v", again)
	}
}

// Clients in every language rely on this: an id or token is a JSON string wherever it appears.
func TestIDsAndTokensAreStrings(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	first := s.Post("/v1/jobs", `{"kind": "k", "max_attempts": 1}`).Want(http.StatusCreated)
	id := weirtest.Decode[weirtest.Job](first).ID
	claimed := s.Post("/v1/claims", `{"worker": "w", "queues": ["default"], "wait_seconds": 20}`).Want(http.StatusOK)
	token := weirtest.Decode[weirtest.ClaimedJobs](claimed).Jobs[0].Token
	replies := []*weirtest.Response{
		first, claimed,
		s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k"}]}`),
		s.Get("/v1/jobs/" + id), s.Get("/v1/jobs"),
		s.Post("/v1/acks", obj{"acks": []obj{{"id": id, "token": token, "outcome": "fail", "error": obj{"message": "no"}}, {"id": id, "token": "1", "outcome": "complete"}}}),
		s.Get("/v1/queues/default/stats"),
	}
	seen := 0
	var look func(r *weirtest.Response, v any)
	look = func(r *weirtest.Response, v any) {
		switch v := v.(type) {
		case obj:
			for name, x := range v {
				if name == "id" || name == "token" || name == "last_job_id" {
					seen++
					if text, ok := x.(string); !ok || text == "" || strings.Trim(text, "0123456789") != "" {
						t.Errorf("%s is %v in %v", name, x, r)
					}
				}
				if name == "ids" {
					for _, one := range x.([]any) {
						look(r, obj{"id": one})
					}
				}
				look(r, x)
			}
		case []any:
			for _, x := range v {
				look(r, x)
			}
		}
	}
	for _, r := range replies {
		look(r, weirtest.Decode[any](r))
	}
	if seen < 9 {
		t.Errorf("only %d ids and tokens were seen", seen)
	}
}

// SQL accepts any JSON as an error. REST shows it as text.
func TestNonTextErrorsAreShownAsText(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for given, want := range map[string]string{`{"message": 5, "type": ["a"], "stack": {"b": 1}}`: "5", `{"message": {"x": 1}}`: `{"x": 1}`, `{"code": 7}`: "failed", `17`: "17", `null`: "failed"} {
		id := s.Enqueue(obj{"kind": "k"})
		s.Settle()
		s.Count(`select length(weir.fail(job_id, token, $1, retry => false)) from weir.claim('{default}', 'w')`, given)
		if got := weirtest.Decode[weirtest.Job](s.Get("/v1/jobs/" + id).Want(http.StatusOK)); len(got.Errors) != 1 || got.Errors[0].Message != want {
			t.Errorf("%s: %+v", given, got.Errors)
		}
	}
}
