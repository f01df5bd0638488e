package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRESTAJobRunsFromEnqueueToDone(t *testing.T) {
	t.Parallel()
	s := startService(t)
	created := s.post("/v1/jobs", `{"kind": "send_receipt", "queue": "mail", "args": {"order": 42}}`).want(http.StatusCreated)
	job := readAs[servedJob](created)
	if path := created.header.Get("Location"); path != "/v1/jobs/"+job.ID {
		t.Errorf("Location is %q", path)
	}
	if job.State != "available" || job.Kind != "send_receipt" || job.Queue != "mail" || job.Priority != 5 || job.Attempt != 0 ||
		job.MaxAttempts != 5 || job.TimeoutSeconds != 300 || job.Duplicate || job.Errors == nil || job.Tags == nil || string(job.Metadata) != "{}" {
		t.Errorf("enqueued: %+v", job)
	}

	got := s.claimAs("mailer-1", 1, "mail")
	if got[0].ID != job.ID || got[0].Kind != "send_receipt" || got[0].Queue != "mail" || got[0].Attempt != 1 ||
		got[0].MaxAttempts != 5 || got[0].TimeoutSeconds != 300 || got[0].Tags == nil || string(got[0].Metadata) != "{}" {
		t.Fatalf("claimed: %+v", got)
	}
	running := s.job(job.ID)
	if running.State != "running" || running.Worker != "mailer-1" || running.Attempt != 1 || running.StartedAt == nil ||
		running.LeaseExpiresAt == nil || !running.LeaseExpiresAt.Equal(got[0].LeaseExpiresAt) {
		t.Errorf("running: %+v", running)
	}

	s.post("/v1/jobs/"+job.ID+"/heartbeat", obj{"token": got[0].Token, "progress": obj{"percent": 40.5, "message": "half"}}).want(http.StatusOK)
	if p := s.job(job.ID).Progress; p == nil || p.Percent != 40.5 || p.Message != "half" {
		t.Errorf("progress: %+v", p)
	}

	ack := readAs[servedAck](s.post("/v1/jobs/"+job.ID+"/complete", obj{"token": got[0].Token, "result": obj{"message_id": "m-1"}}).want(http.StatusOK))
	if ack.ID != job.ID || ack.Status != "ok" {
		t.Errorf("completing said %+v", ack)
	}
	done := s.job(job.ID)
	if done.State != "completed" || done.FinishedAt == nil || done.FinishedAt.Before(*done.StartedAt) || done.Worker != "mailer-1" ||
		done.Attempt != 1 || !sameJSON(t, done.Result, []byte(`{"message_id": "m-1"}`)) || done.LeaseExpiresAt != nil || done.Error != nil {
		t.Errorf("done: %+v", done)
	}
	if again := s.claim(1, "mail"); len(again) != 0 {
		t.Errorf("it was given out again: %+v", again)
	}
}

func TestRESTEveryOptionOfAJobIsKept(t *testing.T) {
	t.Parallel()
	s := startService(t)
	runAt := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	body := obj{
		"kind": "k", "queue": "a.b:c-d_e", "args": obj{"n": 1}, "priority": 9, "run_at": runAt, "max_attempts": 7, "timeout_seconds": 61, "tenant": "acme",
		"retry": obj{"strategy": "linear", "base_seconds": 1.5, "max_seconds": 30, "jitter": false}, "unique": obj{"key": "order-42"},
		"tags": []string{"red", "blue", "ünïcode"}, "metadata": obj{"trace": "t-1", "deep": obj{"er": nil}},
	}
	single := s.enqueue(body)
	body["unique"] = obj{"key": "order-43", "scope": "ttl", "ttl_seconds": 60}
	batched := s.enqueueAll([]obj{body})[0]
	for id, key := range map[string]string{single: "order-42", batched: "order-43"} {
		j := s.job(id)
		if j.Queue != "a.b:c-d_e" || j.Priority != 9 || j.State != "scheduled" || j.RunAt == nil || !j.RunAt.Equal(runAt) || j.MaxAttempts != 7 ||
			j.TimeoutSeconds != 61 || j.Tenant != "acme" || j.UniqueKey != key || !slices.Equal(j.Tags, []string{"red", "blue", "ünïcode"}) ||
			!sameJSON(t, j.Metadata, []byte(`{"trace": "t-1", "deep": {"er": null}}`)) ||
			!sameJSON(t, j.Retry, []byte(`{"strategy": "linear", "base_seconds": 1.5, "max_seconds": 30, "jitter": false}`)) {
			t.Errorf("%+v", j)
		}
		// The view has the same.
		if n := s.count(`select count(*) from weir.jobs where id = $1 and queue = 'a.b:c-d_e' and priority = 9 and state = 'scheduled' and run_at = $2
			and max_attempts = 7 and timeout_seconds = 61 and tenant = 'acme' and unique_key = $3 and 'blue' = any (tags)`, id, runAt, key); n != 1 {
			t.Errorf("the view weir.jobs shows job %s otherwise", id)
		}
	}
	s.post("/v1/jobs/"+single+"/retry", nil).want(http.StatusOK) // now
	got := s.claimOne("a.b:c-d_e")
	if got.MaxAttempts != 7 || got.TimeoutSeconds != 61 || len(got.Tags) != 3 || !sameJSON(t, got.Metadata, []byte(`{"trace": "t-1", "deep": {"er": null}}`)) {
		t.Errorf("claimed: %+v", got)
	}
}

