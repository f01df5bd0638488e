package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAResultIsShownForItsTime(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	enqueue(t, d, `{"kind": "a", "queue": "q", "result_ttl_seconds": 60}`, `{"kind": "a", "queue": "q", "result_ttl_seconds": 31536000}`, `{"kind": "a", "queue": "q"}`,
		`{"kind": "a", "queue": "q", "result_ttl_seconds": 60}`)
	jobs := claim(t, d, "q", 4)
	do(t, d, `select weir.complete_many($1, $2, array['"brief"', '"long"', '"kept"', null]::jsonb[])`, idsOf(jobs), tokensOf(jobs))
	const shown = "select string_agg(coalesce(result #>> '{}', '-') || case when result_until is null then '' else '*' end, ' ' order by id) from weir.jobs"
	if got := ask[string](t, d, shown); got != "brief* long* kept -" {
		t.Errorf("at first the results are %q", got)
	}
	if exact := ask[bool](t, d, "select result_until - finished_at between '59.5 s' and '60.5 s' from weir.jobs where id = $1", jobs[0].ID); !exact {
		t.Error("the time of the brief result is not counted from its end")
	}
	if n := ask[int](t, d, "select weir.sweep_results()"); n != 0 {
		t.Errorf("%d results were wiped before their time", n)
	}
	do(t, d, "update weir.job_outcome set result_until = clock_timestamp() where job_id = $1", jobs[0].ID) // as if a minute had passed
	if got := ask[string](t, d, shown); got != "- long* kept -" {
		t.Errorf("after a minute the results are %q", got)
	}
	if n := ask[int](t, d, "select count(*) from weir.job_outcome where result = '\"brief\"'"); n != 1 {
		t.Error("it is gone from the disk before the sweep")
	}
	if n := ask[int](t, d, "select weir.sweep_results()"); n != 1 {
		t.Errorf("%d results were wiped, want the brief one", n)
	}
	if n := ask[int](t, d, "select weir.sweep_results()"); n != 0 {
		t.Errorf("%d results were wiped once more", n)
	}
	if got := ask[string](t, d, "select string_agg(coalesce(result #>> '{}', '-'), ' ' order by job_id) from weir.job_outcome"); got != "- long kept -" {
		t.Errorf("on disk the results are %q", got)
	}
	wantState(t, d, jobs[0].ID, "completed")

	for _, bad := range []string{`0`, `-1`, `31536001`, `1.5`, `"60"`, `true`} {
		d.unchanged("result_ttl_seconds "+bad, func() {
			if refusal := refused(t, try(d, "select weir.enqueue('a', options => $1)", `{"result_ttl_seconds": `+bad+`}`), "WR010"); refusal.ColumnName != "jobs[0].result_ttl_seconds" {
				t.Errorf("%s: the place is %q", bad, refusal.ColumnName)
			}
		})
	}
}

func TestManyResultsAreWipedInBatches(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, `select weir.enqueue('a', options => '{"result_ttl_seconds": 60}') from generate_series(1, 25)`)
	do(t, d, `select weir.complete(job_id, token, '"x"') from weir.claim(array['default'], 'w', 25)`)
	do(t, d, "update weir.job_outcome set result_until = now() - interval '1 s'")
	for _, want := range []int{10, 10, 5, 0} {
		if got := ask[int](t, d, "select weir.sweep_results(10)"); got != want {
			t.Errorf("wiped %d, want %d", got, want)
		}
	}
}

