package rollup

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

const rollupTotals = `select concat_ws(' ', queue, kind, sum(enqueued), sum(completed), sum(completed_later), sum(dead), sum(cancelled), sum(failed), sum(lost), sum(snoozed), sum(released), sum(rerun))
	from weir.throughput group by queue, kind order by 1`

// mixedWork makes jobs that end in every way, and returns their throughput.
func mixedWork(t *testing.T, d *weirtest.Database) []string {
	t.Helper()
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 10) i")
	weirtest.Exec(t, d, "select weir.enqueue('b', queue => 'q') from generate_series(1, 3) i")
	jobs := weirtest.Claim(t, d, "q", 10)
	weirtest.Complete(t, d, jobs[:4]...)
	jobs[4].Call(t, d, `fail($1, $2, '{"message": "broken", "type": "T"}', '0')`)
	jobs[5].Call(t, d, `fail($1, $2, '{"message": "broken", "type": "T"}', retry => false)`)
	jobs[6].Call(t, d, "release($1, $2)")
	jobs[7].Call(t, d, "snooze($1, $2, '1 hour')")
	weirtest.Exec(t, d, "select weir.cancel($1)", jobs[7].ID)
	weirtest.Exec(t, d, "select weir.retry($1)", jobs[0].ID) // its outcome is gone
	weirtest.Exec(t, d, "select weir.redrive($1, keep_attempts => true)", jobs[5].ID)
	again := weirtest.Claim(t, d, "q", 10)
	for _, j := range again {
		if j.ID == jobs[4].ID {
			weirtest.Complete(t, d, j)
		}
	}
	return []string{"q a 10 5 1 1 1 2 0 1 1 2", "q b 3 0 0 0 0 0 0 0 0 0"}
}

// unequalSums are the rows of weir.rollup_sum that differ from the roll-ups that they sum up.
const unequalSums = `with rows as (
		select r.at, l.seconds, r.queue_id, r.kind, r.enqueued, r.completed, r.dead, r.cancelled, r.failed, r.waits, r.runs, r.wait_longest from weir.rollup r
		cross join (values (60), (3600), (86400)) l(seconds) where r.seconds <= l.seconds
			and (l.seconds < 86400 or date_bin('24 hours', r.at, 'epoch') < weir.sum_days_until())
	), wanted as (
		select date_bin(make_interval(secs => seconds), at, 'epoch') as at, seconds, coalesce(queue_id, 0) as queue_id, coalesce(kind, '') as kind,
			concat_ws(' ', sum(enqueued), sum(completed), sum(dead), sum(cancelled), sum(failed), weir.merge_histograms(waits), weir.merge_histograms(runs), max(wait_longest)) as numbers
		from rows group by grouping sets ((1, 2), (1, 2, queue_id), (1, 2, kind))
	), have as (
		select at, seconds, queue_id, kind, concat_ws(' ', enqueued, completed, dead, cancelled, failed, waits, runs, wait_longest) as numbers from weir.rollup_sum
	)
	select concat_ws(' | ', at, seconds, queue_id, kind, h.numbers, w.numbers) from have h full join wanted w using (at, seconds, queue_id, kind)
	where h.numbers is distinct from w.numbers order by 1`

func checkSums(t *testing.T, q weirtest.Querier, when string) {
	t.Helper()
	for _, row := range weirtest.Values[string](t, q, unequalSums) {
		t.Errorf("%s a sum of roll-ups is wrong: %s", when, row)
	}
	if weirtest.Value[int](t, q, "select count(*) from weir.rollup_sum") == 0 {
		t.Errorf("%s there are no sums of roll-ups", when)
	}
}

func TestRollUpsCountEverythingOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	want := mixedWork(t, d)
	check := func(when string) {
		t.Helper()
		if got := weirtest.Values[string](t, d, rollupTotals); !slices.Equal(got, want) {
			t.Errorf("%s the throughput is %q, want %q", when, got, want)
		}
		if got := weirtest.Values[string](t, d, "select concat_ws(' ', queue, kind, event, type, message, sum(attempts)) from weir.failures group by queue, kind, event, type, message"); !slices.Equal(got, []string{"q a failed T broken 2"}) {
			t.Errorf("%s the failures are %q", when, got)
		}
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', sum(attempts), sum(completed)) from weir.latency"); got != "9 5" {
			t.Errorf("%s the latency is of %s attempts and completions, want 9 and 5", when, got)
		}
	}
	check("before a roll-up")
	weirtest.Age(t, d, 30)
	check("half an hour later")
	steps := weirtest.RollUp(t, d, "0 s")
	check("after a roll-up")
	checkSums(t, d, "after a roll-up")
	if !slices.Contains(steps, "jobs") || !slices.Contains(steps, "minutes") {
		t.Errorf("the steps were %q", steps)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.pending_rollup()"); n != 0 {
		t.Errorf("%d rows are still counted by a reader", n)
	}
	before := weirtest.Value[string](t, d, "select string_agg(r::text, ';' order by r::text) from weir.rollup r")
	weirtest.RollUp(t, d, "0 s")
	weirtest.Exec(t, d, "select weir.roll_up_minutes(now() - interval '1 hour', now(), true)")
	if after := weirtest.Value[string](t, d, "select string_agg(r::text, ';' order by r::text) from weir.rollup r"); after != before {
		t.Errorf("counted again it is\n%s\nand was\n%s", after, before)
	}
	check("counted again")
	checkSums(t, d, "counted again")
}

// A transaction that commits after its minute was rolled up is counted anyway, and nothing waits for it.
func TestRollUpsCountLateCommits(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('early', queue => 'q') from generate_series(1, 4) i")
	jobs := weirtest.Claim(t, d, "q", 3)
	weirtest.Complete(t, d, jobs[0])
	weirtest.Tick(t, d)
	late := d.Tx()
	weirtest.Exec(t, late, "select weir.enqueue('late', queue => 'q') from generate_series(1, 2) i")
	weirtest.Complete(t, late, jobs[1])
	jobs[2].Call(t, late, `fail($1, $2, '{"message": "broken"}', '1 hour')`)
	weirtest.Exec(t, d, "select weir.enqueue('early', queue => 'q')") // draws an id above those of the open transaction
	// Everything happens two minutes earlier, in the open transaction too.
	weirtest.Age(t, d, 2)
	weirtest.Exec(t, late, "update weir.job set created_at = created_at - interval '2 min' where kind = 'late'")
	weirtest.Exec(t, late, "update weir.job_outcome set finished_at = finished_at - interval '2 min', started_at = started_at - interval '2 min' where job_id = $1", jobs[1].ID)
	weirtest.Exec(t, late, "update weir.job_event set at = at - interval '2 min', started_at = started_at - interval '2 min'")
	weirtest.Exec(t, d, "update weir.watermark set settled_at = settled_at - interval '2 min', at = at - interval '2 min', holder_since = array(select x - interval '2 min' from unnest(holder_since) x)")

	weirtest.RollUp(t, d, "0 s")
	rolled := `select concat_ws(' ', kind, sum(enqueued), sum(completed), sum(failed)) from weir.rollup group by kind order by 1`
	if got, want := weirtest.Values[string](t, d, rolled), []string{"early 5 1 0"}; !slices.Equal(got, want) {
		t.Errorf("while the transaction is open the roll-up is %q, want %q", got, want)
	}
	weirtest.Commit(t, late)
	steps := weirtest.RollUp(t, d, "0 s")
	if got, want := weirtest.Values[string](t, d, rolled), []string{"early 5 2 1", "late 2 0 0"}; !slices.Equal(got, want) {
		t.Errorf("when it has committed the roll-up is %q, want %q (steps: %q)", got, want, steps)
	}
	checkSums(t, d, "with late rows")
	if n := weirtest.Value[int](t, d, "select (select count(*) from weir.rollup_unsettled) + (select count(*) from weir.rollup_unsettled_ids)"); n != 0 {
		t.Errorf("%d things are still thought to be unsettled", n)
	}
	if got := weirtest.Value[string](t, d, "select string_agg(message, ',') from weir.failures"); got != "broken" {
		t.Errorf("the failures are %q", got)
	}
}

