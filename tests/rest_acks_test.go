package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// servedAcks are the operations that name a token, and a body for each but for the token.
var servedAcks = map[string]obj{
	"complete":  {"result": "stale"},
	"fail":      {"error": obj{"message": "stale"}, "retry": false},
	"snooze":    {"delay_seconds": 1},
	"release":   {},
	"heartbeat": {"lease_seconds": 999, "progress": obj{"percent": 99}},
}

func TestRESTAStaleTokenIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for state, stale := range map[string]func() (id, token string){
		"running for another worker": func() (string, string) {
			first := s.EnqueueAndClaim("again")
			s.Post("/v1/jobs/"+first.ID+"/release", obj{"token": first.Token}).Want(http.StatusOK)
			s.ClaimOne("again")
			return first.ID, first.Token
		},
		"running, and the token was made up": func() (string, string) { return s.EnqueueAndClaim("made-up").ID, "123456789" },
		"available": func() (string, string) {
			j := s.EnqueueAndClaim("available")
			s.Post("/v1/jobs/"+j.ID+"/release", obj{"token": j.Token}).Want(http.StatusOK)
			return j.ID, j.Token
		},
		"never claimed": func() (string, string) {
			id := s.Enqueue(`{"kind": "k", "queue": "fresh"}`)
			return id, id // a token is often the same number as the id
		},
		"scheduled": func() (string, string) {
			j := s.EnqueueAndClaim("scheduled")
			s.Post("/v1/jobs/"+j.ID+"/snooze", obj{"token": j.Token, "delay_seconds": 3600}).Want(http.StatusOK)
			return j.ID, j.Token
		},
		"retryable": func() (string, string) {
			j := s.EnqueueAndClaim("retryable")
			s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}, "retry_in_seconds": 3600}).Want(http.StatusOK)
			return j.ID, j.Token
		},
		"completed": func() (string, string) {
			j := s.EnqueueAndClaim("completed")
			s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "result": "good"}).Want(http.StatusOK)
			return j.ID, j.Token
		},
		"dead": func() (string, string) {
			j := s.EnqueueAndClaim("dead")
			s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}, "retry": false}).Want(http.StatusOK)
			return j.ID, j.Token
		},
		"lost by its worker": func() (string, string) {
			s.Enqueue(`{"kind": "k", "queue": "lost"}`)
			got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "queues": ["lost"], "wait_seconds": 20, "lease_seconds": 1}`).Want(http.StatusOK)).Jobs
			if len(got) != 1 {
				t.Fatal("nothing to claim")
			}
			s.Eventually("the lease runs out", func() bool { return s.Job(got[0].ID).State == "available" })
			return got[0].ID, got[0].Token
		},
	} {
		id, token := stale()
		before := s.Get("/v1/jobs/" + id).Want(http.StatusOK)
		for operation, body := range servedAcks {
			p := s.Post("/v1/jobs/"+id+"/"+operation, weirtest.With(body, obj{"token": token})).Problem(http.StatusConflict, "stale_token")
			if p.Hint == "" {
				t.Errorf("%s: no hint", operation)
			}
			if operation == "heartbeat" {
				continue
			}
			r := s.Post("/v1/acks", obj{"acks": []obj{weirtest.With(body, obj{"token": token, "id": id, "outcome": operation})}}).Want(http.StatusOK)
			if got := weirtest.Decode[struct{ Results []weirtest.AckResult }](r).Results; len(got) != 1 || got[0].ID != id || got[0].Status != "stale_token" || got[0].State != "" {
				t.Errorf("%s in /v1/acks: %v", operation, r)
			}
		}
		if after := s.Get("/v1/jobs/" + id); !bytes.Equal(before.Body, after.Body) {
			t.Errorf("a job %s changed from\n%s to\n%s", state, before.Body, after.Body)
		}
	}
}

func TestRESTAnAckOfAJobThatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for operation, body := range servedAcks {
		for _, id := range []string{"123456", "99999999999999999999999999", "0"} {
			s.Post("/v1/jobs/"+id+"/"+operation, weirtest.With(body, obj{"token": "1"})).Problem(http.StatusNotFound, "job_not_found")
		}
		if operation == "heartbeat" {
			continue
		}
		r := s.Post("/v1/acks", obj{"acks": []obj{weirtest.With(body, obj{"token": "1", "id": "123456", "outcome": operation})}}).Want(http.StatusOK)
		if got := weirtest.Decode[struct{ Results []weirtest.AckResult }](r).Results; len(got) != 1 || got[0].ID != "123456" || got[0].Status != "not_found" {
			t.Errorf("%s in /v1/acks: %v", operation, r)
		}
	}
}

func TestRESTAcksOfManyOutcomesAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "max_attempts": 3}}, 8))
	j := s.ClaimAs("w", 8, "default")
	of := func(i int, outcome string, more obj) obj {
		return weirtest.With(more, obj{"id": j[i].ID, "token": j[i].Token, "outcome": outcome})
	}
	got := s.Acks(
		of(3, "fail", obj{"error": obj{"message": "no", "type": "T", "stack": "at x"}, "retry_in_seconds": 3600}),
		of(0, "complete", obj{"result": obj{"n": 0}}),
		of(5, "release", nil),
		weirtest.With(of(1, "complete", nil), obj{"token": "77"}),
		of(4, "snooze", obj{"delay_seconds": 3600}),
		of(1, "complete", nil),
		of(6, "fail", obj{"error": obj{"message": "for good"}, "retry": false}),
		obj{"id": "424242", "token": "1", "outcome": "release"},
		of(2, "complete", obj{"result": []int{2}}),
		of(7, "fail", obj{"error": obj{"message": "at once"}, "retry_in_seconds": 0}),
	)
	if want := "ok retryable, ok, ok, stale_token, ok, ok, ok dead, not_found, ok, ok available"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for i, want := range []string{"completed", "completed", "completed", "retryable", "scheduled", "available", "dead", "available"} {
		if state := s.Job(j[i].ID).State; state != want {
			t.Errorf("job %d is %s, want %s", i, state, want)
		}
	}
	for i, want := range map[int]string{0: `{"n": 0}`, 2: `[2]`} {
		if result := s.Job(j[i].ID).Result; !weirtest.SameJSON(t, result, []byte(want)) {
			t.Errorf("job %d has the result %s, want %s", i, result, want)
		}
	}
	if result := s.Job(j[1].ID).Result; result != nil {
		t.Errorf("job 1 has the result %s of another", result)
	}
	failed := s.Job(j[3].ID)
	if len(failed.Errors) != 1 || failed.Errors[0].Message != "no" || failed.Errors[0].Type != "T" || failed.Errors[0].Stack != "at x" || failed.Errors[0].Worker != "w" ||
		failed.Errors[0].Kind != "failed" || failed.Errors[0].Attempt != 1 {
		t.Errorf("the failed attempt: %+v", failed.Errors)
	}
	if got := s.Acks(); got != "" {
		t.Errorf("no acks: %s", got)
	}
}

// Of several acks of one lease the first is the one that counts, and the others are stale; a stale one does not spoil a good one, wherever it stands.
func TestRESTOneCallMayNameAJobSeveralTimes(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for i, c := range []struct{ acks, want, state string }{
		{"complete complete", "ok, stale_token", "completed"},
		{"complete! complete", "stale_token, ok", "completed"},
		{"complete complete!", "ok, stale_token", "completed"},
		{"complete! complete complete!", "stale_token, ok, stale_token", "completed"},
		{"complete fail", "ok, stale_token", "completed"},
		{"fail complete", "ok retryable, stale_token", "retryable"},
		{"release complete", "ok, stale_token", "available"},
		{"snooze fail", "ok, stale_token", "scheduled"},
		{"release! snooze! fail! complete", "stale_token, stale_token, stale_token, ok", "completed"},
		{"fail! fail fail", "stale_token, ok retryable, stale_token", "retryable"},
		// Another job that is named twice comes first: what is done in which order must not depend on it.
		{"other:complete other:complete release complete", "ok, stale_token, ok, stale_token", "available"},
		{"other:snooze other:complete fail complete snooze", "ok, stale_token, ok retryable, stale_token, stale_token", "retryable"},
	} {
		queue := fmt.Sprintf("q%d", i)
		job, other := s.EnqueueAndClaim(queue), s.EnqueueAndClaim(queue)
		bodies := map[string]obj{"fail": {"error": obj{"message": "no"}, "retry_in_seconds": 3600}, "snooze": {"delay_seconds": 3600}}
		var acks []obj
		for word := range strings.FieldsSeq(c.acks) {
			of := job
			if rest, isOther := strings.CutPrefix(word, "other:"); isOther {
				word, of = rest, other
			}
			outcome, stale := strings.CutSuffix(word, "!")
			ack := weirtest.With(bodies[outcome], obj{"id": of.ID, "token": of.Token, "outcome": outcome})
			if stale {
				ack["token"] = "987654321"
			}
			acks = append(acks, ack)
		}
		if got := s.Acks(acks...); got != c.want {
			t.Errorf("%s: %s; want %s", c.acks, got, c.want)
		}
		if state := s.Job(job.ID).State; state != c.state {
			t.Errorf("%s: the job is %s, want %s", c.acks, state, c.state)
		}
	}
}

func TestRESTABodyOfAcksThatIsNotValidChangesNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	good := s.EnqueueAndClaim("q")
	for _, c := range []struct{ bad, location string }{
		{`{"id": "1", "token": "1", "outcome": "finish"}`, "body.acks[1].outcome"},
		{`{"id": "1", "token": "1"}`, "body.acks[1]"},
		{`{"id": "1", "outcome": "complete"}`, "body.acks[1]"},
		{`{"token": "1", "outcome": "complete"}`, "body.acks[1]"},
		{`{"id": 1, "token": "1", "outcome": "complete"}`, "body.acks[1].id"},
		{`{"id": "1", "token": "x", "outcome": "complete"}`, "body.acks[1].token"},
		{`{"id": "1", "token": "1", "outcome": "fail", "error": {}}`, "body.acks[1].error"},
		{`{"id": "1", "token": "1", "outcome": "fail", "error": "no"}`, "body.acks[1].error"},
		{`{"id": "1", "token": "1", "outcome": "fail", "error": {"message": "no"}, "retry_in_seconds": -1}`, "body.acks[1].retry_in_seconds"},
		{`{"id": "1", "token": "1", "outcome": "snooze", "delay_seconds": -1}`, "body.acks[1].delay_seconds"},
		{`{"id": "1", "token": "1", "outcome": "snooze", "delay_seconds": "1"}`, "body.acks[1].delay_seconds"},
		{`{"id": "1", "token": "1", "outcome": "complete", "results": 1}`, "body.acks[1].results"},
		{`{"id": "1", "token": "1", "outcome": "complete", "Result": 1}`, "body.acks[1].Result"},
		{`null`, "body.acks[1]"},
		{`7`, "body.acks[1]"},
	} {
		r := s.Post("/v1/acks", `{"acks": [{"id": "`+good.ID+`", "token": "`+good.Token+`", "outcome": "complete"}, `+c.bad+`]}`)
		if r.Status != http.StatusUnprocessableEntity {
			t.Errorf("%.200s: %v", c.bad, r)
			continue
		}
		p := r.Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if !slices.ContainsFunc(p.Errors, func(e struct{ Location, Message string }) bool { return strings.HasPrefix(e.Location, c.location) }) && c.bad != "null" {
			t.Errorf("%.200s: the place is %+v, want %s", c.bad, p.Errors, c.location)
		}
	}
	if state := s.Job(good.ID).State; state != "running" {
		t.Errorf("the good one is %s", state)
	}
	tooMany := slices.Repeat([]obj{{"id": good.ID, "token": good.Token, "outcome": "complete"}}, 10001)
	s.Post("/v1/acks", obj{"acks": tooMany}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if state := s.Job(good.ID).State; state != "running" {
		t.Errorf("the good one is %s", state)
	}
}

func TestRESTTenThousandAcksInOneCall(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	const n = 10000
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k"}}, n))
	var acks []obj
	for len(acks) < n {
		for _, j := range s.ClaimAs("w", 1000, "default") {
			acks = append(acks, obj{"id": j.ID, "token": j.Token, "outcome": "complete", "result": len(acks)})
		}
	}
	if got, want := s.Acks(acks...), "ok"+strings.Repeat(", ok", n-1); got != want {
		t.Error("not all of ten thousand acks were accepted")
	}
	if done := s.Count(`select count(*) from weir.job_outcome where state = 'completed'`); done != n {
		t.Errorf("%d jobs are completed", done)
	}
	if wrong := s.Count(`select count(*) from weir.job_outcome o where o.result is null or o.result <> to_jsonb(array_position($1::text[], o.job_id::text) - 1)`, ackedIDs(acks)); wrong != 0 {
		t.Errorf("%d jobs have the result of another", wrong)
	}
}

func ackedIDs(acks []obj) []string {
	var ids []string
	for _, a := range acks {
		ids = append(ids, a["id"].(string))
	}
	return ids
}

// Calls that come together are committed together. One that is refused must not take the others with it, nor be taken along.
func TestRESTABadCallAmongManyFailsAlone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/full", `{"max_depth": 1}`).Want(http.StatusOK)
	s.Enqueue(`{"kind": "k", "queue": "full"}`)
	// Each passes what the node checks by itself, and is refused by the database.
	bad := map[string]string{
		`{"kind": "bad", "queue": "q", "args": "\u0000"}`:                                                        "invalid_argument",
		`{"kind": "bad", "queue": "q", "args": "` + strings.Repeat("x", 1<<20) + `"}`:                            "args_too_large",
		`{"kind": "bad", "queue": "q", "run_at": "2030-01-01T00:00:00Z", "delay_seconds": 1}`:                    "invalid_argument",
		`{"kind": "bad", "queue": "full"}`:                                                                       "queue_full",
		`{"kind": "bad", "queue": "q", "unique": {"key": "k", "scope": "ttl"}}`:                                  "invalid_argument",
		`{"kind": "bad", "queue": "q", "metadata": {"x": "` + strings.Repeat("x", 1<<17) + `"}}`:                 "invalid_argument",
		`{"kind": "bad", "queue": "q", "args": ` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `}`:   "", // deep, but JSON: taken or refused, and no defect
		`{"kind": "bad", "queue": "q", "args": 1e200000}`:                                                        "invalid_argument",
		`{"kind": "bad", "queue": "q", "run_at": "9999-12-31T23:59:59Z", "args": {"far": true}, "priority": 10}`: "",
	}
	type sent struct {
		body, code string
		good       bool
	}
	var calls []sent
	for body, code := range bad {
		calls = append(calls, sent{body, code, false})
	}
	for i := range 100 {
		calls = append(calls, sent{fmt.Sprintf(`{"kind": "good", "queue": "q", "args": %d}`, i), "", true})
	}
	for range 3 {
		var together sync.WaitGroup
		for _, c := range calls {
			together.Go(func() {
				r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs", c.body)
				if err != nil {
					t.Error(err)
					return
				}
				var p weirtest.ProblemBody
				_ = json.Unmarshal(r.Body, &p)
				switch {
				case c.good && r.Status != http.StatusCreated,
					!c.good && c.code != "" && (r.Status < 400 || r.Status == http.StatusInternalServerError || p.Code != c.code),
					r.Status == http.StatusInternalServerError:
					t.Errorf("%.100s: %v; want %s", c.body, r, c.code)
				}
			})
		}
		together.Wait()
	}
	if n := s.Count(`select count(*) from weir.jobs where kind = 'good'`); n != 300 {
		t.Errorf("%d good jobs are stored, want 300", n)
	}
	if n := s.Count(`select count(*) from weir.jobs where kind = 'bad' and args <> '{"far": true}' and jsonb_typeof(args) <> 'array'`); n != 0 {
		t.Errorf("%d bad jobs are stored", n)
	}
}

func TestRESTAStaleAckAmongManyFailsAlone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k"}}, 120))
	claimed := s.ClaimAs("w", 120, "default")
	var together sync.WaitGroup
	for i, j := range claimed {
		operation := []string{"complete", "fail", "snooze", "release"}[i%4]
		body, want := weirtest.With(servedAcks[operation], obj{"token": j.Token}), http.StatusOK
		switch {
		case i%10 == 3:
			body["token"], want = "987654321", http.StatusConflict
		case i == 4: // i%4 == 0: complete
			body["result"], want = "\x00", http.StatusUnprocessableEntity
		case i == 5: // fail
			body["error"], want = obj{"message": "with a \x00 in it"}, 0
		}
		together.Go(func() {
			r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs/"+j.ID+"/"+operation, body)
			if err != nil || r.Status != want && want != 0 || want == 0 && r.Status >= 500 {
				t.Errorf("%v, %v; want %d", r, err, want)
			}
		})
	}
	together.Wait()
	for i, j := range claimed {
		want := []string{"completed", "dead", "scheduled", "available"}[i%4]
		if i%10 == 3 || i == 4 {
			want = "running"
		}
		state := s.Job(j.ID).State
		if i%4 == 2 && state == "available" {
			state = "scheduled" // its second is over
		}
		if state != want && i != 5 {
			t.Errorf("job %d is %s, want %s", i, state, want)
		}
	}
}

func TestRESTOfManyWhoCompleteALeaseAtOnceOneSucceeds(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	j := s.EnqueueAndClaim("q")
	var mu sync.Mutex
	statuses := map[int]int{}
	var together sync.WaitGroup
	for i := range 30 {
		together.Go(func() {
			r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "result": i})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[r.Status]++
		})
	}
	together.Wait()
	if statuses[http.StatusOK] != 1 || statuses[http.StatusConflict] != 29 {
		t.Errorf("statuses and how often: %v", statuses)
	}
}

func TestRESTAFailedJobIsTriedAgainByItsPolicy(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, c := range []struct {
		retry string
		waits []float64
	}{
		{`{"strategy": "fixed", "base_seconds": 1000, "jitter": false}`, []float64{1000, 1000, 1000}},
		{`{"strategy": "linear", "base_seconds": 1000, "jitter": false}`, []float64{1000, 2000, 3000}},
		{`{"strategy": "exponential", "base_seconds": 500, "jitter": false}`, []float64{500, 1000, 2000}},
		{`{"base_seconds": 1000, "max_seconds": 1500, "jitter": false}`, []float64{1000, 1500, 1500}},
	} {
		id := s.Enqueue(`{"kind": "k", "max_attempts": 4, "retry": ` + c.retry + `}`)
		for attempt, wait := range append(c.waits, -1) {
			got := s.ClaimOne("default")
			if got.ID != id || got.Attempt != attempt+1 {
				t.Fatalf("%s: claimed %+v as attempt %d", c.retry, got, attempt+1)
			}
			ack := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+id+"/fail", obj{"token": got.Token, "error": obj{"message": fmt.Sprintf("no %d", attempt+1)}}).Want(http.StatusOK))
			j := s.Job(id)
			if wait < 0 { // its attempts are used up
				if ack.State != "dead" || ack.RunAt != nil || j.State != "dead" || j.FinishedAt == nil || !weirtest.SameJSON(t, j.Error, []byte(`{"message": "no 4"}`)) || len(j.Errors) != 4 {
					t.Errorf("%s: the last attempt: %+v, %+v", c.retry, ack, j)
				}
				break
			}
			if ack.State != "retryable" || j.State != "retryable" || ack.RunAt == nil || !ack.RunAt.Equal(*j.RunAt) {
				t.Fatalf("%s: %+v, %+v", c.retry, ack, j)
			}
			if got := ack.RunAt.Sub(j.Errors[attempt].At).Seconds(); got < wait-5 || got > wait+5 {
				t.Errorf("%s: attempt %d waits for %v s, want %v", c.retry, attempt+1, got, wait)
			}
			s.Post("/v1/jobs/"+id+"/retry", nil).Want(http.StatusOK)
		}
	}

	// Full jitter: anything from 0 to the wait.
	waits := map[bool]int{}
	for range 20 {
		id := s.Enqueue(`{"kind": "k", "queue": "jitter", "retry": {"strategy": "fixed", "base_seconds": 3600}}`)
		ack := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+id+"/fail", obj{"token": s.ClaimOne("jitter").Token, "error": obj{"message": "no"}}).Want(http.StatusOK))
		if ack.RunAt == nil {
			continue
		}
		wait := ack.RunAt.Sub(s.Job(id).Errors[0].At).Seconds()
		if wait < 0 || wait > 3605 {
			t.Errorf("a jittered wait of %v s", wait)
		}
		waits[wait < 1800]++
	}
	if waits[true] == 0 || waits[false] == 0 { // by chance once in half a million runs
		t.Errorf("jittered waits below and above the middle: %v", waits)
	}
}

func TestRESTAFailureMayDecideForItself(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	fail := func(body obj) (weirtest.AckResult, weirtest.Job) {
		t.Helper()
		j := s.EnqueueAndClaim("q")
		ack := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+j.ID+"/fail", weirtest.With(body, obj{"token": j.Token, "error": obj{"message": "no"}})).Want(http.StatusOK))
		return ack, s.Job(j.ID)
	}
	if ack, j := fail(obj{"retry": false}); ack.State != "dead" || j.State != "dead" || j.Attempt != 1 {
		t.Errorf("not to be retried: %+v, %+v", ack, j)
	}
	if ack, j := fail(obj{"retry_in_seconds": 1234.5}); ack.State != "retryable" || ack.RunAt.Sub(j.Errors[0].At).Round(time.Second) != 1235*time.Second && ack.RunAt.Sub(j.Errors[0].At).Round(time.Second) != 1234*time.Second {
		t.Errorf("retried in 1234.5 s: %+v, %+v", ack, j)
	}
	if ack, j := fail(obj{"retry_in_seconds": 0, "retry": true}); ack.State != "available" || j.State != "available" || j.Attempt != 1 {
		t.Errorf("retried at once: %+v, %+v", ack, j)
	}
}

func TestRESTALongErrorIsCut(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	j := s.EnqueueAndClaim("q")
	long := obj{"message": strings.Repeat("m", 100000), "type": strings.Repeat("t", 1000), "stack": strings.Repeat("s", 100000)}
	s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": long, "retry": false}).Want(http.StatusOK)
	e := s.Job(j.ID).Errors[0]
	if len(e.Message) != 8192 || len(e.Type) != 200 || len(e.Stack) != 16384 {
		t.Errorf("a message of %d, a type of %d, a stack of %d characters are kept", len(e.Message), len(e.Type), len(e.Stack))
	}
}

func TestRESTSnoozeAndReleaseCostNoAttempt(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "max_attempts": 2}`)
	for i := range 6 {
		got := s.ClaimOne("default")
		if got.ID != id || got.Attempt != 1 {
			t.Fatalf("round %d: claimed as %+v", i, got)
		}
		if i%2 == 0 {
			s.Post("/v1/jobs/"+id+"/release", obj{"token": got.Token}).Want(http.StatusOK)
			if j := s.Job(id); j.State != "available" || j.Attempt != 0 || len(j.Errors) != 0 {
				t.Errorf("released: %+v", j)
			}
			continue
		}
		s.Post("/v1/jobs/"+id+"/snooze", obj{"token": got.Token, "delay_seconds": 0.5}).Want(http.StatusOK)
		if j := s.Job(id); j.State != "scheduled" && j.State != "available" || j.Attempt != 0 || len(j.Errors) != 0 {
			t.Errorf("snoozed: %+v", j)
		}
	}
}