func TestRESTADelayIsADelay(t *testing.T) {
	t.Parallel()
	s := startService(t)
	hour := s.job(s.enqueue(`{"kind": "k", "delay_seconds": 3600.5}`))
	if hour.State != "scheduled" || hour.RunAt == nil || hour.RunAt.Sub(hour.CreatedAt).Round(100*time.Millisecond) != 3600500*time.Millisecond {
		t.Errorf("delayed by 3600.5 s: %+v", hour)
	}
	for _, at := range []string{`"delay_seconds": 0`, `"run_at": "2001-02-03T04:05:06Z"`} {
		if j := s.job(s.enqueue(`{"kind": "k", ` + at + `}`)); j.State != "available" {
			t.Errorf("%s: %+v", at, j)
		}
	}
}

// What clients in every language rely on: an id or token is a JSON string wherever it appears.
func TestRESTIDsAndTokensAreStrings(t *testing.T) {
	t.Parallel()
	s := startService(t)
	first := s.post("/v1/jobs", `{"kind": "k", "max_attempts": 1}`).want(http.StatusCreated)
	id := readAs[servedJob](first).ID
	claimed := s.post("/v1/claims", `{"worker": "w", "queues": ["default"], "wait_seconds": 20}`).want(http.StatusOK)
	token := readAs[servedClaims](claimed).Jobs[0].Token
	replies := []*reply{
		first, claimed,
		s.post("/v1/jobs/batch", `{"jobs": [{"kind": "k"}]}`),
		s.get("/v1/jobs/" + id), s.get("/v1/jobs"),
		s.post("/v1/acks", obj{"acks": []obj{{"id": id, "token": token, "outcome": "fail", "error": obj{"message": "no"}}, {"id": id, "token": "1", "outcome": "complete"}}}),
		s.get("/v1/queues/default/stats"),
	}
	seen := 0
	var look func(r *reply, v any)
	look = func(r *reply, v any) {
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
		look(r, readAs[any](r))
	}
	if seen < 9 {
		t.Errorf("only %d ids and tokens were seen", seen)
	}
}