// After a week without a service, the roll-ups resume in steps of bounded size.
func TestRollUpsCatchUpInBoundedSteps(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'q') from generate_series(1, 1000) i")
	weirtest.Complete(t, d, weirtest.Claim(t, d, "q", 600)...)
	weirtest.Age(t, d, 7*24*60)
	weirtest.Tick(t, d)
	var largest int64
	steps := 0
	for {
		jobs := weirtest.Value[*int64](t, d, "select case when did = 'jobs' then counted when did <> 'nothing' then 0 end from weir.roll_up('0 s', 300)")
		if jobs == nil {
			break
		}
		largest = max(largest, *jobs)
		steps++
	}
	if largest != 300 {
		t.Errorf("a step counted %d jobs, want 300", largest)
	}
	if steps > 100 { // 10,085 minutes, most of them empty
		t.Errorf("catching up took %d steps", steps)
	}
	checkSums(t, d, "after catching up")
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', sum(enqueued), sum(completed)) from weir.rollup"); got != "1000 600" {
		t.Errorf("rolled up are %s", got)
	}
}

func TestOldMinutesBecomeHours(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	mixedWork(t, d)
	weirtest.Age(t, d, 4*24*60)
	weirtest.RollUp(t, d, "0 s")
	before := weirtest.Values[string](t, d, rollupTotals)
	latency := weirtest.Value[string](t, d, "select weir.merge_histograms(waits)::text || sum(attempts) from weir.latency")
	if n := weirtest.Value[int](t, d, "select weir.sweep_rollups()"); n != 1 && n != 2 { // the jobs may lie on both sides of an hour
		t.Errorf("folded %d hours", n)
	}
	checkSums(t, d, "folded")
	if got := weirtest.Values[string](t, d, "select concat_ws(' ', kind, event, type, attempts) from weir.rollup_failure_hour"); !slices.Equal(got, []string{"a failed T 2"}) {
		t.Errorf("folded, the failures are %q", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.rollup where seconds <> 3600 or at <> date_bin('1 hour', at, 'epoch')"); n != 0 {
		t.Errorf("%d rows are not of an hour", n)
	}
	if got := weirtest.Values[string](t, d, rollupTotals); !slices.Equal(got, before) {
		t.Errorf("folded, the throughput is %q, and was %q", got, before)
	}
	if got := weirtest.Value[string](t, d, "select weir.merge_histograms(waits)::text || sum(attempts) from weir.latency"); got != latency {
		t.Errorf("folded, the latency is %s, and was %s", got, latency)
	}
	weirtest.Exec(t, d, "select weir.sweep_rollups(hours_for => '1 day')")
	if n := weirtest.Value[int](t, d, "select (select count(*) from weir.rollup) + (select count(*) from weir.rollup_failure) + (select count(*) from weir.rollup_sum) + (select count(*) from weir.rollup_failure_hour)"); n != 0 {
		t.Errorf("%d rows are kept for ever", n)
	}
}

func TestWaitsCountFromAvailability(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	weirtest.Exec(t, d, "update weir.job set created_at = created_at - interval '1000 s'") // long enough that the seconds of this test do not matter
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "update weir.job_lease set leased_at = leased_at - interval '900 s'") // it waited for 100 s
	j.Call(t, d, `fail($1, $2, '{"message": "m"}', '100 s')`)
	weirtest.Exec(t, d, "update weir.job_event set at = at - interval '800 s', run_at = run_at - interval '800 s' where job_id = $1", id) // after another 100 s it failed, to wait for 100 s
	weirtest.Exec(t, d, "select weir.promote_due()")
	weirtest.Exec(t, d, "update weir.job_scheduled set run_at = now()")
	weirtest.Exec(t, d, "select weir.promote_due()")
	j = weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "update weir.job_lease set leased_at = leased_at - interval '300 s'") // and waited for 400 s
	weirtest.Complete(t, d, j)
	weirtest.Exec(t, d, "update weir.rollup_cursor set until = until - interval '60 min'")
	got := weirtest.Value[[]float64](t, d, "select array[sum(wait_seconds), max(wait_longest), sum(run_seconds)] from weir.pending_rollup()")
	for i, want := range []float64{500, 400, 300} {
		if math.Abs(got[i]-want) > 40 {
			t.Errorf("waits in all, the longest, and runs in all are %v s, want about 500, 400 and 300", got)
			break
		}
	}
}

