package tests

import (
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Ten thousand schedules are due at the same second, on three nodes, of which one is killed while they fire.
func TestChaosTenThousandSchedulesFireOnceEach(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const schedules = 10000
	setSchedule(t, d, "s0", `{"cron": "0 0 1 1 *", "job": {"kind": "k", "queue": "q", "args": {"at": "{{scheduled_at}}"}}}`)
	weirtest.Exec(t, d, `insert into weir.schedule select (jsonb_populate_record(s, jsonb_build_object('id', 1000000 + n, 'name', 's' || n))).* from weir.schedule s, generate_series(1, $1) n`, schedules-1)
	var nodes []*weirtest.Process
	var s *weirtest.Node
	for range 3 {
		var child *weirtest.Process
		s, child = weirtest.StartServe(t, d)
		nodes = append(nodes, child)
	}
	// All of them at a second that comes soon: the definitions stay what they are, only the plan is put on.
	weirtest.Exec(t, d, "update weir.schedule set (next_slot_at, due_at) = (select x, x from (select date_trunc('second', clock_timestamp()) + interval '4 s' as x) y)")
	s.Eventually("some have fired", func() bool { return s.Count("select count(*) from weir.schedule_slot") > schedules/10 })
	nodes[0].Kill()
	s.Eventually("all have fired", func() bool {
		return s.Count("select count(*) from weir.schedule_slot where outcome = 'enqueued'") == schedules
	})
	if n := s.Count("select count(distinct schedule) from weir.job where slot is not null"); n != schedules || s.Count("select count(*) from weir.job") != schedules {
		t.Errorf("%d schedules made %d jobs", n, s.Count("select count(*) from weir.job"))
	}
	if n := s.Count("select count(*) from weir.schedule where runs <> 1 or next_slot_at <> date_trunc('year', next_slot_at) or due_at <> next_slot_at"); n != 0 {
		t.Errorf("%d schedules are not where they should be", n)
	}
	late := weirtest.Value[float64](t, d, "select percentile_cont(0.99) within group (order by extract(epoch from j.created_at - j.slot))::float8 from weir.job j")
	t.Logf("99 of 100 jobs were there %v after their slot", time.Duration(late*float64(time.Second)).Round(time.Millisecond))
}