func TestRESTAHeartbeatKeepsTheLease(t *testing.T) {
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

func TestRESTALeaseThatRunsOutCountsAsALostAttempt(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "max_attempts": 2}`)
	for attempt := 1; attempt <= 2; attempt++ {
		got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "queues": ["default"], "wait_seconds": 60, "lease_seconds": 1}`).Want(http.StatusOK)).Jobs
		if len(got) != 1 || got[0].ID != id || got[0].Attempt != attempt {
			t.Fatalf("attempt %d: claimed %+v", attempt, got)
		}
	}
	s.Eventually("its attempts are used up", func() bool { return s.Job(id).State == "dead" })
	j := s.Job(id)
	if len(j.Errors) != 2 || j.Errors[0].Kind != "lost" || j.Errors[1].Kind != "lost" || j.Errors[1].Worker != "w" || j.Errors[0].Message == "" {
		t.Errorf("%+v", j.Errors)
	}
}

func TestRESTAnAttemptEndsAtItsTimeoutHeartbeatsOrNot(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "max_attempts": 1, "timeout_seconds": 2}`)
	got := s.ClaimOne("default")
	s.Eventually("the attempt is taken back", func() bool {
		r := s.Post("/v1/jobs/"+id+"/heartbeat", obj{"token": got.Token, "lease_seconds": 60})
		return r.Status == http.StatusConflict
	})
	if j := s.Job(id); j.State != "dead" || len(j.Errors) != 1 || j.Errors[0].Kind != "timed_out" {
		t.Errorf("%+v", j)
	}
}
