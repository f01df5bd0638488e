package tests

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestNodeTakesTheConnectionsThatItSays adds up what a node may take for its own work, and compares that with the help text and the docs.
func TestNodeTakesTheConnectionsThatItSays(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	s, _ := weirtest.StartServe(t, database, "WEIR_MAX_CONNECTIONS=3")
	const sessions = `select count(*) from pg_stat_activity where datname = current_database() and application_name = $1`

	scraped := s.Get("/metrics")
	if calls := s.MetricIn(scraped, "weir_db_pool_connections", `pool="calls"`, `state="max"`); calls != 3 {
		t.Errorf("calls may take %v connections, want 3", calls)
	}
	groups := int(s.MetricIn(scraped, "weir_db_pool_connections", `pool="groups"`, `state="max"`))
	loops := int(s.MetricIn(scraped, "weir_db_pool_connections", `pool="loops"`, `state="max"`))
	s.Eventually("the listener is connected", func() bool { return s.Count(sessions, "weir listener") == 1 })

	// River's calls pile up behind the lock, so that its pool grows to its bound.
	tx, err := s.DB.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Eventually("the chores listen", func() bool { return s.Count(sessions+" and query ilike 'listen%'", "weir chores") == 1 })
	weirtest.Exec(t, tx, "lock table weir_river.river_job in access exclusive mode")
	s.Eventually("the chores take five connections", func() bool { return s.Count(sessions, "weir chores") == 5 })
	const listener, chores, sealing = 1, 5, 2
	own := groups + loops + listener + chores + sealing
	weirtest.Rollback(t, tx)

	help := weirtest.RunCLI(t, nil, "", "serve", "--help").Says(0).Stdout
	docs, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for where, found := range map[string][]string{
		"weir serve --help":  regexp.MustCompile(`up\s+to\s+(\d+)\s+more`).FindStringSubmatch(help),
		"docs/operations.md": regexp.MustCompile(`for calls and (\d+) for its own work`).FindStringSubmatch(string(docs)),
	} {
		if len(found) != 2 || found[1] != strconv.Itoa(own) {
			t.Errorf("%s says %q; a node takes up to %d for its own work", where, found, own)
		}
	}
	two := fmt.Sprintf("Two nodes with the default take up to %d.", 2*(16+own))
	if !regexp.MustCompile(regexp.QuoteMeta(two)).Match(docs) {
		t.Errorf("docs/operations.md does not say %q", two)
	}
}
