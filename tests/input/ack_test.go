//go:build unix

package input

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestOneBadAckOfABatchFailsAlone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	numbers := "[" + strings.Repeat("1e999,", 3999) + "1e999]"
	for _, c := range []struct{ bad, field string }{
		{`"outcome": "complete", "result": "a\u0000b"`, "result"},
		{`"outcome": "complete", "result": {"x": ["\ud800"]}`, "result"},
		{`"outcome": "complete", "result": 1e200000`, "result"},
		{`"outcome": "complete", "result": ` + numbers, "result"},
		{`"outcome": "complete", "result": "` + strings.Repeat("x", 1<<20) + `"`, "result"},
		{`"outcome": "fail"`, "error.message"},
		{`"outcome": "fail", "error": {"message": ""}`, "error.message"},
		{`"outcome": "snooze"`, "delay_seconds"},
	} {
		first, bad, last := s.EnqueueAndClaim("q"), s.EnqueueAndClaim("q"), s.EnqueueAndClaim("q")
		good := func(j weirtest.ClaimedJob) string {
			return `{"id": "` + j.ID + `", "token": "` + j.Token + `", "outcome": "complete", "result": 1}`
		}
		r := s.Post("/v1/acks", `{"acks": [`+good(first)+`, {"id": "`+bad.ID+`", "token": "`+bad.Token+`", `+c.bad+`}, `+good(last)+`]}`).Want(http.StatusOK)
		results := weirtest.Decode[struct {
			Results []struct {
				ID, Status string
				Error      *struct{ Field, Message string }
			}
		}](r).Results
		if len(results) != 3 || results[0].Status != "ok" || results[1].Status != "invalid" || results[2].Status != "ok" || results[1].ID != bad.ID || results[0].Error != nil {
			t.Errorf("%.100s: %v", c.bad, r)
			continue
		}
		if e := results[1].Error; e == nil || e.Field != c.field || !strings.HasPrefix(e.Message, c.field) {
			t.Errorf("%.100s: %+v; want it at %s", c.bad, e, c.field)
		}
		for id, want := range map[string]string{first.ID: "completed", bad.ID: "running", last.ID: "completed"} {
			if state := s.Job(id).State; state != want {
				t.Errorf("%.100s: job %s is %s, want %s", c.bad, id, state, want)
			}
		}
	}
}

func TestFailureIsStoredWhateverItsText(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	const sent, stored = `{"message": "a\u0000b\ud800c", "type": "T\u0000", "stack": "s\u0000"}`, "a\uFFFDb\uFFFDc"
	one, many := s.EnqueueAndClaim("q"), s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+one.ID+"/fail", `{"token": "`+one.Token+`", "retry": false, "error": `+sent+`}`).Want(http.StatusOK)
	s.Post("/v1/acks", `{"acks": [{"id": "`+many.ID+`", "token": "`+many.Token+`", "outcome": "fail", "retry": false, "error": `+sent+`}]}`).Want(http.StatusOK)
	for _, id := range []string{one.ID, many.ID} {
		j := s.Job(id)
		if j.State != "dead" || len(j.Errors) != 1 || j.Errors[0].Message != stored || j.Errors[0].Type != "T\uFFFD" || j.Errors[0].Stack != "s\uFFFD" {
			t.Errorf("the job is %s, with %+v", j.State, j.Errors)
		}
	}
	running := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+running.ID+"/heartbeat", `{"token": "`+running.Token+`", "progress": {"percent": 40, "message": "a\u0000b"}}`).Want(http.StatusOK)
	if p := s.Job(running.ID).Progress; p == nil || p.Message != "a\uFFFDb" {
		t.Errorf("the progress is %+v", p)
	}
}
