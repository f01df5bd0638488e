package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/tests/weirtest"
)

// A lease ends by the database's clock, and within two seconds of that the job runs elsewhere; on a machine that stalls it may take longer. The lease is
// long enough for such a machine to keep it while the worker lives.
func TestChaosTheJobOfAKilledWorkerRunsElsewhere(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	doomed := weirtest.StartProgram(t, []string{"WEIR_URL=" + s.URL}, weirtest.Program(t, "./cmd/weir"),
		"work", "--queue", "q", "--worker", "doomed", "--lease-seconds", "9", "--", "sleep", "600")
	var first weirtest.Job
	s.Eventually("the job runs", func() bool {
		first = s.Job(id)
		return first.State == "running"
	})
	if first.Worker != "doomed" || first.Attempt != 1 {
		t.Fatalf("%+v", first)
	}
	s.Eventually("a heartbeat keeps its lease", func() bool { return s.Job(id).LeaseExpiresAt.After(*first.LeaseExpiresAt) })
	answer := s.Park(obj{"worker": "heir", "queues": []string{"q"}, "wait_seconds": 60})
	doomed.Kill()

	var expired time.Time
	var second weirtest.Job
	s.Eventually("another worker has it", func() bool {
		second = s.Job(id)
		if second.Attempt == 1 && second.LeaseExpiresAt != nil {
			expired = *second.LeaseExpiresAt
		}
		return second.Attempt == 2
	})
	if late := second.StartedAt.Sub(expired); late < 0 || late > weirtest.Soon {
		t.Errorf("it ran elsewhere %v after its lease ran out; want within 2 s", late)
	} else {
		t.Logf("it ran elsewhere %v after its lease ran out", late)
	}
	got := s.Answer(answer)
	if len(got) != 1 || got[0].ID != id || second.Worker != "heir" || len(second.Errors) != 1 || second.Errors[0].Kind != "lost" || second.Errors[0].Worker != "doomed" {
		t.Errorf("claimed %+v of %+v", got, second)
	}
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": got[0].Token}).Want(http.StatusOK)
}

// fleet is producers and workers on a service that fails around them.
type fleet struct {
	t    *testing.T
	node atomic.Pointer[weirtest.Node] // where the service is at the moment
	pool *pgxpool.Pool
	jobs int

	accepted  atomic.Int64 // jobs whose enqueue was answered
	completed atomic.Int64 // completions that were answered
	over      chan struct{}

	mu   sync.Mutex
	ids  map[string]bool   // what producers were told
	oks  map[string]int    // how often a job's completion was accepted
	late []obj // acks of workers that were taken for dead
}

const fleetBatch = 250

// ask calls the service until it answers with success, or is over.
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
		time.Sleep(20 * time.Millisecond) // a client that is told to try again does not do so at once
	}
}

// produce enqueues a part of the jobs, in batches that are sent again until they are answered. Their keys keep that from making two of one job.
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

// work claims jobs and completes them until all is over. Of every tenth job the effect is committed together with its completion, by SQL.
// What it claims fourth is never heard of again, as if it had died.
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
			// Where this fails nobody knows what became of it. The lease, which then runs out or is gone, says so.
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

