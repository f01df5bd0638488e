package search

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// The script that fills a database for measurements makes jobs that weir could have made: sealed, counted, and found.
func TestScriptFillsADatabase(t *testing.T) {
	weirtest.Long(t, "it makes thousands of jobs")
	t.Parallel()
	d := weirtest.New(t)
	script, err := os.ReadFile("../../bench/search/fill.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{string(script), "call fill.run(6000, 1000, 1, 3)"} {
		if _, err := d.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	for sql, want := range map[string]int{
		"select count(*) from weir.jobs where state in ('completed', 'cancelled', 'dead')":                                  6000,
		"select count(*) from weir.jobs where state in ('available', 'scheduled', 'held', 'running')":                       1000,
		"select count(*) from weir.job_partition where outcomes_sealed_at is not null":                                      3,
		"select sum(enqueued)::int from weir.rollup where tenant = ''":                                                      7000,
		"select sum(completed + dead + cancelled)::int from weir.rollup where tenant = ''":                                  6000,
		"select count(*) from weir.jobs where state = 'dead' and jsonb_array_length(errors) <> attempt":                     0,
		"select total from weir.count_jobs('{\"args\": {\"order\": \"order-4711\"}}')":                                      1,
		"select total from weir.count_jobs('{\"q\": \"order-4711\", \"state\": [\"completed\", \"cancelled\", \"dead\"]}')": 1,
	} {
		if got := weirtest.Value[int](t, d, sql); got != want {
			t.Errorf("%s: %d, want %d", sql, got, want)
		}
	}
	weirtest.Exec(t, d, "drop schema fill cascade")
}
