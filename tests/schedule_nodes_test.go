package tests

import (
	"testing"
	"time"

	"github.com/weirhq/weir/tests/pgtest"
)

// Ten thousand schedules are due at the same second, on three nodes, of which one is killed while they fire.
func TestChaosTenThousandSchedulesFireOnceEach(t *testing.T) {
	t.Parallel()
	made := pgtest.New(t)
	d := &database{Pool: made.Pool(), t: t, url: made.URL}
	const schedules = 10000
	setSchedule(t, d, "s0", `{"cron": "0 0 1 1 *", "job": {"kind": "k", "queue": "q", "args": {"at": "{{scheduled_at}}"}}}`)
	do(t, d, `insert into weir.schedule select (jsonb_populate_record(s, jsonb_build_object('id', 1000000 + n, 'name', 's' || n))).* from weir.schedule s, generate_series(1, $1) n`, schedules-1)
	var nodes []*serviceChild
	var s *service
	for range 3 {
		var child *serviceChild
		s, child = startNode(t, made.URL)
		nodes = append(nodes, child)
	}
	s.pool = d.Pool
	// All of them at a second that comes soon: the definitions stay what they are, only the plan is put on.
	do(t, d, "update weir.schedule set (next_slot_at, due_at) = (select x, x from (select date_trunc('second', clock_timestamp()) + interval '4 s' as x) y)")
	s.eventually("some have fired", func() bool { return s.count("select count(*) from weir.schedule_slot") > schedules/10 })
	nodes[0].kill()
	s.eventually("all have fired", func() bool {
		return s.count("select count(*) from weir.schedule_slot where outcome = 'enqueued'") == schedules
	})
	if n := s.count("select count(distinct schedule) from weir.job where slot is not null"); n != schedules || s.count("select count(*) from weir.job") != schedules {
		t.Errorf("%d schedules made %d jobs", n, s.count("select count(*) from weir.job"))
	}
	if n := s.count("select count(*) from weir.schedule where runs <> 1 or next_slot_at <> date_trunc('year', next_slot_at) or due_at <> next_slot_at"); n != 0 {
		t.Errorf("%d schedules are not where they should be", n)
	}
	late := ask[float64](t, d, "select percentile_cont(0.99) within group (order by extract(epoch from j.created_at - j.slot))::float8 from weir.job j")
	t.Logf("99 of 100 jobs were there %v after their slot", time.Duration(late*float64(time.Second)).Round(time.Millisecond))
}