func fleetNumber(args json.RawMessage) int {
	var a struct{ N int }
	if err := json.Unmarshal(args, &a); err != nil {
		return -1
	}
	return a.N
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

// until waits for something of a run that may take minutes.
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

func TestChaosEachOfManyJobsIsCompletedExactlyOnceWhileServersAreKilled(t *testing.T) {
	t.Parallel()
	began := time.Now()
	f := &fleet{t: t, jobs: 50_000, over: make(chan struct{}), ids: map[string]bool{}, oks: map[string]int{}}
	if testing.Short() {
		f.jobs = 5_000
	}
	server := weirtest.NewServer(t)
	database := weirtest.Open(t, server.URL("weir"))
	f.pool = database.Pool
	weirtest.Exec(t, database, `create table effects (job_id bigint not null, worker text not null)`)
	node, process := weirtest.StartServe(t, database)
	f.node.Store(node)

	var producers, workers sync.WaitGroup
	defer workers.Wait()
	defer producers.Wait()
	end := sync.OnceFunc(func() { close(f.over) })
	defer end()
	const producing = 8
	for p := range producing {
		producers.Go(func() { f.produce(f.jobs*p/producing, f.jobs*(p+1)/producing) })
	}
	for w := range 8 {
		workers.Go(func() { f.work(fmt.Sprintf("worker-%d", w)) })
	}

	f.until("a quarter is accepted", func() bool { return f.accepted.Load() >= int64(f.jobs/4) && f.completed.Load() > 0 })
	process.Kill()
	node, process = weirtest.StartServe(t, database)
	f.node.Store(node)
	t.Logf("the node was killed and started again with %d jobs accepted and %d completed", f.accepted.Load(), f.completed.Load())

	f.until("half of them are completed", func() bool { return f.completed.Load() >= int64(f.jobs/2) })
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	weirtest.Restart(t, server)
	t.Logf("PostgreSQL was killed and started again with %d jobs accepted and %d completed", f.accepted.Load(), f.completed.Load())

	f.until("three quarters are completed", func() bool { return f.completed.Load() >= int64(f.jobs*3/4) })
	process.Kill()
	node, _ = weirtest.StartServe(t, database)
	f.node.Store(node)

	f.until("all are completed", func() bool {
		n, err := f.count(`select count(*) from weir.job_outcome where state = 'completed'`)
		return err == nil && n >= f.jobs
	})
	producers.Wait()
	end()
	workers.Wait()
	for _, result := range weirtest.Decode[struct{ Results []weirtest.AckResult }](node.Post("/v1/acks", obj{"acks": f.late}).Want(http.StatusOK)).Results {
		if result.Status != "stale_token" {
			t.Errorf("job %s, which was taken from a worker, is completed by that: %s", result.ID, result.Status)
		}
	}
	f.checkBooks()
	lost, err := f.count(`select count(*) from weir.job_event where kind = 'lost'`)
	if err != nil {
		t.Fatal(err)
	}
	if lost < len(f.late) || len(f.late) == 0 {
		t.Errorf("%d attempts were lost, and %d jobs were claimed and never heard of again", lost, len(f.late))
	}
	t.Logf("%d jobs in %v; %d attempts were lost", f.jobs, time.Since(began).Round(time.Second), lost)
}

// checkBooks compares what the database holds with what producers and workers were told.
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

func TestChaosTwoNodesShareTheWorkAndOneEndsInGoodOrder(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	a, processA := weirtest.StartServe(t, database)
	b, _ := weirtest.StartServe(t, database)

	// Both give out jobs of one backlog.
	const backlog = 400
	a.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, backlog))
	a.Settle()
	given := map[string]int{}
	for len(given) < backlog {
		for _, node := range []*weirtest.Node{a, b} {
			for _, j := range node.Claim(10, "q") {
				given[j.ID]++
				// An ack may go to any node.
				b.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
			}
		}
	}
	for id, n := range given {
		if n != 1 {
			t.Errorf("job %s was given out %d times", id, n)
		}
	}
	if x, y := a.Metric("weir_jobs_claimed_total"), b.Metric("weir_jobs_claimed_total"); x < backlog/4 || y < backlog/4 {
		t.Errorf("one node gave out %v jobs and the other %v", x, y)
	}

	// Claims wait at both. A job that comes in through one goes to whichever.
	waitingA := a.ParkMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprintf("a%d", i), "queues": []string{"q"}, "wait_seconds": 60}
	})
	waitingB := b.ParkMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprintf("b%d", i), "queues": []string{"q"}, "wait_seconds": 60}
	})

	// Producers enqueue through the one that ends, until it answers no more.
	var mu sync.Mutex
	accepted := map[string]bool{}
	refusals := 0
	var producers sync.WaitGroup
	for p := range 4 {
		producers.Go(func() {
			for n := 0; ; n++ {
				r, err := a.Send(t.Context(), http.MethodPost, "/v1/jobs", obj{"kind": "produced", "queue": "elsewhere", "args": fmt.Sprintf("%d-%d", p, n)})
				var j weirtest.Job
				if err == nil {
					if err := json.Unmarshal(r.Body, &j); err != nil || r.Status != http.StatusCreated && r.Status != http.StatusServiceUnavailable {
						t.Errorf("%v: %v", r, err)
						return
					}
				}
				mu.Lock()
				if err != nil {
					refusals++
				} else if r.Status == http.StatusCreated {
					accepted[j.ID] = true
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	a.Eventually("the producers are at it", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted) > 20
	})
	processA.Signal(syscall.SIGTERM)
	for _, answer := range waitingA {
		if got := a.Answer(answer); got == nil || len(got) != 0 {
			t.Errorf("a claim that waited at the node that ends got %+v, want an empty list", got)
		}
	}
	if status := processA.Wait(); status != 0 {
		t.Errorf("the node ended with status %d", status)
	}
	producers.Wait()
	if refusals != 4 {
		t.Errorf("%d of 4 producers saw the node end", refusals)
	}
	if _, err := a.Send(t.Context(), http.MethodGet, "/livez", nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the node that has ended: %v", err)
	}
	// What was answered is stored, and what was not answered is not.
	if n := b.Count(`select count(*) from weir.job where kind = 'produced'`); n != len(accepted) {
		t.Errorf("%d jobs are stored, and %d were accepted", n, len(accepted))
	}
	for _, answer := range waitingB {
		select {
		case x := <-answer:
			t.Fatalf("a claim that waits at the other node got %+v", x)
		default:
		}
	}
	b.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 5))
	for _, answer := range waitingB {
		for _, j := range b.Answer(answer) {
			b.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
		}
	}
	for _, j := range b.ClaimAs("w", len(accepted), "elsewhere") {
		if !accepted[j.ID] || j.Attempt != 1 {
			t.Errorf("%+v", j)
		}
	}
	if n := b.Count(`select (select count(*) from weir.job_ready) + (select count(*) from weir.job_lease where worker <> 'w')`); n != 0 {
		t.Errorf("%d jobs are left over", n)
	}
}

