package stats

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

type counts struct{ Enqueued, Completed, Dead, Cancelled, Failed, Snoozed, Released int64 }

func (c counts) String() string {
	return fmt.Sprint(c.Enqueued, c.Completed, c.Dead, c.Cancelled, c.Failed, c.Snoozed, c.Released)
}

type throughputPart struct {
	Since, Until time.Time
	Total        struct {
		counts
		EnqueuedPerSecond float64 `json:"enqueued_per_second"`
		FailureRatio      float64 `json:"failure_ratio"`
	}
	Buckets []struct {
		At time.Time
		counts
	}
}

type throughput struct {
	throughputPart
	BucketSeconds int       `json:"bucket_seconds"`
	CountedUntil  time.Time `json:"counted_until"`
	Previous      *throughputPart
}

type times struct {
	Total struct {
		Count   float64
		P50     float64 `json:"p50_seconds"`
		P95     float64 `json:"p95_seconds"`
		P99     float64 `json:"p99_seconds"`
		Longest float64 `json:"longest_seconds"`
	}
	PercentileError float64 `json:"percentile_error"`
	Buckets         []struct{ Count float64 }
}

type failures struct {
	Attempts, Other int64
	Classes         []struct {
		Kind, Event, Type string
		Attempts          int64
		FirstSeenAt       time.Time `json:"first_seen_at"`
		LastSeenAt        time.Time `json:"last_seen_at"`
		ExampleJobID      string    `json:"example_job_id"`
	}
}

func get[T any](s *weirtest.Node, name, query string) T {
	s.T.Helper()
	return weirtest.Decode[T](s.Get("/v1/stats/" + name + "?" + query).Want(http.StatusOK))
}

// stages are when numbers are read: before a roll-up, after it, and once minutes have become hours.
var stages = []struct {
	name            string
	minutes         int // how long ago the work was
	rolled, folded  bool
	window, buckets int
}{
	{"not rolled up", 0, false, false, 3600, 61},
	{"rolled up", 30, true, false, 3600, 61},
	{"by the hour", 26 * 60, true, false, 172800, 49},
	{"folded into hours", 4*24*60 + 17, true, true, 30 * 86400, 31},
}

func atStage(t *testing.T, i int) *weirtest.Node {
	t.Helper()
	d := weirtest.New(t)
	work(t, d)
	return ofStage(t, d, i)
}

// ofStage brings work that was just done to a stage.
func ofStage(t *testing.T, d *weirtest.Database, i int) *weirtest.Node {
	t.Helper()
	stage := stages[i]
	if stage.minutes > 0 {
		weirtest.Age(t, d, stage.minutes)
	} else { // some jobs were enqueued before the cursor of a new database
		weirtest.Exec(t, d, "update weir.rollup_cursor set until = until - interval '10 min'")
	}
	if stage.rolled {
		weirtest.RollUp(t, d, "0 s")
	}
	if stage.folded {
		weirtest.Exec(t, d, "select weir.sweep_rollups()")
	}
	return weirtest.StartNodeOn(t, d)
}

// choices are what numbers can be asked of.
var choices = []chosen{
	{}, {queue: "red"}, {kind: "b"}, {queue: "blue", kind: "c"}, {tenant: "acme"}, {queue: "red", tenant: "globex"}, {kind: "a", tenant: "acme"}, {queue: "blue", kind: "b", tenant: "globex"},
}

func TestThroughputIsThatOfAPlainCount(t *testing.T) {
	t.Parallel()
	for i, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			s := atStage(t, i)
			for _, c := range choices {
				got := get[throughput](s, "throughput", fmt.Sprintf("window_seconds=%d%s", stage.window, c.query()))
				if want := plainCounts(t, s.DB, c); got.Total.String() != want {
					t.Errorf("of %+v: got %v, want %s", c, got.Total.counts, want)
				}
				var sum counts
				for j, b := range got.Buckets {
					if want := got.Since.Add(time.Duration(j*got.BucketSeconds) * time.Second); !b.At.Equal(want) {
						t.Errorf("bucket %d begins at %v, want %v", j, b.At, want)
					}
					sum.Enqueued, sum.Completed, sum.Dead = sum.Enqueued+b.Enqueued, sum.Completed+b.Completed, sum.Dead+b.Dead
				}
				if len(got.Buckets) < stage.buckets-1 || len(got.Buckets) > stage.buckets {
					t.Errorf("there are %d buckets of %d s, want %d", len(got.Buckets), got.BucketSeconds, stage.buckets)
				}
				if sum.Enqueued != got.Total.Enqueued || sum.Completed != got.Total.Completed || sum.Dead != got.Total.Dead {
					t.Errorf("the buckets sum up to %v, the total is %v", sum, got.Total.counts)
				}
				if !got.CountedUntil.Equal(got.Until) {
					t.Errorf("counted until %v, want %v", got.CountedUntil, got.Until)
				}
			}
		})
	}
}

