package tests

import (
	"fmt"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A transaction that pins the horizon keeps every dead row. When it ends, the space goes back to the system without anybody doing anything.
func TestAfterAPinnedHorizonTheHotTablesShrink(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	size := func() int { return s.Count(`select pg_relation_size('weir.job_lease')::int`) }
	unpin := s.ExecUncommitted(`set transaction isolation level repeatable read; select pg_current_xact_id()`)
	const batch = 10_000
	for range 8 {
		s.Count(`select count(*)::int from weir.enqueue_many((select jsonb_agg('{"kind": "k"}'::jsonb) from generate_series(1, 10000)))`)
		done := 0
		s.Eventually("the jobs are done", func() bool { // an enqueue that took long is found at the next tick
			done += s.Count(`with c as (select array_agg(job_id) as ids, array_agg(token) as tokens from weir.claim('{default}', repeat('w', 200), 10000))
				select count(*)::int from c, weir.complete_many(c.ids, c.tokens)`)
			return done >= batch
		})
	}
	pinned := size()
	if pinned <= 16<<20 {
		t.Fatalf("%d bytes: a table so small is left as it is", pinned)
	}
	unpin()
	s.Eventually(fmt.Sprintf("the %d bytes of before became a tenth", pinned), func() bool { return size() < pinned/10 })
}
