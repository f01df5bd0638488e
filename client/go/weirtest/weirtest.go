//go:build unix

// Package weirtest gives the tests of a program that uses weir a real one: a PostgreSQL, a database for each test and a node in the test's process.
//
//	func TestReceiptIsSent(t *testing.T) {
//		w := weirtest.Start(t)
//		placeOrder(ctx, w.Pool, 42) // enqueues a SendReceipt
//		if jobs := weirtest.Enqueued[SendReceipt](w); len(jobs) != 1 || jobs[0].Args.Order != 42 {
//			t.Fatalf("%+v", jobs)
//		}
//		w.Work(newWorker(w.Client))
//	}
//
// The server comes from the machine's PostgreSQL programs, from a container, or is the one that WEIR_TEST_DATABASE_URL names. The first test that
// needs it starts it, which takes a few seconds; all test processes of a module share it, and it ends some seconds after the last of them. A database
// and its node then take a fraction of a second. The server does not sync its files, so it is for tests alone.
package weirtest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

// Weir is a weir of a test's own. It ends with the test. Its methods fail the test where something goes wrong, so they belong on its goroutine.
type Weir struct {
	// Client is over SQL, as weir's owner.
	*weir.Client
	// Pool leads to the database, as a superuser; the program may keep its own tables there.
	Pool *pgxpool.Pool
	// DatabaseURL is the address of the database.
	DatabaseURL string
	// URL is the address of the node.
	URL string

	t    *testing.T
	node *weirtest.Node
}

// Start starts a weir for a test.
func Start(t *testing.T) *Weir {
	t.Helper()
	node := weirtest.StartNode(t)
	client := weir.SQL(node.DB.Pool)
	t.Cleanup(client.Close)
	return &Weir{Client: client, Pool: node.DB.Pool, DatabaseURL: node.DB.Direct, URL: node.URL, t: t, node: node}
}

// HTTP is a client of the node.
func (w *Weir) HTTP(opts ...weir.ClientOption) *weir.Client {
	w.t.Helper()
	client, err := weir.HTTP(w.URL, opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return client
}

// Login makes a login with some kinds of access, such as producer and worker, and returns a pool of its connections, for tests of what a program may
// do.
func (w *Weir) Login(name string, access ...string) *pgxpool.Pool {
	w.t.Helper()
	grants := make([]string, len(access))
	for i, a := range access {
		grants[i] = "'" + a + "'"
	}
	return weirtest.Login(w.t, w.node.DB, name, grants...).Pool
}

// Work has a worker run jobs until none is available in its queues and none runs: also those that these jobs enqueue, and the next steps of their
// workflows. Scheduled jobs and retries wait for [Weir.Advance]. It fails the test if that takes longer than 90 s.
func (w *Weir) Work(worker *weir.Worker) {
	w.t.Helper()
	w.node.Settle()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	w.node.Eventually("no job is available or runs", func() bool {
		return w.node.Count(`select count(*) from weir.queue q where q.name = any ($1)
			and (exists (select from weir.job_ready r where r.queue_id = q.id) or exists (select from weir.job_lease l where l.queue_id = q.id))`, worker.Queues()) == 0
	})
	cancel()
	if err := <-ended; err != nil {
		w.t.Fatal(err)
	}
}

// Job is a job that was enqueued, with its args.
type Job[A any] struct {
	weir.JobState
	// Args are the args, decoded.
	Args A
}

// Enqueued are all jobs of the kind of A, in the order of their ids, whatever has become of them.
func Enqueued[A any](w *Weir) []Job[A] {
	w.t.Helper()
	var zero A
	rows, _ := w.Pool.Query(w.t.Context(), "select id from weir.jobs where kind = $1 order by id", weir.New(zero).Kind)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		w.t.Fatal(err)
	}
	jobs := make([]Job[A], len(ids))
	for i, id := range ids {
		s, err := w.Job(w.t.Context(), weir.ID(id))
		if err != nil {
			w.t.Fatal(err)
		}
		jobs[i].JobState = *s
		if err := json.Unmarshal(s.Args, &jobs[i].Args); err != nil {
			w.t.Fatalf("the args of job %d: %v", id, err)
		}
	}
	return jobs
}

// Advance moves the time of schedules, of scheduled jobs, retries and snoozes, and of the timers of workflows: what would happen within d from now has
// happened. Each slot of a schedule fires. It moves neither the database's clock nor leases and timeouts.
func (w *Weir) Advance(d time.Duration) {
	w.t.Helper()
	until := weirtest.Value[time.Time](w.t, w.Pool, "select clock_timestamp() + $1::interval", d)
	for { // one slot after the other, each at its time
		due := weirtest.Value[*time.Time](w.t, w.Pool, "select min(due_at) from weir.schedule where due_at <= $1 and deleted_at is null and paused_at is null", until)
		if due == nil {
			break
		}
		w.node.Exec("select weir.fire_due(as_of => $1)", *due)
	}
	w.node.Exec("update weir.job_scheduled set run_at = run_at - $1::interval", d)
	w.node.Exec("update weir.workflow_wait set until = until - $1::interval", d)
	w.node.Exec("select weir.run_workflow_timers()")
	for weirtest.Value[int](w.t, w.Pool, "select promoted from weir.promote_due()") > 0 {
		continue
	}
}
