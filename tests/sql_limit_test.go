package tests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// enqueueKeyed enqueues a job for each of some keys, with spaces between.
func enqueueKeyed(t testing.TB, q weirtest.Querier, queue, keys string) []int64 {
	t.Helper()
	var jobs []string
	for key := range strings.FieldsSeq(keys) {
		jobs = append(jobs, fmt.Sprintf(`{"kind": "work", "queue": %q, "concurrency_key": %q}`, queue, key))
	}
	return weirtest.Enqueue(t, q, jobs...)
}

func TestAKeyOfOneRunsItsJobsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	ids := enqueueKeyed(t, d, "q", "a a b a")
	free := weirtest.EnqueueOne(t, d, "q")
	weirtest.Admit(t, d, "q", 10)
	first := weirtest.Claim(t, d, "q", 10)
	if got := weirtest.IDs(first); !slices.Equal(got, []int64{ids[0], ids[2], free}) {
		t.Fatalf("claimed %v, want the first of each key and the one without", got)
	}
	weirtest.CheckLimits(t, d)
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Fatalf("claimed %d more", n)
	}
	weirtest.Complete(t, d, first[0])
	weirtest.Admit(t, d, "q", 10)
	if next := weirtest.ClaimOne(t, d, "q"); next.ID != ids[1] {
		t.Errorf("claimed %d, want %d", next.ID, ids[1])
	}
	weirtest.CheckLimits(t, d)
}

func TestAJobThatIsTriedAgainKeepsItsKey(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	ids := enqueueKeyed(t, d, "q", "a a")
	weirtest.Admit(t, d, "q", 10)
	job := weirtest.ClaimOne(t, d, "q")
	for i, how := range []string{"fail($1, $2, '{}', interval '1 hour')", "snooze($1, $2, interval '1 hour')", "release($1, $2)"} {
		job.Call(t, d, how)
		if weirtest.Admit(t, d, "q", 10); how[0] != 'r' {
			if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
				t.Fatalf("after %s its key's next was claimed", how)
			}
			weirtest.CheckLimits(t, d)
			weirtest.Exec(t, d, "select weir.retry($1)", job.ID)
			weirtest.Admit(t, d, "q", 10)
		}
		if job = weirtest.ClaimOne(t, d, "q"); job.ID != ids[0] {
			t.Fatalf("step %d: claimed %d, want %d again", i, job.ID, ids[0])
		}
	}
	job.Call(t, d, "fail($1, $2, '{}', null, false)") // now it is dead
	weirtest.Admit(t, d, "q", 10)
	if next := weirtest.ClaimOne(t, d, "q"); next.ID != ids[1] {
		t.Errorf("claimed %d, want %d", next.ID, ids[1])
	}
	weirtest.CheckLimits(t, d)
}

func TestCancellingFreesTheKey(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	ids := enqueueKeyed(t, d, "q", "a a a a")
	weirtest.Admit(t, d, "q", 10)
	weirtest.Exec(t, d, "select weir.cancel($1)", ids[0]) // admitted
	weirtest.Exec(t, d, "select weir.cancel($1)", ids[1]) // in the line
	weirtest.Admit(t, d, "q", 10)
	job := weirtest.ClaimOne(t, d, "q")
	if job.ID != ids[2] {
		t.Fatalf("claimed %d, want %d", job.ID, ids[2])
	}
	job.Call(t, d, "fail($1, $2, '{}', interval '1 hour')")
	weirtest.Exec(t, d, "select weir.cancel($1)", job.ID) // waits for its retry, and has its key
	weirtest.Admit(t, d, "q", 10)
	if job = weirtest.ClaimOne(t, d, "q"); job.ID != ids[3] {
		t.Errorf("claimed %d, want %d", job.ID, ids[3])
	}
	weirtest.CheckLimits(t, d)
}

