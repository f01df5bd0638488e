package tests

import (
	"fmt"
	"testing"
)

// A transaction that pins the horizon keeps every dead row. When it ends, the space goes back to the system without anybody doing anything.
func TestAfterAPinnedHorizonTheHotTablesShrink(t *testing.T) {
	t.Parallel()
	s := startService(t)
	size := func() int { return s.count(`select pg_relation_size('weir.job_lease')::int`) }
	unpin := s.begin(`set transaction isolation level repeatable read; select pg_current_xact_id()`)
	const batch = 10_000
	for range 8 {
		s.count(`select count(*)::int from weir.enqueue_many((select jsonb_agg('{"kind": "k"}'::jsonb) from generate_series(1, 10000)))`)
		done := 0
		s.eventually("the jobs are done", func() bool { // an enqueue that took long is found at the next tick
			done += s.count(`with c as (select array_agg(job_id) as ids, array_agg(token) as tokens from weir.claim('{default}', repeat('w', 200), 10000))
				select count(*)::int from c, weir.complete_many(c.ids, c.tokens)`)
			return done >= batch
		})
	}
	pinned := size()
	if pinned <= 16<<20 {
		t.Fatalf("%d bytes: a table so small is left as it is", pinned)
	}
	unpin()
	s.eventually(fmt.Sprintf("the %d bytes of before became a tenth", pinned), func() bool { return size() < pinned/10 })
}
