package plans

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// The planner's statistics of a queue table are always wrong, and plans are kept. All calls are planned while the
// tables are empty. Then there are 150,000 jobs, 25,000 in each place, and the rows that a call reads are counted, in
// the old session and in a new one.
func TestCallsReadOnlyWhatTheyNeed(t *testing.T) {
	weirtest.Long(t, "it fills tables")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q', '{\"lease_seconds\": 3600}'), weir.set_queue('other')")
	weirtest.Exec(t, d, `do $$ declare name text; begin
		for name in select relname from pg_class where relnamespace = 'weir'::regnamespace and relkind = 'r' and (relname in (`+hotTables+`) or relname ~ '_p\d+$') loop
			execute format('alter table weir.%I set (autovacuum_enabled = false)', name);
		end loop;
	end $$`)
	weirtest.Exec(t, d, "analyze")
	some := func(first, n int) string {
		return fmt.Sprintf("array(select i::bigint from generate_series(%d, %d) i)", first, first+n-1)
	}
	filled := func(value string, n int) string { return fmt.Sprintf("array_fill(%s, array[%d])", value, n) }
	calls := []struct {
		sql  string
		jobs int
	}{
		{"select count(*) from weir.claim(array['q', 'other'], 'w', 200)", 200},
		{"select count(*) from weir.claim(array['q'], 'w', 1)", 1},
		{"select count(*) from weir.complete_many(" + some(60001, 200) + ", " + some(60001, 200) + ")", 200},
		{"select count(*) from weir.complete_many(" + some(60001, 200) + ", " + some(60001, 200) + ", " + filled("'1'::jsonb", 200) + ")", 200},
		{"select weir.complete(60001, 60001)", 1},
		{"select count(*) from weir.fail_many(" + some(60001, 200) + ", " + some(60001, 200) + ", " + filled("'{}'::jsonb", 200) + ")", 200},
		{"select weir.fail(60001, 60001, null, retry => false)", 1},
		{"select count(*) from weir.snooze_many(" + some(60001, 200) + ", " + some(60001, 200) + ", " + filled("'1 s'::interval", 200) + ")", 200},
		{"select count(*) from weir.release_many(" + some(60001, 200) + ", " + some(60001, 200) + ")", 200},
		{"select count(*) from weir.heartbeat(" + some(60001, 200) + ", " + some(60001, 200) + ")", 200},
		{"select weir.assert_lease(60001, 60001)", 1},
		{"select promoted from weir.promote_due(200)", 200},
		{"select expired from weir.expire_leases(200)", 200},
		{"select weir.cancel(90001)", 1},
		{"select weir.cancel(110001)", 1},
		{"select weir.cancel(30001)", 1},
		{"select weir.cancel(5001)", 1},
		{"select weir.cancel(60001)", 1},
		{"select weir.retry(90001)", 1},
		{"select weir.retry(140000)", 1},
		{"select weir.retry(140001)", 1},
		{"select count(*) from weir.run_again(array(select 125000 + 2 * i::bigint from generate_series(1, 200) i), 'redriven', true)", 200},
		{"select weir.redrive(140000)", 1},
		{"select weir.purge_dead(140000)", 1},
		{"select weir.purge_dead_letters(array(select 125000 + 2 * i::bigint from generate_series(1, 200) i), null)", 200},
		{"select weir.edit(90001, '{\"priority\": 9}')", 1},
		{"select weir.edit(30001, '{\"priority\": 9}')", 1},
		{"select weir.edit(5001, '{\"priority\": 9}')", 1},
		{"select count(*) from weir.enqueue_many((select jsonb_agg('{\"kind\": \"a\", \"queue\": \"q\"}'::jsonb) from generate_series(1, 200)))", 200},
		{"select count(*) from weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'a', 'unique', jsonb_build_object('key', i::text))) from generate_series(49901, 50100) i))", 200},
		{"select weir.advance_frontier('0 s')", 20},
		{"select weir.purge_queue('q', 200)", 200},
		{"select * from weir.jobs where id = 5001", 1},
		{"select * from weir.jobs where id = 140001", 1},
	}
	old := d.Connect()
	for range 7 { // after five times a plan is kept
		for _, c := range calls {
			_ = pgx.BeginFunc(t.Context(), old, func(tx pgx.Tx) error {
				for range 2 { // the second run finds what the first one made
					_ = pgx.BeginFunc(t.Context(), tx, func(tx pgx.Tx) error { return weirtest.TryExec(tx, c.sql) }) // some are refused
				}
				return weirtest.ErrRolledBack
			})
		}
	}
	weirtest.Exec(t, d, "alter sequence weir.job_id_seq restart 1000000")
	for _, fill := range []string{
		"insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args) select i, 1 + i % 2, 300, 1 + i % 10, 5, 'a', '{}' from generate_series(1, 150000) i",
		"insert into weir.job_ready (queue_id, priority, seq) select queue_id, priority, id from weir.job where id between 1 and 25000",
		"insert into weir.job_ready (queue_id, priority, seq, job_id, attempt) select queue_id, priority, 500000 + id, id, 1 from weir.job where id between 25001 and 50000",
		"insert into weir.job_lease (job_id, token, leased_at, expires_at, queue_id, lease_seconds, priority, attempt, worker) select id, id, now(), now() + (id - 50500) * interval '1 s', queue_id, 30, priority, 1, 'w' from weir.job where id between 50001 and 75000",
		"insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt) select id, now() + (id - 75500) * interval '1 s', queue_id, priority, 0 from weir.job where id between 75001 and 100000",
		"insert into weir.job_held (job_id, queue_id, priority, attempt, reason) select id, queue_id, priority, 0, 'signal' from weir.job where id between 100001 and 125000",
		"insert into weir.job_outcome (job_id, queue_id, state, attempt) select id, queue_id, case when id % 2 = 0 then 'dead' else 'completed' end::weir.job_state, 1 from weir.job where id between 125001 and 150000",
		"insert into weir.job_dead (job_id, queue_id) select job_id, queue_id from weir.job_outcome where state = 'dead'",
		"insert into weir.job_unique (key, job_id) select id::text, id from weir.job where id between 1 and 50000",
		"insert into weir.job_event (job_id, kind, attempt) select id, 'failed', 1 from weir.job where id between 25001 and 50000",
	} {
		weirtest.Exec(t, d, fill)
	}
	for name, conn := range map[string]*pgx.Conn{"old": old, "new": d.Connect()} {
		total := 0
		for _, c := range calls {
			if name == "old" && strings.HasPrefix(c.sql, "select * from weir.jobs") {
				continue // nothing can be pinned in a view
			}
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			before := readOf(t, tx)
			if c.jobs != 200 {
				weirtest.Exec(t, tx, c.sql)
			} else if n := weirtest.Value[int](t, tx, c.sql); n != c.jobs {
				t.Errorf("%s: %d jobs, want %d; the case tests nothing", c.sql, n, c.jobs)
			}
			after := readOf(t, tx)
			weirtest.Rollback(t, tx)
			byIndex := 0
			for table, n := range after {
				byIndex += n.byIndex - before[table].byIndex
				if whole := n.whole - before[table].whole; whole > 0 {
					t.Errorf("in the %s session, %s reads %d rows of %s by scans of the whole", name, c.sql, whole, table)
				}
			}
			total += byIndex
			if most := 20*c.jobs + 50; byIndex > most {
				t.Errorf("in the %s session, %s reads %d rows by index for %d jobs, want at most %d", name, c.sql, byIndex, c.jobs, most)
			}
		}
		if total == 0 {
			t.Errorf("in the %s session, no read was counted", name)
		}
	}
}