func TestRESTArgsAndResultsAreAnyJSON(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for i, text := range []string{
		`null`, `true`, `false`, `0`, `-1.5`, `""`, `"text"`, `[]`, `{}`, `[null]`, `{"": ""}`,
		`9007199254740993`, `-123456789012345678901234567890`, `0.1`, `1e-30`, `1e400`, `3.14159265358979323846264338327950288`,
		`"ünïcödé 漢字 🦫 \u00e9 \ud83e\uddab"`, `"\u0001\u001f\u007f\u2028\\\"\/\b\f\n\r\t"`, `"<script>&amp;</script>"`, `"'; drop table weir.job; --"`, `"$1 %s {{x}}"`,
		`{"a": {"b": {"c": [1, [2, [3, {"d": null}]]]}}, "ключ": "значение"}`, `[1, "1", 1.0, true, null, [], {}]`,
		`{"kind": "not the kind", "queue": 7, "args": {"args": {}}}`,
		"  [ 1 ,\n\t2 ]  ",
		strings.Repeat("[", 500) + strings.Repeat("]", 500),
		`"` + strings.Repeat("x", 1000000) + `"`,
	} {
		name := text[:min(len(text), 40)]
		queue := fmt.Sprintf("q%d", i)
		single := s.enqueue(`{"kind": "k", "queue": "` + queue + `", "args": ` + text + `}`)
		batched := readAs[struct{ IDs []string }](s.post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "`+queue+`", "args": `+text+`}]}`).want(http.StatusCreated)).IDs[0]
		s.settle()
		got := s.claimAs("worker", 2, queue)
		for _, c := range got {
			if !sameJSON(t, c.Args, []byte(text)) {
				t.Errorf("%s: claimed as %.100s", name, c.Args)
			}
		}
		s.post("/v1/jobs/"+single+"/complete", `{"token": "`+got[0].Token+`", "result": `+text+`}`).want(http.StatusOK)
		s.post("/v1/acks", `{"acks": [{"id": "`+batched+`", "token": "`+got[1].Token+`", "outcome": "complete", "result": `+text+`}]}`).want(http.StatusOK)
		for _, id := range []string{single, batched} {
			j := s.job(id)
			if !sameJSON(t, j.Args, []byte(text)) || !sameJSON(t, j.Result, []byte(text)) {
				t.Errorf("%s: args came back as %.100s, result as %.100s", name, j.Args, j.Result)
			}
		}
	}
	if j := s.job(s.enqueue(`{"kind": "k"}`)); string(j.Args) != "{}" {
		t.Errorf("no args: %s", j.Args)
	}
}

// One mebibyte of JSON is what args may have, whatever form the database keeps it in.
func TestRESTArgsOfAlmostOneMebibyteAreTaken(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for name, args := range map[string]string{
		"a string":           `"` + strings.Repeat("x", 1<<20-100) + `"`,
		"many small numbers": "[" + strings.Repeat("1,", 1<<19-100) + "1]",
		"many small objects": "[" + strings.Repeat(`{"a":1},`, 1<<17-100) + "1]",
	} {
		for path, body := range map[string]string{
			"/v1/jobs":       `{"kind": "k", "args": ` + args + `}`,
			"/v1/jobs/batch": `{"jobs": [{"kind": "k", "args": ` + args + `}]}`,
		} {
			if r := s.post(path, body); r.status != http.StatusCreated {
				t.Errorf("%s, %d bytes: %v", name, len(args), r)
			}
		}
	}
}

func TestRESTAnEnqueueWithATakenKeyAnswersWithTheFirstJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	body := `{"kind": "k", "args": {"n": 1}, "unique": {"key": "order-42"}}`
	first := s.enqueue(body)
	same := func(what string) {
		t.Helper()
		r := s.post("/v1/jobs", strings.Replace(body, "1", "2", 1)).want(http.StatusOK)
		if j := readAs[servedJob](r); j.ID != first || !j.Duplicate || !sameJSON(t, j.Args, []byte(`{"n": 1}`)) || r.header.Get("Location") != "/v1/jobs/"+first {
			t.Errorf("%s: %v", what, r)
		}
	}
	same("while it waits")
	got := s.claimOne("default")
	same("while it runs")
	s.post("/v1/jobs/"+first+"/complete", obj{"token": got.Token}).want(http.StatusOK)
	second := readAs[servedJob](s.post("/v1/jobs", body).want(http.StatusCreated))
	if second.ID == first || second.Duplicate {
		t.Errorf("after it ended: %+v", second)
	}
	if n := s.count(`select count(*) from weir.job`); n != 2 {
		t.Errorf("%d jobs are stored, want 2", n)
	}

	withTTL := `{"kind": "k", "queue": "ttl", "unique": {"key": "hour", "scope": "ttl", "ttl_seconds": 3600}}`
	kept := s.enqueue(withTTL)
	s.post("/v1/jobs/"+kept+"/complete", obj{"token": s.claimOne("ttl").Token}).want(http.StatusOK)
	if j := readAs[servedJob](s.post("/v1/jobs", withTTL).want(http.StatusOK)); j.ID != kept || !j.Duplicate || j.State != "completed" {
		t.Errorf("within its hour: %+v", j)
	}

	brief := strings.Replace(strings.Replace(withTTL, "hour", "second", 1), "3600", "1", 1)
	gone := s.enqueue(brief)
	s.eventually("a key is free again after its second", func() bool {
		r := s.post("/v1/jobs", brief)
		return r.status == http.StatusCreated && readAs[servedJob](r).ID != gone
	})
}

func TestRESTEnqueuesOfOneKeyAtOnceMakeOneJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	var mu sync.Mutex
	ids, created := map[string]bool{}, 0
	var callers sync.WaitGroup
	for range 40 {
		callers.Go(func() {
			r, err := s.send(t.Context(), http.MethodPost, "/v1/jobs", `{"kind": "k", "unique": {"key": "one"}}`)
			if err != nil {
				t.Error(err)
				return
			}
			var j servedJob
			if err := json.Unmarshal(r.body, &j); err != nil || r.status != http.StatusCreated && r.status != http.StatusOK || j.Duplicate != (r.status == http.StatusOK) {
				t.Error(r)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[j.ID] = true
			if r.status == http.StatusCreated {
				created++
			}
		})
	}
	callers.Wait()
	if len(ids) != 1 || created != 1 {
		t.Errorf("%d jobs, %d of them created", len(ids), created)
	}
}

func TestRESTABatchIsStoredWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	s := startService(t)
	bad := s.post("/v1/jobs/batch", `{"jobs": [{"kind": "a"}, {"kind": "b"}, {"kind": "c", "priority": 11}, {"kind": "d"}]}`).problem(http.StatusUnprocessableEntity, "invalid_argument")
	if len(bad.Errors) != 1 || bad.Errors[0].Location != "body.jobs[2].priority" {
		t.Errorf("the place: %+v", bad.Errors)
	}
	tooMany := make([]obj, 10001)
	for i := range tooMany {
		tooMany[i] = obj{"kind": "k"}
	}
	s.post("/v1/jobs/batch", obj{"jobs": tooMany}).problem(http.StatusUnprocessableEntity, "invalid_argument")
	if n := s.count(`select count(*) from weir.job`); n != 0 {
		t.Fatalf("%d jobs of refused batches are stored", n)
	}

	ids := s.enqueueAll(tooMany[:10000])
	if len(ids) != 10000 {
		t.Fatalf("%d ids for 10,000 jobs", len(ids))
	}
	empty := readAs[struct {
		IDs        []string
		Duplicates *int
	}](s.post("/v1/jobs/batch", `{"jobs": []}`).want(http.StatusCreated))
	if empty.IDs == nil || len(empty.IDs) != 0 || empty.Duplicates == nil || *empty.Duplicates != 0 {
		t.Errorf("an empty batch: %+v", empty)
	}

	s.enqueue(`{"kind": "k", "queue": "u", "unique": {"key": "a"}}`)
	some := readAs[struct {
		IDs        []string
		Duplicates int
	}](s.post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "u", "unique": {"key": "a"}}, {"kind": "k", "queue": "u", "unique": {"key": "b"}},
		{"kind": "k", "queue": "u", "unique": {"key": "b"}}, {"kind": "k", "queue": "u"}]}`).want(http.StatusCreated))
	if some.Duplicates != 2 || len(some.IDs) != 4 || some.IDs[1] != some.IDs[2] || some.IDs[1] == some.IDs[0] || some.IDs[3] == some.IDs[1] {
		t.Errorf("with duplicates: %+v", some)
	}
	if n := s.count(`select count(*) from weir.job j join weir.queue q on q.id = j.queue_id where q.name = 'u'`); n != 3 {
		t.Errorf("%d jobs are stored, want 3", n)
	}
}

