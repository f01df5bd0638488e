package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/tests/weirtest"
)

// fleet is a set of producers and workers on a service that fails around them.
type fleet struct {
	t    *testing.T
	node atomic.Pointer[weirtest.Node] // the node that runs at the moment
	pool *pgxpool.Pool
	jobs int

	accepted  atomic.Int64 // jobs whose enqueue was answered
	completed atomic.Int64 // completions that were answered
	over      chan struct{}

	mu   sync.Mutex
	ids  map[string]bool // what producers were told
	oks  map[string]int  // how often a job's completion was accepted
	late []obj           // acks of workers that were taken for dead
}

// ask calls the service until it answers with success or the run is over.
func (f *fleet) ask(method, path string, body any) *weirtest.Response {
	for {
		select {
		case <-f.over:
			return nil
		default:
		}
		ctx, cancel := context.WithTimeout(f.t.Context(), weirtest.Patience)
		r, err := f.node.Load().Send(ctx, method, path, body)
		cancel()
		if err == nil && r.Status < 300 {
			return r
		}
		if err == nil && r.Status < 500 || f.t.Context().Err() != nil {
			f.t.Errorf("%v", r)
			return nil
		}
		time.Sleep(20 * time.Millisecond) // a client that is told to try again waits first
	}
}

// produce enqueues a part of the jobs in batches, each repeated until it is answered. Unique keys keep the repeats from
// making more jobs.
func (f *fleet) produce(from, to int) {
	for ; from < to; from += fleetBatch {
		var batch []obj
		for n := from; n < min(from+fleetBatch, to); n++ {
			batch = append(batch, obj{
				"kind": "work", "queue": fmt.Sprintf("q%d", n%3), "args": obj{"n": n}, "priority": 1 + n%10, "max_attempts": 100,
				"unique": obj{"key": strconv.Itoa(n), "scope": "ttl", "ttl_seconds": 86400},
			})
		}
		r := f.ask(http.MethodPost, "/v1/jobs/batch", obj{"jobs": batch})
		if r == nil {
			return
		}
		var answer struct{ IDs []string }
		if err := json.Unmarshal(r.Body, &answer); err != nil || len(answer.IDs) != len(batch) {
			f.t.Errorf("%v, %v", r, err)
			return
		}
		f.mu.Lock()
		for _, id := range answer.IDs {
			f.ids[id] = true
		}
		f.mu.Unlock()
		f.accepted.Add(int64(len(batch)))
	}
}

// work claims and completes jobs until the run is over. Every tenth job commits its effect together with its completion
// in SQL. The fourth claim of each round is abandoned, as if the worker had died.
func (f *fleet) work(name string) {
	for claims := 1; ; claims++ {
		r := f.ask(http.MethodPost, "/v1/claims", obj{"worker": name, "queues": []string{"q0", "q1", "q2"}, "limit": 200, "wait_seconds": 2, "lease_seconds": 5})
		if r == nil {
			return
		}
		var got weirtest.ClaimedJobs
		if err := json.Unmarshal(r.Body, &got); err != nil {
			f.t.Errorf("%v: %v", r, err)
			return
		}
		var acks []obj
		var bySQL []weirtest.ClaimedJob
		for _, j := range got.Jobs {
			if n := fleetNumber(j.Args); n%10 == 0 {
				bySQL = append(bySQL, j)
			} else {
				acks = append(acks, obj{"id": j.ID, "token": j.Token, "outcome": "complete", "result": n})
			}
		}
		if claims == 4 {
			f.mu.Lock()
			f.late = append(f.late, acks...)
			f.mu.Unlock()
			continue
		}
		for _, j := range bySQL {
			// After an error the outcome is unknown. The lease, which expires or is gone, decides.
			if err := f.affect(j, name); err == nil {
				f.noteOK(j.ID)
			}
		}
		if len(acks) == 0 {
			continue
		}
		if r = f.ask(http.MethodPost, "/v1/acks", obj{"acks": acks}); r == nil {
			return
		}
		var answer struct{ Results []weirtest.AckResult }
		if err := json.Unmarshal(r.Body, &answer); err != nil || len(answer.Results) != len(acks) {
			f.t.Errorf("%v: %v", r, err)
			return
		}
		for _, result := range answer.Results {
			switch result.Status {
			case "ok":
				f.noteOK(result.ID)
			case "stale_token": // the first answer was lost, or the lease
			default:
				f.t.Errorf("job %s: %s", result.ID, result.Status)
			}
		}
	}
}