func TestAQueueHasSoManyInFlight(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 3}`)
	for range 10 {
		weirtest.EnqueueOne(t, d, "q")
	}
	if n := weirtest.Admit(t, d, "q", 100); n != 3 {
		t.Errorf("admitted %d, want 3", n)
	}
	jobs := weirtest.Claim(t, d, "q", 10)
	weirtest.Exec(t, d, "update weir.job_lease set expires_at = clock_timestamp()") // their worker was killed
	weirtest.Exec(t, d, "select weir.expire_leases()")
	weirtest.Admit(t, d, "q", 100)
	again := weirtest.Claim(t, d, "q", 10)
	if len(jobs) != 3 || len(again) != 3 {
		t.Errorf("claimed %d, and %d when the leases had run out; want 3 each", len(jobs), len(again))
	}
	weirtest.CheckLimits(t, d)
}

func TestLimitsAreTurnedOnUnderWorkAndOffAgain(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	ids := enqueueKeyed(t, d, "q", "a a a b b")
	running := weirtest.Claim(t, d, "q", 2) // both of key a
	weirtest.SetLimits(t, d, "q", `{"per_key": 2}`)
	weirtest.CheckLimits(t, d)
	weirtest.Admit(t, d, "q", 10)
	got := weirtest.Claim(t, d, "q", 10)
	if !slices.Equal(weirtest.IDs(got), ids[3:]) {
		t.Fatalf("claimed %v, want %v: two of key a are running", weirtest.IDs(got), ids[3:])
	}
	weirtest.SetLimits(t, d, "q", `{"per_key": 1, "tenants": {}}`)
	weirtest.Complete(t, d, running[0])
	weirtest.Admit(t, d, "q", 10)
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Error("the lower limit was passed")
	}
	weirtest.Complete(t, d, running[1])
	weirtest.Admit(t, d, "q", 10)
	weirtest.CheckLimits(t, d)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"limits": {}}')`) // the third of key a is admitted, and not claimed
	more := enqueueKeyed(t, d, "q", "a a")
	weirtest.Admit(t, d, "q", 0)
	if got := weirtest.IDs(weirtest.Claim(t, d, "q", 10)); len(got) != 3 || !slices.Contains(got, ids[2]) || !slices.Contains(got, more[1]) {
		t.Errorf("without limits claimed %v, want %d and %v", got, ids[2], more)
	}
	if left := weirtest.Value[int](t, d, "select (select count(*) from weir.line) + (select count(*) from weir.line_reservation) + (select count(*) from weir.line_news) + (select count(*) from weir.admission)"); left != 0 {
		t.Errorf("%d rows are left of the limits", left)
	}
}

func TestWhatWasEnqueuedByTheOldLimitsIsFound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	tx := d.Tx()
	plain := enqueueKeyed(t, tx, "q", "a")
	weirtest.SetLimits(t, d, "q", `{"concurrency": 10}`)
	tx2 := d.Tx()
	inOneLine := enqueueKeyed(t, tx2, "q", "a")
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	weirtest.Commit(t, tx)
	weirtest.Tick(t, d)
	weirtest.Admit(t, d, "q", 10)
	job := weirtest.ClaimOne(t, d, "q")
	weirtest.Commit(t, tx2)
	weirtest.Admit(t, d, "q", 10)
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 || job.ID != plain[0] {
		t.Fatalf("claimed %d and %d more, want %d and none", job.ID, n, plain[0])
	}
	weirtest.Complete(t, d, job)
	weirtest.Admit(t, d, "q", 10)
	if job = weirtest.ClaimOne(t, d, "q"); job.ID != inOneLine[0] {
		t.Errorf("claimed %d, want %d", job.ID, inOneLine[0])
	}
	tx3 := d.Tx()
	late := enqueueKeyed(t, tx3, "q", "a")
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"limits": {}}')`)
	weirtest.Admit(t, d, "q", 0)
	weirtest.Commit(t, tx3)
	if queues := weirtest.Values[string](t, d, "select queue from weir.admissions() where busy"); !slices.Equal(queues, []string{"q"}) {
		t.Errorf("to be looked after: %v", queues)
	}
	weirtest.Admit(t, d, "q", 0)
	if job = weirtest.ClaimOne(t, d, "q"); job.ID != late[0] {
		t.Errorf("claimed %d, want %d", job.ID, late[0])
	}
}