// An application that has taken a key, or made a queue, in a transaction that it leaves open, holds up those who want the same, and nobody else.
func TestRESTAnEnqueueThatHasToWaitHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.enqueue(`{"kind": "k", "queue": "there"}`)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `select weir.enqueue('k', unique_key => 'taken', queue => 'there'), weir.enqueue('k', queue => 'made just now')`); err == nil {
		t.Fatal("a queue's name with spaces was taken")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tx, err = s.pool.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select weir.enqueue('k', unique_key => 'taken', queue => 'there'), weir.enqueue('k', queue => 'just-made')`); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	held := make(chan int, 8)
	for i := range 8 {
		waiting.Go(func() {
			body := `{"kind": "k", "queue": "there", "unique": {"key": "taken"}}`
			if i%2 == 1 {
				body = `{"kind": "k", "queue": "just-made"}`
			}
			r, err := s.send(t.Context(), http.MethodPost, "/v1/jobs", body)
			if err != nil {
				t.Error(err)
				return
			}
			held <- r.status
		})
	}
	s.eventually("an enqueue waits for the open transaction", func() bool {
		return s.count(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'weir%' and wait_event_type = 'Lock'`) > 0
	})
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
		r, err := s.send(ctx, http.MethodPost, "/v1/jobs", `{"kind": "free", "queue": "there"}`)
		cancel()
		if err != nil {
			t.Errorf("an enqueue of another key was held up: %v", err)
			break
		}
		r.want(http.StatusCreated)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	close(held)
	for status := range held {
		if status != http.StatusOK && status != http.StatusCreated && status != http.StatusServiceUnavailable {
			t.Errorf("one that had to wait was answered with %d", status)
		}
	}
	if n := s.count(`select count(*) from weir.job where unique_key = 'taken'`); n != 1 {
		t.Errorf("%d jobs have the key", n)
	}
}

