package job

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestResultIsShownForItsTime(t *testing.T) {
	t.Parallel()
	t.Run("SQL", resultIsShownForItsTimeSQL)
	t.Run("REST", resultIsShownForItsTimeREST)
}

func resultIsShownForItsTimeSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "result_ttl_seconds": 60}`, `{"kind": "a", "queue": "q", "result_ttl_seconds": 31536000}`, `{"kind": "a", "queue": "q"}`,
		`{"kind": "a", "queue": "q", "result_ttl_seconds": 60}`)
	jobs := weirtest.Claim(t, d, "q", 4)
	weirtest.Exec(t, d, `select weir.complete_many($1, $2, array['"brief"', '"long"', '"kept"', null]::jsonb[])`, weirtest.IDs(jobs), weirtest.Tokens(jobs))
	const shown = "select string_agg(coalesce(result #>> '{}', '-') || case when result_until is null then '' else '*' end, ' ' order by id) from weir.jobs"
	if got := weirtest.Value[string](t, d, shown); got != "brief* long* kept -" {
		t.Errorf("at first the results are %q", got)
	}
	if exact := weirtest.Value[bool](t, d, "select result_until - finished_at between '59.5 s' and '60.5 s' from weir.jobs where id = $1", jobs[0].ID); !exact {
		t.Error("the time of the brief result is not counted from its end")
	}
	if n := weirtest.Value[int](t, d, "select weir.sweep_results()"); n != 0 {
		t.Errorf("%d results were wiped before their time", n)
	}
	weirtest.Exec(t, d, "update weir.job_outcome set result_until = clock_timestamp() where job_id = $1", jobs[0].ID) // as if a minute had passed
	if got := weirtest.Value[string](t, d, shown); got != "- long* kept -" {
		t.Errorf("after a minute the results are %q", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_outcome where result = '\"brief\"'"); n != 1 {
		t.Error("it is gone from the disk before the sweep")
	}
	if n := weirtest.Value[int](t, d, "select weir.sweep_results()"); n != 1 {
		t.Errorf("%d results were wiped, want the brief one", n)
	}
	if n := weirtest.Value[int](t, d, "select weir.sweep_results()"); n != 0 {
		t.Errorf("%d results were wiped once more", n)
	}
	if got := weirtest.Value[string](t, d, "select string_agg(coalesce(result #>> '{}', '-'), ' ' order by job_id) from weir.job_outcome"); got != "- long kept -" {
		t.Errorf("on disk the results are %q", got)
	}
	weirtest.WantState(t, d, jobs[0].ID, "completed")

	for _, bad := range []string{`0`, `-1`, `31536001`, `1.5`, `"60"`, `true`} {
		d.Unchanged("result_ttl_seconds "+bad, func() {
			if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue('a', options => $1)", `{"result_ttl_seconds": `+bad+`}`), "WR010"); refusal.ColumnName != "options.result_ttl_seconds" {
				t.Errorf("%s: the place is %q", bad, refusal.ColumnName)
			}
		})
	}
}

func resultIsShownForItsTimeREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	type shown struct {
		State       string
		Result      json.RawMessage
		ResultTTL   int        `json:"result_ttl_seconds"`
		ResultUntil *time.Time `json:"result_until"`
		FinishedAt  *time.Time `json:"finished_at"`
	}
	look := func(id string) shown { return weirtest.Decode[shown](s.Get("/v1/jobs/" + id).Want(http.StatusOK)) }
	made := s.Post("/v1/jobs", `{"kind": "k", "queue": "q", "result_ttl_seconds": 60}`).Want(http.StatusCreated)
	if ttl := weirtest.Decode[shown](made).ResultTTL; ttl != 60 {
		t.Errorf("it is answered with a time of %d", ttl)
	}
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "result": "r"}).Want(http.StatusOK)
	if got := look(j.ID); string(got.Result) != `"r"` || got.ResultUntil == nil || got.ResultUntil.Sub(*got.FinishedAt).Round(time.Second) != time.Minute || got.ResultTTL != 60 {
		t.Errorf("at first: %+v", got)
	}
	s.Exec("update weir.job_outcome set result_until = clock_timestamp()") // as if a minute had passed
	if got := look(j.ID); got.Result != nil || got.ResultUntil != nil || got.State != "completed" {
		t.Errorf("after its time: %+v", got)
	}
	if err := s.Engine.Retain(t.Context()); err != nil { // what the chore does
		t.Fatal(err)
	}
	if n := s.Count(`select count(*) from weir.job_outcome where result is not null`); n != 0 {
		t.Error("the chore leaves the result on disk")
	}
	p := s.Post("/v1/jobs", `{"kind": "k", "result_ttl_seconds": 31536001}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if len(p.Errors) != 1 || p.Errors[0].Location != "body.result_ttl_seconds" {
		t.Errorf("the place is %+v", p.Errors)
	}

	// PostgreSQL may write more digits of a number than were sent, so only the database sees the limit exceeded.
	long := "[" + strings.TrimSuffix(strings.Repeat("1e999,", 8000), ",") + "]"
	for _, result := range []string{long, `"` + strings.Repeat("x", 1<<20) + `"`} {
		name := fmt.Sprintf("%.10s…", result)
		s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}})
		held := s.ClaimAs("worker", 2, "q")
		p := s.Post("/v1/jobs/"+held[0].ID+"/complete", `{"token": "`+held[0].Token+`", "result": `+result+`}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != "body.result" {
			t.Errorf("%s: the place is %+v", name, p.Errors)
		}
		r := s.Post("/v1/acks", `{"acks": [{"id": "`+held[0].ID+`", "token": "`+held[0].Token+`", "outcome": "release"},
			{"id": "`+held[1].ID+`", "token": "`+held[1].Token+`", "outcome": "complete", "result": `+result+`}]}`).Want(http.StatusOK)
		results := weirtest.Decode[struct {
			Results []struct {
				Status string
				Error  struct{ Field string }
			}
		}](r).Results
		if len(results) != 2 || results[0].Status != "ok" || results[1].Status != "invalid" || results[1].Error.Field != "result" {
			t.Errorf("%s: %v", name, r)
		}
		held[0] = s.ClaimOne("q")
		for _, j := range held {
			if now := s.Job(j.ID); now.State != "running" {
				t.Errorf("%s: a job is %s, want running", name, now.State)
			}
			s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
		}
	}
}

func TestManyResultsAreWipedInBatches(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.enqueue('a', options => '{"result_ttl_seconds": 60}') from generate_series(1, 25)`)
	weirtest.Exec(t, d, `select weir.complete(job_id, token, '"x"') from weir.claim(array['default'], 'w', 25)`)
	weirtest.Exec(t, d, "update weir.job_outcome set result_until = now() - interval '1 s'")
	for _, want := range []int{10, 10, 5, 0} {
		if got := weirtest.Value[int](t, d, "select weir.sweep_results(10)"); got != want {
			t.Errorf("wiped %d, want %d", got, want)
		}
	}
}

