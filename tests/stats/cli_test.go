package stats

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCommandPrintsTheNumbers(t *testing.T) {
	t.Parallel()
	s := atStage(t, 1)
	s.CLI("stats").Says(0, "AVAILABLE", "ENQUEUED", "300", "140", "P95", "red", "blue", "workers: ", " active", "schedules due: 0", "the last 60 min")
	s.CLI("stats", "--window", "2h", "--queue", "red", "--kind", "b").Says(0, "ENQUEUED", "40")
	var shown overview
	if err := json.Unmarshal([]byte(s.CLI("stats", "--json").Says(0).Stdout), &shown); err != nil || shown.Throughput.Enqueued != 300 {
		t.Errorf("--json shows %+v, %v", shown, err)
	}
	s.CLI("stats", "--queue", "nowhere").Says(1, "nowhere")
	s.CLI("stats", "--window", "2h", "--tenant", "acme").Says(0, "ENQUEUED", "128")
	s.CLI("queue", "forecast", "red").Says(0, "WAITING", "OUTLOOK", "stuck")
	s.CLI("queue", "forecast", "nowhere").Says(1, "nowhere")
	s.CLI("queue", "forecast", "red", "--window", "1s").Says(2, "--window")
	s.CLI("stats", "--window", "1s").Says(2, "--window")
	s.CLI("stats", "--window", "2161h").Says(2, "--window")
	s.Exec("select weir.enqueue('a') from generate_series(1, 10001) i")
	s.CLI("stats").Says(0, "not counted yet", fmt.Sprint(300))
}

// The page about analytics has only queries that run.
func TestRecipesRun(t *testing.T) {
	t.Parallel()
	s := atStage(t, 1)
	queries := recipes(t)
	if len(queries) < 15 {
		t.Errorf("there are only %d queries", len(queries))
	}
	for _, query := range queries {
		if err := weirtest.TryExec(s.DB, query); err != nil {
			t.Errorf("%v:\n%s", err, query)
		}
	}
	// Those that answer a question about all jobs agree with a plain count.
	if got := weirtest.Value[int](t, s.DB, "select sum(completed) from weir.throughput where at >= now() - interval '2 hours'"); got != 140 {
		t.Errorf("%d jobs were completed", got)
	}
}