func TestTimesAreThoseOfTheAttempts(t *testing.T) {
	t.Parallel()
	for i, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			s := atStage(t, i)
			for _, c := range choices {
				for name, runs := range map[string]bool{"wait-times": false, "run-times": true} {
					got := get[times](s, name, fmt.Sprintf("window_seconds=%d%s", stage.window, c.query()))
					want := plainTimes(t, s.DB, c, runs)
					for j, have := range []float64{got.Total.Count, got.Total.Longest, got.Total.P50, got.Total.P95, got.Total.P99} {
						within := 0.0001 * want[j]
						if j > 1 {
							within = got.PercentileError * want[j]
						}
						if math.Abs(have-want[j]) > within {
							t.Errorf("%s of %+v: number %d is %v, want %v", name, c, j, have, want[j])
						}
					}
					sum := 0.0
					for _, b := range got.Buckets {
						sum += b.Count
					}
					if sum != want[0] {
						t.Errorf("%s: the buckets count %v times, want %v", name, sum, want[0])
					}
				}
			}
		})
	}
}

func TestFailuresAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	for i, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			s := atStage(t, i)
			for _, c := range choices {
				got := get[failures](s, "failures", fmt.Sprintf("window_seconds=%d%s", stage.window, c.query()))
				var have []string
				for _, f := range got.Classes {
					have = append(have, fmt.Sprint(f.Kind, " ", f.Event, " ", f.Type, " ", f.Attempts))
					last := weirtest.Values[time.Time](t, s.DB, `select e.at from weir.job_event e join weir.job j on j.id = e.job_id
						where e.job_id = $1::text::bigint and j.kind = $2 and coalesce(e.detail ->> 'type', '') = $3`, f.ExampleJobID, f.Kind, f.Type)
					if len(last) != 1 || !last[0].Equal(f.LastSeenAt) || f.FirstSeenAt.After(f.LastSeenAt) || f.LastSeenAt.Sub(f.FirstSeenAt) > 5*time.Minute {
						t.Errorf("the example of %+v failed at %v", f, last)
					}
				}
				want := weirtest.Values[string](t, s.DB, `select concat_ws(' ', j.kind, x.kind, coalesce(x.detail ->> 'type', ''), count(*)) from weir.job_event x
					join weir.job j on j.id = x.job_id join weir.queue q on q.id = j.queue_id`+counted(c)+` and x.kind = 'failed' group by j.kind, x.kind, coalesce(x.detail ->> 'type', '')
					order by 1`)
				if !sameElements(have, want) {
					t.Errorf("of %+v: got %q, want %q", c, have, want)
				}
			}
		})
	}
}

