package connection

import (
	"net/http"
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
	done := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+done.ID+"/complete", weirtest.Object{"token": done.Token}).Want(http.StatusOK)
	failed := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+failed.ID+"/fail",
		weirtest.Object{"token": failed.Token, "error": weirtest.Object{"message": "m"}}).Want(http.StatusOK)
	snoozed := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+snoozed.ID+"/snooze",
		weirtest.Object{"token": snoozed.Token, "delay_seconds": 60}).Want(http.StatusOK)
	s.SetLimits("limited", `{"concurrency": 1}`)
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
	weirtest.Eventually(t, "the subscriber has one available job, the one that waits", func() bool {
		ids := weirtest.Values[int64](t, replica, "select coalesce(job_id, seq) from weir.job_ready")
		return len(ids) == 1 && weirtest.Value[bool](t, replica, "select $1::text::bigint = $2", waiting, ids[0])
	})
	weirtest.Exec(t, replica, "alter subscription copy disable")
}