func TestPriorityHoldsWithinALineAndAmongLines(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
	ids := weirtest.Enqueue(t, d, `{"kind": "w", "queue": "q", "concurrency_key": "a", "priority": 2}`, `{"kind": "w", "queue": "q", "concurrency_key": "a", "priority": 9}`,
		`{"kind": "w", "queue": "q", "concurrency_key": "b", "priority": 5}`, `{"kind": "w", "queue": "q", "concurrency_key": "c", "priority": 10}`)
	var got []int64
	for range ids {
		weirtest.Value[int](t, d, "select admitted from weir.admit('q', 1)")
		weirtest.Value[int](t, d, "select admitted from weir.admit('q', 1)")
		job := weirtest.ClaimOne(t, d, "q")
		got = append(got, job.ID)
		weirtest.Complete(t, d, job)
	}
	if want := []int64{ids[3], ids[1], ids[2], ids[0]}; !slices.Equal(got, want) {
		t.Errorf("claimed %v, want %v", got, want)
	}
	weirtest.CheckLimits(t, d)
}

func TestAnEditedJobStaysInItsLine(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 1}`)
	ids := enqueueKeyed(t, d, "q", "a b c")
	weirtest.Admit(t, d, "q", 10)
	if state := weirtest.Value[string](t, d, `select weir.edit($1, '{"priority": 9}')`, ids[2]); state != "held" {
		t.Errorf("its state is %s, want held", state)
	}
	weirtest.Exec(t, d, `select weir.edit($1, '{"priority": 1}')`, ids[0]) // it was admitted
	weirtest.Admit(t, d, "q", 10)
	weirtest.CheckLimits(t, d)
	if job := weirtest.ClaimOne(t, d, "q"); job.ID != ids[2] {
		t.Errorf("claimed %d, want %d", job.ID, ids[2])
	}
}

func TestTenantsShareByWeight(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 20, "tenants": {"weights": {"b": 3}}}`)
	weirtest.Exec(t, d, `select weir.set_limit('q', tenant => 'c', limits => '{"weight": 6}')`)
	for _, tenant := range []string{"a", "b", "c"} {
		weirtest.Exec(t, d, "select weir.enqueue('w', queue => 'q', options => jsonb_build_object('tenant', $1::text)) from generate_series(1, 700)", tenant)
	}
	had := map[string]int{}
	serve := func(n int) {
		for range n {
			weirtest.Value[int](t, d, "select admitted from weir.admit('q', 7)")
			jobs := weirtest.Claim(t, d, "q", 7)
			for _, tenant := range weirtest.Values[string](t, d, "select tenant from weir.job where id = any ($1)", weirtest.IDs(jobs)) {
				had[tenant]++
			}
			weirtest.Complete(t, d, jobs...)
		}
	}
	serve(5) // a pass reads a thousand notes, so it takes some until all are known
	clear(had)
	serve(100)
	if had["a"] < 60 || had["a"] > 80 || had["b"] < 200 || had["b"] > 220 || had["c"] < 410 || had["c"] > 430 {
		t.Errorf("shares are %v, want 1, 3 and 6 of ten", had)
	}
	weirtest.CheckLimits(t, d)
	ids := weirtest.Enqueue(t, d, `{"kind": "late", "queue": "q", "tenant": "d"}`, `{"kind": "late", "queue": "q", "tenant": "d"}`)
	serve(6)
	if ended := weirtest.Value[int](t, d, "select count(*) from weir.job_outcome where job_id = any ($1)", ids); ended != 2 {
		t.Errorf("%d of 2 jobs of a tenant that came late have ended", ended)
	}
	serve(400) // to the end: what some do not use goes to the others
	if left := weirtest.Value[int](t, d, "select count(*) from weir.job_held"); left != 0 {
		t.Errorf("%d jobs are left", left)
	}
	weirtest.CheckLimits(t, d)
}