// A result may have 1 MiB as text, and nothing of a refused result is kept.
func TestResultIsAtMostOneMebibyte(t *testing.T) {
	weirtest.Long(t, "it stores large results")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 3)")
	jobs := weirtest.Claim(t, d, "q", 3)
	const full, over = `to_jsonb(repeat('x', 1048574))`, `to_jsonb(repeat('x', 1048575))`
	d.Unchanged("too large a result", func() {
		if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2, "+over+")", jobs[0].ID, jobs[0].Token), "WR010"); refusal.ColumnName != "result" {
			t.Errorf("the place is %q, want result", refusal.ColumnName)
		}
		if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete_many($1, $2, array['1', "+full+", "+over+"]::jsonb[])", weirtest.IDs(jobs), weirtest.Tokens(jobs)), "WR010"); refusal.ColumnName != "results[3]" {
			t.Errorf("the place is %q, want results[3]", refusal.ColumnName)
		}
	})
	weirtest.Exec(t, d, "select weir.complete($1, $2, "+full+")", jobs[0].ID, jobs[0].Token)
	weirtest.Exec(t, d, "select weir.complete_many($1, $2, array[(select jsonb_agg(1) from generate_series(1, 500000)), "+full+"]::jsonb[])", weirtest.IDs(jobs[1:]), weirtest.Tokens(jobs[1:]))
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where state = 'completed' and result is not null"); n != 3 {
		t.Errorf("%d results are kept, want 3", n)
	}
}
