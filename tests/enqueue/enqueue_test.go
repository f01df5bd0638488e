package enqueue

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestJobTakesDefaultsFromItsQueue(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	facts := func(id int64) string {
		return weirtest.Value[string](t, d, "select concat_ws(' ', queue, priority, max_attempts, timeout_seconds, args, tags, metadata, attempt, state) from weir.jobs where id = $1", id)
	}
	plain := weirtest.Value[int64](t, d, "select weir.enqueue('work')")
	if got, want := facts(plain), "default 5 5 300 {} {} {} 0 available"; got != want {
		t.Errorf("a job in a new queue is %q, want %q", got, want)
	}
	weirtest.Exec(t, d, `select weir.set_queue('mail', '{"priority": 8, "max_attempts": 2, "timeout_seconds": 60}')`)
	ids := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "mail"}`, `{"kind": "b", "queue": "mail", "priority": 1, "max_attempts": 9, "timeout_seconds": 7}`,
		`{"kind": "c", "queue": "mail", "priority": null, "max_attempts": null, "timeout_seconds": null, "tags": null, "retry": null, "unique": null, "run_at": null}`)
	for i, want := range []string{"mail 8 2 60 {} {} {} 0 available", "mail 1 9 7 {} {} {} 0 available", "mail 8 2 60 {} {} {} 0 available"} {
		if got := facts(ids[i]); got != want {
			t.Errorf("job %d of the batch is %q, want %q", i, got, want)
		}
	}
	weirtest.Exec(t, d, `select weir.set_queue('mail', '{"priority": 3, "max_attempts": 4, "timeout_seconds": 5}')`)
	if got, want := facts(ids[0]), "mail 8 2 60 {} {} {} 0 available"; got != want {
		t.Errorf("a change of the queue's settings made the job %q, want it as it was: %q", got, want)
	}
}

func TestEveryOptionIsKept(t *testing.T) {
	t.Parallel()
	t.Run("SQL", everyOptionIsKeptSQL)
	t.Run("REST", everyOptionIsKeptREST)
}

func everyOptionIsKeptSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.Value[int64](t, d, `select weir.enqueue('send', '{"to": ["a", "b"]}', queue => 'mail:eu-1.x_y', priority => 9, max_attempts => 7, unique_key => 'k1',
		options => '{"timeout_seconds": 12, "retry": {"strategy": "fixed", "base_seconds": 1.5}, "tenant": "acme", "tags": ["x", "ü"], "metadata": {"trace": 1}}')`)
	want := `send mail:eu-1.x_y {"to": ["a", "b"]} 9 7 12 {x,ü} {"trace": 1} {"strategy": "fixed", "base_seconds": 1.5} k1 acme`
	if got := weirtest.Value[string](t, d, `select concat_ws(' ', kind, queue, args, priority, max_attempts, timeout_seconds, tags, metadata, retry, unique_key, tenant)
		from weir.jobs where id = $1`, id); got != want {
		t.Errorf("the job is\n%s\nwant\n%s", got, want)
	}
	want = `send mail:eu-1.x_y {"to": ["a", "b"]} 9 1 7 12 {x,ü} {"trace": 1}`
	if got := weirtest.Value[string](t, d, `select concat_ws(' ', kind, queue, args, priority, attempt, max_attempts, timeout_seconds, tags, metadata)
		from weir.claim(array['mail:eu-1.x_y'], 'w')`); got != want {
		t.Errorf("the worker gets\n%s\nwant\n%s", got, want)
	}
}

func everyOptionIsKeptREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	runAt := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	body := obj{
		"kind": "k", "queue": "a.b:c-d_e", "args": obj{"n": 1}, "priority": 9, "run_at": runAt, "max_attempts": 7, "timeout_seconds": 61, "tenant": "acme",
		"retry": obj{"strategy": "linear", "base_seconds": 1.5, "max_seconds": 30, "jitter": false}, "unique": obj{"key": "order-42"},
		"tags": []string{"red", "blue", "ünïcode"}, "metadata": obj{"trace": "t-1", "deep": obj{"er": nil}},
	}
	single := s.Enqueue(body)
	body["unique"] = obj{"key": "order-43", "scope": "ttl", "ttl_seconds": 60}
	batched := s.EnqueueAll([]obj{body})[0]
	for id, key := range map[string]string{single: "order-42", batched: "order-43"} {
		j := s.Job(id)
		if j.Queue != "a.b:c-d_e" || j.Priority != 9 || j.State != "scheduled" || j.RunAt == nil || !j.RunAt.Equal(runAt) || j.MaxAttempts != 7 ||
			j.TimeoutSeconds != 61 || j.Tenant != "acme" || j.UniqueKey != key || !slices.Equal(j.Tags, []string{"red", "blue", "ünïcode"}) ||
			!weirtest.SameJSON(t, j.Metadata, []byte(`{"trace": "t-1", "deep": {"er": null}}`)) ||
			!weirtest.SameJSON(t, j.Retry, []byte(`{"strategy": "linear", "base_seconds": 1.5, "max_seconds": 30, "jitter": false}`)) {
			t.Errorf("%+v", j)
		}
		// The view shows the same.
		if n := s.Count(`select count(*) from weir.jobs where id = $1 and queue = 'a.b:c-d_e' and priority = 9 and state = 'scheduled' and run_at = $2
			and max_attempts = 7 and timeout_seconds = 61 and tenant = 'acme' and unique_key = $3 and 'blue' = any (tags)`, id, runAt, key); n != 1 {
			t.Errorf("the view weir.jobs shows job %s otherwise", id)
		}
	}
	s.Post("/v1/jobs/"+single+"/retry", nil).Want(http.StatusOK) // now
	got := s.ClaimOne("a.b:c-d_e")
	if got.MaxAttempts != 7 || got.TimeoutSeconds != 61 || len(got.Tags) != 3 || !weirtest.SameJSON(t, got.Metadata, []byte(`{"trace": "t-1", "deep": {"er": null}}`)) {
		t.Errorf("claimed: %+v", got)
	}
}

func TestArgsAreAnyJSON(t *testing.T) {
	t.Parallel()
	t.Run("SQL", argsAreAnyJSONSQL)
	t.Run("REST", argsAreAnyJSONREST)
}

func argsAreAnyJSONSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, args := range []string{`{}`, `[]`, `[1, {"a": [null]}]`, `"text"`, `3.25`, `true`, `null`, `{"a": {"b": "\"\\ \n ☃ 😀"}}`, `1e400`} {
		id := weirtest.Value[int64](t, d, "select weir.enqueue('work', $1)", args)
		if same := weirtest.Value[bool](t, d, "select args = $2::jsonb from weir.jobs where id = $1", id, args); !same {
			t.Errorf("args %s were not kept", args)
		}
	}
}

func argsAreAnyJSONREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for i, text := range []string{
		`null`, `true`, `false`, `0`, `-1.5`, `""`, `"text"`, `[]`, `{}`, `[null]`, `{"": ""}`,
		`9007199254740993`, `-123456789012345678901234567890`, `0.1`, `1e-30`, `1e400`, `3.14159265358979323846264338327950288`,
		`"ünïcödé 漢字 🦫 \u00e9 \ud83e\uddab"`, `"\u0001\u001f\u007f\u2028\\\"\/\b\f\n\r\t"`, `"<script>&amp;</script>"`, `"'; drop table weir.job; --"`, `"$1 %s {{x}}"`,
		`{"a": {"b": {"c": [1, [2, [3, {"d": null}]]]}}, "ключ": "значение"}`, `[1, "1", 1.0, true, null, [], {}]`,
		`{"kind": "not the kind", "queue": 7, "args": {"args": {}}}`,
		"  [ 1 ,\n\t2 ]  ",
		strings.Repeat("[", 100) + strings.Repeat("]", 100),
		`"` + strings.Repeat("x", 1000000) + `"`,
	} {
		name := text[:min(len(text), 40)]
		queue := fmt.Sprintf("q%d", i)
		single := s.Enqueue(`{"kind": "k", "queue": "` + queue + `", "args": ` + text + `}`)
		batched := weirtest.Decode[struct{ IDs []string }](s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "`+queue+`", "args": `+text+`}]}`).Want(http.StatusCreated)).IDs[0]
		s.Settle()
		got := s.ClaimAs("worker", 2, queue)
		for _, c := range got {
			if !weirtest.SameJSON(t, c.Args, []byte(text)) {
				t.Errorf("%s: claimed as %.100s", name, c.Args)
			}
		}
		s.Post("/v1/jobs/"+single+"/complete", `{"token": "`+got[0].Token+`", "result": `+text+`}`).Want(http.StatusOK)
		s.Post("/v1/acks", `{"acks": [{"id": "`+batched+`", "token": "`+got[1].Token+`", "outcome": "complete", "result": `+text+`}]}`).Want(http.StatusOK)
		for _, id := range []string{single, batched} {
			j := s.Job(id)
			if !weirtest.SameJSON(t, j.Args, []byte(text)) || !weirtest.SameJSON(t, j.Result, []byte(text)) {
				t.Errorf("%s: args came back as %.100s, result as %.100s", name, j.Args, j.Result)
			}
		}
	}
	if j := s.Job(s.Enqueue(`{"kind": "k"}`)); string(j.Args) != "{}" {
		t.Errorf("no args: %s", j.Args)
	}
}

