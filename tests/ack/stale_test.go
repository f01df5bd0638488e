package ack

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// ackBodies holds a body, without the token, for each operation that names one.
var ackBodies = map[string]obj{
	"complete":  {"result": "stale"},
	"fail":      {"error": obj{"message": "stale"}, "retry": false},
	"snooze":    {"delay_seconds": 1},
	"release":   {},
	"heartbeat": {"lease_seconds": 999, "progress": obj{"percent": 99}},
}

func TestStaleTokenIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("SQL", staleTokenIsRefusedSQL)
	t.Run("REST", staleTokenIsRefusedREST)
}

func staleTokenIsRefusedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	stale := weirtest.JobsInEachState(t, d)
	other := stale["running"]

	weirtest.EnqueueOne(t, d, "again")
	first := weirtest.ClaimOne(t, d, "again")
	weirtest.Exec(t, d, "select weir.release($1, $2)", first.ID, first.Token)
	weirtest.ClaimOne(t, d, "again")
	stale["running again with another token"] = first
	stale["running, with its id as the token"] = weirtest.Lease{ID: first.ID, Token: first.ID}
	stale["running, with another job's token"] = weirtest.Lease{ID: first.ID, Token: other.Token}
	stale["running, without a token"] = weirtest.Lease{ID: other.ID, Token: 0}
	delete(stale, "running")
	stale["unknown"] = weirtest.Lease{ID: 1 << 40, Token: 1 << 40}
	stale["unknown, with another job's token"] = weirtest.Lease{ID: 1 << 40, Token: other.Token}
	stale["unknown, negative"] = weirtest.Lease{ID: -1, Token: -1}

	for situation, j := range stale {
		code := "WR001"
		if j.ID < 0 || j.ID == 1<<40 {
			code = "WR002"
		}
		refusing := []string{
			"select weir.complete($1, $2)",
			`select weir.complete($1, $2, '{"result": 1}')`,
			`select weir.fail($1, $2, '{"message": "no"}')`,
			"select weir.fail($1, $2, null, '1 s', false)",
			"select weir.snooze($1, $2, '1 s')",
			"select weir.snooze($1, $2, '0')",
			"select weir.release($1, $2)",
			"select weir.assert_lease($1, $2)",
		}
		ignoring := []string{
			"select * from weir.complete_many(array[$1::bigint], array[$2::bigint])",
			"select * from weir.complete_many(array[$1::bigint], array[$2::bigint], array['1'::jsonb])",
			`select job_id from weir.fail_many(array[$1::bigint], array[$2::bigint], array['{"message": "no"}'::jsonb])`,
			"select job_id from weir.fail_many(array[$1::bigint], array[$2::bigint], array[null::jsonb], array['1 s'::interval], array[false])",
			"select * from weir.snooze_many(array[$1::bigint], array[$2::bigint], array['1 s'::interval])",
			"select * from weir.release_many(array[$1::bigint], array[$2::bigint])",
			"select job_id from weir.heartbeat(array[$1::bigint], array[$2::bigint])",
			`select job_id from weir.heartbeat(array[$1::bigint], array[$2::bigint], 3600, array['{"percent": 5}'::jsonb])`,
		}
		d.Unchanged("a call about a job that is "+situation, func() { // compared once after all calls: a row that is written back differs too
			for _, sql := range refusing {
				weirtest.WantSQLState(t, weirtest.TryExec(d, sql, j.ID, j.Token), code)
			}
			for _, sql := range ignoring {
				if got := weirtest.Values[int64](t, d, sql, j.ID, j.Token); len(got) != 0 {
					t.Errorf("%s: %s accepted %v", situation, sql, got)
				}
			}
		})
	}
}

