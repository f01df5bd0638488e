package enqueue

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestInvalidJobIsRefusedWithItsPlace(t *testing.T) {
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
	for some := range slices.Chunk(bad, 10) { // compared once after all calls: a row that is written back differs too
		d.Unchanged(fmt.Sprintf("one of %.2000v", some), func() {
			for _, c := range some {
				check(c)
			}
		})
	}
}

func TestInvalidEnqueueCallIsRefused(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for sql, field := range map[string]string{
		`select weir.enqueue(null)`:                                                    "kind",
		`select weir.enqueue('')`:                                                      "kind",
		`select weir.enqueue('a', queue => 'a b')`:                                     "queue",
		`select weir.enqueue('a', priority => 11)`:                                     "priority",
		`select weir.enqueue('a', max_attempts => 0)`:                                  "max_attempts",
		`select weir.enqueue('a', unique_key => '')`:                                   "unique.key",
		`select weir.enqueue('a', options => '{"bogus": 1}')`:                          "options.bogus",
		`select weir.enqueue('a', options => '{"delay_seconds": -1}')`:                 "options.delay_seconds",
		`select weir.enqueue('a', options => '[1]')`:                                   "options",
		`select weir.enqueue('a', options => '5')`:                                     "options",
		`select weir.enqueue('a', run_at => now(), options => '{"delay_seconds": 1}')`: "run_at",
		`select weir.enqueue('a', options => '{"unique": {"key": ""}}')`:               "options.unique.key",
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

func TestNumbersMayBeWrittenAnyWay(t *testing.T) {
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

func TestSizeLimits(t *testing.T) {
	t.Parallel()
	t.Run("SQL", sizeLimitsSQL)
	t.Run("REST", sizeLimitsREST)
}

func sizeLimitsSQL(t *testing.T) {
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

// Args may have one mebibyte of JSON, whatever form the database keeps it in.
func sizeLimitsREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for name, args := range map[string]string{
		"a string":           `"` + strings.Repeat("x", 1<<20-100) + `"`,
		"many small numbers": "[" + strings.Repeat("1,", 1<<19-100) + "1]",
		"many small objects": "[" + strings.Repeat(`{"a":1},`, 1<<17-100) + "1]",
	} {
		for path, body := range map[string]string{
			"/v1/jobs":       `{"kind": "k", "args": ` + args + `}`,
			"/v1/jobs/batch": `{"jobs": [{"kind": "k", "args": ` + args + `}]}`,
		} {
			if r := s.Post(path, body); r.Status != http.StatusCreated {
				t.Errorf("%s, %d bytes: %v", name, len(args), r)
			}
		}
	}
}

func TestFullQueueRefusesWholeBatch(t *testing.T) {
	t.Parallel()
	t.Run("SQL", fullQueueRefusesWholeBatchSQL)
	t.Run("REST", fullQueueRefusesWholeBatchREST)
}

func fullQueueRefusesWholeBatchSQL(t *testing.T) {
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

func fullQueueRefusesWholeBatchREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{"max_depth": 3}`).Want(http.StatusOK)
	full := func(path string, body any) {
		t.Helper()
		r := s.Post(path, body)
		var p weirtest.ProblemBody
		if err := json.Unmarshal(r.Body, &p); err != nil || p.Code != "queue_full" || r.Status < 400 || r.Status == http.StatusInternalServerError || p.Hint == "" {
			t.Errorf("%v; want a problem with code queue_full and a hint", r)
		}
	}
	full("/v1/jobs/batch", obj{"jobs": slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 4)})
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 2))
	s.Enqueue(`{"kind": "k", "queue": "q"}`)
	full("/v1/jobs", `{"kind": "k", "queue": "q"}`)
	full("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "other"}, {"kind": "k", "queue": "q"}]}`)
	if n := s.Count(`select count(*) from weir.job`); n != 3 {
		t.Errorf("%d jobs are stored", n)
	}
	s.Enqueue(`{"kind": "k", "queue": "other"}`)
	s.ClaimOne("q")
	s.Settle()
	s.Enqueue(`{"kind": "k", "queue": "q"}`) // there is room again
	full("/v1/jobs", `{"kind": "k", "queue": "q"}`)
	if q := weirtest.Decode[weirtest.Queue](s.Do(http.MethodPatch, "/v1/queues/q", `{"max_depth": 0}`).Want(http.StatusOK)); q.MaxDepth != nil {
		t.Errorf("without a limit: %+v", q)
	}
	s.Enqueue(`{"kind": "k", "queue": "q"}`)
}
