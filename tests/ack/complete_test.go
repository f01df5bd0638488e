package ack

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCompletedJobKeepsItsResult(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, result := range []string{`{"message_id": "m-1"}`, `[1, 2]`, `"text"`, `0`, `false`, `null`} {
		weirtest.EnqueueOne(t, d, "q")
		j := weirtest.ClaimOne(t, d, "q")
		weirtest.Exec(t, d, "select weir.complete($1, $2, $3)", j.ID, j.Token, result)
		if same := weirtest.Value[bool](t, d, `select result = $2::jsonb and state = 'completed' and attempt = 1 and worker = 'worker' and error is null and errors is null
			and started_at <= finished_at and finished_at <= clock_timestamp() and lease_expires_at is null from weir.jobs where id = $1`, j.ID, result); !same {
			t.Errorf("the result %s was not kept: %s", result, weirtest.Value[string](t, d, "select to_jsonb(j)::text from weir.jobs j where id = $1", j.ID))
		}
	}
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.complete($1, $2)", j.ID, j.Token)
	if none := weirtest.Value[bool](t, d, "select result is null and state = 'completed' from weir.jobs where id = $1", j.ID); !none {
		t.Error("a job without a result has one")
	}
}

func TestResultsGoToTheirJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 5 {
		weirtest.EnqueueOne(t, d, "q")
	}
	jobs := weirtest.Claim(t, d, "q", 5)
	slices.Reverse(jobs)
	ids, tokens := weirtest.IDs(jobs), weirtest.Tokens(jobs)
	tokens[1]++ // stale: its result is dropped
	got := weirtest.Values[int64](t, d, `select * from weir.complete_many($1, $2, array['"0"', '"1"', null, '"3"', '"4"']::jsonb[])`, ids, tokens)
	if len(got) != 4 || slices.Contains(got, ids[1]) {
		t.Errorf("accepted %v, want all of %v but the second", got, ids)
	}
	results := weirtest.Values[string](t, d, "select coalesce(result #>> '{}', state::text) from weir.jobs order by id desc")
	if want := []string{"0", "running", "completed", "3", "4"}; !slices.Equal(results, want) {
		t.Errorf("the results are %q, want %q", results, want)
	}
}

func TestSwappedTokensCompleteNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	weirtest.EnqueueOne(t, d, "q")
	jobs := weirtest.Claim(t, d, "q", 2)
	d.Unchanged("tokens at each other's places", func() {
		got := weirtest.Values[int64](t, d, "select * from weir.complete_many($1, $2, array['0', '1']::jsonb[])", weirtest.IDs(jobs), []int64{jobs[1].Token, jobs[0].Token})
		if len(got) != 0 {
			t.Errorf("accepted %v", got)
		}
	})
}

func TestEffectsAndCompletionCommitTogether(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "create table effect (job_id bigint)")
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")

	tx := d.Tx()
	weirtest.Exec(t, tx, "insert into effect values ($1)", j.ID)
	weirtest.Exec(t, tx, "select weir.complete($1, $2)", j.ID, j.Token)
	weirtest.WantState(t, d, j.ID, "running")
	weirtest.Rollback(t, tx)
	weirtest.WantState(t, d, j.ID, "running")

	tx = d.Tx()
	weirtest.Exec(t, tx, "insert into effect values ($1)", j.ID)
	next := weirtest.EnqueueOne(t, tx, "next")
	weirtest.Exec(t, tx, "select weir.complete($1, $2)", j.ID, j.Token)
	weirtest.Commit(t, tx)
	weirtest.WantState(t, d, j.ID, "completed")
	weirtest.WantState(t, d, next, "available")

	tx = d.Tx()
	weirtest.Exec(t, tx, "insert into effect values ($1)", j.ID)
	weirtest.WantSQLState(t, weirtest.TryExec(tx, "select weir.complete($1, $2)", j.ID, j.Token), "WR001")
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("the effects of a stale worker were committed")
	}
	if n := weirtest.Value[int](t, d, "select count(*) from effect"); n != 1 {
		t.Errorf("%d effects, want one", n)
	}
}

func TestOneOfManyCompletionsSucceeds(t *testing.T) {
	t.Parallel()
	t.Run("SQL", oneOfManyCompletionsSucceedsSQL)
	t.Run("REST", oneOfManyCompletionsSucceedsREST)
}

func oneOfManyCompletionsSucceedsSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 30 {
		weirtest.EnqueueOne(t, d, "q")
		j := weirtest.ClaimOne(t, d, "q")
		var mu sync.Mutex
		var wg sync.WaitGroup
		accepted := 0
		for _, sql := range []string{
			"select weir.complete($1, $2)", "select weir.complete($1, $2)", "select weir.fail($1, $2, null, '0')", "select weir.release($1, $2)", "select weir.snooze($1, $2, '1 hour')",
		} {
			wg.Go(func() {
				err := weirtest.TryExec(d, sql, j.ID, j.Token)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					accepted++
				} else {
					weirtest.WantSQLState(t, err, "WR001")
				}
			})
		}
		wg.Wait()
		if accepted != 1 {
			t.Errorf("%d of five calls with one token were accepted", accepted)
		}
		weirtest.Exec(t, d, "select weir.purge_queue('q')")
	}
}

func oneOfManyCompletionsSucceedsREST(t *testing.T) {
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
