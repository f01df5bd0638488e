package search

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// seal gives the partitions that take no more jobs their indexes, as the service does.
func seal(t *testing.T, d *weirtest.Database) {
	t.Helper()
	weirtest.Tick(t, d)
	weirtest.Eventually(t, "two partitions are sealed", func() bool {
		for {
			next := weirtest.Value[*string](t, d, "select statement from weir.seal_step()")
			if next == nil { // nothing is left, or a node is building an index
				return weirtest.Value[int](t, d, "select count(*) from weir.job_partition where outcomes_sealed_at is not null") == 2
			}
			if _, err := d.Exec(context.Background(), *next, pgx.QueryExecModeSimpleProtocol); err != nil && !strings.Contains(err.Error(), "already exists") {
				t.Fatalf("%s: %v", *next, err)
			}
		}
	})
}

// fill makes some hundreds of jobs in all states and in three partitions, with random facts, lives and times.
func fill(t *testing.T, d *weirtest.Database) {
	t.Helper()
	r := rand.New(rand.NewPCG(13, 7))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for part := range 3 {
		if part > 0 {
			weirtest.RollOver(t, d)
		}
		for range 150 {
			tags, tenant, rest := "[]", "null", ""
			if r.IntN(2) == 0 {
				tags = pick(`["red"]`, `["red", "big"]`, `["blue"]`, `["big", "vip"]`)
			}
			if r.IntN(3) > 0 {
				tenant = pick(`"acme"`, `"umbra"`)
			}
			if r.IntN(8) == 0 {
				rest = fmt.Sprintf(`, "delay_seconds": %d`, 3600+r.IntN(9999))
			}
			args := fmt.Sprintf(`{"customer": {"id": %d, "email": %q}, "order": "order-%d", "note": %q, "paid": %s}`,
				r.IntN(6), pick("ann@example.com", "bob@example.org"), r.IntN(9), pick("fragile goods", "two\nlines", "a \"quoted\" word", "42"), pick("true", "false", "null"))
			weirtest.Exec(t, d, "select weir.enqueue_many(jsonb_build_array($1::jsonb))", fmt.Sprintf(
				`{"kind": %q, "queue": %q, "priority": %d, "max_attempts": %d, "tags": %s, "tenant": %s, "args": %s%s}`,
				pick("send_receipt", "resize", "import", "charge"), pick("mail", "files", "bulk"), 1+r.IntN(10), 1+r.IntN(3), tags, tenant, args, rest))
		}
		weirtest.Exec(t, d, "update weir.job set parent_id = (select min(id) from weir.job) where id % 17 = 3")
		for round := range 4 {
			work(t, d, r, round)
		}
	}
	for _, sql := range []string{ // lives of all lengths, none near a bound of a filter, as those that have not ended grow
		"update weir.job set created_at = created_at - make_interval(secs => 1000 * (id % 3))",
		"update weir.job_outcome set started_at = finished_at - make_interval(secs => 10 * (job_id % 13)) where started_at is not null",
		"update weir.job_lease set leased_at = leased_at - interval '1 hour', expires_at = now() + interval '1 hour'",
	} {
		weirtest.Exec(t, d, sql)
	}
}

// work claims jobs and ends their attempts in every way.
func work(t *testing.T, d *weirtest.Database, r *rand.Rand, round int) {
	t.Helper()
	for _, worker := range []string{"w1", "w2", "w3"} {
		rows, err := d.Query(context.Background(), "select job_id, token from weir.claim('{mail,files,bulk}', $1, 14)", worker)
		if err != nil {
			t.Fatal(err)
		}
		leases, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ ID, Token int64 }])
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			call := ""
			switch n := r.IntN(10); {
			case n < 5:
				call = "weir.complete($1, $2)"
			case n < 8:
				call = fmt.Sprintf("weir.fail($1, $2, '%s', retry_in => '%d s')", []string{
					`{"type": "SMTPError", "message": "connection refused by mx.example.com"}`, `{"type": "java.net.SocketTimeoutException", "message": "Read timed out"}`,
					`{"message": "no route to host"}`,
				}[r.IntN(3)], 3600*r.IntN(2))
			case n == 8 && round%2 == 0:
				call = "weir.snooze($1, $2, '1 hour')"
			}
			if call != "" {
				weirtest.Exec(t, d, "select "+call, l.ID, l.Token)
			}
		}
	}
	weirtest.Exec(t, d, "select weir.cancel(id) from (select id from weir.jobs where state in ('available', 'scheduled') and id % 11 = 5 limit 4) x")
}
