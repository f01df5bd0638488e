package retry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// delayAfterFailing fails a job at its n-th attempt and returns the bounds of its wait.
func delayAfterFailing(t *testing.T, d *weirtest.Database, job string, n int) (least, most time.Duration) {
	t.Helper()
	id := weirtest.Enqueue(t, d, job)[0]
	for range n - 1 {
		j := weirtest.ClaimOne(t, d, "q")
		weirtest.Exec(t, d, "select weir.fail($1, $2, null, '0')", j.ID, j.Token)
	}
	j := weirtest.ClaimOne(t, d, "q")
	before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
	if state := weirtest.Value[string](t, d, `select weir.fail($1, $2, '{"message": "no"}')`, j.ID, j.Token); state != "retryable" && state != "available" {
		t.Fatalf("the job is %s", state)
	}
	after := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
	if weirtest.State(t, d, id) == "available" {
		weirtest.Exec(t, d, "select weir.cancel($1)", id)
		return 0, after.Sub(before)
	}
	at := weirtest.Value[time.Time](t, d, "select run_at from weir.jobs where id = $1 and state = 'retryable'", id)
	return at.Sub(after), at.Sub(before)
}

func TestRetryWaitsAsPolicySays(t *testing.T) {
	t.Parallel()
	t.Run("SQL", retryWaitsAsPolicySaysSQL)
	t.Run("REST", retryWaitsAsPolicySaysREST)
}

func retryWaitsAsPolicySaysSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"max_attempts": 100, "retry": {"strategy": "linear", "base_seconds": 7, "jitter": false}}')`)
	for _, c := range []struct {
		policy  string // none: the queue's
		attempt int
		want    float64
	}{
		{"", 1, 7},
		{"", 3, 21},
		{`{"strategy": "fixed", "base_seconds": 5, "jitter": false}`, 1, 5},
		{`{"strategy": "fixed", "base_seconds": 5, "jitter": false}`, 4, 5},
		{`{"strategy": "linear", "base_seconds": 1.5, "jitter": false}`, 4, 6},
		{`{"strategy": "linear", "base_seconds": 10, "max_seconds": 25, "jitter": false}`, 3, 25},
		{`{"strategy": "exponential", "base_seconds": 3, "jitter": false}`, 1, 3},
		{`{"strategy": "exponential", "base_seconds": 3, "jitter": false}`, 5, 48},
		{`{"base_seconds": 3, "jitter": false}`, 2, 6},
		{`{"jitter": false}`, 1, 2},
		{`{"strategy": "exponential", "base_seconds": 10, "max_seconds": 12.5, "jitter": false}`, 2, 12.5},
		{`{"strategy": "fixed", "base_seconds": 50, "max_seconds": 20, "jitter": false}`, 1, 20},
		{`{"strategy": "fixed", "base_seconds": 0, "jitter": false}`, 1, 0},
	} {
		job := `{"kind": "a", "queue": "q"}`
		if c.policy != "" {
			job = `{"kind": "a", "queue": "q", "retry": ` + c.policy + `}`
		}
		least, most := delayAfterFailing(t, d, job, c.attempt)
		if want := time.Duration(c.want * float64(time.Second)); want < least || want > most {
			t.Errorf("policy %q, attempt %d: the wait is from %s to %s, want %s", c.policy, c.attempt, least, most, want)
		}
	}
	if got := weirtest.Value[float64](t, d, `select extract(epoch from weir.retry_delay('{"jitter": false}', 99))::float8`); got != 3600 {
		t.Errorf("the 99th wait is %g s, want 3600, the most", got)
	}
}

func retryWaitsAsPolicySaysREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, c := range []struct {
		retry string
		waits []float64
	}{
		{`{"strategy": "fixed", "base_seconds": 1000, "jitter": false}`, []float64{1000, 1000, 1000}},
		{`{"strategy": "linear", "base_seconds": 1000, "jitter": false}`, []float64{1000, 2000, 3000}},
		{`{"strategy": "exponential", "base_seconds": 500, "jitter": false}`, []float64{500, 1000, 2000}},
		{`{"base_seconds": 1000, "max_seconds": 1500, "jitter": false}`, []float64{1000, 1500, 1500}},
	} {
		id := s.Enqueue(`{"kind": "k", "max_attempts": 4, "retry": ` + c.retry + `}`)
		for attempt, wait := range append(c.waits, -1) {
			got := s.ClaimOne("default")
			if got.ID != id || got.Attempt != attempt+1 {
				t.Fatalf("%s: claimed %+v as attempt %d", c.retry, got, attempt+1)
			}
			ack := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+id+"/fail", obj{"token": got.Token, "error": obj{"message": fmt.Sprintf("no %d", attempt+1)}}).Want(http.StatusOK))
			j := s.Job(id)
			if wait < 0 { // it has no attempts left
				if ack.State != "dead" || ack.RunAt != nil || j.State != "dead" || j.FinishedAt == nil || !weirtest.SameJSON(t, j.Error, []byte(`{"message": "no 4"}`)) || len(j.Errors) != 4 {
					t.Errorf("%s: the last attempt: %+v, %+v", c.retry, ack, j)
				}
				break
			}
			if ack.State != "retryable" || j.State != "retryable" || ack.RunAt == nil || !ack.RunAt.Equal(*j.RunAt) {
				t.Fatalf("%s: %+v, %+v", c.retry, ack, j)
			}
			if got := ack.RunAt.Sub(j.Errors[attempt].At).Seconds(); got < wait-5 || got > wait+5 {
				t.Errorf("%s: attempt %d waits for %v s, want %v", c.retry, attempt+1, got, wait)
			}
			s.Post("/v1/jobs/"+id+"/retry", nil).Want(http.StatusOK)
		}
	}

	// Full jitter: anything from 0 to the wait.
	waits := map[bool]int{}
	for range 20 {
		id := s.Enqueue(`{"kind": "k", "queue": "jitter", "retry": {"strategy": "fixed", "base_seconds": 3600}}`)
		ack := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+id+"/fail", obj{"token": s.ClaimOne("jitter").Token, "error": obj{"message": "no"}}).Want(http.StatusOK))
		if ack.RunAt == nil {
			continue
		}
		wait := ack.RunAt.Sub(s.Job(id).Errors[0].At).Seconds()
		if wait < 0 || wait > 3605 {
			t.Errorf("a jittered wait of %v s", wait)
		}
		waits[wait < 1800]++
	}
	if waits[true] == 0 || waits[false] == 0 { // by chance once in half a million runs
		t.Errorf("jittered waits below and above the middle: %v", waits)
	}
}

func TestQueuePolicyIsReadWhenAttemptFails(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"retry": {"strategy": "fixed", "base_seconds": 5000, "max_seconds": 9000, "jitter": false}}')`)
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.fail($1, $2, null)", j.ID, j.Token)
	if wait := weirtest.Value[float64](t, d, "select extract(epoch from run_at - clock_timestamp())::float8 from weir.jobs"); wait < 4900 || wait > 5000 {
		t.Errorf("the wait is %g s, want 5000", wait)
	}
}

func TestJitterIsUniformPartOfWait(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, policy := range []string{`{"base_seconds": 16}`, `{"base_seconds": 16, "jitter": true}`, `{"strategy": "linear", "base_seconds": 32}`, `{"strategy": "fixed", "base_seconds": 999, "max_seconds": 64}`} {
		waits := weirtest.Values[float64](t, d, "select extract(epoch from weir.retry_delay($1, 3))::float8 / 64 from generate_series(1, 1000)", policy)
		if strings.Contains(policy, "linear") { // 96 s at the third attempt
			for i := range waits {
				waits[i] *= 64.0 / 96
			}
		}
		slices.Sort(waits)
		if waits[0] < 0 || waits[999] > 1 || waits[500] < 0.4 || waits[500] > 0.6 || waits[20] > 0.1 || waits[980] < 0.9 {
			t.Errorf("%s: the waits go from %g over %g (median) to %g of the whole", policy, waits[0], waits[500], waits[999])
		}
	}
}

func TestInvalidWaitsAreRefused(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	for sql, field := range map[string]string{
		"select weir.fail($1, $2, null, '-1 s')":     "retry_in",
		"select weir.fail($1, $2, null, '11 years')": "retry_in",
		"select weir.snooze($1, $2, '-1 s')":         "delay",
		"select weir.snooze($1, $2, '11 years')":     "delay",
		"select weir.snooze($1, $2, null)":           "delay",
	} {
		d.Unchanged(sql, func() {
			if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, sql, j.ID, j.Token), "WR010"); refusal.ColumnName != field {
				t.Errorf("%s: the place is %q, want %q", sql, refusal.ColumnName, field)
			}
		})
	}
}