// affect does the work of a job in the transaction that completes it.
func (f *fleet) affect(j weirtest.ClaimedJob, worker string) error {
	ctx, cancel := context.WithTimeout(f.t.Context(), weirtest.Patience)
	defer cancel()
	return pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `insert into effects (job_id, worker) values ($1, $2)`, j.ID, worker); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `select weir.complete($1, $2, to_jsonb($3::int))`, j.ID, j.Token, fleetNumber(j.Args))
		return err
	})
}

func (f *fleet) noteOK(id string) {
	f.mu.Lock()
	f.oks[id]++
	f.mu.Unlock()
	f.completed.Add(1)
}

// until waits for a condition that may take minutes.
func (f *fleet) until(what string, ok func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(8 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) || f.t.Failed() {
			f.t.Fatalf("it never came about that %s; %d jobs were accepted and %d completed", what, f.accepted.Load(), f.completed.Load())
		}
	}
}

func (f *fleet) count(sql string) (n int, err error) {
	err = f.pool.QueryRow(f.t.Context(), sql).Scan(&n)
	return n, err
}

// checkBooks compares the database with the answers that producers and workers got.
func (f *fleet) checkBooks() {
	t := f.t
	t.Helper()
	if len(f.ids) != f.jobs {
		t.Errorf("producers were told of %d jobs, want %d", len(f.ids), f.jobs)
	}
	for id, n := range f.oks {
		if n > 1 {
			t.Errorf("the completion of job %s was accepted %d times", id, n)
		}
	}
	var told []int64
	for id := range f.ids {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, n)
	}
	slices.Sort(told)
	for what, c := range map[string]struct {
		sql  string
		want int
	}{
		"jobs":                            {`select count(*) from weir.job`, f.jobs},
		"different keys":                  {`select count(distinct unique_key) from weir.job`, f.jobs},
		"numbers":                         {`select count(distinct (args ->> 'n')::int) from weir.job where (args ->> 'n')::int between 0 and 1000000`, f.jobs},
		"outcomes":                        {`select count(*) from weir.job_outcome`, f.jobs},
		"jobs that are completed":         {`select count(distinct job_id) from weir.job_outcome where state = 'completed'`, f.jobs},
		"results of another job":          {`select count(*) from weir.job j join weir.job_outcome o on o.job_id = j.id where o.result is distinct from j.args -> 'n'`, 0},
		"available jobs":                  {`select count(*) from weir.job_ready`, 0},
		"leases":                          {`select count(*) from weir.job_lease`, 0},
		"scheduled jobs":                  {`select count(*) from weir.job_scheduled`, 0},
		"held jobs":                       {`select count(*) from weir.job_held`, 0},
		"dead letters":                    {`select count(*) from weir.job_dead`, 0},
		"jobs that miscount attempts":     {`select count(*) from weir.job_outcome o where o.attempt <> 1 + (select count(*) from weir.job_event e where e.job_id = o.job_id and e.kind in ('failed', 'timed_out', 'lost'))`, 0},
		"jobs of a tenth without effect":  {`select count(*) from weir.job j where (j.args ->> 'n')::int % 10 = 0 and not exists (select from effects e where e.job_id = j.id)`, 0},
		"effects beyond one of each":      {`select count(*) - count(distinct job_id) from effects`, 0},
		"effects":                         {`select count(*) from effects`, f.jobs / 10},
		"effects of no job of that tenth": {`select count(*) from effects e where not exists (select from weir.job j where j.id = e.job_id and (j.args ->> 'n')::int % 10 = 0)`, 0},
		"effects by another worker than the one that completed": {`select count(*) from effects e join weir.job_outcome o on o.job_id = e.job_id where o.worker <> e.worker`, 0},
	} {
		n, err := f.count(c.sql)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if n != c.want {
			t.Errorf("%s: %d, want %d", what, n, c.want)
		}
	}
	var stored []int64
	if err := f.pool.QueryRow(t.Context(), `select array_agg(id order by id) from weir.job`).Scan(&stored); err != nil || !slices.Equal(stored, told) {
		t.Errorf("the jobs that are stored are not those that producers were told of (%v)", err)
	}
}

const fleetBatch = 250

func fleetNumber(args json.RawMessage) int {
	var a struct{ N int }
	if err := json.Unmarshal(args, &a); err != nil {
		return -1
	}
	return a.N
}
