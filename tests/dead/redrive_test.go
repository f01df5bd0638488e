package dead

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRedriveKeepsIDAndRecordsWho(t *testing.T) {
	t.Parallel()
	t.Run("SQL", redriveKeepsIDAndRecordsWhoSQL)
	t.Run("REST", redriveKeepsIDAndRecordsWhoREST)
}

func redriveKeepsIDAndRecordsWhoSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := die(t, d, `{"kind": "a", "queue": "q", "max_attempts": 1}`)
	if said := weirtest.Value[string](t, d, "select weir.redrive($1, by => 'ann')", id); said != "available" {
		t.Errorf("redrive says %q", said)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, attempt, redrives, redriven_by, error) from weir.jobs where id = $1", id); got != "available 0 1 ann" {
		t.Errorf("the job is %q", got)
	}
	d.Unchanged("a second redrive", func() { weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.redrive($1)", id), "WR014") })

	j := weirtest.ClaimOne(t, d, "q")
	if j.ID != id || j.Attempt != 1 {
		t.Fatalf("claimed %+v, want job %d at its first attempt", j, id)
	}
	j.Call(t, d, `fail($1, $2, '{"message": "again"}')`) // its only attempt
	weirtest.Exec(t, d, "select weir.redrive($1, keep_attempts => true)", id)
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, attempt, redrives, coalesce(redriven_by, 'none'), jsonb_array_length(errors)) from weir.jobs where id = $1", id); got != "available 1 2 none 2" {
		t.Errorf("after the second redrive it is %q", got)
	}
	j = weirtest.ClaimOne(t, d, "q")
	j.Call(t, d, "complete($1, $2)")
	events := weirtest.Values[string](t, d, "select concat_ws(' ', event, cause, attempt, detail ->> 'by') from weir.timeline($1)", id)
	want := []string{
		"enqueued 0", "available enqueued 0", "started 1", "failed 1", "dead failed 1", "redriven 1 ann", "available redriven 0", "started 1", "failed 1", "dead failed 1",
		"redriven 1", "available redriven 1", "started 2", "completed 2",
	}
	if !slices.Equal(events, want) {
		t.Errorf("its timeline is\n%q\nwant\n%q", events, want)
	}
}

func redriveKeepsIDAndRecordsWhoREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Kill(obj{"kind": "k", "queue": "q"})
	redriven := weirtest.Decode[weirtest.DeadLetter](s.Post("/v1/dead/"+id+"/redrive", obj{"by": "ann"}).Want(http.StatusOK))
	if redriven.ID != id || redriven.State != "available" || redriven.Attempt != 0 || redriven.Redrives != 1 || redriven.RedrivenBy != "ann" {
		t.Errorf("it is %+v", redriven)
	}
	s.Post("/v1/dead/"+id+"/redrive", nil).Problem(http.StatusNotFound, "dead_letter_not_found")
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+id+"/fail", obj{"token": j.Token, "retry": false, "error": obj{"message": "again"}}).Want(http.StatusOK)
	kept := weirtest.Decode[weirtest.DeadLetter](s.Post("/v1/dead/"+id+"/redrive", obj{"keep_attempts": true}).Want(http.StatusOK))
	if kept.Attempt != 1 || kept.Redrives != 2 || kept.RedrivenBy != "" || len(kept.Errors) != 2 {
		t.Errorf("the second time it is %+v", kept)
	}
	for _, body := range []string{`{"by": ""}`, `{"by": 5}`, `{"reset": true}`, `[]`} {
		s.Post("/v1/dead/"+id+"/redrive", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
}

func TestFirstRedriveOfLetterWins(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for round := range 10 {
		id := die(t, d, fmt.Sprintf(`{"kind": "a", "queue": "q%d"}`, round))
		calls := []string{"select weir.redrive($1)", "select weir.redrive($1, keep_attempts => true)", "select weir.retry($1)", "select weir.purge_dead($1)"}
		var took atomic.Int32
		var all sync.WaitGroup
		for _, call := range calls {
			all.Go(func() {
				if err := weirtest.TryExec(d, call, id); err == nil {
					took.Add(1)
				} else if !weirtest.HasSQLState(err, "WR014") && !weirtest.HasSQLState(err, "WR005") {
					t.Errorf("%s: %v", call, err)
				}
			})
		}
		all.Wait()
		// Only a retry may follow a purge, which leaves the job dead.
		purged := weirtest.Value[bool](t, d, "select exists (select from weir.job_event where job_id = $1 and kind = 'purged')", id)
		if n := took.Load(); n != 1 && (!purged || n != 2) {
			t.Errorf("%d calls had the letter", n)
		}
	}
}

func TestDeadLettersAreRedrivenByFilter(t *testing.T) {
	weirtest.Long(t, "it redrives many dead letters")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 1200)
	s.KillMany("r", 5)
	o := s.StartOperation("/v1/dead/redrive", obj{"filter": obj{"queue": "q"}, "by": "ann"})
	if o.Kind != "redrive_dead" || o.State != "pending" || o.Total != 1200 || o.Done != 0 || o.By != "ann" || o.CreatedAt.IsZero() || string(o.Filter) != `{"queue":"q"}` {
		t.Errorf("it begins as %+v", o)
	}
	s.KillMany("q", 1) // died too late to be included
	o = s.WaitForOperation(o.ID)
	if o.State != "completed" || o.Total != 1200 || o.Done != 1200 || o.Failed != 0 || o.StartedAt == nil {
		t.Errorf("it ends as %+v", o)
	}
	if n := s.Count("select count(*) from weir.jobs where queue = 'q' and state = 'available' and redrives = 1 and redriven_by = 'ann' and attempt = 0"); n != 1200 {
		t.Errorf("%d jobs were redriven, want 1200", n)
	}
	if n := s.Count("select count(distinct xmin::text) from weir.job_event where kind = 'redriven'"); n != 3 {
		t.Errorf("it took %d transactions, want 3 of 500", n)
	}
	if n := s.Count("select count(*) from weir.job_dead"); n != 6 {
		t.Errorf("%d letters are left, want 6", n)
	}
	s.Post("/v1/operations/"+o.ID+"/cancel", nil).Problem(http.StatusConflict, "operation_ended")
}

