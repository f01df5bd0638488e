package bulk

import (
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

type counted struct {
	ID         string
	State      string
	Total      int
	TotalExact bool `json:"total_exact"`
	Done       int
	CreatedAt  time.Time `json:"created_at"`
}

// Counting stops after two seconds. Here a function that always stops early stands for millions of jobs.
func TestCountThatWasCutShortSaysSo(t *testing.T) {
	weirtest.Long(t, "its counts run into their time limit")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	const jobs = 2500
	s.Exec("select weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'k', 'queue', 'q')) from generate_series(1, 2500)))")
	s.Exec("select weir.cancel(id) from weir.job")
	request := weirtest.Object{"action": "retry", "filter": weirtest.Object{"queue": "q"}, "dry_run": true}
	if o := weirtest.Decode[counted](s.Post("/v1/jobs/bulk", request).Want(http.StatusOK)); o.Total != jobs || !o.TotalExact {
		t.Errorf("a dry run that was quick counts %+v", o)
	}

	// The same count without the time for it.
	var total int
	var exact bool
	if err := s.DB.QueryRow(t.Context(), `select total, exact from weir.count_jobs('{"queue": "q"}', 'bulk_retry', seconds => 0)`).Scan(&total, &exact); err != nil {
		t.Fatal(err)
	}
	if total >= jobs || exact {
		t.Errorf("without time it counts %d, exact: %t", total, exact)
	}
	s.Exec(`create or replace function weir.count_jobs(filter jsonb default '{}', kind text default null, seconds float8 default 2, out total bigint, out exact boolean) language sql stable as
		$$ select 2000::bigint, false $$`)
	o := weirtest.Decode[counted](s.Post("/v1/jobs/bulk", request).Want(http.StatusOK))
	if o.Total != 2000 || o.TotalExact {
		t.Errorf("a dry run that was cut short counts %+v", o)
	}
	request["dry_run"] = false
	o = weirtest.Decode[counted](s.Post("/v1/jobs/bulk", request).Want(http.StatusAccepted))
	if o.TotalExact {
		t.Errorf("an operation whose count was cut short says %+v", o)
	}
	s.WaitForOperation(o.ID)
	if o = weirtest.Decode[counted](s.Get("/v1/operations/" + o.ID).Want(http.StatusOK)); o.Total != jobs || o.Done != jobs || !o.TotalExact {
		t.Errorf("at its end it says %+v", o)
	}
}
