package change

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/tests/weirtest"
)

// same marks a transition that leaves the job alone without an error.
const same = "same"

// transitions says what each transition makes of a job in each state: its state then, its attempts and the event that tells of it ("-": none); or the
// code with which it is refused; or that it stays the same. The states of a column:
//
//	scheduled  enqueued for later       running    a worker has it, and the call names its token
//	retryable  failed once              stale      a worker has it, and the call names the token of the lease before
//	held       waits for a signal       unknown    there is no such job
var transitions = []struct {
	name string
	want map[string]string
}{
	{"complete", with("running", "completed 1 -", "unknown", "job_not_found", others, "stale_token")},
	{"fail", with("running", "retryable 1 failed", "unknown", "job_not_found", others, "stale_token")},
	{"fail at once", with("running", "available 1 failed", "unknown", "job_not_found", others, "stale_token")},
	{"fail for good", with("running", "dead 1 failed", "unknown", "job_not_found", others, "stale_token")},
	{"snooze", with("running", "scheduled 0 snoozed", "unknown", "job_not_found", others, "stale_token")},
	{"release", with("running", "available 0 released", "unknown", "job_not_found", others, "stale_token")},
	{"heartbeat", with("running", "running 1 -", "unknown", "job_not_found", others, "stale_token")},
	{"cancel", with("scheduled", "cancelled 0 -", "retryable", "cancelled 1 -", "held", "cancelled 0 -", "available", "cancelled 0 -",
		"running", "running 1 cancel_requested", "stale", "running 1 cancel_requested", "unknown", "job_not_found", others, "job_ended")},
	{"retry", with("scheduled", "available 0 retried", "retryable", "available 1 retried", "completed", "available 1 retried", "cancelled", "available 0 retried",
		"dead", "available 1 retried", "unknown", "job_not_found", others, "job_not_retryable")},
	{"retry from 0", with("scheduled", "available 0 retried", "retryable", "available 0 retried", "completed", "available 0 retried", "cancelled", "available 0 retried",
		"dead", "available 0 retried", "unknown", "job_not_found", others, "job_not_retryable")},
	{"edit", with("scheduled", "scheduled 0 edited", "retryable", "retryable 1 edited", "held", "held 0 edited", "available", "available 0 edited",
		"unknown", "job_not_found", others, "job_not_editable")},
	{"postpone", with("scheduled", "scheduled 0 edited", "retryable", "retryable 1 edited", "held", "held 0 edited", "available", "scheduled 0 edited",
		"unknown", "job_not_found", others, "job_not_editable")},
	{"redrive", with("dead", "available 0 redriven", others, "dead_letter_not_found")},
	{"redrive with its attempts", with("dead", "available 1 redriven", others, "dead_letter_not_found")},
	{"purge the letter", with("dead", "dead 1 purged", others, "dead_letter_not_found")},
	{"expire", with("running", "available 1 lost", others, same)},
	{"promote", with("scheduled", "available 0 -", "retryable", "available 1 -", others, same)},
}

var transitionStates = []string{"scheduled", "retryable", "held", "available", "running", "stale", "completed", "cancelled", "dead", "unknown"}

const others = "others"

// with makes a row of the table from pairs. The last pair may stand for all other states.
func with(pairs ...string) map[string]string {
	row := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != others {
			row[pairs[i]] = pairs[i+1]
			continue
		}
		for _, state := range transitionStates {
			if _, named := row[state]; !named {
				row[state] = pairs[i+1]
			}
		}
	}
	return row
}

func TestEachTransitionFromEachState(t *testing.T) {
	t.Parallel()
	t.Run("SQL", eachTransitionFromEachStateSQL)
	t.Run("REST", eachTransitionFromEachStateREST)
}

func eachTransitionFromEachStateSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	checkTransitions(t, d.Pool, sqlTransitions{t, d.Pool})
}

func eachTransitionFromEachStateREST(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	s := weirtest.StartNodeOn(t, database)
	checkTransitions(t, s.DB.Pool, restTransitions{s})
}

// transitioner performs transitions. Each returns the code of the refusal, or "".
type transitioner interface {
	call(transition string, j weirtest.Lease) string
	// lookOnce returns when the loops that promote and expire have handled everything that is due.
	lookOnce(transition string)
}

