package claim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// A claim parks the queue before it waits. The next enqueue then notifies once; without a parked claim there is no
// notification.
func TestOnlyParkedQueueIsNotified(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	conn, err := s.DB.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "listen weir_ready"); err != nil {
		t.Fatal(err)
	}
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "early", "queue": "q"}}, 3))
	s.ClaimAs("w", 3, "q")
	answer := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 60, "limit": 10})
	s.Eventually("the queue is parked", func() bool {
		return s.Count(`select count(*) from weir.parked where queue = 'q' and until > clock_timestamp()`) > 0
	})
	s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "another"}}, 3))
	s.Answer(answer)
	ctx, cancel := context.WithTimeout(t.Context(), weirtest.Patience)
	defer cancel()
	n, err := conn.Conn().WaitForNotification(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n.Payload != "q" {
		t.Errorf("notified of %q, want q", n.Payload)
	}
	s.Exec(`notify weir_ready, 'the end'`)
	if n, err = conn.Conn().WaitForNotification(ctx); err != nil || n.Payload != "the end" {
		t.Errorf("one statement notified a second time: %v, %v", n, err)
	}
	if _, err := conn.Exec(t.Context(), "unlisten *"); err != nil {
		t.Fatal(err)
	}
}

// listener receives the notifications for parked claims.
type listener struct {
	d    *weirtest.Database
	conn *pgx.Conn
}

// heard returns the payloads that were committed since the last call.
func (l *listener) heard() []string {
	l.d.T.Helper()
	weirtest.Exec(l.d.T, l.d, "select pg_notify('so_far', '')")
	ctx, cancel := context.WithTimeout(context.Background(), weirtest.Patience)
	defer cancel()
	payloads := []string{}
	for {
		n, err := l.conn.WaitForNotification(ctx)
		if err != nil {
			l.d.T.Fatal(err)
		}
		if n.Channel == "so_far" {
			return payloads
		}
		payloads = append(payloads, n.Payload)
	}
}

func (l *listener) want(what string, payloads ...string) {
	l.d.T.Helper()
	if got := l.heard(); !slices.Equal(got, payloads) {
		l.d.T.Errorf("%s: heard %q, want %q", what, got, payloads)
	}
}

func newListener(d *weirtest.Database) *listener {
	conn := d.Connect()
	weirtest.Exec(d.T, conn, "listen weir_ready")
	weirtest.Exec(d.T, conn, "listen so_far")
	return &listener{d, conn}
}

func TestNoNotificationWithoutParkedClaim(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	l := newListener(d)
	weirtest.EnqueueOne(t, d, "q")
	l.want("an enqueue without a parked claim")
	weirtest.Exec(t, d, "select weir.park(array['other'], 'node')")
	weirtest.EnqueueOne(t, d, "q")
	l.want("an enqueue while a claim is parked at another queue")
	weirtest.Exec(t, d, "select weir.park(array['q'], 'node')")
	tx := d.Tx()
	weirtest.EnqueueOne(t, tx, "q")
	l.want("an enqueue that is not committed")
	weirtest.Rollback(t, tx)
	l.want("an enqueue that rolled back")
	weirtest.EnqueueOne(t, d, "q")
	l.want("an enqueue", "q")
	weirtest.Exec(t, d, "select weir.unpark(array['q'], 'another node')")
	weirtest.EnqueueOne(t, d, "q")
	l.want("an enqueue after another has left", "q")
	weirtest.Exec(t, d, "select weir.unpark(array['q'], 'node')")
	weirtest.EnqueueOne(t, d, "q")
	l.want("an enqueue after all have left")
}

func TestStatementNotifiesOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	l := newListener(d)
	weirtest.Exec(t, d, "select weir.park(array['a', 'b', 'c'], 'node 1')")
	weirtest.Exec(t, d, "select weir.park(array['a'], 'node 2')")
	job := func(queue string) string { return `{"kind": "x", "queue": "` + queue + `"}` }
	weirtest.Enqueue(t, d, slices.Repeat([]string{job("a")}, 500)...)
	l.want("500 jobs in one call", "a")
	weirtest.Enqueue(t, d, job("a"), job("c"), job("unparked"), job("a"))
	if got := l.heard(); len(got) != 1 || !slices.Contains([]string{"a,c", "c,a"}, got[0]) {
		t.Errorf("jobs in three queues: heard %q, want once a and c", got)
	}
	weirtest.EnqueueOne(t, d, "a")
	weirtest.EnqueueOne(t, d, "b")
	l.want("two calls", "a", "b")
}

