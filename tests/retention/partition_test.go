package retention

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

const partitionWidth = int64(1) << 32

// checkPartitions checks that the partitioned tables have the recorded partitions, and that the ids have one and a
// spare.
func checkPartitions(t *testing.T, d *weirtest.Database) {
	t.Helper()
	wrong := weirtest.Values[string](t, d, `
		with there as (
			select p.relname as parent, substring(c.relname from '_p(\d+)$')::bigint as number, pg_get_expr(c.relpartbound, c.oid) as bounds
			from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent where p.relnamespace = 'weir'::regnamespace and p.relkind = 'p' and p.relname <> 'audit_entry'
		)
		select format('%s %s has the bounds %s', parent, number, bounds) from there
		where bounds <> format('FOR VALUES FROM (''%s'') TO (''%s'')', number << 32, (number + 1) << 32)
		union all
		select format('partition %s is on record and has %s of the tables', r.number, (select count(*) from there t where t.number = r.number))
		from weir.job_partition r where (select count(*) from there t where t.number = r.number) <> (select count(distinct parent) from there)
		union all
		select format('partition %s of %s is not on record', number, parent) from there where number not in (select number from weir.job_partition)
		union all
		select format('partition %s does not exist, and ids are drawn from %s', n, last_value >> 32) from weir.job_id_seq, generate_series(last_value >> 32, (last_value >> 32) + 1) n
		where n not in (select number from weir.job_partition)
		union all
		select format('partition %s is open, ids are drawn from %s', max(number), (select last_value >> 32 from weir.job_id_seq)) from weir.job_partition where opened_at is not null
		having max(number) <> (select last_value >> 32 from weir.job_id_seq)`)
	for _, line := range wrong {
		t.Error(line)
	}
}

func TestPartitionsAreMadeAhead(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	checkPartitions(t, d)
	if got := weirtest.Values[int](t, d, "select number from weir.job_partition order by 1"); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("a new database has the partitions %v, want 0, 1 and 2", got)
	}
	if did := weirtest.Value[string](t, d, "select weir.keep_partitions('0 s')"); did != "kept" {
		t.Errorf("without a job keep_partitions says %q, want kept", did)
	}
	weirtest.EnqueueOne(t, d, "q")
	if did := weirtest.Value[string](t, d, "select weir.keep_partitions()"); did != "kept" {
		t.Errorf("in a young partition keep_partitions says %q, want kept", did)
	}
	weirtest.Exec(t, d, "select weir.keep_partitions('5 h', 6)")
	checkPartitions(t, d)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_partition"); n != 7 {
		t.Errorf("%d partitions, want the current one and 6 ahead", n)
	}
	for range 3 {
		weirtest.RollOver(t, d)
		checkPartitions(t, d)
		if did := weirtest.Value[string](t, d, "select weir.keep_partitions('0 s')"); did != "kept" {
			t.Errorf("in an empty partition keep_partitions says %q, want kept", did)
		}
		weirtest.EnqueueOne(t, d, "q")
	}
}

func TestThereIsAlwaysNextPartition(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 5 {
		weirtest.EnqueueOne(t, d, "q")
		weirtest.Exec(t, d, "select weir.keep_partitions('0 s', ahead => 0)")
	}
	weirtest.EnqueueOne(t, d, "q")
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 6 {
		t.Errorf("claimed %d jobs, want 6", len(got))
	}
}

func TestJobsOfTwoPartitionsAreWorkedTogether(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	many := func(kind string) (ids []int64) {
		for i := range 10 {
			ids = append(ids, weirtest.Enqueue(t, d, fmt.Sprintf(`{"kind": "%s", "queue": "q%d", "priority": %d}`, kind, i%2, 1+i%3))...)
		}
		return ids
	}
	ids := many("old")
	open := d.Tx()
	ids = append(ids, weirtest.EnqueueOne(t, open, "q0"))
	weirtest.RollOver(t, d)
	ids = append(ids, many("new")...)
	late := weirtest.EnqueueOne(t, open, "q1") // a transaction that spans both
	ids = append(ids, late)
	weirtest.Commit(t, open)
	if ids[0]>>32 != 0 || ids[10]>>32 != 0 || ids[11]>>32 != 1 || late>>32 != 1 {
		t.Errorf("the ids are %v, want some of partition 0 and some of 1", ids)
	}
	weirtest.Tick(t, d)
	jobs := weirtest.Claim(t, d, "q0,q1", 100)
	if len(jobs) != len(ids) {
		t.Fatalf("claimed %d jobs, want %d", len(jobs), len(ids))
	}
	byPriority := map[string]int64{}
	for _, j := range jobs {
		place := fmt.Sprint(j.Queue, " ", j.Priority)
		if j.ID < byPriority[place] {
			t.Errorf("in %s, job %d comes after %d", place, j.ID, byPriority[place])
		}
		byPriority[place] = j.ID
	}
	weirtest.Exec(t, d, "select weir.fail_many($1, $2, array_fill('{}'::jsonb, array[cardinality($1::bigint[])]), array_fill('0'::interval, array[cardinality($1::bigint[])]))", weirtest.IDs(jobs), weirtest.Tokens(jobs))
	jobs = weirtest.Claim(t, d, "q0,q1", 100)
	weirtest.Exec(t, d, "select weir.heartbeat($1, $2)", weirtest.IDs(jobs), weirtest.Tokens(jobs))
	weirtest.Complete(t, d, jobs...)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where state = 'completed' and attempt = 2 and errors is not null"); n != len(ids) {
		t.Errorf("%d jobs are completed at their second attempt, want %d", n, len(ids))
	}
	weirtest.Exec(t, d, "select weir.retry($1), weir.retry($2)", ids[0], late)
	weirtest.Exec(t, d, "select weir.cancel($1), weir.cancel($2)", ids[0], late)
}

