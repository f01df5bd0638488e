//go:build unix

// Package bounds tests that input which cannot be printed, or prints much longer than it was sent, is refused by every door.
package bounds

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { Main(m) }

// numbers are JSON texts of a few kilobytes that PostgreSQL prints in megabytes.
var numbers = map[string]string{
	"large":        "[" + strings.Repeat("1e131071,", 200) + "1]",
	"large, below": "[" + strings.Repeat("-1e131071,", 200) + "1]",
	"small":        "[" + strings.Repeat("1e-16383,", 200) + "1]",
	"zero":         "[" + strings.Repeat("0e-16383,", 200) + "1]",
	"deep":         `{"a": [[{"b": [1e2000]}]]}`,
	"all doubles":  "[" + strings.Repeat("1e308,", 4000) + "1]",
}

func TestNumbersThatPrintLongAreRefused(t *testing.T) {
	t.Parallel()
	d := New(t)
	for name, value := range numbers {
		t.Run(name, func(t *testing.T) {
			refusedAt := func(column, sql string, args ...any) {
				t.Helper()
				if e := WantSQLState(t, TryExec(d, sql, args...), "WR010"); e.ColumnName != column {
					t.Errorf("the place is %q, want %q", e.ColumnName, column)
				}
			}
			d.Unchanged("enqueueing", func() {
				refusedAt("jobs[0].args", "select weir.enqueue('a', $1)", value)
				refusedAt("jobs[1].args", "select weir.enqueue_many($1)", fmt.Sprintf(`[{"kind": "a"}, {"kind": "a", "args": %s}]`, value))
				refusedAt("jobs[0].args", "select weir.enqueue('a', $1, options => '{\"tags\": [\"x\"]}')", value)
				refusedAt("options.metadata", "select weir.enqueue('a', options => $1)", fmt.Sprintf(`{"metadata": {"a": %s}}`, value))
				refusedAt("steps[0].args", "select weir.submit_workflow($1)",
					fmt.Sprintf(`{"name": "w", "steps": [{"name": "s", "kind": "a", "args": %s}]}`, value))
			})
			EnqueueOne(t, d, "q")
			job := ClaimOne(t, d, "q")
			d.Unchanged("acks", func() {
				refusedAt("result", "select weir.complete($1, $2, $3)", job.ID, job.Token, value)
				refusedAt("results[1]", "select weir.complete_many(array[$1::bigint], array[$2::bigint], array[$3::jsonb])", job.ID, job.Token, value)
				refusedAt("progress[1]", "select weir.heartbeat(array[$1::bigint], array[$2::bigint], progress => array[$3::jsonb])",
					job.ID, job.Token, value)
			})
			// An error is cut, never refused: it must not be lost.
			Exec(t, d, "select weir.fail($1, $2, $3, retry => false)", job.ID, job.Token, fmt.Sprintf(`{"message": "no", "more": %s}`, value))
			if size := Value[int](t, d, "select length(error::text) from weir.jobs where id = $1", job.ID); size > 200_000 {
				t.Errorf("the stored error prints to %d bytes", size)
			}
		})
	}
}

func TestRESTNumbersThatPrintLongAreRefused(t *testing.T) {
	t.Parallel()
	s := StartNode(t)
	for name, value := range numbers {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.T = t
			raw := json.RawMessage(value)
			refused := func(r *Response, field string) {
				t.Helper()
				if p := r.Problem(http.StatusRequestEntityTooLarge, "args_too_large"); len(p.Errors) != 1 || p.Errors[0].Location != field {
					t.Errorf("the places are %+v, want %s", p.Errors, field)
				}
			}
			refused(s.Post("/v1/jobs", Object{"kind": "a", "args": raw}), "body.args")
			refused(s.Post("/v1/jobs/batch", Object{"jobs": []Object{{"kind": "a"}, {"kind": "a", "args": raw}}}), "body.jobs[1].args")
			job := s.EnqueueAndClaim("q")
			s.Post("/v1/jobs/"+job.ID+"/complete", Object{"token": job.Token, "result": raw}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			s.Post("/v1/jobs/"+job.ID+"/complete", Object{"token": job.Token}).Want(http.StatusOK)
		})
	}
}

