package retention

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

const completeAll = `select count(*) from weir.complete_many(
	(select array_agg(job_id) from weir.job_lease), (select array_agg(token) from weir.job_lease))`

func TestRetentionDropsOldPartition(t *testing.T) {
	t.Parallel()
	pool := weirtest.New(t).Pool
	weirtest.Exec(t, pool, `select weir.enqueue('old') from generate_series(1, 50)`)
	weirtest.Exec(t, pool, `select * from weir.claim(array['default'], 'w', 50)`)
	weirtest.Exec(t, pool, completeAll)
	weirtest.RollOver(t, pool)

	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0, 10)`); did != "kept" {
		t.Fatalf("jobs that ended just now: %q, want kept", did)
	}
	weirtest.Exec(t, pool, `update weir.job_outcome set finished_at = now() - interval '8 days'`)
	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0, 10)`); did != "emptied" {
		t.Fatalf("jobs that ended eight days ago: %q, want emptied", did)
	}
	if !weirtest.Value[bool](t, pool, `select weir.drop_partition(0)`) {
		t.Fatal("an empty partition was not dropped")
	}
	if n := weirtest.Value[int](t, pool, `select count(*) from weir.jobs`); n != 0 {
		t.Fatalf("%d jobs are left", n)
	}
	weirtest.Exec(t, pool, `select weir.enqueue('new')`)
}

func TestRetentionGoesByQueue(t *testing.T) {
	t.Parallel()
	pool := weirtest.New(t).Pool
	weirtest.Exec(t, pool, `select weir.set_queue('short', '{"retention_seconds": 3600}')`)
	weirtest.Exec(t, pool, `select weir.enqueue('x', queue => 'short') from generate_series(1, 20)`)
	weirtest.Exec(t, pool, `select weir.enqueue('x', queue => 'long')`)
	weirtest.Exec(t, pool, `select * from weir.claim(array['short', 'long'], 'w', 50)`)
	weirtest.Exec(t, pool, completeAll)
	weirtest.RollOver(t, pool)
	weirtest.Exec(t, pool, `update weir.job_outcome set finished_at = now() - interval '2 hours'`)

	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0, 5)`); did != "rewritten" {
		t.Fatalf("got %q, want rewritten", did)
	}
	if left := weirtest.Value[[]string](t, pool, `select array_agg(queue) from weir.jobs where state = 'completed'`); len(left) != 1 || left[0] != "long" {
		t.Fatalf("left are %v, want the one of queue long", left)
	}
}

func TestLongLivedJobsDoNotKeepPartition(t *testing.T) {
	t.Parallel()
	pool := weirtest.New(t).Pool
	weirtest.Exec(t, pool, `select weir.enqueue('ended') from generate_series(1, 100)`)
	weirtest.Exec(t, pool, `select * from weir.claim(array['default'], 'w', 100)`)
	weirtest.Exec(t, pool, completeAll)
	weirtest.Exec(t, pool, `update weir.job_outcome set finished_at = now() - interval '30 days'`)
	weirtest.Exec(t, pool, `select weir.enqueue('scheduled', '{"keep": 1}', options => '{"delay_seconds": 1000000}')`)
	weirtest.Exec(t, pool, `select weir.enqueue('running'), (select count(*) from weir.claim(array['default'], 'w'))`)
	weirtest.Exec(t, pool, `select * from weir.claim(array['default'], 'w')`)
	weirtest.Exec(t, pool, `select weir.enqueue('available')`)
	weirtest.Exec(t, pool, `select weir.enqueue('dead', queue => 'dead')`)
	weirtest.Exec(t, pool, `select weir.fail(c.job_id, c.token, '{"message": "no"}', retry => false) from weir.claim(array['dead'], 'w') c`)
	weirtest.Exec(t, pool, `update weir.job_outcome set finished_at = now() - interval '30 days'`)
	weirtest.RollOver(t, pool)

	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0, 10)`); did != "rewritten" {
		t.Fatalf("got %q, want rewritten", did)
	}
	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0, 10)`); did != "rewritten before" {
		t.Fatalf("the second time: %q, want rewritten before", did)
	}
	for _, state := range []string{"scheduled", "running", "available", "dead"} {
		if n := weirtest.Value[int](t, pool, `select count(*) from weir.jobs where state::text = $1 and kind = $1`, state); n != 1 {
			t.Errorf("%d jobs are %s, want 1", n, state)
		}
	}
	if n := weirtest.Value[int](t, pool, `select count(*) from weir.jobs`); n != 4 {
		t.Errorf("%d jobs are left, want 4", n)
	}
	weirtest.Exec(t, pool, completeAll)
	if n := weirtest.Value[int](t, pool, `select count(*) from weir.claim(array['default'], 'w', 10)`); n != 1 {
		t.Errorf("claimed %d of the jobs that were kept, want 1", n)
	}
}

func TestPartitionInUseIsKept(t *testing.T) {
	t.Parallel()
	pool := weirtest.New(t).Pool
	weirtest.Exec(t, pool, `select weir.enqueue('x')`)
	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0)`); did != "in use" {
		t.Fatalf("got %q, want in use", did)
	}
	if weirtest.Value[bool](t, pool, `select weir.drop_partition(0)`) {
		t.Fatal("dropped the partition in use")
	}
}

func TestFreeUniqueKeysAreSwept(t *testing.T) {
	t.Parallel()
	pool := weirtest.New(t).Pool
	weirtest.Exec(t, pool, `select weir.enqueue('ended', unique_key => 'ended')`)
	weirtest.Exec(t, pool, `select weir.cancel(weir.enqueue('ended', unique_key => 'ended'))`)
	weirtest.Exec(t, pool, `select weir.enqueue('active', unique_key => 'active')`)
	if n := weirtest.Value[int](t, pool, `select weir.sweep_unique_keys()`); n != 1 {
		t.Fatalf("swept %d keys, want 1", n)
	}
	if key := weirtest.Value[string](t, pool, `select key from weir.job_unique`); key != "active" {
		t.Fatalf("key %q is left, want active", key)
	}
}
