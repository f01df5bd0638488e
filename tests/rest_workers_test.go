package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/pgtest"
)

// servedWorker is a Worker as clients see it.
type servedWorker struct {
	Name, State, Hostname, Version string
	Queues                         []string
	Labels                         map[string]string
	Capacity                       *int
	Running                        int
	Load                           *float64
	RegisteredAt                   time.Time  `json:"registered_at"`
	LastSeenAt                     time.Time  `json:"last_seen_at"`
	PausedAt                       *time.Time `json:"paused_at"`
	DrainingAt                     *time.Time `json:"draining_at"`
	Stats                          *struct {
		WindowSeconds     float64 `json:"window_seconds"`
		Completed, Failed int
		BusySeconds       float64 `json:"busy_seconds"`
	}
}

type servedAttempt struct {
	JobID                string `json:"job_id"`
	Kind, Queue, Outcome string
	Attempt              int
	StartedAt            time.Time `json:"started_at"`
	EndedAt              time.Time `json:"ended_at"`
	Error                string
}

// refusedClaims is the answer to a claim, with what may be wrong with the worker.
type refusedClaims struct {
	Jobs   []servedClaim
	Reason *string
}

func (c refusedClaims) String() string {
	if c.Reason == nil {
		return fmt.Sprintf("%d jobs", len(c.Jobs))
	}
	return fmt.Sprintf("%d jobs, %s", len(c.Jobs), *c.Reason)
}

func workerPath(name string) string { return "/v1/workers/" + url.PathEscape(name) }

func (s *service) worker(name string) servedWorker {
	s.t.Helper()
	return readAs[servedWorker](s.get(workerPath(name)).want(http.StatusOK))
}

func (s *service) register(name string, capacity int) {
	s.t.Helper()
	s.do(http.MethodPut, workerPath(name), obj{"capacity": capacity}).want(http.StatusOK)
}

// tryClaim claims from the queue q.
func (s *service) tryClaim(worker string, limit int, wait float64) refusedClaims {
	s.t.Helper()
	return readAs[refusedClaims](s.post("/v1/claims", obj{"worker": worker, "queues": []string{"q"}, "limit": limit, "wait_seconds": wait}).want(http.StatusOK))
}

func (s *service) fill(n int) []string {
	s.t.Helper()
	batch := make([]obj, n)
	for i := range batch {
		batch[i] = obj{"kind": "k", "queue": "q", "args": i}
	}
	ids := s.enqueueAll(batch)
	if s.pool != nil {
		s.settle()
	}
	return ids
}