func TestOrdinaryNumbersAreKept(t *testing.T) {
	t.Parallel()
	d := New(t)
	for _, value := range []string{
		`0`, `-0.5`, `1.7976931348623157e308`, `5e-324`, `12345678901234567890123456789012345678901234567890`, `{"a": [0, 0.0, 1e40]}`, `""`, `null`,
	} {
		id := Value[int64](t, d, "select weir.enqueue('a', $1)", value)
		if !Value[bool](t, d, "select args = $2::jsonb from weir.jobs where id = $1", id, value) {
			t.Errorf("%s came back otherwise", value)
		}
	}
	// Args do not have to be there for the numbers of the next job to be seen.
	WantSQLState(t, TryExec(d, `select weir.enqueue_many('[{"kind": "a"}, {"kind": "b", "args": {"n": 1e9999}}]')`), "WR010")
}

func TestTimesThatCannotBePrintedAreRefused(t *testing.T) {
	t.Parallel()
	d := New(t)
	refused := []string{
		"9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01", "10000-01-01T00:00:00Z",
		"2026-01-31T24:00:00Z", "2026-01-31T23:59Z", "2026-01-31 23:59:00Z", "2026-01-31T23:59:00+14", "2026-01-31T23:59:60Z", "infinity",
	}
	for _, at := range refused {
		d.Unchanged(at, func() {
			WantSQLState(t, TryExec(d, "select weir.enqueue_many($1)", fmt.Sprintf(`[{"kind": "a", "run_at": %q}]`, at)), "WR010")
		})
	}
	for _, at := range []string{"10000-01-01 00:00:00Z", "infinity", "-infinity", "0002-01-01 00:00:00Z BC"} {
		WantSQLState(t, TryExec(d, "select weir.enqueue('a', run_at => $1::text::timestamptz)", at), "WR010")
	}
	far := d.Tx() // in a zone where it is the year 10000 by then
	Exec(t, far, "set local timezone = 'Pacific/Kiritimati'")
	Exec(t, far, "select weir.enqueue('a', queue => 'last', run_at => '9999-12-31T23:59:59.999999Z')")
	Commit(t, far)
	id := Value[int64](t, d, "select id from weir.jobs where queue = 'last'")
	for _, at := range refused {
		WantSQLState(t, TryExec(d, "select weir.edit($1, $2)", id, fmt.Sprintf(`{"run_at": %q}`, at)), "WR010")
	}
	Exec(t, d, "select weir.enqueue('a', queue => 'old', run_at => '1850-01-01T00:00:00+00')") // an offset with seconds in many zones
}

func TestManyAreCheckedAsOneIs(t *testing.T) {
	t.Parallel()
	d := New(t)
	for range 2 {
		EnqueueOne(t, d, "q")
	}
	jobs := Claim(t, d, "q", 2)
	ids, tokens := IDs(jobs), Tokens(jobs)
	for _, delay := range []string{"null", "'-5 s'", "'11 years'"} {
		d.Unchanged("delay "+delay, func() {
			e := WantSQLState(t, TryExec(d, "select weir.snooze_many($1, $2, array['1 s', "+delay+"]::interval[])", ids, tokens), "WR010")
			if e.ColumnName != "delays[2]" {
				t.Errorf("the place is %q, want delays[2]", e.ColumnName)
			}
			if delay == "null" {
				return // as the policy says
			}
			e = WantSQLState(t, TryExec(d, "select weir.fail_many($1, $2, array[null, null]::jsonb[], array['1 s', "+delay+"]::interval[])", ids, tokens), "WR010")
			if e.ColumnName != "retry_ins[2]" {
				t.Errorf("the place is %q, want retry_ins[2]", e.ColumnName)
			}
		})
	}
	WantSQLState(t, TryExec(d, "select weir.snooze_many($1, $2, null)", ids, tokens), "WR010")
	Complete(t, d, jobs...)
}