func sameElements(a, b []string) bool {
	count := map[string]int{}
	for _, x := range a {
		count[x]++
	}
	for _, x := range b {
		count[x]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return len(a) == len(b)
}

// A window that is compared with the one before shows what moved out of it.
func TestTheWindowBefore(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	work(t, d)
	weirtest.Age(t, d, 90)
	weirtest.RollUp(t, d, "0 s")
	s := weirtest.StartNodeOn(t, d)
	s.Enqueue(obj{"kind": "a", "queue": "red"})
	got := get[throughput](s, "throughput", "compare=previous")
	if got.Total.Enqueued != 1 || got.Previous.Total.Enqueued != 300 || len(got.Previous.Buckets) != len(got.Buckets) {
		t.Errorf("got %v, and %v before", got.Total.counts, got.Previous.Total.counts)
	}
	if !got.Previous.Until.Before(got.Until) || got.Previous.Until.Sub(got.Previous.Since) != got.Until.Sub(got.Since) {
		t.Errorf("the windows are %v to %v and %v to %v", got.Previous.Since, got.Previous.Until, got.Since, got.Until)
	}
	if get[throughput](s, "throughput", "").Previous != nil {
		t.Error("a window is compared without being asked for")
	}
}

// Nothing but roll-ups is read where much is not rolled up yet; the answer says up to when it counts.
func TestMuchThatIsNotRolledUpIsLeftOut(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("select weir.enqueue('a') from generate_series(1, 10001) i")
	got := get[throughput](s, "throughput", "")
	if got.Total.Enqueued != 0 || !got.CountedUntil.Before(got.Until) {
		t.Errorf("got %v, counted until %v of %v", got.Total.counts, got.CountedUntil, got.Until)
	}
}

func TestBadParametersOfNumbers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for query, place := range map[string]string{
		"window_seconds=59": "window_seconds", "window_seconds=7776001": "window_seconds", "window_seconds=x": "window_seconds",
		"bucket_seconds=61": "bucket_seconds", "bucket_seconds=30": "bucket_seconds", "bucket_seconds=86460": "bucket_seconds", "window_seconds=86400&bucket_seconds=60": "bucket_seconds",
		"window_seconds=604800&bucket_seconds=1800": "bucket_seconds", "window_seconds=172800&compare=previous&bucket_seconds=900": "bucket_seconds",
		"compare=next": "compare", "colour=red": "colour", "window_seconds=7776000&bucket_seconds=3600": "bucket_seconds",
	} {
		for _, name := range []string{"throughput", "wait-times", "run-times"} {
			p := s.Get("/v1/stats/"+name+"?"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			if len(p.Errors) != 1 || p.Errors[0].Location != "query."+place {
				t.Errorf("%s?%s: %+v, want an error at query.%s", name, query, p, place)
			}
		}
	}
	for _, name := range []string{"throughput", "wait-times", "run-times", "failures"} {
		s.Get("/v1/stats/"+name+"?queue=nowhere").Problem(http.StatusNotFound, "queue_not_found")
	}
}

// Counting that takes too long is given up, and the problem says how to ask for less.
func TestNumbersAreBoundInTime(t *testing.T) {
	weirtest.Long(t, "it waits for five seconds")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec(`create or replace function weir.counted_until(most int default 10000) returns timestamptz language sql as 'select now() from pg_sleep(60)'`)
	p := s.Get("/v1/stats/throughput").Problem(http.StatusServiceUnavailable, "unavailable")
	if !strings.Contains(p.Hint, "window_seconds") {
		t.Errorf("got %+v", p)
	}
}

// A caller that is bound to queues, or to a tenant, gets the numbers of its queues.
func TestNumbersAreTheCallers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.Do(http.MethodPut, "/v1/queues/acme-mail", obj{"tenant": "acme"}).Want(http.StatusOK)
	s.EnqueueAll([]obj{{"kind": "a", "queue": "acme-mail", "tenant": "acme"}, {"kind": "a", "queue": "mail-eu"}, {"kind": "b", "queue": "mail-us"}, {"kind": "a", "queue": "secret"}})
	for _, rolled := range []bool{false, true} {
		if rolled {
			weirtest.Exec(t, s.DB, "update weir.job set created_at = created_at - interval '20 min'")
			weirtest.RollUp(t, s.DB, "0 s")
		}
		name := fmt.Sprint("caller-", rolled)
		tenant := s.AsNew(name+"-tenant", obj{"tenant": "acme"}, "reader")
		queues := s.AsNew(name+"-queues", obj{"queues": []string{"mail-*"}}, "reader")
		for _, c := range []struct {
			caller *weirtest.Node
			query  string
			want   int64
		}{
			{s, "", 4}, {s, "kind=a", 3}, {tenant, "", 1}, {tenant, "kind=b", 0}, {tenant, "queue=acme-mail", 1}, {queues, "", 2}, {queues, "kind=a", 1}, {queues, "queue=mail-us", 1},
		} {
			if got := get[throughput](c.caller, "throughput", c.query).Total.Enqueued; got != c.want {
				t.Errorf("rolled up %v, %s: got %d, want %d", rolled, c.query, got, c.want)
			}
		}
		for _, caller := range []*weirtest.Node{tenant, queues} {
			for _, name := range []string{"throughput", "wait-times", "run-times", "failures"} {
				caller.Get("/v1/stats/"+name+"?queue=secret").Problem(http.StatusNotFound, "queue_not_found")
			}
		}
	}
}