func TestRESTAWorkerRegistersAndIsLookedAt(t *testing.T) {
	t.Parallel()
	s := startService(t)
	path := workerPath("mailer/1 ü")
	s.get(path).problem(http.StatusNotFound, "worker_not_found")
	w := readAs[servedWorker](s.do(http.MethodPut, path, `{"hostname": "h", "queues": ["q", "r"], "version": "1.2", "labels": {"zone": "eu"}}`).want(http.StatusOK))
	if w.Name != "mailer/1 ü" || w.State != "active" || w.Hostname != "h" || w.Version != "1.2" || !slices.Equal(w.Queues, []string{"q", "r"}) || w.Labels["zone"] != "eu" ||
		w.Capacity == nil || *w.Capacity != 10 || w.Running != 0 || w.Load != nil || w.PausedAt != nil || w.DrainingAt != nil || time.Since(w.LastSeenAt) > time.Minute || w.RegisteredAt.IsZero() {
		t.Errorf("registered, it is %+v", w)
	}
	beat := readAs[obj](s.post(path+"/heartbeat", `{"load": 0.25}`).want(http.StatusOK))
	if beat["state"] != "active" || beat["capacity"] != 10.0 || beat["registered"] != true {
		t.Errorf("it learns %v", beat)
	}
	if s.post(path+"/heartbeat", nil).want(http.StatusOK); *s.worker("mailer/1 ü").Load != 0.25 {
		t.Errorf("its load is %g", *s.worker("mailer/1 ü").Load)
	}
	w = readAs[servedWorker](s.do(http.MethodPatch, path, `{"capacity": 3, "labels": {}, "queues": []}`).want(http.StatusOK))
	if *w.Capacity != 3 || len(w.Labels) != 0 || len(w.Queues) != 0 || w.Hostname != "h" {
		t.Errorf("changed, it is %+v", w)
	}
	w = readAs[servedWorker](s.do(http.MethodPut, path, `{"capacity": 0}`).want(http.StatusOK))
	if w.Capacity != nil || w.Hostname != "" || w.Version != "" {
		t.Errorf("put anew, it is %+v", w)
	}
	for action, state := range map[string]string{"/pause": "paused", "/drain": "draining"} {
		if w := readAs[servedWorker](s.post(path+action, nil).want(http.StatusOK)); w.State != state {
			t.Errorf("after %s it is %s", action, w.State)
		}
		if beat := readAs[obj](s.post(path+"/heartbeat", obj{}).want(http.StatusOK)); beat["state"] != state {
			t.Errorf("after %s it learns %v", action, beat)
		}
		if w := readAs[servedWorker](s.post(path+"/resume", nil).want(http.StatusOK)); w.State != "active" {
			t.Errorf("resumed, it is %s", w.State)
		}
	}
	if released := readAs[obj](s.do(http.MethodDelete, path, nil).want(http.StatusOK))["released"]; released != 0.0 {
		t.Errorf("%v jobs went back", released)
	}
	for method, calls := range map[string][]string{
		http.MethodGet: {"", "/jobs", "/history"}, http.MethodPost: {"/heartbeat", "/pause", "/resume", "/drain"}, http.MethodDelete: {""},
	} {
		for _, call := range calls {
			s.do(method, path+call, nil).problem(http.StatusNotFound, "worker_not_found")
		}
	}
	s.do(http.MethodPatch, path, `{"capacity": 3}`).problem(http.StatusNotFound, "worker_not_found")
}

