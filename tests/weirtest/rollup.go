//go:build unix

package weirtest

import "testing"

// RollUp rolls up until nothing is left, and returns the steps.
func RollUp(t *testing.T, q Querier, patience string) []string {
	t.Helper()
	Tick(t, q)
	var steps []string
	for range 500 {
		did := Value[string](t, q, "select did from weir.roll_up($1::text::interval)", patience)
		if did == "nothing" {
			return steps
		}
		steps = append(steps, did)
	}
	t.Fatalf("there is always something left to roll up: %q", steps[:20])
	return nil
}

// Age moves everything, and the cursor of the roll-ups, some minutes into the past.
func Age(t *testing.T, q Querier, minutes int) {
	t.Helper()
	for _, sql := range []string{
		"update weir.job set created_at = created_at - make_interval(mins => $1), run_at = run_at - make_interval(mins => $1)",
		"update weir.job_outcome set started_at = started_at - make_interval(mins => $1), finished_at = finished_at - make_interval(mins => $1)",
		"update weir.job_event set at = at - make_interval(mins => $1), started_at = started_at - make_interval(mins => $1), run_at = run_at - make_interval(mins => $1)",
		`update weir.job_event set detail = detail || jsonb_build_object('started_at', (detail ->> 'started_at')::timestamptz - make_interval(mins => $1),
			'finished_at', (detail ->> 'finished_at')::timestamptz - make_interval(mins => $1)) where detail ? 'finished_at'`,
		"update weir.rollup_cursor set until = date_bin('1 minute', now() - make_interval(mins => $1 + 5), 'epoch')",
	} {
		Exec(t, q, sql, minutes)
	}
}