func checkTransitions(t *testing.T, pool *pgxpool.Pool, by transitioner) {
	for _, tr := range transitions {
		if len(tr.want) != len(transitionStates) {
			t.Fatalf("%s: the table is about %d states, want %d", tr.name, len(tr.want), len(transitionStates))
		}
		jobs, before := map[string]weirtest.Lease{}, map[string]string{}
		for _, state := range transitionStates {
			jobs[state] = jobInState(t, pool, state, strings.ReplaceAll(tr.name+"_"+state, " ", "_"))
			before[state] = storedOf(t, pool, jobs[state].ID)
		}
		looked := tr.name == "expire" || tr.name == "promote"
		if looked {
			var due []int64
			for _, state := range transitionStates {
				if tr.want[state] != same {
					due = append(due, jobs[state].ID)
				}
			}
			// As if the time had passed: the result must not depend on what a loop sees early or late.
			weirtest.Exec(t, pool, map[string]string{
				"promote": "update weir.job_scheduled set run_at = clock_timestamp() where job_id = any ($1)",
				"expire":  "update weir.job_lease set expires_at = clock_timestamp() where job_id = any ($1)",
			}[tr.name], due)
			by.lookOnce(tr.name)
		}
		for _, state := range transitionStates {
			at, id, code := tr.name+" of a job that is "+state, jobs[state].ID, ""
			if !looked {
				code = by.call(tr.name, jobs[state])
			}
			after, want := storedOf(t, pool, id), tr.want[state]
			switch {
			case code != "" || want == same || !strings.Contains(want, " "):
				if code != strings.TrimPrefix(want, same) {
					t.Errorf("%s answers with %q, want %q", at, code, want)
				}
				if after != before[state] {
					t.Errorf("%s changed something:\n%s\n%s", at, before[state], after)
				}
			default:
				if got := becameOf(t, pool, id, before[state]); got != want {
					t.Errorf("%s makes it %q, want %q", at, got, want)
				}
				if after == before[state] {
					t.Errorf("%s changed nothing", at)
				}
			}
		}
	}
	for _, line := range weirtest.Values[string](t, pool, weirtest.MisplacedJobs) {
		t.Error(line)
	}
}

// jobInState makes a job in a queue of its own.
func jobInState(t *testing.T, pool *pgxpool.Pool, state, queue string) weirtest.Lease {
	t.Helper()
	if state == "unknown" {
		return weirtest.Lease{ID: 1 << 40, Token: 1 << 40}
	}
	if state == "scheduled" {
		id := weirtest.Value[int64](t, pool, "select weir.enqueue('a', queue => $1, run_at => clock_timestamp() + interval '1 hour')", queue)
		return weirtest.Lease{ID: id, Token: id}
	}
	id := weirtest.EnqueueOne(t, pool, queue)
	if state == "available" {
		return weirtest.Lease{ID: id, Token: id}
	}
	if state == "held" {
		weirtest.HoldForSignal(t, pool, id)
		return weirtest.Lease{ID: id, Token: id}
	}
	if state == "cancelled" {
		weirtest.Exec(t, pool, "select weir.cancel($1)", id)
		return weirtest.Lease{ID: id, Token: id}
	}
	j := weirtest.Lease{ID: id}
	take := func() int64 {
		var tokens []int64
		weirtest.Eventually(t, "the job is claimed", func() bool {
			tokens = weirtest.Values[int64](t, pool, "select token from weir.claim(array[$1], 'worker', 1, 300)", queue)
			return len(tokens) == 1
		})
		return tokens[0]
	}
	j.Token = take()
	switch state {
	case "running":
	case "stale":
		j.Call(t, pool, "release($1, $2)")
		take()
	case "retryable":
		j.Call(t, pool, `fail($1, $2, '{"message": "no"}', '1 hour')`)
	case "completed":
		j.Call(t, pool, "complete($1, $2)")
	case "dead":
		j.Call(t, pool, `fail($1, $2, '{"message": "no"}', retry => false)`)
	default:
		t.Fatalf("no such state: %s", state)
	}
	return j
}

// storedOf returns everything stored about a job.
func storedOf(t *testing.T, pool *pgxpool.Pool, id int64) string {
	t.Helper()
	return weirtest.Value[string](t, pool, `select jsonb_build_object('job', (select to_jsonb(j) from weir.jobs j where j.id = $1),
		'events', (select jsonb_agg(to_jsonb(e) order by e.at) from weir.job_event e where e.job_id = $1), 'letter', (select to_jsonb(d) from weir.job_dead d where d.job_id = $1))::text`, id)
}

// becameOf returns a job's state, attempts and newest event, if the event is new.
func becameOf(t *testing.T, pool *pgxpool.Pool, id int64, before string) string {
	t.Helper()
	return weirtest.Value[string](t, pool, `select concat_ws(' ', j.state, j.attempt, coalesce((select string_agg(e.kind::text, '+' order by e.at) from weir.job_event e where e.job_id = j.id
		and not exists (select from jsonb_array_elements(nullif($2::jsonb -> 'events', 'null')) b where (b ->> 'at')::timestamptz = e.at and b ->> 'kind' = e.kind::text)), '-'))
		from weir.jobs j where j.id = $1`, id, before)
}

type sqlTransitions struct {
	t    *testing.T
	pool *pgxpool.Pool
}