// rowsRead counts the rows of a table that a session has read.
type rowsRead struct{ whole, byIndex int }

// readOf returns what this session has read of the tables that grow with the jobs.
func readOf(t *testing.T, tx pgx.Tx) map[string]rowsRead {
	t.Helper()
	return rowsReadOf(t, tx, "^("+strings.NewReplacer("'", "", ", ", "|").Replace(hotTables)+`|.*_p\d+)$`)
}

// rowsReadOf is readOf for the tables that match a regular expression.
func rowsReadOf(t *testing.T, tx pgx.Tx, tables string) map[string]rowsRead {
	t.Helper()
	rows, err := tx.Query(context.Background(), `select relname, seq_tup_read, coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables where schemaname = 'weir' and relname ~ $1`, tables)
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]rowsRead{}
	var table string
	var n rowsRead
	if _, err := pgx.ForEachRow(rows, []any{&table, &n.whole, &n.byIndex}, func() error { read[table] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	return read
}

const hotTables = "'job_ready', 'job_lease', 'job_scheduled', 'job_held', 'job_dead', 'job_unique'"

// While the xmin horizon is pinned, dead entries pile up where claims were. A frontier skips them.
func TestClaimSkipsDeadRows(t *testing.T) {
	weirtest.Long(t, "it fills tables")
	t.Parallel()
	d := weirtest.New(t)
	pin := d.Tx()
	weirtest.Exec(t, pin, "set transaction isolation level repeatable read")
	weirtest.Exec(t, pin, "select pg_current_xact_id()")
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	blocks := func(sql string) int {
		plan := strings.Join(weirtest.Values[string](t, d, "explain (analyze, buffers, timing off, costs off) "+sql), "\n")
		hit, read := 0, 0
		_, after, _ := strings.Cut(plan, "Buffers: shared ")
		line, _, _ := strings.Cut(after, "\n")
		for part := range strings.FieldsSeq(line) {
			_, _ = fmt.Sscanf(part, "hit=%d", &hit)
			_, _ = fmt.Sscanf(part, "read=%d", &read)
		}
		return hit + read
	}
	weirtest.EnqueueOne(t, d, "q")
	weirtest.ClaimOne(t, d, "q")
	blocks("select * from weir.claim(array['q'], 'w')") // plans and catalogs
	weirtest.EnqueueOne(t, d, "q")
	fresh := blocks("select * from weir.claim(array['q'], 'w')")
	for range 10 {
		weirtest.Exec(t, d, "select weir.enqueue_many((select jsonb_agg('{\"kind\": \"a\", \"queue\": \"q\"}'::jsonb) from generate_series(1, 2000)))")
		weirtest.Complete(t, d, weirtest.Claim(t, d, "q", 2000)...)
	}
	weirtest.EnqueueOne(t, d, "q")
	before := blocks("select * from weir.claim(array['q'], 'w')")
	weirtest.Tick(t, d)
	weirtest.EnqueueOne(t, d, "q")
	after := blocks("select * from weir.claim(array['q'], 'w')")
	// Another session's first use of a page or of a catalog adds some blocks; not skipping would read as many as before.
	if after > 5*fresh+200 || after-fresh > (before-fresh)*2/3 {
		t.Errorf("behind 20,000 dead entries a claim reads %d blocks before the tick and %d after it; %d when there was nothing dead", before, after, fresh)
	}
}
