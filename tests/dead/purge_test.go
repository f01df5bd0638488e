package dead

import (
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestPurgedLetterLeavesJobDead(t *testing.T) {
	t.Parallel()
	t.Run("SQL", purgedLetterLeavesJobDeadSQL)
	t.Run("REST", purgedLetterLeavesJobDeadREST)
}

func purgedLetterLeavesJobDeadSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := die(t, d, `{"kind": "a", "queue": "q"}`)
	weirtest.Exec(t, d, "select weir.purge_dead($1, by => 'bob')", id)
	if got := weirtest.Value[string](t, d, `select concat_ws(' ', state, error ->> 'message', (select count(*) from weir.dead_letters), (select detail ->> 'by' from weir.job_event where job_id = id and kind = 'purged'))
		from weir.jobs where id = $1`, id); got != "dead no 0 bob" {
		t.Errorf("the job is %q", got)
	}
	for _, call := range []string{"purge_dead($1)", "redrive($1)"} {
		d.Unchanged(call, func() { weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, id), "WR014") })
	}
	events := weirtest.Values[string](t, d, "select event from weir.timeline($1) offset 3", id)
	if want := []string{"failed", "dead", "purged"}; !slices.Equal(events, want) {
		t.Errorf("its timeline ends %q, want %q", events, want)
	}
	weirtest.WantState(t, d, id, "dead")
	weirtest.Exec(t, d, "select weir.retry($1)", id)
	weirtest.WantState(t, d, id, "available")
}

func purgedLetterLeavesJobDeadREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Kill(obj{"kind": "k", "queue": "q"})
	s.Do(http.MethodDelete, "/v1/dead/"+id+"?by=bob", nil).Want(http.StatusNoContent)
	s.Do(http.MethodDelete, "/v1/dead/"+id, nil).Problem(http.StatusNotFound, "dead_letter_not_found")
	if j := s.Job(id); j.State != "dead" {
		t.Errorf("the job is %+v", j)
	}
	if by := s.Count("select count(*) from weir.job_event where kind = 'purged' and detail ->> 'by' = 'bob'"); by != 1 {
		t.Errorf("%d events say who did it", by)
	}
}

func TestDeadLettersArePurgedByFilter(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 700)
	keep := s.Kill(obj{"kind": "other", "queue": "q"})
	o := s.WaitForOperation(s.StartOperation("/v1/dead/purge", obj{"filter": obj{"kind": "k"}, "by": "bob"}).ID)
	if o.State != "completed" || o.Kind != "purge_dead" || o.Done != 700 {
		t.Errorf("it ends as %+v", o)
	}
	if n := s.Count("select count(*) from weir.job_dead where job_id <> $1::bigint", keep); n != 0 {
		t.Errorf("%d letters are left", n)
	}
	if n := s.Count("select count(*) from weir.job_event where kind = 'purged' and detail ->> 'by' = 'bob'"); n != 700 {
		t.Errorf("%d events say who did it", n)
	}
}

func TestNameOfOperatorIsBounded(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := die(t, d, `{"kind": "a", "queue": "q"}`)
	for _, call := range []string{"redrive($1, by => '')", "redrive($1, by => repeat('x', 201))", "purge_dead($1, by => '')"} {
		d.Unchanged(call, func() {
			if r := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, id), "WR010"); r.ColumnName != "by" {
				t.Errorf("%s: the place is %q", call, r.ColumnName)
			}
		})
	}
}