func TestRESTBadWordsAboutAWorkerAreRefused(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.register("w", 4)
	for body, location := range map[string]string{
		`{"capacity": -1}`: "body.capacity", `{"capacity": 10001}`: "body.capacity", `{"capacity": "4"}`: "body.capacity",
		`{"labels": {"a": 1}}`: "body.labels.a", `{"labels": {"a": "` + strings.Repeat("x", 9000) + `"}}`: "body.labels", `{"queues": ["a b"]}`: "body.queues[0]", `{"host": "x"}`: "body.host",
	} {
		for _, method := range []string{http.MethodPut, http.MethodPatch} {
			p := s.do(method, "/v1/workers/w", body).problem(http.StatusUnprocessableEntity, "invalid_argument")
			if len(p.Errors) != 1 || p.Errors[0].Location != location {
				t.Errorf("%s %.60s: %+v", method, body, p.Errors)
			}
		}
	}
	s.post("/v1/workers/w/heartbeat", `{"load": -1}`).problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.do(http.MethodPut, "/v1/workers/"+strings.Repeat("x", 201), `{}`).problem(http.StatusUnprocessableEntity, "invalid_argument")
	for _, query := range []string{"?state=well", "?window_seconds=0", "?cursor=x", "?hosntame=h"} {
		s.get("/v1/workers"+query).problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.get("/v1/workers/w/history?cursor=aGlzdG9yeTp4").problem(http.StatusUnprocessableEntity, "invalid_argument")
	if w := s.worker("w"); *w.Capacity != 4 || len(w.Labels) != 0 {
		t.Errorf("it is %+v", w)
	}
}

func TestRESTAClaimByAnUnknownWorkerRegistersIt(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.fill(3)
	if got := s.tryClaim("new", 2, 0); got.String() != "2 jobs" {
		t.Fatalf("it got %v", got)
	}
	s.eventually("it is known", func() bool { return s.get("/v1/workers/new").status == http.StatusOK })
	if w := s.worker("new"); w.State != "active" || w.Capacity != nil || w.Running != 2 {
		t.Errorf("it is %+v", w)
	}
	if beat := readAs[obj](s.post("/v1/workers/new/heartbeat", nil).want(http.StatusOK)); beat["state"] != "active" || beat["registered"] != false {
		t.Errorf("it learns %v", beat)
	}
	// One whose claim waits lives, however long that takes.
	waiting := s.parked(obj{"worker": "patient", "queues": []string{"empty"}, "wait_seconds": 60})
	s.eventually("it is known", func() bool { return s.get("/v1/workers/patient").status == http.StatusOK })
	tx, err := s.pool.Begin(t.Context()) // until it commits, the node cannot say that it lives
	if err != nil {
		t.Fatal(err)
	}
	do(t, tx, "update weir.worker_sign set last_seen_at = now() - interval '1 hour'")
	if state := ask[string](t, tx, "select state from weir.workers where name = 'patient'"); state != "lost" {
		t.Errorf("silent for an hour it is %s", state)
	}
	commit(t, tx)
	s.eventually("its claim is seen", func() bool { return s.worker("patient").State == "active" })
	if n := s.metric("weir_workers", `state="lost"`); n > 1 {
		t.Errorf("%g are lost", n)
	}
	s.enqueue(obj{"kind": "k", "queue": "empty"})
	s.answerOf(waiting)
}

func TestRESTAClaimSaysWhyItsWorkerGetsNothing(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.register("w", 10)
	if got := s.tryClaim("w", 5, 0); got.String() != "0 jobs" {
		t.Errorf("from an empty queue: %v", got)
	}
	s.fill(100)
	for _, want := range []string{"7 jobs", "3 jobs", "0 jobs, at_capacity"} {
		limit := 50
		if want == "7 jobs" {
			limit = 7
		}
		if got := s.tryClaim("w", limit, 0); got.String() != want {
			t.Errorf("claimed %v, want %s", got, want)
		}
	}
	for action, want := range map[string]string{"pause": "0 jobs, paused", "drain": "0 jobs, draining"} {
		s.post("/v1/workers/w/"+action, nil).want(http.StatusOK)
		if got := s.tryClaim("w", 50, 0); got.String() != want {
			t.Errorf("after %s: %v", action, got)
		}
		began := time.Now()
		if got := s.tryClaim("w", 50, 0.4); got.String() != want || time.Since(began) < 400*time.Millisecond {
			t.Errorf("after %s, waiting: %v after %v", action, got, time.Since(began))
		}
		s.post("/v1/workers/w/resume", nil).want(http.StatusOK)
	}
	if got := s.tryClaim("other", 50, 0); got.String() != "50 jobs" {
		t.Errorf("another one: %v", got)
	}
}

func TestRESTARefusedClaimThatWaitsGetsJobsSoonAfterItMay(t *testing.T) {
	t.Parallel()
	s := startService(t)
	claim := obj{"worker": "w", "queues": []string{"q"}, "limit": 5, "wait_seconds": 60, "lease_seconds": 300}
	quick := func(what string, answer <-chan servedAnswer, n int, since time.Time) []servedClaim {
		got := s.answerOf(answer)
		if took := time.Since(since); len(got) != n || took > soon {
			t.Errorf("%s: %d jobs after %v, want %d", what, len(got), took, n)
		}
		return got
	}
	s.register("w", 4)
	s.fill(30)
	s.post("/v1/workers/w/pause", nil).want(http.StatusOK)
	waiting := s.parked(claim)
	time.Sleep(3 * time.Second) // by now it looks seldom
	began := time.Now()
	s.post("/v1/workers/w/resume", nil).want(http.StatusOK)
	got := quick("resumed", waiting, 4, began)

	waiting = s.parked(claim)
	time.Sleep(500 * time.Millisecond)
	began = time.Now()
	s.post("/v1/jobs/"+got[0].ID+"/complete", obj{"token": got[0].Token}).want(http.StatusOK)
	quick("a job is done", waiting, 1, began)

	waiting = s.parked(claim)
	began = time.Now()
	s.sql("select weir.complete($1::text::bigint, $2::text::bigint)", got[1].ID, got[1].Token)
	quick("a job is done in SQL", waiting, 1, began)

	waiting = s.parked(claim)
	began = time.Now()
	s.do(http.MethodPatch, "/v1/workers/w", `{"capacity": 6}`).want(http.StatusOK)
	quick("its capacity is raised", waiting, 2, began)
}

// A paused worker that waits must not take the place of others in the line, and not keep the node busy.
func TestRESTPausedWorkersThatWaitAreInNobodysWay(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.register("idle", 10)
	s.post("/v1/workers/idle/pause", nil).want(http.StatusOK)
	idle := s.parkedMany(20, func(int) obj {
		return obj{"worker": "idle", "queues": []string{"q"}, "limit": 1000, "wait_seconds": 60}
	})
	time.Sleep(2 * time.Second) // by now they look seldom
	looks, since := s.metric("weir_claim_batch_jobs_count"), time.Now()
	s.fill(50)
	for range 10 {
		if got := s.tryClaim("busy", 5, soon.Seconds()); got.String() != "5 jobs" { // were it behind those that are paused, it would get none
			t.Errorf("another worker got %v", got)
		}
	}
	waiting := s.parked(obj{"worker": "patient", "queues": []string{"q"}, "limit": 1000, "wait_seconds": soon.Seconds()})
	s.enqueue(obj{"kind": "k", "queue": "q"})
	if got := s.answerOf(waiting); len(got) != 1 {
		t.Errorf("one that waits got %d jobs", len(got))
	}
	// Enqueueing wakes none of them.
	for range 300 {
		s.enqueue(obj{"kind": "k", "queue": "q"})
	}
	took := time.Since(since)
	if n := s.metric("weir_claim_batch_jobs_count") - looks; n > 60+100*took.Seconds() {
		t.Errorf("in %v there were %g claim statements", took, n)
	}
	if n := s.count("select count(*) from weir.job_lease where worker = 'idle'"); n != 0 {
		t.Errorf("the paused worker has %d jobs", n)
	}
	s.engine.Drain() // which ends the waits
	for _, answer := range idle {
		if got := s.answerOf(answer); len(got) != 0 {
			t.Errorf("a claim of the paused worker got %d jobs", len(got))
		}
	}
}

func TestRESTTwoNodesDoNotExceedACapacity(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	nodes := []*service{startServiceOn(t, database.URL), startServiceOn(t, database.URL)}
	for _, n := range nodes {
		n.pool = database.Pool()
	}
	nodes[0].register("w", 5)
	const jobs = 300
	nodes[0].fill(jobs)
	var all sync.WaitGroup
	var mu sync.Mutex
	having, most, done := 0, 0, 0
	for i := range 6 {
		s := nodes[i%2]
		all.Go(func() {
			for {
				mu.Lock()
				over := done == jobs
				mu.Unlock()
				if over {
					return
				}
				r, err := s.send(t.Context(), http.MethodPost, "/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "limit": 4, "wait_seconds": 0.2})
				var got servedClaims
				if err == nil {
					err = json.Unmarshal(r.body, &got)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				having += len(got.Jobs)
				most = max(most, having)
				mu.Unlock()
				for _, j := range got.Jobs {
					// Counted down before the answer: what this finds too many is too many.
					mu.Lock()
					having--
					mu.Unlock()
					if r, err = s.send(t.Context(), http.MethodPost, "/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}); err != nil || r.status != http.StatusOK {
						t.Errorf("%v %v", r, err)
						return
					}
					mu.Lock()
					done++
					mu.Unlock()
				}
			}
		})
	}
	watched := make(chan struct{})
	go func() { all.Wait(); close(watched) }()
	peak := 0
	for over := false; !over; {
		select {
		case <-watched:
			over = true
		case <-time.After(2 * time.Millisecond):
		}
		peak = max(peak, nodes[0].count("select count(*) from weir.job_lease"))
	}
	if peak > 5 || peak < 3 || most > 5 {
		t.Errorf("it had up to %d jobs in the database and %d in hand, and may have 5", peak, most)
	}
}

func TestRESTARemovedWorkersJobsGoToOthersAtOnce(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.register("gone", 10)
	ids := s.fill(4)
	mine := s.tryClaim("gone", 3, 0).Jobs
	first := s.tryClaim("other", 10, 0).Jobs
	waiting := s.parked(obj{"worker": "other", "queues": []string{"q", "r"}, "limit": 10, "wait_seconds": 60})
	began := time.Now()
	if n := readAs[obj](s.do(http.MethodDelete, "/v1/workers/gone", nil).want(http.StatusOK))["released"]; n != 3.0 {
		t.Errorf("%v jobs went back", n)
	}
	got := s.answerOf(waiting)
	if len(first) != 1 || len(got) != 3 || time.Since(began) > soon {
		t.Errorf("another worker got %d and, after %v, %d of %d jobs", len(first), time.Since(began), len(got), len(ids))
	}
	for _, j := range got {
		if j.Attempt != 1 {
			t.Errorf("job %s is at attempt %d", j.ID, j.Attempt)
		}
	}
	for _, j := range mine {
		s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).problem(http.StatusConflict, "stale_token")
		s.post("/v1/jobs/"+j.ID+"/heartbeat", obj{"token": j.Token}).problem(http.StatusConflict, "stale_token")
		if j := s.job(j.ID); j.State != "running" || j.Worker != "other" || len(j.Errors) != 0 {
			t.Errorf("the job is %+v", j)
		}
	}
	time.Sleep(2 * time.Second)
	s.get("/v1/workers/gone").problem(http.StatusNotFound, "worker_not_found")
	// One that lives is known again by its next claim, and limited no more.
	s.fill(20)
	if got := s.tryClaim("gone", 15, 0); got.String() != "15 jobs" {
		t.Errorf("it got %v", got)
	}
	s.eventually("it is back", func() bool { return s.get("/v1/workers/gone").status == http.StatusOK })
}

func TestRESTWorkersAreListedPageByPage(t *testing.T) {
	t.Parallel()
	s := startService(t)
	if page := readAs[servedPage[servedWorker]](s.get("/v1/workers").want(http.StatusOK)); page.Items == nil || len(page.Items) != 0 || page.NextCursor != nil {
		t.Errorf("no workers: %+v", page)
	}
	var all []string
	for i := range 12 {
		name := fmt.Sprintf("w%02d", i)
		all = append(all, name)
		s.do(http.MethodPut, workerPath(name), obj{"hostname": fmt.Sprintf("h%d", i%2), "queues": []string{fmt.Sprintf("q%d", i%3)}}).want(http.StatusOK)
	}
	s.post("/v1/workers/w03/pause", nil).want(http.StatusOK)
	s.post("/v1/workers/w05/drain", nil).want(http.StatusOK)
	s.sql("update weir.worker_sign set last_seen_at = now() + case when name in ('w07', 'w08') then interval '-31 s' else interval '1 hour' end") // however long this takes
	for query, want := range map[string][]string{
		"":                       all,
		"?hostname=h0":           {"w00", "w02", "w04", "w06", "w08", "w10"},
		"?queue=q1":              {"w01", "w04", "w07", "w10"},
		"?state=paused":          {"w03"},
		"?state=draining":        {"w05"},
		"?state=lost":            {"w07", "w08"},
		"?state=active&queue=q0": {"w00", "w06", "w09"},
	} {
		for _, limit := range []int{1, 5, 1000} {
			got, cursor := []string{}, ""
			for range 20 {
				join := "&"
				if query == "" {
					join = "?"
				}
				page := readAs[servedPage[servedWorker]](s.get(fmt.Sprintf("/v1/workers%s%slimit=%d&cursor=%s", query, join, limit, cursor)).want(http.StatusOK))
				for _, w := range page.Items {
					got = append(got, w.Name)
				}
				if page.NextCursor == nil {
					break
				}
				cursor = url.QueryEscape(*page.NextCursor)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d a page: %q, want %q", query, limit, got, want)
			}
		}
	}
	for state, want := range map[string]float64{"active": 8, "paused": 1, "draining": 1, "lost": 2} {
		if n := s.metric("weir_workers", `state="`+state+`"`); n != want {
			t.Errorf("/metrics counts %g workers as %s, want %g", n, state, want)
		}
	}
}

func TestRESTAWorkersJobsHistoryAndFigures(t *testing.T) {
	t.Parallel()
	s := startService(t)
	ids := s.fill(12)
	got := s.claimAs("w", 9, "q")
	s.claimAs("other", 3, "q")
	s.eventually("it is known", func() bool { return s.get("/v1/workers/w").status == http.StatusOK })
	s.sql("update weir.job_lease set leased_at = leased_at - interval '100 s', expires_at = expires_at + interval '100 s' where worker = 'w'")
	ack := func(i int, more obj) {
		more["id"], more["token"] = got[i].ID, got[i].Token
		s.post("/v1/acks", obj{"acks": []obj{more}}).want(http.StatusOK)
	}
	ack(0, obj{"outcome": "complete"})
	ack(1, obj{"outcome": "complete", "result": 1})
	ack(2, obj{"outcome": "fail", "error": obj{"message": "no luck"}})
	ack(3, obj{"outcome": "fail", "error": obj{"message": "hopeless"}, "retry": false})
	ack(4, obj{"outcome": "snooze", "delay_seconds": 1000})
	ack(5, obj{"outcome": "release"})

	w := readAs[servedWorker](s.get("/v1/workers/w").want(http.StatusOK))
	if w.Running != 3 || w.Stats == nil || w.Stats.WindowSeconds != 3600 || w.Stats.Completed != 2 || w.Stats.Failed != 2 || w.Stats.BusySeconds < 900 || w.Stats.BusySeconds > 1200 {
		t.Errorf("in an hour: %+v %+v", w, w.Stats)
	}
	w = readAs[servedWorker](s.get("/v1/workers/w?window_seconds=50").want(http.StatusOK))
	if w.Stats.Completed != 2 || w.Stats.BusySeconds < 300 || w.Stats.BusySeconds > 450 {
		t.Errorf("in 50 s: %+v", w.Stats)
	}
	page := readAs[servedPage[servedWorker]](s.get("/v1/workers?window_seconds=60").want(http.StatusOK))
	if len(page.Items) != 2 || page.Items[0].Stats.Completed != 0 || page.Items[1].Stats.Failed != 2 {
		t.Errorf("all: %+v", page.Items)
	}

	var running []string
	cursor := ""
	for range 5 {
		page := readAs[servedPage[servedJob]](s.get("/v1/workers/w/jobs?limit=2&cursor=" + cursor).want(http.StatusOK))
		for _, j := range page.Items {
			running = append(running, j.ID)
			if j.State != "running" || j.Worker != "w" {
				t.Errorf("it has %+v", j)
			}
		}
		if page.NextCursor == nil {
			break
		}
		cursor = url.QueryEscape(*page.NextCursor)
	}
	if want := []string{ids[8], ids[7], ids[6]}; !slices.Equal(running, want) {
		t.Errorf("it has %q, want %q", running, want)
	}

	want := []string{"released", "snoozed", "failed hopeless", "failed no luck", "completed", "completed"}
	for _, limit := range []int{1, 4, 6, 100} {
		var history []string
		cursor := ""
		for range 20 {
			page := readAs[servedPage[servedAttempt]](s.get(fmt.Sprintf("/v1/workers/w/history?limit=%d&cursor=%s", limit, cursor)).want(http.StatusOK))
			for _, a := range page.Items {
				history = append(history, strings.TrimSpace(a.Outcome+" "+a.Error))
				if a.Kind != "k" || a.Queue != "q" || a.Attempt != 1 || a.EndedAt.Sub(a.StartedAt) < 100*time.Second {
					t.Errorf("an attempt is %+v", a)
				}
			}
			if page.NextCursor == nil {
				break
			}
			cursor = url.QueryEscape(*page.NextCursor)
		}
		if !slices.Equal(history, want) {
			t.Errorf("%d a page, its history is %q, want %q", limit, history, want)
		}
	}
	// What is long ago is found too.
	s.sql("update weir.job set created_at = created_at - interval '9 days'")
	s.sql("update weir.job_outcome set finished_at = finished_at - interval '9 days'")
	page2 := readAs[servedPage[servedAttempt]](s.get("/v1/workers/w/history").want(http.StatusOK))
	if len(page2.Items) != 6 || page2.Items[5].Outcome != "completed" {
		t.Errorf("with some of it nine days ago, its history is %+v", page2.Items)
	}
}
