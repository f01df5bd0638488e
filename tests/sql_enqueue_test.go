package tests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestAJobTakesWhatItDoesNotSayFromItsQueue(t *testing.T) {
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

func TestEveryOptionIsKeptAndHandedToTheWorker(t *testing.T) {
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

func TestArgsAreAnyJSON(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, args := range []string{`{}`, `[]`, `[1, {"a": [null]}]`, `"text"`, `3.25`, `true`, `null`, `{"a": {"b": "\"\\ \n ☃ 😀"}}`, `1e400`} {
		id := weirtest.Value[int64](t, d, "select weir.enqueue('work', $1)", args)
		if same := weirtest.Value[bool](t, d, "select args = $2::jsonb from weir.jobs where id = $1", id, args); !same {
			t.Errorf("args %s were not kept", args)
		}
	}
}

func TestWhenAJobIsDueDecidesWhereItWaits(t *testing.T) {
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

func TestIDsComeInTheOrderOfTheJobs(t *testing.T) {
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

func TestARolledBackEnqueueNeverRuns(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	d.Unchanged("a transaction that rolls back", func() {
		tx := d.Tx()
		weirtest.EnqueueOne(t, tx, "q")
		weirtest.EnqueueOne(t, tx, "another")
		weirtest.Enqueue(t, tx, `{"kind": "later", "delay_seconds": 5}`, `{"kind": "keyed", "unique": {"key": "k"}}`)
		weirtest.Rollback(t, tx)
	})
	tx := d.Tx()
	before := weirtest.EnqueueOne(t, tx, "q")
	weirtest.Exec(t, tx, "savepoint s")
	weirtest.EnqueueOne(t, tx, "q")
	weirtest.Enqueue(t, tx, `{"kind": "keyed", "unique": {"key": "k"}}`)
	weirtest.Exec(t, tx, "rollback to s")
	after := weirtest.EnqueueOne(t, tx, "q")
	weirtest.Commit(t, tx)
	got := weirtest.IDs(weirtest.Claim(t, d, "q,default,another", 100))
	if len(got) != 3 || !slices.Contains(got, before) || !slices.Contains(got, after) {
		t.Errorf("the claim got %v, want three jobs, with %d and %d, which were committed", got, before, after)
	}
}

func TestWhatWasNotCommittedIsNotClaimed(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	tx := d.Tx()
	id := weirtest.EnqueueOne(t, tx, "q")
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 0 {
		t.Errorf("claimed %v, which is not committed", got)
	}
	if got := weirtest.Claim(t, tx, "q", 10); len(got) != 1 || got[0].ID != id {
		t.Errorf("its own transaction claimed %v, want %d", got, id)
	}
	weirtest.Rollback(t, tx)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 0 {
		t.Errorf("%d jobs after the rollback", n)
	}
}

func TestABadJobIsRefusedWithItsPlaceAndChangesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Enqueue(t, d, `{"kind": "there", "unique": {"key": "k"}}`)
	long := func(n int) string { return strings.Repeat("x", n) }
	bad := []struct{ job, field string }{
		{`5`, ""},
		{`null`, ""},
		{`[]`, ""},
		{`"kind"`, ""},
		{`{}`, "kind"},
		{`{"kind": null}`, "kind"},
		{`{"kind": 5}`, "kind"},
		{`{"kind": ""}`, "kind"},
		{`{"kind": "` + long(201) + `"}`, "kind"},
		{`{"kind": "a", "priorty": 5}`, "priorty"},
		{`{"kind": "a", "id": 5}`, "id"},
		{`{"kind": "a", "": 5}`, ""},
		{`{"kind": "a", "queue": ""}`, "queue"},
		{`{"kind": "a", "queue": 5}`, "queue"},
		{`{"kind": "a", "queue": "a b"}`, "queue"},
		{`{"kind": "a", "queue": "a,b"}`, "queue"},
		{`{"kind": "a", "queue": ":a"}`, "queue"},
		{`{"kind": "a", "queue": "a\nb"}`, "queue"},
		{`{"kind": "a", "queue": "a\n"}`, "queue"},
		{`{"kind": "a", "queue": "` + long(129) + `"}`, "queue"},
		{`{"kind": "a", "queue": {}}`, "queue"},
		{`{"kind": "a", "priority": 0}`, "priority"},
		{`{"kind": "a", "priority": 11}`, "priority"},
		{`{"kind": "a", "priority": -1}`, "priority"},
		{`{"kind": "a", "priority": 5.5}`, "priority"},
		{`{"kind": "a", "priority": "5"}`, "priority"},
		{`{"kind": "a", "priority": true}`, "priority"},
		{`{"kind": "a", "priority": [5]}`, "priority"},
		{`{"kind": "a", "priority": 1e99}`, "priority"},
		{`{"kind": "a", "max_attempts": 0}`, "max_attempts"},
		{`{"kind": "a", "max_attempts": 101}`, "max_attempts"},
		{`{"kind": "a", "max_attempts": "3"}`, "max_attempts"},
		{`{"kind": "a", "timeout_seconds": 0}`, "timeout_seconds"},
		{`{"kind": "a", "timeout_seconds": 604801}`, "timeout_seconds"},
		{`{"kind": "a", "timeout_seconds": 1.5}`, "timeout_seconds"},
		{`{"kind": "a", "delay_seconds": -1}`, "delay_seconds"},
		{`{"kind": "a", "delay_seconds": -0.001}`, "delay_seconds"},
		{`{"kind": "a", "delay_seconds": 315360001}`, "delay_seconds"},
		{`{"kind": "a", "delay_seconds": "5"}`, "delay_seconds"},
		{`{"kind": "a", "run_at": 5}`, "run_at"},
		{`{"kind": "a", "run_at": "soonish"}`, "run_at"},
		{`{"kind": "a", "run_at": ""}`, "run_at"},
		{`{"kind": "a", "run_at": "2026-13-01T00:00:00Z"}`, "run_at"},
		{`{"kind": "a", "run_at": "2026-02-30T00:00:00Z"}`, "run_at"},
		{`{"kind": "a", "run_at": "2026-02-03T25:00:00Z"}`, "run_at"},
		{`{"kind": "a", "run_at": "infinity"}`, "run_at"},
		{`{"kind": "a", "run_at": "tomorrow"}`, "run_at"},
		{`{"kind": "a", "run_at": "2026-02-03T04:05:06"}`, "run_at"},
		{`{"kind": "a", "run_at": "2026-02-03T04:05:06+99:00"}`, "run_at"},
		{`{"kind": "a", "run_at": "2026-02-03T04:05:06Z", "delay_seconds": 5}`, "run_at"},
		{`{"kind": "a", "retry": 5}`, "retry"},
		{`{"kind": "a", "retry": []}`, "retry"},
		{`{"kind": "a", "retry": {"strategy": "random"}}`, "retry"},
		{`{"kind": "a", "retry": {"strategy": 5}}`, "retry"},
		{`{"kind": "a", "retry": {"base": 5}}`, "retry"},
		{`{"kind": "a", "retry": {"base_seconds": -1}}`, "retry"},
		{`{"kind": "a", "retry": {"base_seconds": "5"}}`, "retry"},
		{`{"kind": "a", "retry": {"max_seconds": 604801}}`, "retry"},
		{`{"kind": "a", "retry": {"jitter": 1}}`, "retry"},
		{`{"kind": "a", "unique": "k"}`, "unique"},
		{`{"kind": "a", "unique": []}`, "unique"},
		{`{"kind": "a", "unique": {"key": "k", "ttl": 5}}`, "unique"},
		{`{"kind": "a", "unique": {}}`, "unique.key"},
		{`{"kind": "a", "unique": {"key": ""}}`, "unique.key"},
		{`{"kind": "a", "unique": {"key": 5}}`, "unique.key"},
		{`{"kind": "a", "unique": {"key": "` + long(501) + `"}}`, "unique.key"},
		{`{"kind": "a", "unique": {"key": "k", "scope": "day"}}`, "unique.scope"},
		{`{"kind": "a", "unique": {"key": "k", "scope": 5}}`, "unique.scope"},
		{`{"kind": "a", "unique": {"key": "k", "scope": "ttl"}}`, "unique.ttl_seconds"},
		{`{"kind": "a", "unique": {"key": "k", "scope": "active", "ttl_seconds": 5}}`, "unique.ttl_seconds"},
		{`{"kind": "a", "unique": {"key": "k", "ttl_seconds": 5}}`, "unique.ttl_seconds"},
		{`{"kind": "a", "unique": {"key": "k", "scope": "ttl", "ttl_seconds": 0}}`, "unique.ttl_seconds"},
		{`{"kind": "a", "unique": {"key": "k", "scope": "ttl", "ttl_seconds": "5"}}`, "unique.ttl_seconds"},
		{`{"kind": "a", "tenant": ""}`, "tenant"},
		{`{"kind": "a", "tenant": 5}`, "tenant"},
		{`{"kind": "a", "tenant": "` + long(201) + `"}`, "tenant"},
		{`{"kind": "a", "tags": "x"}`, "tags"},
		{`{"kind": "a", "tags": [5]}`, "tags"},
		{`{"kind": "a", "tags": [""]}`, "tags"},
		{`{"kind": "a", "tags": [null]}`, "tags"},
		{`{"kind": "a", "tags": ["` + long(201) + `"]}`, "tags"},
		{`{"kind": "a", "tags": ["x"` + strings.Repeat(`, "x"`, 50) + `]}`, "tags"},
		{`{"kind": "a", "metadata": 5}`, "metadata"},
		{`{"kind": "a", "metadata": []}`, "metadata"},
		{`{"kind": "a", "metadata": {"x": "` + long(65536) + `"}}`, "metadata"},
		{`{"kind": "a", "args": {"x": "` + long(1<<20) + `"}}`, "args"},
	}
	check := func(c struct{ job, field string }) {
		t.Helper()
		for _, place := range []struct{ jobs, field string }{
			{"[" + c.job + "]", "jobs[0]"},
			{`[{"kind": "good", "queue": "new"}, {"kind": "good", "unique": {"key": "new"}}, ` + c.job + `, {"kind": "good"}, 5]`, "jobs[2]"},
		} {
			want := place.field
			if c.field != "" {
				want += "." + c.field
			}
			refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue_many($1)", place.jobs), "WR010")
			if refusal.ColumnName != want {
				t.Errorf("%.200s: the place is %q, want %q (%.200s)", c.job, refusal.ColumnName, want, refusal.Message)
			}
		}
	}
	for some := range slices.Chunk(bad, 10) { // looked at once after them: a row that is put back is another one
		d.Unchanged(fmt.Sprintf("one of %.2000v", some), func() {
			for _, c := range some {
				check(c)
			}
		})
	}
}

func TestABadCallOfEnqueueIsRefused(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for sql, field := range map[string]string{
		`select weir.enqueue(null)`:                                                    "kind",
		`select weir.enqueue('')`:                                                      "kind",
		`select weir.enqueue('a', queue => 'a b')`:                                     "queue",
		`select weir.enqueue('a', priority => 11)`:                                     "priority",
		`select weir.enqueue('a', max_attempts => 0)`:                                  "max_attempts",
		`select weir.enqueue('a', unique_key => '')`:                                   "unique.key",
		`select weir.enqueue('a', options => '{"bogus": 1}')`:                          "bogus",
		`select weir.enqueue('a', options => '{"delay_seconds": -1}')`:                 "delay_seconds",
		`select weir.enqueue('a', options => '[1]')`:                                   "",
		`select weir.enqueue('a', options => '5')`:                                     "",
		`select weir.enqueue('a', run_at => now(), options => '{"delay_seconds": 1}')`: "run_at",
		`select weir.enqueue_many(null)`:                                               "jobs",
		`select weir.enqueue_many('{"kind": "a"}')`:                                    "jobs",
		`select weir.enqueue_many('5')`:                                                "jobs",
		`select weir.enqueue_many('null')`:                                             "jobs",
		`select weir.set_queue('a b')`:                                                 "name",
		`select weir.set_queue(null)`:                                                  "name",
		`select weir.set_queue('a', '5')`:                                              "settings",
		`select weir.set_queue('a', null)`:                                             "settings",
		`select weir.set_queue('a', '{"bogus": 1}')`:                                   "bogus",
		`select weir.set_queue('a', '{"priority": 0}')`:                                "priority",
		`select weir.set_queue('a', '{"priority": "5"}')`:                              "priority",
		`select weir.set_queue('a', '{"max_attempts": 101}')`:                          "max_attempts",
		`select weir.set_queue('a', '{"timeout_seconds": 0.5}')`:                       "timeout_seconds",
		`select weir.set_queue('a', '{"lease_seconds": 3601}')`:                        "lease_seconds",
		`select weir.set_queue('a', '{"retry": 5}')`:                                   "retry",
		`select weir.set_queue('a', '{"retry": {"strategy": "never"}}')`:               "retry",
	} {
		d.Unchanged(sql, func() {
			refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, sql), "WR010")
			if !strings.HasSuffix(refusal.ColumnName, field) {
				t.Errorf("%s: the place is %q, want …%q", sql, refusal.ColumnName, field)
			}
		})
	}
}

func TestNumbersAreNumbersHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.Enqueue(t, d, `{"kind": "a", "priority": 7.0, "max_attempts": 2e1, "timeout_seconds": 30.00}`)[0]
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', priority, max_attempts, timeout_seconds) from weir.jobs where id = $1", id); got != "7 20 30" {
		t.Errorf("priority, max_attempts and timeout_seconds are %s, want 7 20 30", got)
	}
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"priority": 6.0, "timeout_seconds": 1e2}')`)
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', priority, timeout_seconds) from weir.queue where name = 'q'"); got != "6 100" {
		t.Errorf("the queue's are %s, want 6 100", got)
	}
}

