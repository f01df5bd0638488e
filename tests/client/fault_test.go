//go:build unix

package client_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	weir "github.com/weirhq/weir/client/go"
	"github.com/weirhq/weir/tests/weirtest"
)

// count counts how often each job ran.
type count struct {
	mu   sync.Mutex
	runs map[weir.ID]int
}

func newCount() *count { return &count{runs: map[weir.ID]int{}} }

func (c *count) run(_ context.Context, j *weir.Job[Double]) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[j.ID]++
	return 2 * j.Args.N, nil
}

func doubles(n int) []weir.NewJob {
	jobs := make([]weir.NewJob, n)
	for i := range jobs {
		jobs[i] = weir.New(Double{N: i})
	}
	return jobs
}

func completed(s *weirtest.Node, n int) func() bool {
	return func() bool { return s.Count("select count(*) from weir.job_outcome where state = 'completed'") == n }
}

func TestTenThousandJobsRunOnce(t *testing.T) {
	weirtest.Long(t, "it works off 10,000 jobs")
	bothWays(t, func(t *testing.T, w *way) {
		const n = 10_000
		c := newCount()
		stop := w.work(weir.WorkerConfig{Concurrency: 64}, func(worker *weir.Worker) { weir.Handle(worker, c.run) })
		done, err := w.EnqueueMany(t.Context(), doubles(n)...)
		if err != nil || len(done) != n {
			t.Fatalf("%d jobs were enqueued: %v", len(done), err)
		}
		w.Node.Eventually("all jobs are completed", completed(w.Node, n))
		if err := stop(); err != nil {
			t.Error(err)
		}
		for i, d := range done {
			if d.ID == 0 || c.runs[d.ID] != 1 {
				t.Errorf("job %d of id %s ran %d times", i, d.ID, c.runs[d.ID])
			}
		}
		wrong := w.Node.Count("select count(*) from weir.jobs where attempt <> 1 or result <> to_jsonb(2 * (args ->> 'N')::int)")
		if wrong > 0 {
			t.Errorf("%d jobs have another result or more attempts", wrong)
		}
	})
}

const (
	childURL = "WEIR_CLIENT_TEST_URL" // of a node, or of a database,
	childWay = "WEIR_CLIENT_TEST_WAY" // as this says
)

// child is the worker that TestJobsOfKilledWorkerRunElsewhere kills: it never completes a job.
func child() {
	var c *weir.Client
	var err error
	if os.Getenv(childWay) == "SQL" {
		var pool *pgxpool.Pool
		if pool, err = pgxpool.New(context.Background(), os.Getenv(childURL)); err == nil {
			c = weir.SQL(pool)
		}
	} else {
		c, err = weir.HTTP(os.Getenv(childURL))
	}
	if err != nil {
		panic(err)
	}
	w := weir.NewWorker(c, weir.WorkerConfig{Lease: 2 * time.Second, Name: "doomed", Concurrency: 5})
	weir.Handle(w, func(context.Context, *weir.Job[Double]) (int, error) { select {} })
	_ = w.Run(context.Background())
}

func TestJobsOfKilledWorkerRunElsewhere(t *testing.T) {
	weirtest.Long(t, "it waits for the end of leases")
	bothWays(t, func(t *testing.T, w *way) {
		done, err := w.EnqueueMany(t.Context(), doubles(5)...)
		if err != nil {
			t.Fatal(err)
		}
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		settings := []string{childWay + "=REST", childURL + "=" + w.Node.URL}
		if w.Pool != nil {
			settings = []string{childWay + "=SQL", childURL + "=" + w.Pool.Config().ConnString()}
		}
		doomed := weirtest.StartProgram(t, settings, program)
		w.Node.Eventually("it has the jobs", func() bool { return w.Node.Count("select count(*) from weir.running where worker = 'doomed'") == 5 })
		doomed.Kill()
		c := newCount()
		w.work(weir.WorkerConfig{}, func(worker *weir.Worker) { weir.Handle(worker, c.run) })
		for _, d := range done {
			if j := w.until(d.ID, "completed"); j.Attempt != 2 || len(j.Errors) != 1 || j.Errors[0].Kind != "lost" {
				t.Errorf("the job is %+v", j)
			}
		}
	})
}

