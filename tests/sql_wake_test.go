package tests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// listener hears what is notified to those who wait for jobs.
type listener struct {
	d    *database
	conn *pgx.Conn
}

func newListener(d *database) *listener {
	conn := d.connect()
	do(d.t, conn, "listen weir_ready")
	do(d.t, conn, "listen so_far")
	return &listener{d, conn}
}

// heard returns the payloads of what was committed until now and not heard yet.
func (l *listener) heard() []string {
	l.d.t.Helper()
	do(l.d.t, l.d, "select pg_notify('so_far', '')")
	ctx, cancel := context.WithTimeout(context.Background(), servicePatience)
	defer cancel()
	payloads := []string{}
	for {
		n, err := l.conn.WaitForNotification(ctx)
		if err != nil {
			l.d.t.Fatal(err)
		}
		if n.Channel == "so_far" {
			return payloads
		}
		payloads = append(payloads, n.Payload)
	}
}

func (l *listener) want(what string, payloads ...string) {
	l.d.t.Helper()
	if got := l.heard(); !slices.Equal(got, payloads) {
		l.d.t.Errorf("%s: heard %q, want %q", what, got, payloads)
	}
}

func TestNobodyIsNotifiedWhileNobodyIsParked(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	l := newListener(d)
	enqueueOne(t, d, "q")
	l.want("an enqueue while nobody is parked")
	do(t, d, "select weir.park(array['other'], 'node')")
	enqueueOne(t, d, "q")
	l.want("an enqueue while somebody is parked at another queue")
	do(t, d, "select weir.park(array['q'], 'node')")
	tx := d.begin()
	enqueueOne(t, tx, "q")
	l.want("an enqueue that is not committed")
	rollback(t, tx)
	l.want("an enqueue that rolled back")
	enqueueOne(t, d, "q")
	l.want("an enqueue", "q")
	do(t, d, "select weir.unpark(array['q'], 'another node')")
	enqueueOne(t, d, "q")
	l.want("an enqueue after another has left", "q")
	do(t, d, "select weir.unpark(array['q'], 'node')")
	enqueueOne(t, d, "q")
	l.want("an enqueue after all have left")
}

func TestAStatementNotifiesOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	l := newListener(d)
	do(t, d, "select weir.park(array['a', 'b', 'c'], 'node 1')")
	do(t, d, "select weir.park(array['a'], 'node 2')")
	job := func(queue string) string { return `{"kind": "x", "queue": "` + queue + `"}` }
	enqueue(t, d, slices.Repeat([]string{job("a")}, 500)...)
	l.want("500 jobs in one call", "a")
	enqueue(t, d, job("a"), job("c"), job("unparked"), job("a"))
	if got := l.heard(); len(got) != 1 || !slices.Contains([]string{"a,c", "c,a"}, got[0]) {
		t.Errorf("jobs in three queues: heard %q, want once a and c", got)
	}
	enqueueOne(t, d, "a")
	enqueueOne(t, d, "b")
	l.want("two calls", "a", "b")
}

func TestTooManyNamesForOneNotificationMeanAllQueues(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	l := newListener(d)
	var queues, jobs []string
	for i := range 70 {
		name := fmt.Sprintf("%03d%s", i, strings.Repeat("x", 120))
		queues = append(queues, name)
		jobs = append(jobs, `{"kind": "x", "queue": "`+name+`"}`)
	}
	do(t, d, "select weir.park($1, 'node')", queues)
	enqueue(t, d, jobs...)
	l.want("70 long names", "")
}

func TestAParkingEnds(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	l := newListener(d)
	do(t, d, "select weir.park(array['q'], 'node', 1)")
	eventually(t, "the parking has run out", func() bool { return ask[bool](t, d, "select until < clock_timestamp() from weir.parked") })
	enqueueOne(t, d, "q")
	l.want("an enqueue after the parking")
	do(t, d, "select weir.park(array['q'], 'node', 60)")
	enqueueOne(t, d, "q")
	l.want("an enqueue after it was renewed", "q")

	do(t, d, "update weir.parked set until = now() - interval '2 minutes'")
	do(t, d, "select weir.unpark(array['any'], 'another node')") // sweeps
	if n := ask[int](t, d, "select count(*) from weir.parked"); n != 0 {
		t.Errorf("%d parkings of two minutes ago are left", n)
	}
}

func TestWhateverMakesAJobAvailableNotifies(t *testing.T) {
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
			d := newDatabase(t)
			enqueueOne(t, d, "parked")
			claimOne(t, d, "parked")
			for sql := range strings.SplitSeq(c.before, "; ") {
				if sql != "" {
					do(t, d, sql)
				}
			}
			l := newListener(d)
			do(t, d, "select weir.park(array['parked'], 'node')")
			do(t, d, c.sql)
			l.want(name, "parked")
			if got := claim(t, d, "parked", 1); len(got) != 1 {
				t.Errorf("%s: nothing can be claimed", name)
			}
		})
	}
}

func TestWhoLeavesAJobWhereItIsNotifiesNobody(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	l := newListener(d)
	enqueueOne(t, d, "q")
	j := claimOne(t, d, "q")
	do(t, d, "select weir.park(array['q'], 'node')")
	for _, call := range []string{"heartbeat(array[$1::bigint], array[$2::bigint])", "snooze($1, $2, '1 h')"} {
		j.call(t, d, call)
	}
	do(t, d, "select weir.promote_due(), weir.expire_leases(), weir.advance_frontier('0 s'), weir.keep_partitions()")
	do(t, d, "select weir.cancel($1)", j.ID)
	refused(t, try(d, "select weir.complete($1, $2)", j.ID, j.Token), "WR001")
	refused(t, try(d, "select weir.release($1, $2)", j.ID, j.Token), "WR001")
	l.want("a heartbeat, a snooze and looks in vain")
}
