package ack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestAcksAreAnsweredInOrder(t *testing.T) {
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

func TestOneCallMayNameJobTwice(t *testing.T) {
	t.Parallel()
	t.Run("SQL", oneCallMayNameJobTwiceSQL)
	t.Run("REST", oneCallMayNameJobTwiceREST)
}

func oneCallMayNameJobTwiceSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for i, sql := range []string{
		"select job_id from weir.heartbeat($1, $2)",
		"select * from weir.release_many($1, $2)",
		"select * from weir.complete_many($1, $2, array_fill('1'::jsonb, array[cardinality($1::bigint[])]))",
		"select * from weir.complete_many($1, $2)",
		"select job_id from weir.fail_many($1, $2, array_fill('{\"message\": \"no\"}'::jsonb, array[cardinality($1::bigint[])]))",
		"select * from weir.snooze_many($1, $2, array_fill('5 s'::interval, array[cardinality($1::bigint[])]))",
	} {
		queue := fmt.Sprint("q", i)
		id := weirtest.EnqueueOne(t, d, queue)
		j := weirtest.ClaimOne(t, d, queue)
		if got := weirtest.Values[int64](t, d, sql, []int64{id, id, id}, []int64{j.Token, j.Token, j.Token}); !slices.Equal(got, []int64{id}) {
			t.Errorf("%s: accepted %v, want %d once", sql, got, id)
		}
	}
}

// The first of several acks of one lease counts; the others are stale. A stale ack does not spoil a good one, wherever
// it stands.
func oneCallMayNameJobTwiceREST(t *testing.T) {
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
		// A job that is named twice comes first: the result must not depend on the order of work.
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

func TestInvalidAckAmongManyChangesNothing(t *testing.T) {
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

func TestTenThousandAcksInOneCall(t *testing.T) {
	weirtest.Long(t, "it acks ten thousand jobs")
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

// Calls that arrive together are committed together. A refused call must neither fail the others nor be committed with
// them.
func TestInvalidCallDoesNotFailItsGroup(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/full", `{"max_depth": 1}`).Want(http.StatusOK)
	s.Enqueue(`{"kind": "k", "queue": "full"}`)
	// Each call passes the node's checks and is refused by the database.
	bad := map[string]string{
		`{"kind": "bad", "queue": "q", "args": "\u0000"}`:                                                        "invalid_argument",
		`{"kind": "bad", "queue": "q", "args": "` + strings.Repeat("x", 1<<20) + `"}`:                            "args_too_large",
		`{"kind": "bad", "queue": "q", "run_at": "2030-01-01T00:00:00Z", "delay_seconds": 1}`:                    "invalid_argument",
		`{"kind": "bad", "queue": "full"}`:                                                                       "queue_full",
		`{"kind": "bad", "queue": "q", "unique": {"key": "k", "scope": "ttl"}}`:                                  "invalid_argument",
		`{"kind": "bad", "queue": "q", "metadata": {"x": "` + strings.Repeat("x", 1<<17) + `"}}`:                 "invalid_argument",
		`{"kind": "bad", "queue": "q", "args": ` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `}`:   "", // deep, but JSON: accepted or refused, never an internal error
		`{"kind": "bad", "queue": "q", "args": 1e200000}`:                                                        "args_too_large",
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