func TestDelayedJobWaits(t *testing.T) {
	t.Parallel()
	t.Run("SQL", delayedJobWaitsSQL)
	t.Run("REST", delayedJobWaitsREST)
}

func delayedJobWaitsSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for job, want := range map[string]string{
		`{"kind": "a", "delay_seconds": 0}`:                        "available",
		`{"kind": "a", "delay_seconds": 0.5}`:                      "scheduled",
		`{"kind": "a", "delay_seconds": 86400}`:                    "scheduled",
		`{"kind": "a", "run_at": "2001-02-03T04:05:06Z"}`:          "available",
		`{"kind": "a", "run_at": "2999-02-03T04:05:06.789+02:00"}`: "scheduled",
	} {
		weirtest.WantState(t, d, weirtest.Enqueue(t, d, job)[0], want)
	}
	id := weirtest.Value[int64](t, d, "select weir.enqueue('work', run_at => '2999-12-31 23:59:59+00')")
	if at := weirtest.Value[time.Time](t, d, "select run_at from weir.jobs where id = $1", id); at.UTC().Format(time.RFC3339) != "2999-12-31T23:59:59Z" {
		t.Errorf("it becomes available at %s", at)
	}
	weirtest.WantState(t, d, weirtest.Value[int64](t, d, "select weir.enqueue('work', run_at => now() - interval '1 second')"), "available")

	before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
	id = weirtest.Enqueue(t, d, `{"kind": "a", "delay_seconds": 100.25}`)[0]
	after := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
	at := weirtest.Value[time.Time](t, d, "select run_at from weir.jobs where id = $1", id)
	if delay := 100250 * time.Millisecond; at.Before(before.Add(delay)) || at.After(after.Add(delay)) {
		t.Errorf("it becomes available at %s, want 100.25 s after a time from %s to %s", at, before, after)
	}
}

func delayedJobWaitsREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	hour := s.Job(s.Enqueue(`{"kind": "k", "delay_seconds": 3600.5}`))
	if hour.State != "scheduled" || hour.RunAt == nil || hour.RunAt.Sub(hour.CreatedAt).Round(100*time.Millisecond) != 3600500*time.Millisecond {
		t.Errorf("delayed by 3600.5 s: %+v", hour)
	}
	for _, at := range []string{`"delay_seconds": 0`, `"run_at": "2001-02-03T04:05:06Z"`} {
		if j := s.Job(s.Enqueue(`{"kind": "k", ` + at + `}`)); j.State != "available" {
			t.Errorf("%s: %+v", at, j)
		}
	}
}

func TestFirstJobsOfNewQueueMeet(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for round := range 10 {
		jobs := fmt.Sprintf(`[{"kind": "a", "queue": "x%[1]d"}, {"kind": "a", "queue": "y%[1]d"}]`, round)
		if round%2 == 1 {
			jobs = fmt.Sprintf(`[{"kind": "a", "queue": "y%[1]d"}, {"kind": "a", "queue": "x%[1]d"}]`, round)
		}
		failed := make(chan error, 6)
		for range cap(failed) {
			go func() { failed <- weirtest.TryExec(d, "select weir.enqueue_many($1)", jobs) }()
		}
		for range cap(failed) {
			if err := <-failed; err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_ready"); n != 120 {
		t.Errorf("%d jobs are available, want 120", n)
	}
}

func TestIDsAreInOrderOfJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	taken := weirtest.Enqueue(t, d, `{"kind": "first", "unique": {"key": "taken"}}`)[0]
	var jobs []string
	for i := range 3000 {
		switch {
		case i%100 == 50:
			jobs = append(jobs, `{"kind": "again", "unique": {"key": "taken"}}`)
		case i%3 == 0:
			jobs = append(jobs, fmt.Sprintf(`{"kind": "n%d", "queue": "q%d", "delay_seconds": %d}`, i, i%7, i))
		default:
			jobs = append(jobs, fmt.Sprintf(`{"kind": "n%d", "queue": "q%d", "priority": %d}`, i, i%7, 1+i%10))
		}
	}
	ids := weirtest.Enqueue(t, d, jobs...)
	if len(ids) != len(jobs) {
		t.Fatalf("%d ids for %d jobs", len(ids), len(jobs))
	}
	kinds := weirtest.Values[string](t, d, "select j.kind from unnest($1::bigint[]) with ordinality u(id, n) join weir.jobs j on j.id = u.id order by n", ids)
	var last int64
	for i, id := range ids {
		if i%100 == 50 {
			if id != taken || kinds[i] != "first" {
				t.Fatalf("id %d is %d (%s), want %d, which has the key", i, id, kinds[i], taken)
			}
			continue
		}
		if want := fmt.Sprintf("n%d", i); kinds[i] != want || id <= last {
			t.Fatalf("id %d is %d (%s) after %d, want a later one of %s", i, id, kinds[i], last, want)
		}
		last = id
	}
}
