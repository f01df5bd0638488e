package connection

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestPoolersWorkAsDocumented serves through PgBouncer with no more settings than docs/operations.md names.
func TestPoolersWorkAsDocumented(t *testing.T) {
	t.Parallel()
	t.Run("session mode", func(t *testing.T) {
		t.Parallel()
		d := weirtest.New(t)
		through := weirtest.PgBouncerWith(t, d.Direct, "pool_mode = session", "default_pool_size = 50")
		s, _ := weirtest.StartServe(t, &weirtest.Database{Pool: d.Pool, URL: through, Direct: through, T: t})
		smoke(t, s)
		s.Eventually("it listens through the pooler", func() bool { return s.Metric("weir_listener_up") == 1 })
		if n := s.Count("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'weir listener'"); n != 1 {
			t.Errorf("%d sessions listen", n)
		}
	})
	t.Run("transaction mode", func(t *testing.T) {
		t.Parallel()
		d := weirtest.New(t)
		through := weirtest.PgBouncerWith(t, d.Direct, "pool_mode = transaction", "default_pool_size = 5")
		s, _ := weirtest.StartServe(t, &weirtest.Database{Pool: d.Pool, URL: through + "&default_query_exec_mode=cache_describe", Direct: d.Direct, T: t})
		smoke(t, s)
	})
}