func (s sqlTransitions) call(transition string, j weirtest.Lease) string {
	s.t.Helper()
	function, known := map[string]string{
		"complete": "complete($1, $2)", "fail": `fail($1, $2, '{"message": "m"}', '1 hour')`, "fail at once": `fail($1, $2, '{"message": "m"}', '0')`,
		"fail for good": `fail($1, $2, '{"message": "m"}', retry => false)`, "snooze": "snooze($1, $2, '1 hour')", "release": "release($1, $2)",
		"cancel": "cancel($1)", "retry": "retry($1)", "retry from 0": "retry($1, reset_attempts => true)", "edit": `edit($1, '{"priority": 9}')`,
		"postpone": `edit($1, '{"run_at": "2999-01-01T00:00:00Z"}')`, "redrive": "redrive($1)", "redrive with its attempts": "redrive($1, keep_attempts => true)",
		"purge the letter": "purge_dead($1)",
		// A refused heartbeat returns no row, since it serves many jobs; assert_lease says why.
		"heartbeat": "assert_lease($1, $2)",
	}[transition]
	if !known {
		s.t.Fatalf("no such transition: %s", transition)
	}
	if transition == "heartbeat" {
		if beats := weirtest.Values[bool](s.t, s.pool, "select cancel_requested from weir.heartbeat(array[$1::bigint], array[$2::bigint], 60)", j.ID, j.Token); len(beats) == 1 {
			return ""
		}
	}
	err := weirtest.TryExec(s.pool, "select weir."+function, []any{j.ID, j.Token}[:strings.Count(function, "$")]...)
	var refusal *pgconn.PgError
	switch {
	case err == nil && transition == "heartbeat":
		return "no row, and yet the lease is held"
	case err == nil:
		return ""
	case errors.As(err, &refusal) && sqlCodes[refusal.Code] != "":
		return sqlCodes[refusal.Code]
	}
	return err.Error()
}

func (s sqlTransitions) lookOnce(transition string) {
	s.t.Helper()
	weirtest.Exec(s.t, s.pool, map[string]string{"promote": "select weir.promote_due()", "expire": "select weir.expire_leases()"}[transition])
}

// sqlCodes maps SQLSTATEs to the codes of REST.
var sqlCodes = map[string]string{
	"WR001": "stale_token", "WR002": "job_not_found", "WR003": "job_ended", "WR004": "job_not_editable", "WR005": "job_not_retryable", "WR014": "dead_letter_not_found",
}

type restTransitions struct{ s *weirtest.Node }

func (r restTransitions) call(transition string, j weirtest.Lease) string {
	r.s.T.Helper()
	token := strconv.FormatInt(j.Token, 10)
	failure := func(more obj) obj {
		more["token"], more["error"] = token, obj{"message": "m"}
		return more
	}
	how, known := map[string]struct {
		call string
		body any
	}{
		"complete": {"POST /v1/jobs/%d/complete", obj{"token": token}}, "fail": {"POST /v1/jobs/%d/fail", failure(obj{"retry_in_seconds": 3600})},
		"fail at once": {"POST /v1/jobs/%d/fail", failure(obj{"retry_in_seconds": 0})}, "fail for good": {"POST /v1/jobs/%d/fail", failure(obj{"retry": false})},
		"snooze": {"POST /v1/jobs/%d/snooze", obj{"token": token, "delay_seconds": 3600}}, "release": {"POST /v1/jobs/%d/release", obj{"token": token}},
		"heartbeat": {"POST /v1/jobs/%d/heartbeat", obj{"token": token, "lease_seconds": 60}}, "cancel": {"POST /v1/jobs/%d/cancel", nil}, "retry": {"POST /v1/jobs/%d/retry", nil},
		"retry from 0": {"POST /v1/jobs/%d/retry", obj{"reset_attempts": true}}, "edit": {"PATCH /v1/jobs/%d", obj{"priority": 9}}, "postpone": {"PATCH /v1/jobs/%d", obj{"run_at": "2999-01-01T00:00:00Z"}},
		"redrive": {"POST /v1/dead/%d/redrive", nil}, "redrive with its attempts": {"POST /v1/dead/%d/redrive", obj{"keep_attempts": true}}, "purge the letter": {"DELETE /v1/dead/%d", nil},
	}[transition]
	if !known {
		r.s.T.Fatalf("no such transition: %s", transition)
	}
	method, path, _ := strings.Cut(fmt.Sprintf(how.call, j.ID), " ")
	answer := r.s.Do(method, path, how.body)
	if answer.Status == http.StatusOK || answer.Status == http.StatusNoContent {
		return ""
	}
	return answer.Problem(answer.Status, weirtest.Decode[weirtest.ProblemBody](answer).Code).Code
}

func (r restTransitions) lookOnce(transition string) {
	r.s.T.Helper()
	steps := func() float64 {
		return r.s.MetricOrZero("weir_loop_step_duration_seconds_count", `loop="`+transition+`"`)
	}
	before := steps()
	r.s.Eventually("the loop looks", func() bool { return steps() >= before+2 })
}