// The error of the buckets is within the documented bound, for any times and however they are merged.
func TestPercentilesAreWithinTheirBound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for range 20 {
		times := make([]float64, 1+random.IntN(500))
		center, spread := random.Float64()*16-7, random.Float64()*1.5 // from below a millisecond to months
		for i := range times {
			times[i] = math.Exp(center + spread*random.NormFloat64())
		}
		merged := weirtest.Value[[]int32](t, d, `select weir.merge_histograms(h) from (
			select weir.histogram(array_agg(weir.time_bucket(x)), array_agg(1)) as h from unnest($1::float8[]) with ordinality u(x, n) group by n % 7) s`, times)
		slices.Sort(times)
		for _, fraction := range []float64{0, 0.5, 0.95, 0.99, 1} {
			exact := times[max(0, int(math.Ceil(fraction*float64(len(times))))-1)]
			got := weirtest.Value[float64](t, d, "select weir.percentile($1, $2)", merged, fraction)
			if off := math.Abs(got - exact); off > 0.0005 && off > exact*0.0443 {
				t.Errorf("percentile %v of %d times is %v, want %v", fraction, len(times), got, exact)
			}
		}
	}
	if got := weirtest.Value[*float64](t, d, "select weir.percentile('{}', 0.5)"); got != nil {
		t.Errorf("the median of nothing is %v", *got)
	}
}

// What is not rolled up yet is counted in whatever partition its jobs are.
func TestReadersCountWhatEndsInAnyPartition(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	check := func(when, want, failed, worked string) {
		t.Helper()
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', sum(enqueued), sum(completed), sum(dead), sum(failed), sum(rerun)) from weir.throughput"); got != want {
			t.Errorf("%s the throughput is %s, want %s", when, got, want)
		}
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', sum(completed), sum(failed)) from weir.worker_throughput"); got != worked {
			t.Errorf("%s workers did %s, want %s", when, got, worked)
		}
		if got := weirtest.Value[string](t, d, "select coalesce(sum(attempts), 0)::text from weir.failures"); got != failed {
			t.Errorf("%s there are %s failures, want %s", when, got, failed)
		}
	}
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 4) i")
	old := weirtest.Claim(t, d, "q", 4)
	weirtest.RollOver(t, d)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 4) i")
	weirtest.RollOver(t, d)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 2) i")
	middle := weirtest.Claim(t, d, "q", 4)
	weirtest.Complete(t, d, middle[0])
	check("after an end in the middle", "10 1 0 0 0", "0", "1 0")
	old[0].Call(t, d, `fail($1, $2, '{"message": "m"}', '1 hour')`)
	check("after an old failure", "10 1 0 1 0", "1", "1 1")
	weirtest.Complete(t, d, old[1])
	weirtest.Complete(t, d, weirtest.ClaimOne(t, d, "q"))
	check("after an old and a new end", "10 3 0 1 0", "1", "3 1")
	weirtest.Exec(t, d, "select weir.retry($1)", middle[0].ID)
	check("after a job was run again", "10 3 0 1 1", "1", "2 1") // a completion that was undone counts for no worker
	weirtest.Age(t, d, 30)
	check("half an hour later", "10 3 0 1 1", "1", "2 1")
	weirtest.RollUp(t, d, "0 s")
	check("after a roll-up", "10 3 0 1 1", "1", "2 1")
	old[2].Call(t, d, `fail($1, $2, '{"message": "m"}', retry => false)`)
	check("after a roll-up and an old end", "10 3 1 2 1", "2", "2 2")
}