func TestRESTAListIsWalkedExactlyOnceWhileJobsComeIn(t *testing.T) {
	t.Parallel()
	s := startService(t)
	before := map[string]bool{}
	var batch []obj
	for i := range 457 {
		batch = append(batch, obj{"kind": "old", "queue": fmt.Sprintf("q%d", i%3), "priority": 1 + i%10})
	}
	for _, id := range s.enqueueAll(batch) {
		before[id] = true
	}
	for _, query := range []string{"limit=10", "limit=100&kind=old", "limit=7&state=available&queue=q1", "limit=1000", ""} {
		want := map[string]bool{}
		for id := range before {
			want[id] = true
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if q := values.Get("queue"); q != "" {
			clear(want)
			for i, id := range slices.SortedFunc(servedKeys(before), byServedID) {
				if fmt.Sprintf("q%d", i%3) == q {
					want[id] = true
				}
			}
		}
		last := ""
		for pages := 0; ; pages++ {
			page := readAs[servedPage[servedJob]](s.get("/v1/jobs?" + values.Encode()).want(http.StatusOK))
			if limit := values.Get("limit"); limit != "" && fmt.Sprint(len(page.Items)) > limit && len(fmt.Sprint(len(page.Items))) >= len(limit) {
				t.Fatalf("%s: a page of %d", query, len(page.Items))
			}
			for _, j := range page.Items {
				if last != "" && byServedID(j.ID, last) >= 0 {
					t.Fatalf("%s: job %s comes after job %s", query, j.ID, last)
				}
				last = j.ID
				if !want[j.ID] && before[j.ID] {
					t.Fatalf("%s: job %s is not asked for, or comes a second time", query, j.ID)
				}
				delete(want, j.ID)
			}
			if page.NextCursor == nil {
				break
			}
			values.Set("cursor", *page.NextCursor)
			s.enqueueAll([]obj{{"kind": "new", "queue": "q1"}, {"kind": "new", "queue": "q2"}}) // newer than where the walk is
			if pages > 500 {
				t.Fatalf("%s: the walk does not end", query)
			}
		}
		if len(want) > 0 {
			t.Errorf("%s: %d jobs were passed over", query, len(want))
		}
	}
}

func servedKeys(m map[string]bool) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func byServedID(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func TestRESTEachFilterChoosesItsJobs(t *testing.T) {
	t.Parallel()
	s := startService(t)
	// One job in each state, told apart by its kind.
	end := func(kind string, outcome obj) string {
		t.Helper()
		id := s.enqueue(obj{"kind": kind, "queue": "work"})
		outcome["id"], outcome["token"] = id, s.claimAs("w-"+kind, 1, "work")[0].Token
		s.post("/v1/acks", obj{"acks": []obj{outcome}}).want(http.StatusOK)
		return id
	}
	end("completed", obj{"outcome": "complete", "result": 1})
	halfway := s.job(s.enqueue(obj{"kind": "cancelled", "queue": "work", "args": obj{"text": "Needle in args 50%_"}}))
	s.post("/v1/jobs/"+halfway.ID+"/cancel", nil).want(http.StatusOK)
	dead := end("dead", obj{"outcome": "fail", "retry": false, "error": obj{"message": "Haystack burnt"}})
	end("retryable", obj{"outcome": "fail", "retry_in_seconds": 3600, "error": obj{"message": "not yet"}})
	s.enqueue(obj{"kind": "scheduled", "queue": "work", "delay_seconds": 3600, "tenant": "acme"})
	s.enqueue(obj{"kind": "available", "queue": "other", "tags": []string{"red", "blue"}, "priority": 9})
	s.enqueue(obj{"kind": "running", "queue": "busy", "tags": []string{"blue"}})
	s.claimAs("w-running", 1, "busy")
	again := s.job(dead)

	for query, want := range map[string]string{
		"":                           "available cancelled completed dead retryable running scheduled",
		"state=completed":            "completed",
		"state=cancelled":            "cancelled",
		"state=dead":                 "dead",
		"state=retryable":            "retryable",
		"state=scheduled":            "scheduled",
		"state=available":            "available",
		"state=running":              "running",
		"state=held":                 "",
		"queue=work":                 "cancelled completed dead retryable scheduled",
		"queue=nothing":              "",
		"kind=dead":                  "dead",
		"tenant=acme":                "scheduled",
		"tag=blue":                   "available running",
		"tag=red":                    "available",
		"worker=w-completed":         "completed",
		"worker=w-running":           "running",
		"priority=9":                 "available",
		"priority=5":                 "cancelled completed dead retryable running scheduled",
		"min_attempts=1":             "completed dead retryable running",
		"min_attempts=2":             "",
		"has_error=true":             "dead retryable",
		"has_error=false":            "available cancelled completed running scheduled",
		"q=needle":                   "cancelled",
		"q=" + url.QueryEscape("%_"): "cancelled", // no wildcards
		"q=HAYSTACK":                 "dead",
		"q=retry":                    "retryable",
		"q=nowhere":                  "",
		"queue=work&state=available": "",
		"tag=blue&priority=9":        "available",
		"created_after=" + inQuery(halfway.CreatedAt):                                                "available cancelled dead retryable running scheduled",
		"created_before=" + inQuery(halfway.CreatedAt):                                               "completed",
		"finished_after=" + inQuery(*again.FinishedAt):                                               "dead",
		"finished_before=" + inQuery(*again.FinishedAt):                                              "cancelled completed",
		"finished_after=" + inQuery(again.CreatedAt.Add(-time.Hour)) + "&state=dead":                 "dead",
		"created_after=" + url.QueryEscape(halfway.CreatedAt.Format("2006-01-02T15:04:05")+"+23:59"): "available cancelled completed dead retryable running scheduled",
	} {
		page := readAs[servedPage[servedJob]](s.get("/v1/jobs?" + query).want(http.StatusOK))
		var kinds []string
		for _, j := range page.Items {
			kinds = append(kinds, j.Kind)
		}
		slices.Sort(kinds)
		if got := strings.Join(kinds, " "); got != want || page.NextCursor != nil {
			t.Errorf("%s: %s; want %s", query, got, want)
		}
	}
}

func inQuery(at time.Time) string { return url.QueryEscape(at.Format(time.RFC3339Nano)) }

// servedStates makes a job in each state that a job can be brought into over REST, and gives its id.
var servedStates = map[string]func(s *service, queue string) string{
	"available": func(s *service, queue string) string { return s.enqueue(obj{"kind": "k", "queue": queue}) },
	"scheduled": func(s *service, queue string) string {
		return s.enqueue(obj{"kind": "k", "queue": queue, "delay_seconds": 3600})
	},
	"running": func(s *service, queue string) string {
		s.enqueue(obj{"kind": "k", "queue": queue})
		return s.claimOne(queue).ID
	},
	"retryable": func(s *service, queue string) string {
		return s.ended(queue, "fail", obj{"error": obj{"message": "no"}, "retry_in_seconds": 3600})
	},
	"dead": func(s *service, queue string) string {
		return s.ended(queue, "fail", obj{"error": obj{"message": "no"}, "retry": false})
	},
	"completed": func(s *service, queue string) string { return s.ended(queue, "complete", obj{}) },
	"cancelled": func(s *service, queue string) string {
		id := s.enqueue(obj{"kind": "k", "queue": queue})
		s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK)
		return id
	},
}

// ended makes a job, claims it and says what became of it.
func (s *service) ended(queue, how string, more obj) string {
	s.t.Helper()
	s.enqueue(obj{"kind": "k", "queue": queue})
	got := s.claimOne(queue)
	more["token"] = got.Token
	s.post("/v1/jobs/"+got.ID+"/"+how, more).want(http.StatusOK)
	return got.ID
}

func TestRESTAJobThatWaitsCanBeChanged(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"available", "scheduled", "retryable"} {
		id := servedStates[state](s, state)
		before := s.job(id)
		j := readAs[servedJob](s.do(http.MethodPatch, "/v1/jobs/"+id, `{"priority": 10, "max_attempts": 9, "timeout_seconds": 77, "tags": ["x", "y"]}`).want(http.StatusOK))
		if j.State != state || j.Priority != 10 || j.MaxAttempts != 9 || j.TimeoutSeconds != 77 || !slices.Equal(j.Tags, []string{"x", "y"}) ||
			(j.RunAt == nil) != (before.RunAt == nil) || j.RunAt != nil && !j.RunAt.Equal(*before.RunAt) || j.Attempt != before.Attempt {
			t.Errorf("%s: %+v", state, j)
		}
		if j := readAs[servedJob](s.do(http.MethodPatch, "/v1/jobs/"+id, `{"tags": []}`).want(http.StatusOK)); len(j.Tags) != 0 || j.Priority != 10 || j.MaxAttempts != 9 {
			t.Errorf("%s, without tags: %+v", state, j)
		}
		later := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Second)
		put := readAs[servedJob](s.do(http.MethodPatch, "/v1/jobs/"+id, obj{"run_at": later}).want(http.StatusOK))
		if put.RunAt == nil || !put.RunAt.Equal(later) || put.State != map[string]string{"available": "scheduled", "scheduled": "scheduled", "retryable": "retryable"}[state] {
			t.Errorf("%s, put off: %+v", state, put)
		}
		if got := s.claim(1, state); len(got) != 0 {
			t.Errorf("%s: claimed though put off", state)
		}
		if j := readAs[servedJob](s.do(http.MethodPatch, "/v1/jobs/"+id, `{"run_at": "2020-01-01T00:00:00Z"}`).want(http.StatusOK)); j.State != "available" || j.RunAt != nil {
			t.Errorf("%s, brought forward: %+v", state, j)
		}
		got := s.claimOne(state)
		if got.ID != id || got.MaxAttempts != 9 || got.TimeoutSeconds != 77 {
			t.Errorf("%s: claimed as %+v", state, got)
		}
	}
}