// A path with such a name would lead elsewhere, so REST could not reach the worker.
func TestWorkersNamedAsFoldersAreRefused(t *testing.T) {
	t.Parallel()
	d := New(t)
	EnqueueOne(t, d, "q")
	for _, name := range []string{".", ".."} {
		d.Unchanged("worker "+name, func() {
			WantSQLState(t, TryExec(d, "select weir.claim(array['q'], $1)", name), "WR010")
			WantSQLState(t, TryExec(d, "select weir.register_worker($1)", name), "WR010")
		})
	}
}

// The same of keys, tenants and signals, which are a part of a path too.
func TestNamesOfFoldersAreRefused(t *testing.T) {
	t.Parallel()
	s := StartNode(t)
	workflow := Value[int64](t, s.DB, `select weir.submit_workflow('{"name": "w", "steps": [{"name": "s", "wait_for": {"signal": "go"}}]}')`)
	Exec(t, s.DB, "select weir.set_queue('q')")
	for _, name := range []string{".", ".."} {
		s.DB.Unchanged("the name "+name, func() {
			for _, c := range []struct{ sql, column string }{
				{`select weir.enqueue_many('[{"kind": "k", "tenant": "NAME"}]')`, "jobs[0].tenant"},
				{`select weir.enqueue_many('[{"kind": "k"}, {"kind": "k", "concurrency_key": "NAME"}]')`, "jobs[1].concurrency_key"},
				{`select weir.enqueue('k', options => '{"tenant": "NAME", "tags": ["x"]}')`, "options.tenant"},
				{`select weir.set_limit('q', key => 'NAME', limits => '{"concurrency": 1}')`, "key"},
				{`select weir.set_limit('q', tenant => 'NAME', limits => '{"weight": 1}')`, "tenant"},
				{`select weir.set_queue('q', '{"limits": {"tenants": {"weights": {"NAME": 2}}}}')`, "limits.tenants.weights"},
				{`select weir.signal(` + fmt.Sprint(workflow) + `, 'NAME')`, "name"},
				{`select weir.submit_workflow('{"name": "w", "steps": [{"name": "s", "wait_for": {"signal": "NAME"}}]}')`, "steps[0].wait_for.signal"},
				{`select weir.submit_workflow('{"name": "w", "steps": [{"name": "s", "kind": "k", "tenant": "NAME"}]}')`, "steps[0].tenant"},
				{`select weir.set_schedule('s', '{"every_seconds": 60, "job": {"kind": "k", "tenant": "NAME"}}')`, "job.tenant"},
				{`select weir.set_schedule('NAME', '{"every_seconds": 60, "job": {"kind": "k"}}')`, "name"},
				{`select weir.set_queue('NAME')`, "name"},
				{`select weir.set_breaker('NAME')`, "name"},
				{`select weir.set_webhook('NAME', '{"url": "https://a.example", "events": ["job.dead"]}')`, "name"},
			} {
				if e := WantSQLState(t, TryExec(s.DB, strings.ReplaceAll(c.sql, "NAME", name)), "WR010"); e.ColumnName != c.column {
					t.Errorf("%s: the place is %q, want %q", c.sql, e.ColumnName, c.column)
				}
			}
			s.Post("/v1/jobs", Object{"kind": "k", "tenant": name}).RefusedAt("body.tenant", ". or ..")
			s.Post("/v1/jobs/batch", Object{"jobs": []Object{{"kind": "k"}, {"kind": "k", "concurrency_key": name}}}).RefusedAt("body.jobs[1].concurrency_key", ". or ..")
			s.Post("/v1/workflows", Object{"name": "w", "steps": []Object{{"name": "s", "wait_for": Object{"signal": name}}}}).RefusedAt("body.steps[0].wait_for.signal", ". or ..")
			s.Do(http.MethodPut, "/v1/queues/q", Object{"limits": Object{"tenants": Object{"weights": Object{name: 2}}}}).RefusedAt("body.limits.tenants.weights", ". or ..")
		})
	}
	s.Enqueue(Object{"kind": "k", "tenant": "...", "concurrency_key": ".a", "queue": "q"})
}

