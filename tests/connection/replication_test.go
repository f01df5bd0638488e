package connection

import (
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestEveryTableHasReplicaIdentity(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	weirtest.RollOver(t, d) // partitions made later have one too
	for _, table := range weirtest.Values[string](t, d, `
		select c.oid::regclass::text from pg_class c
		where c.relnamespace in ('weir'::regnamespace, 'weir_river'::regnamespace) and c.relkind in ('r', 'p') and (c.relreplident = 'n'
			or c.relreplident = 'd' and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
			or c.relreplident = 'i' and not exists (select from pg_index i where i.indrelid = c.oid and i.indisreplident))
		order by 1`) {
		t.Errorf("%s has no replica identity", table)
	}
}

func TestNodeWorksWithPublicationForAllTables(t *testing.T) {
	t.Parallel()
	server := weirtest.NewServerWith(t, map[string]string{"wal_level": "logical"})
	d := weirtest.Open(t, server.URL("weir"))
	weirtest.Exec(t, d, "create database copy template template0")
	if err := migrations.Up(t.Context(), server.URL("copy")); err != nil {
		t.Fatal(err)
	}
	replica := weirtest.Open(t, server.URL("copy"))
	weirtest.Exec(t, d, "create publication everything for all tables")
	weirtest.Exec(t, d, "select pg_create_logical_replication_slot('copy', 'pgoutput')")
	weirtest.Exec(t, replica, "create subscription copy connection '"+server.URL("weir")+
		"' publication everything with (create_slot = false, slot_name = 'copy', copy_data = false)")

	s := weirtest.StartNodeOn(t, d)
	s.SetLimits("limited", `{"concurrency": 1}`)
	for _, queue := range []string{"q", "limited", "steps"} { // no lease and no retry becomes due while the test runs
		s.Exec(`select weir.set_queue($1, '{"lease_seconds": 3600, "retry": {"strategy": "fixed", "base_seconds": 3600, "jitter": false}}')`, queue)
	}
	done := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+done.ID+"/complete", weirtest.Object{"token": done.Token}).Want(http.StatusOK)
	failed := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+failed.ID+"/fail",
		weirtest.Object{"token": failed.Token, "error": weirtest.Object{"message": "m"}}).Want(http.StatusOK)
	snoozed := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+snoozed.ID+"/snooze",
		weirtest.Object{"token": snoozed.Token, "delay_seconds": 3600}).Want(http.StatusOK)
	s.EnqueueAndClaim("limited")
	s.Do(http.MethodPut, "/v1/schedules/s", weirtest.Object{
		"cron": "0 0 1 1 *",
		"job":  weirtest.Object{"kind": "k", "queue": "scheduled"},
	}).Want(http.StatusOK)
	s.Submit(nil, weirtest.Object{"name": "a", "kind": "k", "queue": "steps"})
	s.Settle()
	step := s.ClaimOne("steps")
	s.Post("/v1/jobs/"+step.ID+"/complete", weirtest.Object{"token": step.Token}).Want(http.StatusOK)

	waiting := s.Enqueue(weirtest.Object{"kind": "k", "queue": "waiting"})
	// The rest of what is deleted where there is no key.
	for _, table := range []string{"job_event", "rollup_failure", "workflow_event", "admission_inbox", "breaker_sample"} {
		weirtest.Exec(t, d, "delete from weir."+table)
	}
	// A delete that the subscriber did not get would leave it a job that has been claimed.
	const available = "select coalesce(job_id, seq)::text from weir.job_ready"
	weirtest.Eventually(t, "only the job that waits is available at the subscriber", func() bool {
		return slices.Equal(weirtest.Values[string](t, replica, available), []string{waiting})
	})
	if got := weirtest.Values[string](t, d, available); !slices.Equal(got, []string{waiting}) {
		t.Errorf("the available jobs are %v, want %s", got, waiting)
	}
	weirtest.Exec(t, replica, "alter subscription copy disable")
}