func TestRESTAChangedPriorityCounts(t *testing.T) {
	t.Parallel()
	s := startService(t)
	ids := s.enqueueAll([]obj{{"kind": "a"}, {"kind": "b"}, {"kind": "c"}})
	s.do(http.MethodPatch, "/v1/jobs/"+ids[2], `{"priority": 6}`).want(http.StatusOK)
	s.do(http.MethodPatch, "/v1/jobs/"+ids[0], `{"priority": 4}`).want(http.StatusOK)
	s.settle()
	for _, want := range []string{ids[2], ids[1], ids[0]} {
		if got := s.claimOne("default"); got.ID != want {
			t.Errorf("claimed job %s, want %s", got.ID, want)
		}
	}
}

func TestRESTAJobThatRunsOrHasEndedCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"running", "completed", "cancelled", "dead"} {
		id := servedStates[state](s, state)
		before := s.get("/v1/jobs/" + id)
		s.do(http.MethodPatch, "/v1/jobs/"+id, `{"priority": 10}`).problem(http.StatusConflict, "job_not_editable")
		if after := s.get("/v1/jobs/" + id); !bytes.Equal(before.body, after.body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.body, after.body)
		}
	}
}

func TestRESTAWaitingJobIsCancelledAtOnce(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"available", "scheduled", "retryable"} {
		id := servedStates[state](s, state)
		if j := readAs[servedJob](s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK)); j.ID != id || j.State != "cancelled" || j.FinishedAt == nil {
			t.Errorf("%s: %+v", state, j)
		}
		if got := s.claim(10, state); len(got) != 0 {
			t.Errorf("%s: it was claimed after it was cancelled", state)
		}
	}
	for _, state := range []string{"completed", "cancelled", "dead"} {
		id := servedStates[state](s, state)
		before := s.get("/v1/jobs/" + id)
		s.post("/v1/jobs/"+id+"/cancel", nil).problem(http.StatusConflict, "job_ended")
		if after := s.get("/v1/jobs/" + id); !bytes.Equal(before.body, after.body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.body, after.body)
		}
	}
}

