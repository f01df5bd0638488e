package retention

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// sealAll repeats weir.seal_step until it has nothing to do, and returns the steps.
func sealAll(t *testing.T, d *weirtest.Database) []string {
	t.Helper()
	var ran []string
	for range 100 {
		next := weirtest.Value[*string](t, d, "select statement from weir.seal_step()")
		if next == nil {
			return ran
		}
		if _, err := d.Exec(context.Background(), *next, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", *next, err)
		}
		ran = append(ran, *next)
	}
	t.Fatal("sealing does not end")
	return nil
}

func validIndexes(t *testing.T, q weirtest.Querier, table string) []string {
	t.Helper()
	return weirtest.Values[string](t, q, `select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = $1::text::regclass and i.indisvalid
		and c.relname not similar to '%(_idx|_pkey)' order by 1`, "weir."+table)
}

func TestSealedPartitionGetsSearchIndexes(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "tags": ["x"], "args": {"n": 1}, "tenant": "t"}`, `{"kind": "b", "queue": "q"}`)
	weirtest.ClaimOne(t, d, "q").Call(t, d, `fail($1, $2, '{"message": "connection refused", "type": "SMTPError"}', retry => false)`)
	weirtest.Tick(t, d)
	if ran := sealAll(t, d); len(ran) > 0 {
		t.Fatalf("in the partition that takes jobs: %q", ran)
	}
	open := d.Tx()
	late := weirtest.EnqueueOne(t, open, "q")
	weirtest.RollOver(t, d)
	weirtest.Tick(t, d)
	if ran := sealAll(t, d); len(ran) > 0 {
		t.Fatalf("while a transaction may still insert: %q", ran)
	}
	weirtest.Commit(t, open)
	weirtest.Tick(t, d)
	ran := sealAll(t, d)
	if len(ran) != 14 || slices.ContainsFunc(ran, func(s string) bool { return !strings.HasPrefix(s, "create index concurrently ") }) {
		t.Errorf("sealing ran %q", ran)
	}
	if got, want := validIndexes(t, d, "job_p0"), []string{"job_p0_args", "job_p0_by_kind", "job_p0_by_priority", "job_p0_by_queue", "job_p0_by_tenant", "job_p0_tags", "job_p0_words"}; !slices.Equal(got, want) {
		t.Errorf("the facts have the indexes %q, want %q", got, want)
	}
	if got, want := validIndexes(t, d, "job_outcome_p0"), []string{
		"job_outcome_p0_attempts", "job_outcome_p0_by_state", "job_outcome_p0_by_worker", "job_outcome_p0_error_type", "job_outcome_p0_error_words",
	}; !slices.Equal(got, want) {
		t.Errorf("the outcomes have the indexes %q, want %q", got, want)
	}
	if got, want := validIndexes(t, d, "job_event_p0"), []string{"job_event_p0_error_type", "job_event_p0_error_words"}; !slices.Equal(got, want) {
		t.Errorf("the events have the indexes %q, want %q", got, want)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_zone z where z.low < 4294967296"); n == 0 {
		t.Error("the partition has no zones")
	}
	if got := weirtest.Values[int](t, d, "select number from weir.job_partition where sealed_at is not null and outcomes_sealed_at is not null"); !slices.Equal(got, []int{0}) {
		t.Errorf("on record as sealed are the partitions %v", got)
	}
	if ran := sealAll(t, d); len(ran) > 0 {
		t.Errorf("sealed once more: %q", ran)
	}
	// They are used, and the newest committed rows are in them.
	tx := d.Tx()
	weirtest.Exec(t, tx, "set local enable_seqscan = off")
	for where, index := range map[string]string{
		"job where tags @> array['x']": "job_p0_tags", `job where args @> '{"n": 1}'`: "job_p0_args", "job where tenant = 't'": "job_p0_by_tenant",
		"job_outcome where weir.error_words(error) @@ to_tsquery('simple', 'refused') and error is not null": "job_outcome_p0_error_words",
	} {
		if plan := strings.Join(weirtest.Values[string](t, tx, "explain select from weir."+where), "\n"); !strings.Contains(plan, index) {
			t.Errorf("%s does not use %s:\n%s", where, index, plan)
		}
		if n := weirtest.Value[int](t, tx, "select count(*) from weir."+where); n != 1 {
			t.Errorf("%s finds %d, want 1", where, n)
		}
	}
	if got := weirtest.Values[int64](t, tx, "select id from weir.job where kind = 'work'"); !slices.Equal(got, []int64{late}) {
		t.Errorf("by kind it finds %v, want %d", got, late)
	}
}

// Outcomes arrive while jobs of the partition live, so their indexes wait.
func TestOutcomesAreSealedAfterTheirJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('k', queue => 'q') from generate_series(1, 1200) i")
	weirtest.RollOver(t, d)
	weirtest.Tick(t, d)
	sealAll(t, d)
	state := "select concat_ws(' ', sealed_at is not null, outcomes_sealed_at is not null) from weir.job_partition where number = 0"
	if got := weirtest.Value[string](t, d, state); got != "t f" {
		t.Errorf("while its jobs wait the partition is %q, want t f", got)
	}
	weirtest.Complete(t, d, weirtest.Claim(t, d, "q", 1200)...)
	sealAll(t, d)
	if got := weirtest.Value[string](t, d, state); got != "t t" {
		t.Errorf("when they have ended it is %q, want t t", got)
	}
}

// A node that dies while it builds an index leaves an invalid one. No other node may touch it while it is being built.
func TestInterruptedIndexIsBuiltAgain(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	weirtest.RollOver(t, d)
	weirtest.Tick(t, d)
	first := weirtest.Value[string](t, d, "select statement from weir.seal_step()")
	blocker := d.Tx()
	weirtest.Exec(t, blocker, "insert into weir.job_p0 select * from weir.job_p0 where false")
	ctx, cut := context.WithCancel(t.Context())
	failed := make(chan error)
	conn := d.Connect()
	go func() { _, err := conn.Exec(ctx, first, pgx.QueryExecModeSimpleProtocol); failed <- err }()
	weirtest.Eventually(t, "the index is being built", func() bool {
		return weirtest.Value[int](t, d, "select count(*) from pg_index where not indisvalid") > 0 && weirtest.Value[int](t, d, "select count(*) from pg_stat_progress_create_index where datname = current_database()") > 0
	})
	if next := weirtest.Value[*string](t, d, "select statement from weir.seal_step()"); next != nil {
		t.Errorf("while it is being built: %s", *next)
	}
	cut()
	if err := <-failed; err == nil {
		t.Fatal("building was not cut off")
	}
	weirtest.Eventually(t, "the builder is gone", func() bool {
		return weirtest.Value[int](t, d, "select count(*) from pg_stat_progress_create_index where datname = current_database()") == 0
	})
	weirtest.Rollback(t, blocker)
	ran := sealAll(t, d)
	if len(ran) != 15 || !strings.HasPrefix(ran[0], "drop index concurrently ") || ran[1] != first {
		t.Errorf("afterwards it runs %q", ran)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from pg_index where not indisvalid"); n != 0 {
		t.Errorf("%d indexes are left invalid", n)
	}
}

func TestNodesSealOneAfterAnother(t *testing.T) {
	weirtest.Long(t, "it seals partitions")
	t.Parallel()
	database := weirtest.New(t)
	pool := database.Pool
	a, b := weirtest.StartNodeOn(t, database), weirtest.StartNodeOn(t, database)
	weirtest.Exec(t, pool, "select weir.enqueue('k', queue => 'q') from generate_series(1, 3000) i")
	weirtest.RollOver(t, pool)
	results := make(chan error, 2)
	for _, s := range []*weirtest.Node{a, b} {
		go func() { results <- s.Engine.Seal(t.Context()) }()
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	a.Eventually("all is sealed", func() bool {
		if err := a.Engine.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		return weirtest.Value[int](t, pool, "select count(*) from weir.job_partition where sealed_at is not null") == 1
	})
	if n := weirtest.Value[int](t, pool, "select count(*) from pg_index where not indisvalid"); n != 0 {
		t.Errorf("%d indexes are invalid", n)
	}
}
