package bulk

import (
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

const many = 20_000

// paceOf starts an operation on many jobs, waits for its end, and logs how long it took.
func paceOf(s *weirtest.Node, body obj) {
	s.T.Helper()
	began := time.Now()
	o := weirtest.Decode[weirtest.Operation](s.Post("/v1/jobs/bulk", body).Want(http.StatusAccepted))
	started := time.Since(began)
	o = s.WaitForOperation(o.ID)
	all := time.Since(began)
	var own float64
	if err := s.DB.QueryRow(s.T.Context(), "select extract(epoch from finished_at - started_at) from weir.operation where id = $1::bigint", o.ID).Scan(&own); err != nil {
		s.T.Fatal(err)
	}
	if o.Done != many || o.Failed != 0 {
		s.T.Errorf("%v: %+v", body, o)
	}
	s.T.Logf("%v of %d jobs: %s from the call to its end (the call %s, the batches %.2f s)", body["action"], many, all.Round(time.Millisecond), started.Round(time.Millisecond), own)
}

func fill(s *weirtest.Node, queue string) {
	s.T.Helper()
	for range many / 10_000 {
		s.Exec(`select weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'k', 'queue', $1::text, 'args', jsonb_build_object('n', i))) from generate_series(1, 10000) i))`, queue)
	}
}

func TestManyJobsAreChangedTogether(t *testing.T) {
	weirtest.Long(t, "it changes 20,000 jobs four times")
	s := weirtest.StartNodeWithChores(t)
	fill(s, "q")
	for _, body := range []obj{
		{"action": "reprioritise", "filter": obj{"queue": "q"}, "priority": 9},
		{"action": "cancel", "filter": obj{"queue": "q"}},
		{"action": "retry", "filter": obj{"queue": "q"}},
		{"action": "cancel", "filter": obj{"queue": "q"}},
	} {
		paceOf(s, body)
	}
}
