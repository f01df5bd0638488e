package access

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestBreakersOfLoginsWithATenant: each names its own, and its failures open no other.
func TestBreakersOfLoginsWithATenant(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const needs = `select weir.enqueue('k', queue => $1, options => '{"breaker": "dep"}')`
	logins := map[string]*weirtest.Database{}
	for _, tenant := range []string{"acme", "other"} {
		logins[tenant] = weirtest.Login(t, d, tenant, "'producer', '{*}', '"+tenant+"'", "'worker', '{"+tenant+"}', '"+tenant+"'", "'operator', '{*}', '"+tenant+"'")
		weirtest.Exec(t, d, "select weir.set_queue($1, jsonb_build_object('tenant', $1::text))", tenant)
		for range 3 {
			weirtest.Exec(t, logins[tenant], needs, tenant)
		}
	}
	acme, other := logins["acme"], logins["other"]
	weirtest.Exec(t, acme, `select weir.set_breaker('dep', '{"failure_threshold": 2}')`)
	for range 2 {
		j := weirtest.ClaimOne(t, acme, "acme")
		weirtest.Exec(t, acme, "select weir.fail($1, $2, '{}')", j.ID, j.Token)
	}
	if got := weirtest.Values[string](t, d, "select breaker || ' ' || state collate \"C\" from weir.breakers order by 1"); !slices.Equal(got, []string{"acme/dep open", "other/dep closed"}) {
		t.Errorf("the breakers are %v", got)
	}
	for l, want := range map[*weirtest.Database]int{acme: 0, other: 3} {
		queue := weirtest.Value[string](t, l, "select min(queue) from weir_read.jobs")
		if got := weirtest.Value[int](t, l, "select count(*) from weir.claim(array[$1], 'w', 10)", queue); got != want {
			t.Errorf("%s claims %d jobs, want %d", l.Role(), got, want)
		}
	}
	id := weirtest.Value[int64](t, acme, "select max(id) from weir_read.jobs")
	weirtest.Exec(t, d, "select count(*) from weir.claim('{acme}', 'w', 10)")
	for _, call := range []string{"select string_agg(message || detail::text, ' ') from weir.why($1)", "select string_agg(detail::text, ' ') from weir.timeline($1)"} {
		own, all := weirtest.Value[string](t, acme, call, id), weirtest.Value[string](t, d, call, id)
		if !strings.Contains(own, "dep") || strings.Contains(own, "acme/dep") || !strings.Contains(all, "acme/dep") {
			t.Errorf("%s tells the tenant %q, the owner %q", call, own, all)
		}
	}

	for _, view := range []string{"breakers", "breaker_events"} {
		if got := weirtest.Values[string](t, acme, "select distinct breaker || ' ' || tenant from weir_read."+view); !slices.Equal(got, []string{"acme/dep acme"}) {
			t.Errorf("the tenant reads of %s %v", view, got)
		}
	}
	for _, call := range []string{"trip_breaker('NAME')", "reset_breaker('NAME')", "pin_breaker('NAME', 'open')", "report_breaker('NAME', 'failure')", "delete_breaker('NAME')"} {
		weirtest.Exec(t, d, "select weir.set_breaker('theirs'), weir.set_breaker('other/theirs')")
		for _, name := range []string{"theirs", "other/theirs"} {
			same(t, acme, "select weir."+call, name, "WR065")
		}
		weirtest.Exec(t, acme, "select weir.set_breaker('mine')")
		for _, name := range []string{"mine", "acme/mine"} {
			weirtest.Exec(t, acme, "select weir."+strings.ReplaceAll(call, "NAME", name))
			weirtest.Exec(t, acme, "select weir.set_breaker('mine'), weir.pin_breaker('mine', 'none'), weir.reset_breaker('mine')")
			weirtest.Exec(t, d, "update weir.breaker set gated = false")
		}
	}
	if err := weirtest.WantSQLState(t, weirtest.TryExec(acme, "select weir.set_breaker('other/theirs')"), "WR010"); err.ColumnName != "name" {
		t.Errorf("it says %+v", err)
	}
	for call, column := range map[string]string{
		`select weir.enqueue('k', queue => 'acme', options => '{"breaker": "other/dep"}')`:                                          "jobs[0].breaker",
		`select weir.submit_workflow('{"name": "w", "steps": [{"name": "a", "kind": "k", "breaker": "other/dep"}]}')`:               "steps[0].breaker",
		`select weir.set_schedule('s', '{"every_seconds": 3600, "job": {"kind": "k", "breaker": "other/dep"}}')`:                    "job.breaker",
		`select weir.set_breaker('dep', '{"while_open": {"policy": "reroute", "queue": "other"}}')`:                                 "while_open.queue",
		`select weir.enqueue_many('[{"kind": "k", "queue": "acme"}, {"kind": "k", "queue": "acme", "breaker": "acme/other/dep"}]')`: "jobs[1].breaker",
	} {
		if err := weirtest.WantSQLState(t, weirtest.TryExec(acme, call), "WR010"); err.ColumnName != column {
			t.Errorf("%s: %+v", call, err)
		}
	}
	weirtest.Exec(t, acme, `select weir.submit_workflow('{"name": "w", "steps": [{"name": "a", "kind": "k", "breaker": "acme/own"}, {"name": "b", "workflow": {"name": "v", "steps": [{"name": "c", "kind": "k", "breaker": "own"}]}}]}')`)
	weirtest.Exec(t, acme, `select weir.set_schedule('s', '{"every_seconds": 3600, "job": {"kind": "k", "breaker": "own"}}'), weir.trigger_schedule('s')`)
	if got := weirtest.Values[string](t, d, "select distinct breaker collate \"C\" from weir.job where breaker is not null order by 1"); !slices.Equal(got, []string{"acme/dep", "acme/own", "other/dep"}) {
		t.Errorf("the jobs have the breakers %v", got)
	}
	if got := weirtest.Value[string](t, d, "select workflow #>> '{steps,0,breaker}' from weir.workflow_step where workflow is not null"); got != "acme/own" {
		t.Errorf("the step of a workflow in a workflow has the breaker %s", got)
	}
}

// TestLoginsOfSomeQueuesHaveNoBreakers: a breaker serves all queues of its tenant.
func TestLoginsOfSomeQueuesHaveNoBreakers(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_breaker('dep'), weir.set_breaker('acme/dep')")
	some, worker := weirtest.Login(t, d, "some", "'operator', '{mail}'", "'worker', '{mail}', 'acme'"), weirtest.Login(t, d, "worker", "'worker', '{*}', 'acme'", "'operator', '{mail}'")
	for _, call := range []string{"set_breaker('dep')", "trip_breaker('dep')", "reset_breaker('dep')", "pin_breaker('dep', 'open')", "delete_breaker('dep')"} {
		for _, l := range []*weirtest.Database{some, worker} {
			weirtest.WantSQLState(t, weirtest.TryExec(l, "select weir."+call), "42501")
		}
	}
	weirtest.WantSQLState(t, weirtest.TryExec(some, "select weir.report_breaker('dep', 'failure')"), "42501")
	weirtest.Exec(t, worker, "select weir.report_breaker('dep', 'failure')")
	if got := weirtest.Values[string](t, d, "select breaker from weir.breakers where window_failed = 1"); !slices.Equal(got, []string{"acme/dep"}) {
		t.Errorf("the report is of %v", got)
	}
	if n := weirtest.Value[int](t, some, "select count(*) from weir_read.breakers"); n != 0 {
		t.Errorf("a login of some queues reads %d breakers", n)
	}
}