// 1 MiB as text is what a result may have, and nothing of what is refused is kept.
func TestAResultIsAtMostOneMebibyte(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 3)")
	jobs := claim(t, d, "q", 3)
	const full, over = `to_jsonb(repeat('x', 1048574))`, `to_jsonb(repeat('x', 1048575))`
	d.unchanged("too large a result", func() {
		if refusal := refused(t, try(d, "select weir.complete($1, $2, "+over+")", jobs[0].ID, jobs[0].Token), "WR010"); refusal.ColumnName != "result" {
			t.Errorf("the place is %q, want result", refusal.ColumnName)
		}
		if refusal := refused(t, try(d, "select weir.complete_many($1, $2, array['1', "+full+", "+over+"]::jsonb[])", idsOf(jobs), tokensOf(jobs)), "WR010"); refusal.ColumnName != "results[3]" {
			t.Errorf("the place is %q, want results[3]", refusal.ColumnName)
		}
	})
	do(t, d, "select weir.complete($1, $2, "+full+")", jobs[0].ID, jobs[0].Token)
	do(t, d, "select weir.complete_many($1, $2, array[(select jsonb_agg(1) from generate_series(1, 500000)), "+full+"]::jsonb[])", idsOf(jobs[1:]), tokensOf(jobs[1:]))
	if n := ask[int](t, d, "select count(*) from weir.jobs where state = 'completed' and result is not null"); n != 3 {
		t.Errorf("%d results are kept, want 3", n)
	}
}

func TestRESTAResultHasItsTimeAndItsLimit(t *testing.T) {
	t.Parallel()
	s := startService(t)
	type shown struct {
		State       string
		Result      json.RawMessage
		ResultTTL   int        `json:"result_ttl_seconds"`
		ResultUntil *time.Time `json:"result_until"`
		FinishedAt  *time.Time `json:"finished_at"`
	}
	look := func(id string) shown { return readAs[shown](s.get("/v1/jobs/" + id).want(http.StatusOK)) }
	made := s.post("/v1/jobs", `{"kind": "k", "queue": "q", "result_ttl_seconds": 60}`).want(http.StatusCreated)
	if ttl := readAs[shown](made).ResultTTL; ttl != 60 {
		t.Errorf("it is answered with a time of %d", ttl)
	}
	j := s.claimOne("q")
	s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "result": "r"}).want(http.StatusOK)
	if got := look(j.ID); string(got.Result) != `"r"` || got.ResultUntil == nil || got.ResultUntil.Sub(*got.FinishedAt).Round(time.Second) != time.Minute || got.ResultTTL != 60 {
		t.Errorf("at first: %+v", got)
	}
	s.sql("update weir.job_outcome set result_until = clock_timestamp()") // as if a minute had passed
	if got := look(j.ID); got.Result != nil || got.ResultUntil != nil || got.State != "completed" {
		t.Errorf("after its time: %+v", got)
	}
	if err := s.engine.Retain(t.Context()); err != nil { // what the chore does
		t.Fatal(err)
	}
	if n := s.count(`select count(*) from weir.job_outcome where result is not null`); n != 0 {
		t.Error("the chore leaves the result on disk")
	}
	p := s.post("/v1/jobs", `{"kind": "k", "result_ttl_seconds": 31536001}`).problem(http.StatusUnprocessableEntity, "invalid_argument")
	if len(p.Errors) != 1 || p.Errors[0].Location != "body.result_ttl_seconds" {
		t.Errorf("the place is %+v", p.Errors)
	}

	// Of numbers, PostgreSQL may write more digits than were sent, so the limit shows only there.
	long := "[" + strings.TrimSuffix(strings.Repeat("1e999,", 8000), ",") + "]"
	for _, result := range []string{long, `"` + strings.Repeat("x", 1<<20) + `"`} {
		name := fmt.Sprintf("%.10s…", result)
		s.enqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}})
		held := s.claimAs("worker", 2, "q")
		p := s.post("/v1/jobs/"+held[0].ID+"/complete", `{"token": "`+held[0].Token+`", "result": `+result+`}`).problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != "body.result" {
			t.Errorf("%s: the place is %+v", name, p.Errors)
		}
		p = s.post("/v1/acks", `{"acks": [{"id": "`+held[0].ID+`", "token": "`+held[0].Token+`", "outcome": "snooze", "delay_seconds": 1},
			{"id": "`+held[1].ID+`", "token": "`+held[1].Token+`", "outcome": "complete", "result": `+result+`}]}`).problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != "body.acks[1].result" {
			t.Errorf("%s: the place is %+v", name, p.Errors)
		}
		for _, j := range held {
			if now := s.job(j.ID); now.State != "running" {
				t.Errorf("%s: a job is %s, want running", name, now.State)
			}
			s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).want(http.StatusOK)
		}
	}
}