func TestSQLSaysWhereANewJobIsAndWhyAnAckIsRefused(t *testing.T) {
	t.Parallel()
	d := New(t)
	Exec(t, d, `select weir.set_queue('limited', '{"limits": {"concurrency": 1}}')`)
	states := Values[*string](t, d, `select state from weir.enqueue_batch('[{"kind": "a"}, {"kind": "a", "delay_seconds": 60},
		{"kind": "a", "queue": "limited"}, {"kind": "a", "unique": {"key": "k"}}, {"kind": "a", "unique": {"key": "k"}}]')`)
	var got []string
	for _, s := range states {
		if s == nil {
			got = append(got, "-")
		} else {
			got = append(got, *s)
		}
	}
	if want := "available scheduled held available -"; strings.Join(got, " ") != want {
		t.Errorf("the states are %s, want %s", strings.Join(got, " "), want)
	}
	if plain := Value[string](t, d, `select state from weir.enqueue_batch('[{"kind": "a", "queue": "limited"}]')`); plain != "held" {
		t.Errorf("a plain job in a queue with limits is %s, want held", plain)
	}
	job := ClaimOne(t, d, "default")
	for _, call := range []string{"complete_batch($1, $2, null)", "fail_batch($1, $2, array[null, null]::jsonb[], null, null, null)", "snooze_batch($1, $2, null)"} {
		refusals := Values[string](t, d, "select refusal from weir."+call+" order by job_id", []int64{job.ID, 1 << 60}, []int64{job.Token + 1, 1})
		if strings.Join(refusals, " ") != "stale_token not_found" {
			t.Errorf("%s refuses with %v", call, refusals)
		}
	}
	if got := Values[*string](t, d, "select refusal from weir.complete_batch($1, $2, null) order by job_id", []int64{job.ID, 1 << 60}, []int64{job.Token, 1}); got[0] != nil || *got[1] != "not_found" {
		t.Errorf("a good ack beside a bad one: %v", got)
	}
}

func TestRESTAndSQLBoundTheSameNumbers(t *testing.T) {
	t.Parallel()
	s := StartNode(t)
	digits := strings.Repeat("7", 990)
	for number, fits := range map[string]bool{
		"1e999": true, "1e1002": true, "1e1003": false, "123456789e999": false, "0.001e1005": true, "0.001e1006": false, "-1e1001": true, "-1e1002": false,
		"1e-1001": true, "1e-1002": false, "-1.5e-1000": false, "0e5000": true, "0.000e-2": true, "0e-1001": true, "0e-1002": false, "1" + digits: true,
		digits + digits: false, "0." + digits + digits: true, "0.00e-1000": false, digits + ".5e12": true, digits + ".5e14": false, "-" + digits + "e13": false, "1E+1002": true, "1E+1003": false,
	} {
		value := `{"n": [` + number + `]}`
		sql := TryExec(s.DB, "select weir.enqueue('a', $1, options => '{\"tags\": [\"x\"]}')", value)
		rest := s.Post("/v1/jobs", `{"kind": "a", "args": `+value+`}`)
		if (sql == nil) != fits || (rest.Status == http.StatusCreated) != fits {
			t.Errorf("%.30s of %d bytes: SQL says %v and REST %.200s; fits: %t", number, len(number), sql, rest, fits)
		} else if !fits {
			rest.Problem(http.StatusRequestEntityTooLarge, "args_too_large")
		}
	}
}