func TestRESTTheWorkerOfACancelledJobLearnsItAtItsNextHeartbeat(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for how, want := range map[string]string{"complete": "completed", "fail": "cancelled", "snooze": "cancelled", "release": "cancelled"} {
		id := s.enqueue(obj{"kind": "k", "queue": how})
		got := s.claimOne(how)
		beat := func() bool {
			t.Helper()
			r := s.post("/v1/jobs/"+id+"/heartbeat", obj{"token": got.Token}).want(http.StatusOK)
			return readAs[struct {
				CancelRequested bool `json:"cancel_requested"`
			}](r).CancelRequested
		}
		if beat() {
			t.Fatal("cancel_requested before anybody asked for it")
		}
		if j := readAs[servedJob](s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK)); j.State != "running" || !j.CancelAsked {
			t.Errorf("cancelling a running job: %+v", j)
		}
		s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK) // once more changes nothing
		if !beat() {
			t.Error("the worker does not learn that its job is cancelled")
		}
		s.post("/v1/jobs/"+id+"/"+how, obj{
			"complete": obj{"token": got.Token}, "release": obj{"token": got.Token}, "snooze": obj{"token": got.Token, "delay_seconds": 1},
			"fail": obj{"token": got.Token, "error": obj{"message": "stopped"}},
		}[how]).want(http.StatusOK)
		if j := s.job(id); j.State != want || j.FinishedAt == nil {
			t.Errorf("after %s: %+v", how, j)
		}
	}
}

