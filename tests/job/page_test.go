package job

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// pages follows a list to its end. It checks that no page is long and that no item comes twice.
func pages(t *testing.T, s *weirtest.Node, path string, most int) (items int) {
	t.Helper()
	seen := map[string]bool{}
	for cursor, n := "", 0; ; n++ {
		answer := s.Get(path + "&cursor=" + url.QueryEscape(cursor)).Want(http.StatusOK)
		if len(answer.Body) > most {
			t.Errorf("%s: a page has %d bytes", path, len(answer.Body))
		}
		page := weirtest.Decode[weirtest.Page[struct{ ID, Name string }]](answer)
		for _, item := range page.Items {
			if seen[item.ID+item.Name] {
				t.Errorf("%s: %s%s comes twice", path, item.ID, item.Name)
			}
			seen[item.ID+item.Name] = true
		}
		if page.NextCursor == nil {
			return len(seen)
		}
		if n > 100 {
			t.Fatalf("%s: no end after %d pages", path, n)
		}
		cursor = *page.NextCursor
	}
}

// A page of large items ends early, and the next goes on.
func TestPagesAreBoundedInBytes(t *testing.T) {
	weirtest.Long(t, "it reads tens of MiB")
	t.Parallel()
	s := weirtest.StartNode(t)
	const large, most = 12, 10 << 20 // twelve of a million bytes are more than a page may have
	id := s.Enqueue(`{"kind": "parent"}`)
	s.Exec(`select weir.enqueue_batch(jsonb_agg(jsonb_build_object('kind', 'k', 'parent_id', $1::text, 'args', repeat('a', 1000000)))) from generate_series(1, $2)`, id, large)
	s.Exec(`select weir.set_schedule('s' || n, jsonb_build_object('cron', '0 0 1 1 *', 'job', jsonb_build_object('kind', 'k', 'args', repeat('a', 1000000)))) from generate_series(1, $1) n`, large)
	s.Exec(`select weir.submit_workflow(jsonb_build_object('name', 'w', 'steps', (select jsonb_agg(jsonb_build_object('name', 's' || n, 'kind', 'k', 'queue', 'steps', 'args', repeat('a', 200000))) from generate_series(1, 40) n)))`)
	workflow := s.Count(`select id from weir.workflow`)
	for path, want := range map[string]int{
		"/v1/jobs?kind=k&queue=default&limit=1000":                 large,
		"/v1/jobs/" + id + "/children?limit=1000":                  large,
		"/v1/jobs?limit=7":                                         large + 41,
		"/v1/schedules?limit=1000":                                 large,
		fmt.Sprintf("/v1/workflows/%d/steps?limit=1000", workflow): 40,
	} {
		if got := pages(t, s, path, most); got != want {
			t.Errorf("%s: %d items, want %d", path, got, want)
		}
	}
	s.Exec(`select weir.enqueue_batch(jsonb_agg(jsonb_build_object('kind', 'k', 'queue', 'dying', 'max_attempts', 1, 'args', repeat('a', 1000000)))) from generate_series(1, $1)`, large)
	s.Exec(`select weir.fail(c.job_id, c.token, '{"message": "no"}') from weir.claim('{dying}', 'w', 100) c`)
	if got := pages(t, s, "/v1/dead?limit=1000", most); got != large {
		t.Errorf("%d dead letters, want %d", got, large)
	}
}

// A search whose first statement takes too long goes on with fewer jobs in each, page by page.
func TestSearchThatIsSlowGoesOnPageByPage(t *testing.T) {
	weirtest.Long(t, "it waits for a statement to take too long")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(`{"kind": "k", "args": "needle"}`)
	s.Exec(`select weir.enqueue_batch(jsonb_agg('{"kind": "k"}'::jsonb)) from generate_series(1, 120)`)
	delaySearches(t, s.DB, 60*time.Millisecond) // a hundred take longer than a statement may
	if got := pages(t, s, "/v1/jobs?q=needle", 10<<20); got != 1 {
		t.Errorf("found %d jobs, want 1", got)
	}
}

// However many searches run, jobs move and the node is ready.
func TestSearchesDoNotStarveTheRest(t *testing.T) {
	weirtest.Long(t, "it waits for slow searches")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec(`select weir.enqueue_batch(jsonb_agg('{"kind": "k", "queue": "searched"}'::jsonb)) from generate_series(1, 50)`)
	delaySearches(t, s.DB, 10*time.Millisecond)
	var searches sync.WaitGroup
	var refused, failed atomic.Int64
	for range 200 { // more than wait for a connection
		searches.Go(func() {
			answer, err := s.Send(t.Context(), http.MethodGet, "/v1/jobs?q=needle", nil)
			switch {
			case err != nil:
				failed.Add(1)
			case answer.Status == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != "":
				refused.Add(1)
			case answer.Status != http.StatusOK:
				failed.Add(1)
			}
		})
	}
	s.Eventually("searches are refused", func() bool { return refused.Load() > 0 })
	if used := s.Count(`select count(*) from pg_stat_activity where datname = current_database() and application_name = 'weir reads'`); used > 4 {
		t.Errorf("searches have %d connections", used)
	}
	for range 3 {
		s.Get("/readyz").Want(http.StatusOK)
		s.Enqueue(`{"kind": "k"}`)
		s.ClaimOne("default")
	}
	searches.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d searches failed", n)
	}
}