func TestATenantHasSoManyInFlight(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"tenants": {}, "per_key": 5}`)
	weirtest.Exec(t, d, `select weir.set_limit('q', tenant => 'a', limits => '{"concurrency": 2}')`)
	weirtest.Exec(t, d, `select weir.set_limit('q', key => 'k', limits => '{"concurrency": 1}')`)
	for _, tenant := range []string{"a", "b"} {
		weirtest.Exec(t, d, "select weir.enqueue('w', queue => 'q', options => jsonb_build_object('tenant', $1::text, 'concurrency_key', k)) from generate_series(1, 10), unnest(array['k', 'l']) k", tenant)
	}
	weirtest.Admit(t, d, "q", 100)
	weirtest.Claim(t, d, "q", 100)
	got := weirtest.Value[string](t, d, "select string_agg(tenant || key || in_flight, ' ' order by 1) from (select tenant, key, in_flight::text from weir.lines where in_flight > 0 order by 1, 2) l")
	if got != "ak1 al1 bk1 bl5" {
		t.Errorf("in flight are %s", got)
	}
	weirtest.Exec(t, d, `select weir.set_limit('q', tenant => 'a')`)
	weirtest.Admit(t, d, "q", 100)
	weirtest.Claim(t, d, "q", 100)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_lease l join weir.job j on j.id = l.job_id where j.tenant = 'a'"); n != 6 {
		t.Errorf("without its own limit tenant a has %d in flight, want 6", n)
	}
	weirtest.CheckLimits(t, d)
}

func TestARateIsATokenBucket(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"rate": {"per_second": 0.01, "burst": 3}}`)
	weirtest.SetLimits(t, d, "k", `{"key_rate": {"per_second": 0.01, "burst": 2}}`)
	enqueueKeyed(t, d, "q", "a a a a a a a a a a")
	enqueueKeyed(t, d, "k", "a a a a b b b b")
	if n := weirtest.Admit(t, d, "q", 100); n != 3 {
		t.Errorf("admitted %d at once, want the burst of 3", n)
	}
	if next := weirtest.Value[float64](t, d, "select next_in from weir.admit('q', 100)"); next < 50 || next > 100 {
		t.Errorf("the next is due in %v s, want somewhat less than 100", next)
	}
	if n := weirtest.Admit(t, d, "k", 100); n != 4 {
		t.Errorf("admitted %d at once of two keys, want 2 of each", n)
	}
	// An hour later: the bucket is full, but what was admitted and not claimed is part of it.
	weirtest.Exec(t, d, "update weir.admission set tokens_at = tokens_at - interval '1 hour', rate_until = rate_until - interval '1 hour'")
	if n := weirtest.Admit(t, d, "q", 100); n != 0 {
		t.Errorf("admitted %d on top of a burst that nobody has claimed", n)
	}
	weirtest.Claim(t, d, "q", 2)
	weirtest.Exec(t, d, "update weir.admission set rate_until = null")
	if n := weirtest.Admit(t, d, "q", 100); n != 0 {
		t.Errorf("admitted %d right after two were claimed, want 0", n)
	}
	weirtest.Exec(t, d, "update weir.admission set tokens_at = tokens_at - interval '1 hour', rate_until = rate_until - interval '1 hour'")
	if n := weirtest.Admit(t, d, "q", 100); n != 2 {
		t.Errorf("admitted %d, want 2 beside the one that nobody has claimed", n)
	}
	weirtest.Exec(t, d, "update weir.line set tokens_at = tokens_at - interval '100 s', rest_until = rest_until - interval '100 s' where name = '1a'")
	weirtest.Claim(t, d, "k", 10)
	if n := weirtest.Admit(t, d, "k", 100); n != 1 {
		t.Errorf("admitted %d of a key after 100 s, want 1", n)
	}
	weirtest.CheckLimits(t, d)
}

