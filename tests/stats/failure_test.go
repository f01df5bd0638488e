package stats

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

type failureSpan struct {
	Since, Until time.Time
	failures
}

// plainFailures are the classes of the failures of a time, by the minutes that begin in it.
func plainFailures(t *testing.T, d *weirtest.Database, c chosen, since, until time.Time) []string {
	t.Helper()
	return weirtest.Values[string](t, d, `select concat_ws(' ', j.kind, x.kind, coalesce(x.detail ->> 'type', ''), count(*), to_char(date_bin('1 min', min(x.at), 'epoch') at time zone 'UTC', 'DD HH24:MI'))
		from weir.job_event x join weir.job j on j.id = x.job_id join weir.queue q on q.id = j.queue_id`+counted(c)+` and x.kind = 'failed' and date_bin('1 min', x.at, 'epoch') >= $1 and date_bin('1 min', x.at, 'epoch') < $2
		group by j.kind, x.kind, coalesce(x.detail ->> 'type', '')`, since, until)
}

// Failures of a week are the same from minutes, hours and days, whatever the window cuts.
func TestFailuresOfAWeekAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	for _, folded := range []bool{false, true} {
		t.Run(fmt.Sprintf("folded %v", folded), func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			work(t, d)
			weirtest.Exec(t, d, "update weir.job_event set at = at - make_interval(mins => (job_id::int * 997) % 10000)")
			weirtest.Exec(t, d, "update weir.rollup_cursor set until = date_bin('1 minute', now() - interval '8 days', 'epoch')")
			weirtest.RollUp(t, d, "0 s")
			if folded {
				weirtest.Exec(t, d, "select weir.sweep_rollups(most => 1000)")
				if weirtest.Value[int](t, d, "select count(distinct at) from weir.rollup_failure_sum where seconds = 86400") < 3 {
					t.Error("there are no sums of days")
				}
			}
			s := weirtest.StartNodeOn(t, d)
			for _, c := range choices {
				for _, window := range []int{30 * 86400, 7 * 86400, 5 * 86400, 3 * 86400, 86400, 6 * 3600, 7200, 600} {
					check := func(part failureSpan, which string) {
						t.Helper()
						var have []string
						for _, f := range part.Classes {
							have = append(have, fmt.Sprint(f.Kind, " ", f.Event, " ", f.Type, " ", f.Attempts, " ", f.FirstSeenAt.UTC().Format("02 15:04")))
						}
						if want := plainFailures(t, d, c, part.Since, part.Until); !sameElements(have, want) {
							t.Errorf("of %+v in %s: got %q, want %q", c, which, have, want)
						}
					}
					got := weirtest.Decode[struct {
						failureSpan
						Previous *failureSpan
					}](s.Get(fmt.Sprintf("/v1/stats/failures?compare=previous&window_seconds=%d%s", window, c.query())).Want(http.StatusOK))
					check(got.failureSpan, fmt.Sprint(window, " s"))
					if !folded {
						check(*got.Previous, fmt.Sprint("the ", window, " s before"))
					}
				}
			}
		})
	}
}