func TestOneMebibyteOfArgsAndTenThousandJobsAreTheLimit(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	text := func(n int) string { return strings.Repeat("x", n) }
	id := weirtest.Value[int64](t, d, "select weir.enqueue('work', jsonb_build_object('x', $1::text))", text(1<<20-100))
	if n := weirtest.Value[int](t, d, "select length(args ->> 'x') from weir.jobs where id = $1", id); n != 1<<20-100 {
		t.Errorf("%d characters were kept", n)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue('work', jsonb_build_object('x', $1::text))", text(1<<20)), "WR010")

	many := func(n int) string { return `[{"kind": "a"}` + strings.Repeat(`, {"kind": "a"}`, n-1) + `]` }
	if n := len(weirtest.Values[int64](t, d, "select weir.enqueue_many($1)", many(10000))); n != 10000 {
		t.Errorf("%d ids for 10,000 jobs", n)
	}
	d.Unchanged("10,001 jobs", func() {
		if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue_many($1)", many(10001)), "WR010"); refusal.ColumnName != "jobs" {
			t.Errorf("the place is %q, want jobs", refusal.ColumnName)
		}
	})
	if ids := weirtest.Values[int64](t, d, "select weir.enqueue_many('[]')"); len(ids) != 0 {
		t.Errorf("no jobs have the ids %v", ids)
	}
}

func TestAFullQueueRefusesAllOrNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('small', '{"max_depth": 3}')`)
	job := `{"kind": "a", "queue": "small"}`
	weirtest.Enqueue(t, d, job, job)
	d.Unchanged("one job too many", func() {
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue_many($1)", "["+job+","+job+`,{"kind": "a", "queue": "other"}]`), "WR013")
	})
	weirtest.Enqueue(t, d, job)
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue_many($1)", "["+job+"]"), "WR013")
	weirtest.Complete(t, d, weirtest.Claim(t, d, "small", 2)...)
	weirtest.Tick(t, d)
	weirtest.Enqueue(t, d, job)
	tx := d.Tx()
	weirtest.EnqueueOne(t, tx, "small")
	weirtest.WantSQLState(t, weirtest.TryExec(tx, "select weir.enqueue('one more', queue => 'small')"), "WR013")
}

func TestAnActiveUniqueKeyMakesOneJob(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	job := `{"kind": "a", "unique": {"key": "k"}}`
	first := weirtest.Enqueue(t, d, job)[0]
	again := func(want int64, duplicate bool, when string) {
		t.Helper()
		got := weirtest.Value[string](t, d, "select concat_ws(' ', job_id, duplicate) from weir.enqueue_batch($1)", `[{"kind": "b", "queue": "other", "unique": {"key": "k", "scope": "active"}}]`)
		if want := fmt.Sprint(want, " ", map[bool]string{true: "t", false: "f"}[duplicate]); got != want {
			t.Errorf("%s: enqueueing answers %q, want %q", when, got, want)
		}
	}
	again(first, true, "while it is available")
	if id := weirtest.Value[int64](t, d, "select weir.enqueue('c', unique_key => 'k')"); id != first {
		t.Errorf("weir.enqueue answers %d, want %d", id, first)
	}
	j := weirtest.ClaimOne(t, d, "default")
	again(first, true, "while it runs")
	weirtest.Exec(t, d, "select weir.snooze($1, $2, '1 hour')", j.ID, j.Token)
	again(first, true, "while it is scheduled")
	weirtest.Exec(t, d, "select weir.retry($1)", first)
	j = weirtest.ClaimOne(t, d, "default")
	weirtest.Exec(t, d, "select weir.fail($1, $2, null, '1 hour')", j.ID, j.Token)
	again(first, true, "while it is retryable")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 1 {
		t.Fatalf("there are %d jobs, want one", n)
	}
}

func TestAnActiveUniqueKeyIsFreeWhenItsJobHasEnded(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	var last int64
	for _, ending := range []string{
		"select weir.complete(job_id, token) from weir.job_lease where job_id = $1",
		"select weir.fail(job_id, token, null, retry => false) from weir.job_lease where job_id = $1",
		"select weir.cancel($1)",
	} {
		id := weirtest.Value[int64](t, d, "select weir.enqueue('a', unique_key => 'k')")
		if id == last {
			t.Fatalf("before %q: job %d still has the key", ending, id)
		}
		last = id
		if !strings.Contains(ending, "cancel") {
			weirtest.ClaimOne(t, d, "default")
		}
		weirtest.Exec(t, d, ending, id)
	}
	// A job that runs again has its key again, unless another has it.
	weirtest.Exec(t, d, "select weir.retry($1)", last)
	if id := weirtest.Value[int64](t, d, "select weir.enqueue('a', unique_key => 'k')"); id != last {
		t.Errorf("enqueueing answers %d, want %d, which runs again", id, last)
	}
}

func TestAUniqueKeyWithATimeIsTakenUntilThen(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	long, short := `{"kind": "a", "unique": {"key": "long", "scope": "ttl", "ttl_seconds": 3600}}`, `{"kind": "a", "unique": {"key": "short", "scope": "ttl", "ttl_seconds": 60}}`
	ids := weirtest.Enqueue(t, d, long, short)
	weirtest.Complete(t, d, weirtest.Claim(t, d, "default", 1)...)
	if again := weirtest.Enqueue(t, d, long)[0]; again != ids[0] {
		t.Errorf("the key of an ended job was given to %d before its time", again)
	}
	if again := weirtest.Enqueue(t, d, short)[0]; again != ids[1] {
		t.Errorf("the key of job %d was given to %d before its time", ids[1], again)
	}
	weirtest.Exec(t, d, "update weir.job_unique set until = clock_timestamp() where key = 'short'") // as if a minute had passed
	next := weirtest.Enqueue(t, d, short)[0]
	if next == ids[1] {
		t.Errorf("the key is still taken after its time")
	}
	weirtest.WantState(t, d, ids[1], "available") // its time is over, whatever became of its job
	if again := weirtest.Enqueue(t, d, short)[0]; again != next {
		t.Errorf("the key that job %d took over was given to %d", next, again)
	}
}

func TestOneKeyTwiceInABatchMakesOneJob(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, unique := range []string{`{"key": "k1"}`, `{"key": "k2", "scope": "ttl", "ttl_seconds": 60}`} {
		ids := weirtest.Enqueue(t, d, `{"kind": "a", "unique": `+unique+`}`, `{"kind": "between"}`, `{"kind": "b", "unique": `+unique+`}`, `{"kind": "c", "delay_seconds": 5, "unique": `+unique+`}`)
		if ids[2] != ids[0] || ids[3] != ids[0] || ids[1] == ids[0] {
			t.Errorf("%s: the ids are %v, want the first, third and fourth the same", unique, ids)
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 4 {
		t.Errorf("there are %d jobs, want 4", n)
	}
}

func TestManySessionsEnqueueOneKeyOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	for round := range 20 {
		sql := fmt.Sprintf("select weir.enqueue('a', queue => 'q', unique_key => 'k%d')", round)
		if round%2 == 1 {
			sql = fmt.Sprintf(`select weir.enqueue('a', queue => 'q', options => '{"unique": {"key": "k%d", "scope": "ttl", "ttl_seconds": 60}}')`, round)
		}
		ids := make(chan int64, 8)
		for range cap(ids) {
			go func() {
				var id int64
				if err := d.QueryRow(context.Background(), sql).Scan(&id); err != nil {
					t.Error(err)
				}
				ids <- id
			}()
		}
		first := <-ids
		for range cap(ids) - 1 {
			if id := <-ids; id != first {
				t.Errorf("round %d: two jobs, %d and %d, have one key", round, first, id)
			}
		}
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job"); n != 20 {
		t.Errorf("there are %d jobs, want 20", n)
	}
}

func TestAKeyIsDecidedByTheTransactionThatTookItFirst(t *testing.T) {
	t.Parallel()
	for _, commits := range []bool{true, false} {
		t.Run(fmt.Sprintf("commits=%t", commits), func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			weirtest.Exec(t, d, "select weir.set_queue('q')")
			const sql = "select weir.enqueue('a', queue => 'q', unique_key => 'k')"
			tx := d.Tx()
			first := weirtest.Value[int64](t, tx, sql)
			second := make(chan int64)
			go func() { second <- weirtest.Value[int64](t, d, sql) }()
			weirtest.Eventually(t, "the second waits for the first's transaction", func() bool {
				return weirtest.Value[int](t, d, "select count(*) from pg_locks where not granted and locktype = 'transactionid' and pid in (select pid from pg_stat_activity where datname = current_database())") > 0
			})
			select {
			case id := <-second:
				t.Fatalf("the second has not waited, and got %d", id)
			default:
			}
			if commits {
				weirtest.Commit(t, tx)
			} else {
				weirtest.Rollback(t, tx)
			}
			id := <-second
			if (id == first) != commits {
				t.Errorf("the first got %d and the second %d", first, id)
			}
			if got := weirtest.Claim(t, d, "q", 10); len(got) != 1 || got[0].ID != id {
				t.Errorf("claimed %v, want %d alone", got, id)
			}
		})
	}
}

func TestTheFirstJobsOfANewQueueMeet(t *testing.T) {
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

func TestAnOpenEnqueueHoldsUpNobody(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 20 {
		weirtest.EnqueueOne(t, d, "q")
	}
	running := weirtest.Claim(t, d, "q", 10)
	tx := d.Tx()
	weirtest.EnqueueOne(t, tx, "q")
	weirtest.Enqueue(t, tx, `{"kind": "later", "queue": "q", "delay_seconds": 0.001}`, `{"kind": "keyed", "queue": "q", "unique": {"key": "k"}}`, `{"kind": "new", "queue": "a-new-one"}`)

	other := d.ConnectWithLockTimeout()
	weirtest.Exec(t, other, "set statement_timeout = '60s'")
	j := func(i int) (int64, int64) { return running[i].ID, running[i].Token }
	for _, c := range []struct {
		sql  string
		args []any
	}{
		{"select * from weir.claim(array['q', 'a-new-one'], 'w', 5)", nil},
		{"select weir.enqueue('other', queue => 'q')", nil},
		{"select weir.enqueue('other', queue => 'another', unique_key => 'another')", nil},
		{"select weir.enqueue('other', queue => 'q', run_at => now() + interval '1 hour')", nil},
		{"select weir.set_queue('q', '{\"priority\": 6}')", nil},
		{"select weir.pause_queue('q'), weir.resume_queue('q')", nil},
		{"select * from weir.promote_due()", nil},
		{"select * from weir.expire_leases()", nil},
		{"select * from weir.advance_frontier('0 s')", nil},
		{"select weir.keep_partitions('0 s', 4)", nil},
		{"select weir.park(array['q'], 'node')", nil},
		{"select * from weir.queue_depth", nil},
		{"select weir.purge_queue('q', 1)", nil},
		{"vacuum (analyze) weir.job_ready", nil},
	} {
		if err := weirtest.TryExec(other, c.sql, c.args...); err != nil {
			t.Errorf("%s: %v", c.sql, err)
		}
	}
	for i, sql := range []string{
		"select weir.complete($1, $2)", "select weir.fail($1, $2, null)", "select weir.snooze($1, $2, '1 s')", "select weir.release($1, $2)", "select * from weir.heartbeat(array[$1::bigint], array[$2::bigint])",
		"select weir.assert_lease($1, $2)",
	} {
		id, token := j(i)
		if err := weirtest.TryExec(other, sql, id, token); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for i, sql := range []string{"select weir.cancel($1)", "select weir.retry($1)", "select weir.edit($1, '{\"priority\": 9}')"} {
		id := running[0].ID // ended
		if i != 1 {
			id = weirtest.Value[int64](t, other, "select min(seq) from weir.job_ready")
		}
		if err := weirtest.TryExec(other, sql, id); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestABatchWaitsForNoRowThatItDoesNotNeed(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 20 {
		weirtest.EnqueueOne(t, d, "q")
	}
	worker := d.Tx() // a long transaction of a worker: it claims, completes and keeps all of its locks
	jobs := weirtest.Claim(t, worker, "q", 10)
	weirtest.Complete(t, worker, jobs[:5]...)
	weirtest.Exec(t, worker, "select weir.fail($1, $2, null)", jobs[5].ID, jobs[5].Token)
	weirtest.Exec(t, worker, "select weir.release($1, $2)", jobs[6].ID, jobs[6].Token)
	other := d.ConnectWithLockTimeout()
	for range 3 {
		if err := weirtest.TryExec(other, "select weir.enqueue_many($1)", `[{"kind": "a", "queue": "q"}, {"kind": "b", "queue": "q", "delay_seconds": 1, "unique": {"key": "k"}}]`); err != nil {
			t.Fatal(err)
		}
	}
	if got := weirtest.Claim(t, other, "q", 100); len(got) != 13 {
		t.Errorf("claimed %d jobs beside the transaction, want 13", len(got))
	}
}
