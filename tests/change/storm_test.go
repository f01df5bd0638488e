package change

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Every kind of change happens to a few jobs at once. A call fails only with errors of the contract, and no job is lost
// or doubled.
func TestStormOfChangesLeavesJobsInOnePlace(t *testing.T) {
	weirtest.Long(t, "it changes jobs for a while")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 1, "max_attempts": 3, "retry": {"base_seconds": 0.05}}')`)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q', unique_key => 'k' || i) from generate_series(1, 30) i")
	ids := weirtest.Values[int64](t, d, "select id from weir.jobs order by id")
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	var wg sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for i := range 8 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			conn := d.Connect()
			var mine []weirtest.Lease
			for time.Now().Before(end) {
				id := ids[rng.IntN(len(ids))]
				token := int64(0)
				if len(mine) > 0 && rng.IntN(2) == 0 {
					j := mine[rng.IntN(len(mine))]
					id, token = j.ID, j.Token
				}
				calls := []string{
					"cancel($1)", "retry($1)", "retry($1, true)", "redrive($1)", "redrive($1, 'me', true)", "purge_dead($1)", "sweep_dead()", fmt.Sprintf(`edit($1, '{"priority": %d}')`, 1+rng.IntN(10)), `edit($1, '{"run_at": "2001-01-01T00:00:00Z"}')`,
					"expire_leases()", "promote_due()", "advance_frontier('0 s')", "enqueue('b', queue => 'q', unique_key => 'k' || $1::bigint)", "purge_queue('q', 1)",
					"complete($1, $2)", "fail($1, $2, null)", "fail($1, $2, null, '0')", "fail($1, $2, null, retry => false)", "snooze($1, $2, '20 ms')", "release($1, $2)",
					"heartbeat(array[$1::bigint], array[$2::bigint])", "complete_many($3, $4)", "fail_many($3, $4, array_fill(null::jsonb, array[cardinality($3::bigint[])]))", "release_many($3, $4)", "snooze_many($3, $4, array_fill('10 ms'::interval, array[cardinality($3::bigint[])]))",
				}
				call := calls[rng.IntN(len(calls))]
				var err error
				switch {
				case rng.IntN(3) == 0:
					mine, err = weirtest.TryClaim(conn, "q", 1+rng.IntN(5))
				case strings.Contains(call, "$3"): // many
					shuffled := slices.Clone(mine)
					rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
					call = strings.NewReplacer("$3", "$1", "$4", "$2").Replace(call)
					err = weirtest.TryExec(conn, "select weir."+call, weirtest.IDs(shuffled), weirtest.Tokens(shuffled))
				default:
					err = weirtest.TryExec(conn, "select weir."+call, []any{id, token}[:strings.Count(call, "$")]...)
				}
				if err != nil && !weirtest.HasSQLState(err, "WR001") && !weirtest.HasSQLState(err, "WR003") && !weirtest.HasSQLState(err, "WR004") && !weirtest.HasSQLState(err, "WR005") && !weirtest.HasSQLState(err, "WR014") {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
	wg.Wait()
}