func TestRedriveKeepsToItsRate(t *testing.T) {
	weirtest.Long(t, "it redrives at a rate")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 30)
	o := s.WaitForOperation(s.StartOperation("/v1/dead/redrive", obj{"filter": obj{}, "rate_per_second": 10}).ID)
	// Batches of 3 (10/4, rounded up), ten of them; the last but one is due 9 * 0.3 s after the first.
	if took := o.FinishedAt.Sub(*o.StartedAt); o.Done != 30 || took < 2500*time.Millisecond {
		t.Errorf("%d in %v, want 30 in about 3 s", o.Done, took)
	}
	fastest := s.Count(`select max(n) from (select count(*) over (order by at range between current row and '1 second' following) as n from weir.job_event where kind = 'redriven') x`)
	if fastest > 20 { // those of a second, up to half a second of catching up, and a batch at either end
		t.Errorf("%d were redriven within one second, at 10 a second", fastest)
	}
}

func TestDeadLettersAreRedrivenAndPurgedByID(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var ids []string
	for range 4 {
		ids = append(ids, s.Kill(obj{"kind": "k", "queue": "q"}))
	}
	s.CLI("dead", "redrive", ids[0], ids[1], "--by", "ann").Says(0, "job "+ids[0]+" runs again in q", "job "+ids[1])
	if n := s.Count("select count(*) from weir.jobs where redriven_by = 'ann' and state = 'available' and attempt = 0"); n != 2 {
		t.Errorf("%d were redriven", n)
	}
	s.CLI("dead", "redrive", ids[2], "--keep-attempts").Says(0)
	if n := s.Count("select count(*) from weir.jobs where redriven_by is not null and attempt = 1 and id = $1::bigint", ids[2]); n != 1 {
		t.Error("without --by an operator is named, or the attempts are not kept")
	}
	s.CLI("dead", "redrive", ids[0]).Says(1, "there is no dead letter "+ids[0])
	s.CLI("dead", "purge", ids[3], "--yes").Says(0, ids[3]+" is gone")
	s.CLI("dead", "purge", ids[3]).Says(1, "there is no dead letter "+ids[3])
	for _, args := range [][]string{{}, {ids[0], "--queue", "q"}, {ids[0], "--all"}, {"--all", "--queue", "q"}, {"--all", "--rate", "-1"}, {ids[0], "--dry-run"}} {
		s.CLI(append([]string{"dead", "purge"}, args...)...).Says(2)
	}
}