func TestTooManyQueueNamesNotifyAllQueues(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	l := newListener(d)
	var queues, jobs []string
	for i := range 70 {
		name := fmt.Sprintf("%03d%s", i, strings.Repeat("x", 120))
		queues = append(queues, name)
		jobs = append(jobs, `{"kind": "x", "queue": "`+name+`"}`)
	}
	weirtest.Exec(t, d, "select weir.park($1, 'node')", queues)
	weirtest.Enqueue(t, d, jobs...)
	l.want("70 long names", "")
}

func TestParkingEnds(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	l := newListener(d)
	weirtest.Exec(t, d, "select weir.park(array['q'], 'node', 1)")
	weirtest.Eventually(t, "the parking has run out", func() bool { return weirtest.Value[bool](t, d, "select until < clock_timestamp() from weir.parked") })
	weirtest.EnqueueOne(t, d, "q")
	l.want("an enqueue after the parking")
	weirtest.Exec(t, d, "select weir.park(array['q'], 'node', 60)")
	weirtest.EnqueueOne(t, d, "q")
	l.want("an enqueue after it was renewed", "q")

	weirtest.Exec(t, d, "update weir.parked set until = now() - interval '2 minutes'")
	weirtest.Exec(t, d, "select weir.unpark(array['any'], 'another node')") // sweeps
	if n := weirtest.Value[int](t, d, "select count(*) from weir.parked"); n != 0 {
		t.Errorf("%d parkings of two minutes ago are left", n)
	}
}

func TestEveryWayToBecomeAvailableNotifies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, sql string }{
		"enqueue":            {"", "select weir.enqueue('a', queue => 'parked')"},
		"enqueue with a key": {"", "select weir.enqueue('a', queue => 'parked', unique_key => 'k')"},
		"release":            {"", "select weir.release(job_id, token) from weir.job_lease"},
		"snooze for no time": {"", "select weir.snooze(job_id, token, '0') from weir.job_lease"},
		"fail for no time":   {"", "select weir.fail(job_id, token, null, '0') from weir.job_lease"},
		"expiry":             {"update weir.job_lease set expires_at = now() - interval '1 s'", "select weir.expire_leases()"},
		"promotion":          {"select weir.snooze(job_id, token, '1 us') from weir.job_lease", "select weir.promote_due()"},
		"retry":              {"select weir.complete(job_id, token) from weir.job_lease", "select weir.retry(job_id) from weir.job_outcome"},
		"retry, scheduled":   {"select weir.snooze(job_id, token, '1 h') from weir.job_lease", "select weir.retry(job_id) from weir.job_scheduled"},
		"edit":               {"select weir.snooze(job_id, token, '1 h') from weir.job_lease", "select weir.edit(job_id, '{\"run_at\": \"2001-01-01T00:00:00Z\"}') from weir.job_scheduled"},
		"resume":             {"select weir.release(job_id, token) from weir.job_lease; select weir.pause_queue('parked')", "select weir.resume_queue('parked')"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			weirtest.EnqueueOne(t, d, "parked")
			weirtest.ClaimOne(t, d, "parked")
			for sql := range strings.SplitSeq(c.before, "; ") {
				if sql != "" {
					weirtest.Exec(t, d, sql)
				}
			}
			l := newListener(d)
			weirtest.Exec(t, d, "select weir.park(array['parked'], 'node')")
			weirtest.Exec(t, d, c.sql)
			l.want(name, "parked")
			if got := weirtest.Claim(t, d, "parked", 1); len(got) != 1 {
				t.Errorf("%s: nothing can be claimed", name)
			}
		})
	}
}

func TestChangeWithoutNewAvailabilityDoesNotNotify(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	l := newListener(d)
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.park(array['q'], 'node')")
	for _, call := range []string{"heartbeat(array[$1::bigint], array[$2::bigint])", "snooze($1, $2, '1 h')"} {
		j.Call(t, d, call)
	}
	weirtest.Exec(t, d, "select weir.promote_due(), weir.expire_leases(), weir.advance_frontier('0 s'), weir.keep_partitions()")
	weirtest.Exec(t, d, "select weir.cancel($1)", j.ID)
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", j.ID, j.Token), "WR001")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.release($1, $2)", j.ID, j.Token), "WR001")
	l.want("a heartbeat, a snooze and promotions without due jobs")
}