func TestEditsOfLimitsAreRefusedWithTheField(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	for limits, field := range map[string]string{
		`{"concurrency": 0}`: "limits.concurrency", `{"concurrency": -1}`: "limits.concurrency", `{"concurrency": 1.5}`: "limits.concurrency", `{"per_key": 0}`: "limits.per_key",
		`{"rate": {"per_second": 0}}`: "limits.rate.per_second", `{"rate": {"burst": 5}}`: "limits.rate.per_second", `{"rate": {"per_second": 5, "burst": 0}}`: "limits.rate.burst", `{"rate": 5}`: "limits.rate",
		`{"key_rate": {"per_second": -5}}`: "limits.key_rate.per_second", `{"rate": {"per_second": 5, "per_minute": 1}}`: "limits.rate.per_minute", `{"tenants": {"weights": {"a": 0}}}`: "limits.tenants.weights",
		`{"tenants": {"shares": {}}}`: "limits.tenants.shares", `{"tenants": 3}`: "limits.tenants", `{"per_tenant": 3}`: "limits.per_tenant", `[]`: "limits", `"x"`: "limits",
	} {
		d.Unchanged(limits, func() {
			if e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.set_queue('q', jsonb_build_object('limits', $1::text::jsonb))", limits), "WR010"); e.ColumnName != field {
				t.Errorf("%s: the field is %q, want %q", limits, e.ColumnName, field)
			}
		})
	}
	for call, field := range map[string]string{
		`select weir.set_limit('q')`: "key", `select weir.set_limit('q', key => 'a', tenant => 'b')`: "key", `select weir.set_limit('q', key => '', limits => '{"concurrency": 1}')`: "key",
		`select weir.set_limit('q', key => 'a', limits => '{"weight": 1}')`: "weight", `select weir.set_limit('q', tenant => 'a', limits => '{"weight": 0}')`: "weight",
		`select weir.set_limit('q', tenant => 'a', limits => '{"rate": {"per_second": 1}}')`: "rate", `select weir.set_limit('q', key => 'a', limits => '{"rate": {"per_second": 0}}')`: "rate.per_second",
		`select weir.set_limit('q', key => 'a', limits => '{"concurrency": 0}')`: "concurrency", `select weir.set_limit('q', key => 'a', limits => '5')`: "limits",
	} {
		d.Unchanged(call, func() {
			if e := weirtest.WantSQLState(t, weirtest.TryExec(d, call), "WR010"); e.ColumnName != field {
				t.Errorf("%s: the field is %q, want %q", call, e.ColumnName, field)
			}
		})
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.set_limit('none', key => 'a')"), "WR011")
	for _, job := range []string{`{"kind": "x", "concurrency_key": ""}`, `{"kind": "x", "concurrency_key": 5}`, `{"kind": "x", "concurrency_key": "a\u001fb"}`} {
		if e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue_many($1)", "["+job+"]"), "WR010"); e.ColumnName != "jobs[0].concurrency_key" {
			t.Errorf("%s: the field is %q", job, e.ColumnName)
		}
	}
}

func TestPassesWaitForEachOtherAndNobodyForThem(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 5}`)
	enqueueKeyed(t, d, "q", "a a")
	weirtest.Admit(t, d, "q", 1)
	tx := d.Tx()
	weirtest.Value[int](t, tx, "select admitted from weir.admit('q', 10)") // a pass that does not end
	other := d.ConnectWithLockTimeout()
	if n := weirtest.Value[int](t, other, "select coalesce(sum(admitted), 0) from weir.admit('q')"); n != 0 {
		t.Errorf("a second pass admitted %d", n)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(other, "select weir.admit('q', 5)"), "55P03")
	enqueueKeyed(t, other, "q", "b")
	for _, job := range weirtest.Claim(t, other, "q", 1) {
		weirtest.Complete(t, other, job)
	}
	weirtest.Exec(t, other, `select weir.set_queue('q', '{"limits": {"concurrency": 2}}')`)
	weirtest.Commit(t, tx)
	weirtest.Admit(t, d, "q", 10)
	weirtest.CheckLimits(t, d)
	serializable, err := d.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer serializable.Rollback(context.Background())
	weirtest.Exec(t, serializable, "set transaction isolation level repeatable read")
	weirtest.WantSQLState(t, weirtest.TryExec(serializable, "select weir.admit('q', 5)"), "WR010")
}
