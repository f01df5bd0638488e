package access

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// same fails the test unless a login is told the same of a record that is another's as of one that is not there.
func same(t *testing.T, login *weirtest.Database, call, name, code string) {
	t.Helper()
	theirs := weirtest.WantSQLState(t, weirtest.TryExec(login, strings.ReplaceAll(call, "NAME", name)), code)
	none := weirtest.WantSQLState(t, weirtest.TryExec(login, strings.ReplaceAll(call, "NAME", "none")), code)
	if strings.ReplaceAll(theirs.Message, name, "none") != none.Message || theirs.Hint != none.Hint {
		t.Errorf("%s: another's is %q, none is %q", call, theirs.Message, none.Message)
	}
}

// TestSchedulesOfLimitedLogins: of a tenant's and of some queues'.
func TestSchedulesOfLimitedLogins(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	acme, mail := weirtest.Login(t, d, "acme", "'operator', '{mail,post}', 'acme'"), weirtest.Login(t, d, "mail", "'operator', '{mail}'")
	ofTenant, ofQueue := weirtest.Login(t, d, "tenant", "'reader', '{*}', 'acme'"), weirtest.Login(t, d, "queue", "'reader', '{mail}'")
	set := func(name, queue string) string {
		return fmt.Sprintf(`select weir.set_schedule('%s', '{"every_seconds": 3600, "job": {"kind": "k", "queue": "%s", "tenant": "other"}}', tenant => 'other')`, name, queue)
	}
	weirtest.Exec(t, acme, set("one", "mail"))
	weirtest.Exec(t, acme, set("two", "post"))
	weirtest.Exec(t, d, set("secret", "secret"))
	weirtest.Exec(t, mail, `select weir.set_schedule('plain', '{"every_seconds": 3600, "workflow": {"name": "w", "steps": [{"name": "a", "kind": "k", "queue": "mail"}]}}')`)
	for l, queue := range map[*weirtest.Database]string{acme: "secret", mail: "post"} {
		weirtest.WantSQLState(t, weirtest.TryExec(l, set("x", queue)), "WR011")
	}
	for l, want := range map[*weirtest.Database][]string{acme: {"one acme", "two acme"}, mail: {"one acme", "plain none"}, ofTenant: {"one acme", "two acme"}, ofQueue: {"one acme", "plain none"}} {
		if got := weirtest.Values[string](t, l, "select name || ' ' || coalesce(tenant, 'none') from weir_read.schedules order by 1"); !slices.Equal(got, want) {
			t.Errorf("%s sees %v, want %v", l.Role(), got, want)
		}
	}
	for _, l := range []*weirtest.Database{acme, mail} {
		for _, tenant := range []string{"null", "'other'"} {
			for _, call := range []string{"edit_schedule('NAME', '{\"max_runs\": 2}', ", "pause_schedule('NAME', ", "resume_schedule('NAME', ", "delete_schedule('NAME', ", "trigger_schedule('NAME', ", "preview_schedule('NAME', 1, null, "} {
				same(t, l, "select weir."+call+tenant+")", "secret", "WR030")
			}
		}
	}
	for l, args := range map[*weirtest.Database]string{acme: "'one'", mail: "'plain'"} {
		id := weirtest.Value[int64](t, l, "select weir.trigger_schedule("+args+")")
		if tenant, want := weirtest.Value[string](t, d, "select coalesce(max(tenant), 'none') from weir.job where $1 in (id, workflow_id)", id), map[*weirtest.Database]string{acme: "acme", mail: "none"}[l]; tenant != want {
			t.Errorf("%s triggered a job of %s", l.Role(), tenant)
		}
		if n := weirtest.Value[int](t, l, "select count(*) from weir_read.schedule_runs"); n == 0 {
			t.Errorf("%s sees no run", l.Role())
		}
		weirtest.Exec(t, l, "select weir.edit_schedule("+args+", '{\"max_runs\": 2}'), weir.pause_schedule("+args+"), weir.resume_schedule("+args+")")
		weirtest.Exec(t, l, "select weir.preview_schedule("+args+")")
		weirtest.Exec(t, l, "select weir.delete_schedule("+args+")")
	}
	weirtest.Exec(t, ofTenant, "select weir.preview_schedule('two')")
	same(t, ofQueue, "select weir.preview_schedule('NAME', tenant => 'acme')", "two", "WR030")
}

// TestWorkersOfLimitedLogins: a worker's record belongs to the login that registered it.
func TestWorkersOfLimitedLogins(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	acme, other := weirtest.Login(t, d, "acme", "'worker', '{mail}', 'acme'"), weirtest.Login(t, d, "other", "'worker', '{post}', 'other'")
	operator, reader := weirtest.Login(t, d, "operator", "'operator', '{mail,post}', 'acme'"), weirtest.Login(t, d, "reader", "'reader', '{*}', 'acme'")
	weirtest.Exec(t, acme, `select weir.register_worker('mine', '{"queues": ["mail"]}')`)
	weirtest.Exec(t, other, `select weir.register_worker('theirs', '{"queues": ["post"], "capacity": 0}')`)
	weirtest.Exec(t, d, "select weir.register_worker('plain')")
	weirtest.WantSQLState(t, weirtest.TryExec(acme, `select weir.register_worker('x', '{"queues": ["post"]}')`), "WR011")
	weirtest.WantSQLState(t, weirtest.TryExec(operator, `select weir.register_worker('x')`), "WR010")
	weirtest.WantSQLState(t, weirtest.TryExec(acme, "select weir.register_worker('theirs')"), "WR024")
	for _, l := range []*weirtest.Database{operator, reader} {
		if got := weirtest.Values[string](t, l, "select name from weir_read.workers"); !slices.Equal(got, []string{"mine"}) {
			t.Errorf("%s sees %v", l.Role(), got)
		}
	}
	for _, name := range []string{"theirs", "plain"} {
		same(t, acme, "select weir.worker_heartbeat('NAME')", name, "WR015")
		for _, call := range []string{"edit_worker('NAME', '{}')", "pause_worker('NAME')", "resume_worker('NAME')", "drain_worker('NAME')", "remove_worker('NAME')"} {
			same(t, operator, "select weir."+call, name, "WR015")
		}
	}
	weirtest.Exec(t, d, `select weir.enqueue('k', queue => 'mail'), weir.enqueue('k', queue => 'mail')`)
	if n := weirtest.Value[int](t, acme, "select count(*) from weir.claim('{mail}', 'theirs')"); n != 0 {
		t.Error("it claims under the name of another login")
	}
	if why := weirtest.Value[string](t, acme, "select weir.claim_refusal('theirs')"); why != "taken" {
		t.Errorf("its claim is refused as %s", why)
	}
	weirtest.ClaimOne(t, acme, "mail")
	if n := weirtest.Value[int](t, acme, "select count(*) from weir.claim('{mail}', 'mine')"); n != 1 {
		t.Error("it does not claim under its own name")
	}
	weirtest.Exec(t, acme, "select weir.worker_heartbeat('mine')")
	weirtest.Exec(t, operator, "select weir.edit_worker('mine', '{\"capacity\": 3}'), weir.pause_worker('mine'), weir.resume_worker('mine'), weir.drain_worker('mine')")
	weirtest.Exec(t, operator, "select weir.remove_worker('mine')")
}
