package plans

import (
	"fmt"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A list of the newest jobs reads a page, however many jobs there are and whatever the statistics say: right after a burst
// they are those of empty tables.
func TestListsReadAPageWhateverTheStatistics(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	calls := []plannedCall{}
	for filter, want := range map[string]int{
		`{}`: 10, `{"state": "available"}`: 10, `{"state": "running"}`: 10, `{"state": "scheduled"}`: 10, `{"state": "completed"}`: 10,
		`{"parent_id": "1"}`: 10,
	} {
		calls = append(calls, plannedCall{
			sql:  fmt.Sprintf("select cardinality(weir.newest_job_ids('%s', 9223372036854775807, 10))", filter),
			want: want,
		})
	}
	calls = append(calls, plannedCall{ // what REST asks for: a page of whole jobs
		sql: `select count(*) from weir.jobs j where j.id = any (array(
			select p.id from weir.filter_job_ids(weir.newest_job_ids('{}', 9223372036854775807, 10), '{}') p(id) order by p.id desc limit 10))`,
		want: 10, rows: 60, viewed: true, // with few outcomes, a join reads all of their index
	})
	checkReads(t, d, `^(job_ready|job_lease|job_scheduled|job_held|job_dead|.*_p\d+)$`, nil, calls, func() {
		weirtest.Exec(t, d, `select weir.enqueue_many((select jsonb_agg('{"kind": "first", "queue": "f"}'::jsonb) from generate_series(1, 2000)))`)
		weirtest.Exec(t, d, `select weir.complete_many(array_agg(c.job_id), array_agg(c.token)) from weir.claim(array['f'], 'w', 1000) c`)
		weirtest.Exec(t, d, `select count(*) from weir.claim(array['f'], 'w', 500)`)
		weirtest.Exec(t, d, `select weir.enqueue_many((select jsonb_agg('{"kind": "later", "queue": "l", "delay_seconds": 3600}'::jsonb) from generate_series(1, 2000)))`)
		weirtest.Exec(t, d, `select weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'child', 'queue', 'c', 'parent_id', (select min(id)::text from weir.job)))
			from generate_series(1, 2000)))`)
		weirtest.Exec(t, d, `update weir.job set parent_id = 1 where kind = 'child'`) // the first job's id is not known when the calls are written
	})
}