func TestRESTAJobCanBeRunAgain(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"completed", "cancelled", "dead", "scheduled", "retryable"} {
		for _, reset := range []bool{false, true} {
			queue := fmt.Sprintf("%s-%t", state, reset)
			id := servedStates[state](s, queue)
			before := s.job(id)
			var body any
			if reset {
				body = obj{"reset_attempts": true}
			}
			j := readAs[servedJob](s.post("/v1/jobs/"+id+"/retry", body).want(http.StatusOK))
			want := before.Attempt
			if reset {
				want = 0
			}
			if j.ID != id || j.State != "available" || j.Attempt != want || j.FinishedAt != nil || j.Result != nil || j.Error != nil {
				t.Errorf("%s: %+v", queue, j)
			}
			if len(j.Errors) != len(before.Errors) {
				t.Errorf("%s: its history is lost: %+v", queue, j.Errors)
			}
			got := s.claimOne(queue)
			if got.ID != id || got.Attempt != want+1 {
				t.Errorf("%s: claimed as %+v", queue, got)
			}
			s.post("/v1/jobs/"+id+"/complete", obj{"token": got.Token}).want(http.StatusOK)
		}
	}
	for _, state := range []string{"available", "running"} {
		id := servedStates[state](s, state)
		before := s.get("/v1/jobs/" + id)
		s.post("/v1/jobs/"+id+"/retry", nil).problem(http.StatusConflict, "job_not_retryable")
		if after := s.get("/v1/jobs/" + id); !bytes.Equal(before.body, after.body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.body, after.body)
		}
	}
	if page := readAs[servedPage[servedJob]](s.get("/v1/jobs?state=dead").want(http.StatusOK)); len(page.Items) != 0 {
		t.Errorf("still among the dead: %+v", page.Items)
	}
}

// sameJSON compares two texts as JSON: numbers by their value, however long, objects whatever the order of their fields.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	for text, into := range map[*[]byte]*any{&a: &x, &b: &y} {
		d := json.NewDecoder(bytes.NewReader(*text))
		d.UseNumber()
		if err := d.Decode(into); err != nil {
			t.Errorf("%.200q is no JSON: %v", *text, err)
			return false
		}
	}
	return sameTree(x, y)
}

func sameTree(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, xOK := new(big.Rat).SetString(string(a))
		y, yOK := new(big.Rat).SetString(string(b))
		return xOK && yOK && x.Cmp(y) == 0
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameTree)
	case obj:
		b, ok := b.(obj)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, x := range a {
			if y, there := b[name]; !there || !sameTree(x, y) {
				return false
			}
		}
		return true
	}
	return a == b
}

// SQL takes any JSON for an error. What REST shows of it is text.
func TestRESTErrorsThatAreNotTextAreShownAsText(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for given, want := range map[string]string{`{"message": 5, "type": ["a"], "stack": {"b": 1}}`: "5", `{"message": {"x": 1}}`: `{"x": 1}`, `{"code": 7}`: "failed", `17`: "17", `null`: "failed"} {
		id := s.enqueue(obj{"kind": "k"})
		s.settle()
		s.count(`select length(weir.fail(job_id, token, $1, retry => false)) from weir.claim('{default}', 'w')`, given)
		if got := readAs[servedJob](s.get("/v1/jobs/" + id).want(http.StatusOK)); len(got.Errors) != 1 || got.Errors[0].Message != want {
			t.Errorf("%s: %+v", given, got.Errors)
		}
	}
}

// Somebody holds what single calls need, for longer than a group commit waits: they are done once it is free.
func TestRESTSingleCallsOutlastALock(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.enqueue(obj{"kind": "k"})
	j := s.claimOne("default")
	free := s.begin(`lock table weir.job_ready, weir.job_lease in share mode`)
	var calls sync.WaitGroup
	calls.Go(func() {
		time.Sleep(900 * time.Millisecond)
		free()
	})
	call := func(path string, body any, status int) {
		calls.Go(func() {
			if r, err := s.send(t.Context(), http.MethodPost, path, body); err != nil || r.status != status {
				t.Errorf("%v, %v; want %d", r, err, status)
			}
		})
	}
	call("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}, http.StatusOK)
	for range 20 {
		call("/v1/jobs", `{"kind": "k"}`, http.StatusCreated)
	}
	calls.Wait()
	if n := s.count(`select count(*)::int from weir.job`); n != 21 {
		t.Errorf("there are %d jobs", n)
	}
}