// TestNodeIsKilledWhileJobsRun kills the node that a worker claims from, and starts another at its address.
func TestNodeIsKilledWhileJobsRun(t *testing.T) {
	weirtest.Long(t, "it starts nodes")
	t.Parallel()
	d := weirtest.New(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "WEIR_ADDR=" + listener.Addr().String()
	listener.Close()
	s, process := weirtest.StartServe(t, d, address)
	w := &way{Client: overREST(t, s), T: t, Node: s}
	const n = 3000
	var ran atomic.Int64
	w.work(weir.WorkerConfig{Concurrency: 20, Lease: 5 * time.Second}, func(worker *weir.Worker) {
		weir.Handle(worker, func(ctx context.Context, j *weir.Job[Double]) (int, error) {
			ran.Add(1)
			time.Sleep(time.Millisecond)
			return double(ctx, j)
		})
	})
	if _, err := w.EnqueueMany(t.Context(), doubles(n)...); err != nil {
		t.Fatal(err)
	}
	w.Node.Eventually("some jobs have run", func() bool { return ran.Load() > 200 })
	process.Kill()
	w.Node.Eventually("the worker goes on", func() bool { // the address may be in use for a moment
		w.Node, process = weirtest.StartServe(t, d, address)
		return true
	})
	w.Node.Eventually("all jobs are completed", completed(w.Node, n))
	if wrong := w.Node.Count("select count(*) from weir.jobs where result <> to_jsonb(2 * (args ->> 'N')::int)"); wrong > 0 {
		t.Errorf("%d jobs have another result", wrong)
	}
	t.Logf("%d runs of %d jobs", ran.Load(), n)
}

// TestDatabaseIsKilledWhileJobsRun kills the server that a worker claims from over SQL.
func TestDatabaseIsKilledWhileJobsRun(t *testing.T) {
	weirtest.Long(t, "it starts a server")
	t.Parallel()
	server := weirtest.NewServer(t)
	d := weirtest.Open(t, server.URL("weir"))
	s := weirtest.StartNodeOn(t, d)
	w := &way{Client: overSQL(t, d.Pool), T: t, Node: s}
	const n = 3000
	var ran atomic.Int64
	w.work(weir.WorkerConfig{Concurrency: 20, Lease: 5 * time.Second}, func(worker *weir.Worker) {
		weir.Handle(worker, func(ctx context.Context, j *weir.Job[Double]) (int, error) {
			ran.Add(1)
			time.Sleep(time.Millisecond)
			return double(ctx, j)
		})
	})
	if _, err := w.EnqueueMany(t.Context(), doubles(n)...); err != nil {
		t.Fatal(err)
	}
	s.Eventually("some jobs have run", func() bool { return ran.Load() > 200 })
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	weirtest.Restart(t, server)
	done := func() bool {
		var found int
		err := d.QueryRow(t.Context(), "select count(*) from weir.job_outcome where state = 'completed'").Scan(&found)
		return err == nil && found == n
	}
	s.Eventually("all jobs are completed", done)
	t.Logf("%d runs of %d jobs", ran.Load(), n)
}

// unreliable stands before a node. It refuses some calls with 503 and a time to wait, and breaks off some answers.
func unreliable(t *testing.T, s *weirtest.Node, refuse, breakOff func(*http.Request) bool) *weir.Client {
	t.Helper()
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ModifyResponse = func(r *http.Response) error {
		if breakOff(r.Request) {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse(r) {
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"code": "overloaded", "title": "Overloaded", "status": 503}`))
			return
		}
		forward.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	c, err := weir.HTTP("http://"+listener.Addr().String(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The first answer to each enqueue breaks off, so the client does not know whether there is a job, and sends it again.
func TestEnqueueIsSentAgainAndStoresOneJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var calls atomic.Int64
	c := unreliable(t, s, func(*http.Request) bool { return false }, func(*http.Request) bool { return calls.Add(1) == 1 })
	done, err := c.Enqueue(t.Context(), Double{N: 1})
	if err != nil || calls.Load() != 2 {
		t.Fatalf("after %d calls: %v", calls.Load(), err)
	}
	if n := s.Count("select count(*) from weir.job"); n != 1 || !done.Duplicate {
		t.Errorf("there are %d jobs, and the answer is %+v", n, done)
	}
}

func TestOverloadedNodeIsLeftAloneForAsLongAsItSays(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var mu sync.Mutex
	last := map[string]time.Time{} // when a path was refused last
	refused := map[string]int{}
	c := unreliable(t, s, func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if at, ok := last[r.URL.Path]; ok && time.Since(at) < 900*time.Millisecond {
			t.Errorf("%s was called again %s after it was refused for a second", r.URL.Path, time.Since(at))
		}
		delete(last, r.URL.Path)
		if refused[r.URL.Path] < 2 {
			refused[r.URL.Path]++
			last[r.URL.Path] = time.Now()
			return true
		}
		return false
	}, func(*http.Request) bool { return false })
	w := &way{Client: c, T: t, Node: s}
	w.work(weir.WorkerConfig{Concurrency: 1}, func(worker *weir.Worker) { weir.Handle(worker, double) })
	w.until(w.enqueue(Double{N: 3}), "completed")
	mu.Lock()
	defer mu.Unlock()
	for _, path := range []string{"/v1/jobs", "/v1/claims", "/v1/acks"} {
		if refused[path] != 2 {
			t.Errorf("%s was refused %d times", path, refused[path])
		}
	}
}
