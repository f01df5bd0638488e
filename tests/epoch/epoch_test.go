//go:build unix

// Package epoch tests that a token of a history that the database has lost fences nothing in the new one.
package epoch

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/embedded"
	. "github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { Main(m) }

func TestAPromotedStandbyRefusesTheTokensItNeverSaw(t *testing.T) {
	t.Parallel()
	s := NewServer(t)
	p := pool(t, s)
	waiting := Enqueue(t, p, `{"kind": "a", "queue": "q"}`)[0]
	EnqueueOne(t, p, "replicated")
	held := ClaimOne(t, p, "replicated")
	EnqueueOne(t, p, "rest")
	p.Close()
	primary, standby := lag(t, s)

	// What the standby never hears of: claims of jobs that it has, a job that it does not have, and many more.
	p = pool(t, primary)
	known, knownToo := ClaimOne(t, p, "q"), ClaimOne(t, p, "rest")
	EnqueueOne(t, p, "q")
	unknown := ClaimOne(t, p, "q")
	lost := Value[int64](t, p, `select max(id) from weir.enqueue_many(
		(select jsonb_agg('{"kind": "a", "queue": "q"}'::jsonb) from generate_series(1, 1000))) id`)
	p.Close()
	if known.ID != waiting {
		t.Fatalf("claimed job %d, want %d", known.ID, waiting)
	}

	p = pool(t, standby)
	if !Value[bool](t, p, "select pg_promote(wait_seconds => 60)") {
		t.Fatal("the standby was not promoted within a minute")
	}

	t.Run("SQL, before any node has ticked", func(t *testing.T) {
		again := ClaimOne(t, p, "q")
		if again.ID != known.ID {
			t.Fatalf("claimed job %d, want %d again", again.ID, known.ID)
		}
		refuses(t, p, known, again)

		// The sequence goes on where the standby left it, so the id comes again.
		if id := EnqueueOne(t, p, "q"); id != unknown.ID {
			t.Fatalf("the new job has id %d, want that of the lost one, %d", id, unknown.ID)
		}
		refuses(t, p, unknown, ClaimOne(t, p, "q"))

		Complete(t, p, held) // its lease had been replicated, so its worker still has it
	})

	t.Run("REST", func(t *testing.T) {
		node := StartNodeOn(t, Open(t, standby.URL("weir")))
		job := node.ClaimOne("rest")
		if job.ID != strconv.FormatInt(knownToo.ID, 10) {
			t.Fatalf("claimed job %s, want %d again", job.ID, knownToo.ID)
		}
		old := strconv.FormatInt(knownToo.Token, 10)
		node.Post("/v1/jobs/"+job.ID+"/complete", Object{"token": old}).Problem(409, "stale_token")
		node.Post("/v1/jobs/"+job.ID+"/heartbeat", Object{"token": old}).Problem(409, "stale_token")
		if got := node.Acks(Object{"id": job.ID, "token": old, "outcome": "complete"}); got != "stale_token" {
			t.Errorf("an ack with the token of the lost history is answered %s", got)
		}
		node.Post("/v1/jobs/"+job.ID+"/complete", Object{"token": job.Token}).Want(200)

		// The node remembers how far it has claimed, and must not take an epoch for a place.
		for range 20 {
			node.Enqueue(Object{"kind": "a", "queue": "row"})
		}
		for range 20 {
			node.ClaimOne("row")
		}
	})

	t.Run("ids, once a node has ticked", func(t *testing.T) {
		Tick(t, p)
		if id := EnqueueOne(t, p, "q"); id <= lost {
			t.Errorf("a new job has id %d, and the lost history gave out ids up to %d", id, lost)
		}
		Tick(t, p)
		if epoch := Value[int](t, p, "select epoch from weir.watermark"); epoch != 1 {
			t.Errorf("the epoch is %d, want 1: it rises once for each failover", epoch)
		}
		Complete(t, p, ClaimOne(t, p, "q"))
	})
}

func TestARestoredDumpHasAnEpochOfItsOwn(t *testing.T) {
	t.Parallel()
	d := New(t)
	EnqueueOne(t, d, "q")
	Tick(t, d)
	// A dump restores the rows and gives the tables new oids. The rest of what it does is the migrations' to test.
	Exec(t, d, "update weir.watermark set origin = split_part(origin, '/', 1) || '/1'")
	Tick(t, d)
	if epoch := Value[int](t, d, "select epoch from weir.watermark"); epoch != 1 {
		t.Errorf("the epoch is %d, want 1", epoch)
	}
	job := ClaimOne(t, d, "q")
	if job.Token == job.ID {
		t.Errorf("the token of job %d is still its place", job.ID)
	}
	Complete(t, d, job)
}

// pool connects to the database of a server that the test stops.
func pool(t *testing.T, s *embedded.Server) *pgxpool.Pool {
	t.Helper()
	return Open(t, s.URL("weir")).Pool
}

// lag stops a server and returns it started again, with a standby that hears nothing of what it does from now on.
func lag(t *testing.T, s *embedded.Server) (primary, standby *embedded.Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	standby = Standby(t, s)
	return Restart(t, s), standby
}

// refuses checks that the lease of the lost history changes nothing while the new one is held, and that the new one counts.
func refuses(t *testing.T, p *pgxpool.Pool, lost, current Lease) {
	t.Helper()
	if current.Token <= lost.Token {
		t.Errorf("the token of job %d went from %d to %d, and should grow", lost.ID, lost.Token, current.Token)
	}
	for _, call := range []string{
		"complete($1, $2)", "fail($1, $2, '{}')", "snooze($1, $2, '1 s')", "release($1, $2)", "assert_lease($1, $2)",
	} {
		WantSQLState(t, TryExec(p, "select weir."+call, lost.ID, lost.Token), "WR001")
	}
	kept := Value[int](t, p, "select count(*) from weir.heartbeat(array[$1::bigint], array[$2::bigint])", lost.ID, lost.Token)
	if kept != 0 {
		t.Errorf("a heartbeat with the token of the lost history kept job %d", lost.ID)
	}
	Complete(t, p, current)
}