// Whatever clients do to the same jobs at once, none of it is a defect, and each job is in one place.
func TestChaosAJobIsInOnePlaceWhateverIsDoneToItAtOnce(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q", "max_attempts": 3, "retry": obj{"strategy": "fixed", "base_seconds": 0.05}}}, 30))
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	var mu sync.Mutex
	tokens := map[string]string{} // the last one known of each job, good or stale
	statuses := map[string]int{}
	var clients sync.WaitGroup
	for c := range 12 {
		clients.Go(func() {
			dice := rand.New(rand.NewPCG(7, uint64(c)))
			ack := func() (id string, body obj, outcome string) {
				id = ids[dice.IntN(len(ids))]
				mu.Lock()
				token := tokens[id]
				mu.Unlock()
				if token == "" {
					token = "1"
				}
				outcome = []string{"complete", "fail", "snooze", "release"}[dice.IntN(4)]
				body = obj{"token": token}
				switch outcome {
				case "fail":
					body["error"] = obj{"message": "no"}
				case "snooze":
					body["delay_seconds"] = dice.Float64() / 10
				}
				return id, body, outcome
			}
			for range rounds {
				method, path, body := http.MethodPost, "", any(nil)
				id := ids[dice.IntN(len(ids))]
				switch dice.IntN(9) {
				case 0, 1, 2:
					path, body = "/v1/claims", obj{"worker": fmt.Sprint(c), "queues": []string{"q"}, "limit": 1 + dice.IntN(5), "lease_seconds": 1}
				case 3:
					of, with, outcome := ack()
					path, body = "/v1/jobs/"+of+"/"+outcome, with
				case 4:
					var acks []obj
					for range 8 {
						of, with, outcome := ack()
						acks = append(acks, weirtest.With(with, obj{"id": of, "outcome": outcome}))
					}
					path, body = "/v1/acks", obj{"acks": acks}
				case 5:
					path = "/v1/jobs/" + id + "/cancel"
				case 6:
					path, body = "/v1/jobs/"+id+"/retry", obj{"reset_attempts": dice.IntN(2) == 0}
				case 7:
					method, path, body = http.MethodPatch, "/v1/jobs/"+id, obj{"priority": 1 + dice.IntN(10)}
				case 8:
					path, body = "/v1/queues/q/purge", obj{"state": "available"}
					if dice.IntN(10) > 0 {
						method, path, body = http.MethodGet, "/v1/jobs/"+id, nil
					}
				}
				r, err := s.Send(t.Context(), method, path, body)
				if err != nil {
					t.Error(err)
					return
				}
				if r.Status != http.StatusOK && r.Status != http.StatusConflict && r.Status != http.StatusServiceUnavailable { // locked for too long
					t.Error(r)
				}
				var got weirtest.ClaimedJobs
				if path == "/v1/claims" && json.Unmarshal(r.Body, &got) == nil {
					mu.Lock()
					for _, j := range got.Jobs {
						tokens[j.ID] = j.Token
					}
					mu.Unlock()
				}
				mu.Lock()
				statuses[fmt.Sprint(path[strings.LastIndexByte(path, '/'):], " ", r.Status)]++
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	for _, done := range []string{"/complete 200", "/complete 409", "/acks 200", "/cancel 200", "/retry 200", "/claims 200"} {
		if statuses[done] == 0 {
			t.Errorf("%s never happened; what did is %v", done, statuses)
		}
	}
	if n := strings.Count(s.Log.String(), "deadlock detected"); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
	const places = `(select coalesce(job_id, seq) as job_id from weir.job_ready union all select job_id from weir.job_scheduled union all select job_id from weir.job_held
		union all select job_id from weir.job_lease union all select job_id from weir.job_outcome) p`
	if n := s.Count(`select count(*) from weir.job j where (select count(*) from ` + places + ` where p.job_id = j.id) <> 1`); n != 0 {
		t.Errorf("%d jobs are in no place, or in several", n)
	}
	if n := s.Count(`select count(*) from weir.job_dead d where not exists (select from weir.job_outcome o where o.job_id = d.job_id and o.state = 'dead')`); n != 0 {
		t.Errorf("%d dead letters are not dead", n)
	}
	if n := s.Count(`select count(*) from weir.job_outcome o where o.state = 'dead' and not exists (select from weir.job_dead d where o.job_id = d.job_id)`); n != 0 {
		t.Errorf("%d dead jobs are no dead letters", n)
	}
	for _, id := range ids {
		s.Job(id)
	}
}
