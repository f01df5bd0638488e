//go:build unix

// Package replication shows that logical replication of weir's tables works: a publication for all tables, as upgrades by
// replication and change data capture use, refuses nothing and reaches the subscriber.
package replication

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/migrations"
	. "github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { Main(m) }

func TestEveryTableHasAReplicaIdentity(t *testing.T) {
	t.Parallel()
	d := New(t)
	EnqueueOne(t, d, "q")
	RollOver(t, d) // partitions that a node makes later have one too
	for _, table := range Values[string](t, d, `
		select c.oid::regclass::text from pg_class c
		where c.relnamespace in ('weir'::regnamespace, 'weir_river'::regnamespace) and c.relkind = 'r'
			and (c.relreplident = 'n' or c.relreplident = 'd'
				and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary))`) {
		t.Errorf("%s has no replica identity", table)
	}
}

func TestPublicationForAllTablesRefusesNothingAndReachesASubscriber(t *testing.T) {
	t.Parallel()
	server := NewServerWith(t, map[string]string{"wal_level": "logical"})
	d := Open(t, server.URL("weir"))
	subscriber := subscribe(t, d, server.URL("weir"), server.URL("copy"), func() {
		admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close(context.Background())
		if _, err := admin.Exec(t.Context(), "create database copy template template0"); err != nil {
			t.Fatal(err)
		}
		if err := migrations.Up(t.Context(), server.URL("copy")); err != nil {
			t.Fatal(err)
		}
	})

	s := StartNodeWith(t, d, jobs.Config{DatabaseURL: server.URL("weir")})
	Exec(t, d, "select weir.set_queue('limited', '{\"limits\": {\"concurrency\": 2}}')")
	for range 3 {
		s.Enqueue(Object{"kind": "k", "queue": "plain"})
		s.Enqueue(Object{"kind": "k", "queue": "limited"})
	}
	s.Enqueue(Object{"kind": "k", "queue": "later", "delay_seconds": 3600})
	completed := s.EnqueueAndClaim("one")
	Exec(t, d, "select weir.complete($1, $2)", completed.ID, completed.Token)
	failed := s.EnqueueAndClaim("one")
	Exec(t, d, "select weir.fail($1, $2, '{\"message\": \"no\"}', retry => false)", failed.ID, failed.Token)
	snoozed := s.EnqueueAndClaim("one")
	Exec(t, d, "select weir.snooze($1, $2, interval '1 hour')", snoozed.ID, snoozed.Token)
	released := s.EnqueueAndClaim("one")
	Exec(t, d, "select weir.release($1, $2)", released.ID, released.Token)
	for range 3 {
		j := s.ClaimOne("limited")
		Exec(t, d, "select weir.complete($1, $2)", j.ID, j.Token)
	}
	Exec(t, d, "select weir.redrive($1)", failed.ID)
	Exec(t, d, "select weir.purge_queue('plain')")

	for _, table := range []string{"job", "job_ready", "job_outcome", "job_event", "job_scheduled", "job_lease"} {
		count := "select count(*) from weir." + table
		Eventually(t, "the subscriber has the rows of "+table, func() bool {
			return Value[int](t, d, count) == Value[int](t, subscriber, count)
		})
	}
	if n := Value[int](t, subscriber, "select count(*) from weir.job_outcome"); n < 4 {
		t.Errorf("the subscriber has %d outcomes, want at least those of one, limited and plain", n)
	}
}

// subscribe publishes all tables of one database and subscribes to them from another of the same server, which prepare
// makes. The slot is made separately: a subscription that makes its own waits for the transaction that it is in.
func subscribe(t *testing.T, publisher Querier, from, to string, prepare func()) *Database {
	t.Helper()
	prepare()
	Exec(t, publisher, "create publication everything for all tables")
	Exec(t, publisher, "select pg_create_logical_replication_slot('copy', 'pgoutput')")
	d := Open(t, to)
	Exec(t, d, fmt.Sprintf("create subscription copy connection '%s' publication everything with (create_slot = false, slot_name = 'copy', copy_data = false)", from))
	t.Cleanup(func() {
		Exec(t, d, "alter subscription copy disable")
		Exec(t, d, "alter subscription copy set (slot_name = none)")
		Exec(t, d, "drop subscription copy")
	})
	return d
}