func staleTokenIsRefusedREST(t *testing.T) {
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
			return id, id // a token often equals the job's id
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
		for operation, body := range ackBodies {
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

func TestAckOfUnknownJobIsNotFound(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for operation, body := range ackBodies {
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

func TestStaleAckAmongManyIsRefusedAlone(t *testing.T) {
	t.Parallel()
	t.Run("SQL", staleAckAmongManyIsRefusedAloneSQL)
	t.Run("REST", staleAckAmongManyIsRefusedAloneREST)
}

func staleAckAmongManyIsRefusedAloneSQL(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"complete":             "select * from weir.complete_many($1, $2)",
		"complete with result": "select * from weir.complete_many($1, $2, array_fill('1'::jsonb, array[cardinality($1::bigint[])]))",
		"fail":                 "select job_id from weir.fail_many($1, $2, array_fill('{\"message\": \"no\"}'::jsonb, array[cardinality($1::bigint[])]))",
		"snooze":               "select * from weir.snooze_many($1, $2, array_fill('5 s'::interval, array[cardinality($1::bigint[])]))",
		"release":              "select * from weir.release_many($1, $2)",
		"heartbeat":            "select job_id from weir.heartbeat($1, $2)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			states := weirtest.JobsInEachState(t, d)
			for range 4 {
				weirtest.EnqueueOne(t, d, "q")
			}
			good := weirtest.Claim(t, d, "q", 4)
			mixed := []weirtest.Lease{
				good[2], states["completed"],
				{ID: 1 << 40, Token: good[0].Token},
				good[0],
				{ID: states["running"].ID, Token: good[3].Token},
				states["dead"], states["scheduled"], good[1], states["new"],
			}
			got := weirtest.Values[int64](t, d, sql, weirtest.IDs(mixed), weirtest.Tokens(mixed))
			slices.Sort(got)
			if want := weirtest.IDs(good[:3]); !slices.Equal(got, want) {
				t.Errorf("accepted %v, want %v", got, want)
			}
			for _, state := range []string{"completed", "dead", "scheduled", "running"} {
				weirtest.WantState(t, d, states[state].ID, state)
			}
			weirtest.WantState(t, d, states["new"].ID, "available")
			weirtest.WantState(t, d, good[3].ID, "running")
		})
	}
}

func staleAckAmongManyIsRefusedAloneREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k"}}, 120))
	claimed := s.ClaimAs("w", 120, "default")
	var together sync.WaitGroup
	for i, j := range claimed {
		operation := []string{"complete", "fail", "snooze", "release"}[i%4]
		body, want := weirtest.With(ackBodies[operation], obj{"token": j.Token}), http.StatusOK
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
			state = "scheduled" // its second has passed
		}
		if state != want && i != 5 {
			t.Errorf("job %d is %s, want %s", i, state, want)
		}
	}
}

func TestAckOfNoJobsDoesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.JobsInEachState(t, d)
	for _, sql := range []string{
		"select * from weir.complete_many('{}', '{}')", "select * from weir.complete_many('{}', '{}', '{}')", "select * from weir.complete_many(null, null)",
		"select job_id from weir.fail_many('{}', '{}', '{}')", "select * from weir.snooze_many('{}', '{}', '{}')", "select * from weir.release_many('{}', '{}')",
		"select job_id from weir.heartbeat('{}', '{}')", "select job_id from weir.heartbeat(null, null)",
	} {
		d.Unchanged(sql, func() {
			if got := weirtest.Values[int64](t, d, sql); len(got) != 0 {
				t.Errorf("%s: accepted %v", sql, got)
			}
		})
	}
}

func TestArraysOfDifferentLengthsAreRefused(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	weirtest.EnqueueOne(t, d, "q")
	jobs := weirtest.Claim(t, d, "q", 2)
	for _, sql := range []string{
		"select weir.complete_many($1, $2[1:1])", "select weir.complete_many($1[1:1], $2)", "select weir.complete_many($1, $2, array['1'::jsonb])",
		"select weir.fail_many($1, $2[1:1], array['1', '2']::jsonb[])", "select weir.fail_many($1, $2, array['1'::jsonb])",
		"select weir.fail_many($1, $2, array['1', '2']::jsonb[], array['1 s'::interval])", "select weir.fail_many($1, $2, array['1', '2']::jsonb[], null, array[true])",
		"select weir.snooze_many($1, $2, array['1 s'::interval])", "select weir.snooze_many($1[1:1], $2, array['1 s', '2 s']::interval[])",
		"select weir.release_many($1, $2[1:1])", "select weir.heartbeat($1, $2[1:1])", "select weir.heartbeat($1, $2, null, array['1'::jsonb])",
	} {
		d.Unchanged(sql, func() {
			weirtest.WantSQLState(t, weirtest.TryExec(d, strings.NewReplacer("$1", "($1::bigint[])", "$2", "($2::bigint[])").Replace(sql), weirtest.IDs(jobs), weirtest.Tokens(jobs)), "WR010")
		})
	}
}