func TestMakingPartitionsBlocksNoOthers(t *testing.T) {
	weirtest.Long(t, "it waits for locks")
	t.Parallel()
	d := weirtest.New(t)
	for range 5 {
		weirtest.EnqueueOne(t, d, "q")
	}
	jobs := weirtest.Claim(t, d, "q", 2)
	open := d.Tx() // has written to all of the tables
	weirtest.EnqueueOne(t, open, "q")
	weirtest.Exec(t, open, "select weir.complete($1, $2)", jobs[0].ID, jobs[0].Token)
	weirtest.Exec(t, open, "select weir.fail(job_id, token, null) from weir.claim(array['q'], 'w')")

	keeper, err := d.ConnectWithLockTimeout().Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	weirtest.Exec(t, keeper, "select weir.keep_partitions('0 s', 7)")

	other := d.ConnectWithLockTimeout() // beside both transactions, which are still open
	for _, sql := range []string{
		"select weir.enqueue('a', queue => 'q')", "select * from weir.claim(array['q'], 'w')", "select weir.complete(job_id, token) from weir.job_lease where worker = 'w' limit 1",
		"select weir.enqueue_many('[{\"kind\": \"a\", \"unique\": {\"key\": \"k\"}}]')", "select * from weir.jobs", "select weir.fail(job_id, token, null) from weir.job_lease where worker = 'worker' and job_id > $1",
	} {
		var args []any
		if sql[len(sql)-2:] == "$1" {
			args = []any{jobs[0].ID}
		}
		if err := weirtest.TryExec(other, sql, args...); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if did := weirtest.Value[string](t, other, "select weir.keep_partitions()"); did != "busy" {
		t.Errorf("a second keeper is told %q, want busy", did)
	}
	weirtest.Commit(t, keeper)
	weirtest.Commit(t, open)
	checkPartitions(t, d)
}

func TestManyNodesKeepPartitions(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	var mu sync.Mutex
	did := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 6 {
				weirtest.EnqueueOne(t, d, "q")
				answer := weirtest.Value[string](t, d, "select weir.keep_partitions('0 s')")
				mu.Lock()
				did[answer]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	checkPartitions(t, d)
	if did["rolled"] == 0 || did["rolled"]+did["kept"]+did["busy"] != 48 {
		t.Errorf("they said %v", did)
	}
	if got := weirtest.Claim(t, d, "q", 100); len(got) != 48 {
		t.Errorf("claimed %d jobs, want 48", len(got))
	}
	if last := weirtest.Value[int64](t, d, "select max(id) from weir.job"); last/partitionWidth > int64(did["rolled"]) {
		t.Errorf("the last job is in partition %d after %d rolls", last/partitionWidth, did["rolled"])
	}
}

func TestKeepingPartitionsLeavesCallersSettings(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	tx := d.Tx()
	weirtest.Exec(t, tx, "set local lock_timeout = '7s'")
	weirtest.Exec(t, tx, "select weir.keep_partitions()")
	if timeout := weirtest.Value[string](t, tx, "select current_setting('lock_timeout')"); timeout != "7s" {
		t.Errorf("lock_timeout is %s after the call, want 7s", timeout)
	}
}

// A job may come into an old partition after retention has emptied it: its number was drawn long before.
func TestPartitionWithJobIsNeverDropped(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	weirtest.Complete(t, d, func() weirtest.Lease { weirtest.EnqueueOne(t, d, "q"); return weirtest.ClaimOne(t, d, "q") }())
	weirtest.Exec(t, d, "update weir.job_outcome set finished_at = now() - interval '1 year'")

	const keyed = "select weir.enqueue('a', queue => 'q', unique_key => 'k')"
	first := d.Tx()
	weirtest.Exec(t, first, keyed)
	id := make(chan int64)
	go func() { id <- weirtest.Value[int64](t, d, keyed) }() // draws a number and waits for the key
	waiting := func(kind string) func() bool {
		return func() bool {
			return weirtest.Value[int](t, d, "select count(*) from pg_locks l join pg_stat_activity a using (pid) where not l.granted and l.locktype = $1 and a.datname = current_database()", kind) == 1
		}
	}
	weirtest.Eventually(t, "the second waits for the key", waiting("transactionid"))
	weirtest.RollOver(t, d)
	did := make(chan string)
	go func() {
		for {
			answer := "failed"
			if err := d.QueryRow(context.Background(), "select weir.retain_partition(0)").Scan(&answer); !weirtest.HasSQLState(err, "55P03") {
				did <- answer
				return
			}
		}
	}()
	weirtest.Eventually(t, "retention waits for the first", waiting("relation"))
	weirtest.Rollback(t, first)
	answer, job := <-did, <-id
	if job>>32 != 0 {
		t.Fatalf("job %d is not of partition 0; the test tests nothing", job)
	}
	dropped := weirtest.Value[bool](t, d, "select weir.drop_partition(0)")
	weirtest.Tick(t, d)
	if got := weirtest.Claim(t, d, "q", 10); len(got) != 1 || got[0].ID != job {
		t.Errorf("retention said %q, the partition was dropped: %t, and the claim got %v, want job %d", answer, dropped, got, job)
	}
}
