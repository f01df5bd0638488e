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

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTAWorkerRegistersAndIsLookedAt(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	path := weirtest.WorkerPath("mailer/1 ü")
	s.Get(path).Problem(http.StatusNotFound, "worker_not_found")
	w := weirtest.Decode[weirtest.Worker](s.Do(http.MethodPut, path, `{"hostname": "h", "queues": ["q", "r"], "version": "1.2", "labels": {"zone": "eu"}}`).Want(http.StatusOK))
	if w.Name != "mailer/1 ü" || w.State != "active" || w.Hostname != "h" || w.Version != "1.2" || !slices.Equal(w.Queues, []string{"q", "r"}) || w.Labels["zone"] != "eu" ||
		w.Capacity == nil || *w.Capacity != 10 || w.Running != 0 || w.Load != nil || w.PausedAt != nil || w.DrainingAt != nil || time.Since(w.LastSeenAt) > time.Minute || w.RegisteredAt.IsZero() {
		t.Errorf("registered, it is %+v", w)
	}
	beat := weirtest.Decode[obj](s.Post(path+"/heartbeat", `{"load": 0.25}`).Want(http.StatusOK))
	if beat["state"] != "active" || beat["capacity"] != 10.0 || beat["registered"] != true {
		t.Errorf("it learns %v", beat)
	}
	if s.Post(path+"/heartbeat", nil).Want(http.StatusOK); *s.Worker("mailer/1 ü").Load != 0.25 {
		t.Errorf("its load is %g", *s.Worker("mailer/1 ü").Load)
	}
	w = weirtest.Decode[weirtest.Worker](s.Do(http.MethodPatch, path, `{"capacity": 3, "labels": {}, "queues": []}`).Want(http.StatusOK))
	if *w.Capacity != 3 || len(w.Labels) != 0 || len(w.Queues) != 0 || w.Hostname != "h" {
		t.Errorf("changed, it is %+v", w)
	}
	w = weirtest.Decode[weirtest.Worker](s.Do(http.MethodPut, path, `{"capacity": 0}`).Want(http.StatusOK))
	if w.Capacity != nil || w.Hostname != "" || w.Version != "" {
		t.Errorf("put anew, it is %+v", w)
	}
	for action, state := range map[string]string{"/pause": "paused", "/drain": "draining"} {
		if w := weirtest.Decode[weirtest.Worker](s.Post(path+action, nil).Want(http.StatusOK)); w.State != state {
			t.Errorf("after %s it is %s", action, w.State)
		}
		if beat := weirtest.Decode[obj](s.Post(path+"/heartbeat", obj{}).Want(http.StatusOK)); beat["state"] != state {
			t.Errorf("after %s it learns %v", action, beat)
		}
		if w := weirtest.Decode[weirtest.Worker](s.Post(path+"/resume", nil).Want(http.StatusOK)); w.State != "active" {
			t.Errorf("resumed, it is %s", w.State)
		}
	}
	if released := weirtest.Decode[obj](s.Do(http.MethodDelete, path, nil).Want(http.StatusOK))["released"]; released != 0.0 {
		t.Errorf("%v jobs went back", released)
	}
	for method, calls := range map[string][]string{
		http.MethodGet: {"", "/jobs", "/history"}, http.MethodPost: {"/heartbeat", "/pause", "/resume", "/drain"}, http.MethodDelete: {""},
	} {
		for _, call := range calls {
			s.Do(method, path+call, nil).Problem(http.StatusNotFound, "worker_not_found")
		}
	}
	s.Do(http.MethodPatch, path, `{"capacity": 3}`).Problem(http.StatusNotFound, "worker_not_found")
}

func TestRESTBadWordsAboutAWorkerAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Register("w", 4)
	for body, location := range map[string]string{
		`{"capacity": -1}`: "body.capacity", `{"capacity": 10001}`: "body.capacity", `{"capacity": "4"}`: "body.capacity",
		`{"labels": {"a": 1}}`: "body.labels.a", `{"labels": {"a": "` + strings.Repeat("x", 9000) + `"}}`: "body.labels", `{"queues": ["a b"]}`: "body.queues[0]", `{"host": "x"}`: "body.host",
	} {
		for _, method := range []string{http.MethodPut, http.MethodPatch} {
			p := s.Do(method, "/v1/workers/w", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			if len(p.Errors) != 1 || p.Errors[0].Location != location {
				t.Errorf("%s %.60s: %+v", method, body, p.Errors)
			}
		}
	}
	s.Post("/v1/workers/w/heartbeat", `{"load": -1}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Do(http.MethodPut, "/v1/workers/"+strings.Repeat("x", 201), `{}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	for _, query := range []string{"?state=well", "?window_seconds=0", "?cursor=x", "?hosntame=h"} {
		s.Get("/v1/workers"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.Get("/v1/workers/w/history?cursor=aGlzdG9yeTp4").Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if w := s.Worker("w"); *w.Capacity != 4 || len(w.Labels) != 0 {
		t.Errorf("it is %+v", w)
	}
}

func TestRESTAClaimByAnUnknownWorkerRegistersIt(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Fill(3)
	if got := s.TryClaim("new", 2, 0); got.String() != "2 jobs" {
		t.Fatalf("it got %v", got)
	}
	s.Eventually("it is known", func() bool { return s.Get("/v1/workers/new").Status == http.StatusOK })
	if w := s.Worker("new"); w.State != "active" || w.Capacity != nil || w.Running != 2 {
		t.Errorf("it is %+v", w)
	}
	if beat := weirtest.Decode[obj](s.Post("/v1/workers/new/heartbeat", nil).Want(http.StatusOK)); beat["state"] != "active" || beat["registered"] != false {
		t.Errorf("it learns %v", beat)
	}
	// One whose claim waits lives, however long that takes.
	waiting := s.Park(obj{"worker": "patient", "queues": []string{"empty"}, "wait_seconds": 60})
	s.Eventually("it is known", func() bool { return s.Get("/v1/workers/patient").Status == http.StatusOK })
	tx, err := s.DB.Begin(t.Context()) // until it commits, the node cannot say that it lives
	if err != nil {
		t.Fatal(err)
	}
	weirtest.Exec(t, tx, "update weir.worker_sign set last_seen_at = now() - interval '1 hour'")
	if state := weirtest.Value[string](t, tx, "select state from weir.workers where name = 'patient'"); state != "lost" {
		t.Errorf("silent for an hour it is %s", state)
	}
	weirtest.Commit(t, tx)
	s.Eventually("its claim is seen", func() bool { return s.Worker("patient").State == "active" })
	if n := s.Metric("weir_workers", `state="lost"`); n > 1 {
		t.Errorf("%g are lost", n)
	}
	s.Enqueue(obj{"kind": "k", "queue": "empty"})
	s.Answer(waiting)
}

func TestRESTAClaimSaysWhyItsWorkerGetsNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Register("w", 10)
	if got := s.TryClaim("w", 5, 0); got.String() != "0 jobs" {
		t.Errorf("from an empty queue: %v", got)
	}
	s.Fill(100)
	for _, want := range []string{"7 jobs", "3 jobs", "0 jobs, at_capacity"} {
		limit := 50
		if want == "7 jobs" {
			limit = 7
		}
		if got := s.TryClaim("w", limit, 0); got.String() != want {
			t.Errorf("claimed %v, want %s", got, want)
		}
	}
	for action, want := range map[string]string{"pause": "0 jobs, paused", "drain": "0 jobs, draining"} {
		s.Post("/v1/workers/w/"+action, nil).Want(http.StatusOK)
		if got := s.TryClaim("w", 50, 0); got.String() != want {
			t.Errorf("after %s: %v", action, got)
		}
		began := time.Now()
		if got := s.TryClaim("w", 50, 0.4); got.String() != want || time.Since(began) < 400*time.Millisecond {
			t.Errorf("after %s, waiting: %v after %v", action, got, time.Since(began))
		}
		s.Post("/v1/workers/w/resume", nil).Want(http.StatusOK)
	}
	if got := s.TryClaim("other", 50, 0); got.String() != "50 jobs" {
		t.Errorf("another one: %v", got)
	}
}

func TestRESTARefusedClaimThatWaitsGetsJobsSoonAfterItMay(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	claim := obj{"worker": "w", "queues": []string{"q"}, "limit": 5, "wait_seconds": 60, "lease_seconds": 300}
	quick := func(what string, answer <-chan weirtest.ClaimAnswer, n int, since time.Time) []weirtest.ClaimedJob {
		got := s.Answer(answer)
		if took := time.Since(since); len(got) != n || took > weirtest.Soon {
			t.Errorf("%s: %d jobs after %v, want %d", what, len(got), took, n)
		}
		return got
	}
	s.Register("w", 4)
	s.Fill(30)
	s.Post("/v1/workers/w/pause", nil).Want(http.StatusOK)
	waiting := s.Park(claim)
	time.Sleep(3 * time.Second) // by now it looks seldom
	began := time.Now()
	s.Post("/v1/workers/w/resume", nil).Want(http.StatusOK)
	got := quick("resumed", waiting, 4, began)

	waiting = s.Park(claim)
	time.Sleep(500 * time.Millisecond)
	began = time.Now()
	s.Post("/v1/jobs/"+got[0].ID+"/complete", obj{"token": got[0].Token}).Want(http.StatusOK)
	quick("a job is done", waiting, 1, began)

	waiting = s.Park(claim)
	began = time.Now()
	s.Exec("select weir.complete($1::text::bigint, $2::text::bigint)", got[1].ID, got[1].Token)
	quick("a job is done in SQL", waiting, 1, began)

	waiting = s.Park(claim)
	began = time.Now()
	s.Do(http.MethodPatch, "/v1/workers/w", `{"capacity": 6}`).Want(http.StatusOK)
	quick("its capacity is raised", waiting, 2, began)
}

// A paused worker that waits must not take the place of others in the line, and not keep the node busy.
func TestRESTPausedWorkersThatWaitAreInNobodysWay(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Register("idle", 10)
	s.Post("/v1/workers/idle/pause", nil).Want(http.StatusOK)
	idle := s.ParkMany(20, func(int) obj {
		return obj{"worker": "idle", "queues": []string{"q"}, "limit": 1000, "wait_seconds": 60}
	})
	time.Sleep(2 * time.Second) // by now they look seldom
	looks, since := s.Metric("weir_claim_batch_jobs_count"), time.Now()
	s.Fill(50)
	for range 10 {
		if got := s.TryClaim("busy", 5, weirtest.Soon.Seconds()); got.String() != "5 jobs" { // were it behind those that are paused, it would get none
			t.Errorf("another worker got %v", got)
		}
	}
	waiting := s.Park(obj{"worker": "patient", "queues": []string{"q"}, "limit": 1000, "wait_seconds": weirtest.Soon.Seconds()})
	s.Enqueue(obj{"kind": "k", "queue": "q"})
	if got := s.Answer(waiting); len(got) != 1 {
		t.Errorf("one that waits got %d jobs", len(got))
	}
	// Enqueueing wakes none of them.
	for range 300 {
		s.Enqueue(obj{"kind": "k", "queue": "q"})
	}
	took := time.Since(since)
	if n := s.Metric("weir_claim_batch_jobs_count") - looks; n > 60+100*took.Seconds() {
		t.Errorf("in %v there were %g claim statements", took, n)
	}
	if n := s.Count("select count(*) from weir.job_lease where worker = 'idle'"); n != 0 {
		t.Errorf("the paused worker has %d jobs", n)
	}
	s.Engine.Drain() // which ends the waits
	for _, answer := range idle {
		if got := s.Answer(answer); len(got) != 0 {
			t.Errorf("a claim of the paused worker got %d jobs", len(got))
		}
	}
}

func TestRESTTwoNodesDoNotExceedACapacity(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	nodes := []*weirtest.Node{weirtest.StartNodeOn(t, database), weirtest.StartNodeOn(t, database)}
	nodes[0].Register("w", 5)
	const jobs = 300
	nodes[0].Fill(jobs)
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
				r, err := s.Send(t.Context(), http.MethodPost, "/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "limit": 4, "wait_seconds": 0.2})
				var got weirtest.ClaimedJobs
				if err == nil {
					err = json.Unmarshal(r.Body, &got)
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
					if r, err = s.Send(t.Context(), http.MethodPost, "/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}); err != nil || r.Status != http.StatusOK {
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
		peak = max(peak, nodes[0].Count("select count(*) from weir.job_lease"))
	}
	if peak > 5 || peak < 3 || most > 5 {
		t.Errorf("it had up to %d jobs in the database and %d in hand, and may have 5", peak, most)
	}
}

func TestRESTARemovedWorkersJobsGoToOthersAtOnce(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Register("gone", 10)
	ids := s.Fill(4)
	mine := s.TryClaim("gone", 3, 0).Jobs
	first := s.TryClaim("other", 10, 0).Jobs
	waiting := s.Park(obj{"worker": "other", "queues": []string{"q", "r"}, "limit": 10, "wait_seconds": 60})
	began := time.Now()
	if n := weirtest.Decode[obj](s.Do(http.MethodDelete, "/v1/workers/gone", nil).Want(http.StatusOK))["released"]; n != 3.0 {
		t.Errorf("%v jobs went back", n)
	}
	got := s.Answer(waiting)
	if len(first) != 1 || len(got) != 3 || time.Since(began) > weirtest.Soon {
		t.Errorf("another worker got %d and, after %v, %d of %d jobs", len(first), time.Since(began), len(got), len(ids))
	}
	for _, j := range got {
		if j.Attempt != 1 {
			t.Errorf("job %s is at attempt %d", j.ID, j.Attempt)
		}
	}
	for _, j := range mine {
		s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Problem(http.StatusConflict, "stale_token")
		s.Post("/v1/jobs/"+j.ID+"/heartbeat", obj{"token": j.Token}).Problem(http.StatusConflict, "stale_token")
		if j := s.Job(j.ID); j.State != "running" || j.Worker != "other" || len(j.Errors) != 0 {
			t.Errorf("the job is %+v", j)
		}
	}
	time.Sleep(2 * time.Second)
	s.Get("/v1/workers/gone").Problem(http.StatusNotFound, "worker_not_found")
	// One that lives is known again by its next claim, and limited no more.
	s.Fill(20)
	if got := s.TryClaim("gone", 15, 0); got.String() != "15 jobs" {
		t.Errorf("it got %v", got)
	}
	s.Eventually("it is back", func() bool { return s.Get("/v1/workers/gone").Status == http.StatusOK })
}

func TestRESTWorkersAreListedPageByPage(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	if page := weirtest.Decode[weirtest.Page[weirtest.Worker]](s.Get("/v1/workers").Want(http.StatusOK)); page.Items == nil || len(page.Items) != 0 || page.NextCursor != nil {
		t.Errorf("no workers: %+v", page)
	}
	var all []string
	for i := range 12 {
		name := fmt.Sprintf("w%02d", i)
		all = append(all, name)
		s.Do(http.MethodPut, weirtest.WorkerPath(name), obj{"hostname": fmt.Sprintf("h%d", i%2), "queues": []string{fmt.Sprintf("q%d", i%3)}}).Want(http.StatusOK)
	}
	s.Post("/v1/workers/w03/pause", nil).Want(http.StatusOK)
	s.Post("/v1/workers/w05/drain", nil).Want(http.StatusOK)
	s.Exec("update weir.worker_sign set last_seen_at = now() + case when name in ('w07', 'w08') then interval '-31 s' else interval '1 hour' end") // however long this takes
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
				page := weirtest.Decode[weirtest.Page[weirtest.Worker]](s.Get(fmt.Sprintf("/v1/workers%s%slimit=%d&cursor=%s", query, join, limit, cursor)).Want(http.StatusOK))
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
		if n := s.Metric("weir_workers", `state="`+state+`"`); n != want {
			t.Errorf("/metrics counts %g workers as %s, want %g", n, state, want)
		}
	}
}

func TestRESTAWorkersJobsHistoryAndFigures(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := s.Fill(12)
	got := s.ClaimAs("w", 9, "q")
	s.ClaimAs("other", 3, "q")
	s.Eventually("it is known", func() bool { return s.Get("/v1/workers/w").Status == http.StatusOK })
	s.Exec("update weir.job_lease set leased_at = leased_at - interval '100 s', expires_at = expires_at + interval '100 s' where worker = 'w'")
	ack := func(i int, more obj) {
		more["id"], more["token"] = got[i].ID, got[i].Token
		s.Post("/v1/acks", obj{"acks": []obj{more}}).Want(http.StatusOK)
	}
	ack(0, obj{"outcome": "complete"})
	ack(1, obj{"outcome": "complete", "result": 1})
	ack(2, obj{"outcome": "fail", "error": obj{"message": "no luck"}})
	ack(3, obj{"outcome": "fail", "error": obj{"message": "hopeless"}, "retry": false})
	ack(4, obj{"outcome": "snooze", "delay_seconds": 1000})
	ack(5, obj{"outcome": "release"})

	w := weirtest.Decode[weirtest.Worker](s.Get("/v1/workers/w").Want(http.StatusOK))
	if w.Running != 3 || w.Stats == nil || w.Stats.WindowSeconds != 3600 || w.Stats.Completed != 2 || w.Stats.Failed != 2 || w.Stats.BusySeconds < 900 || w.Stats.BusySeconds > 1200 {
		t.Errorf("in an hour: %+v %+v", w, w.Stats)
	}
	w = weirtest.Decode[weirtest.Worker](s.Get("/v1/workers/w?window_seconds=50").Want(http.StatusOK))
	if w.Stats.Completed != 2 || w.Stats.BusySeconds < 300 || w.Stats.BusySeconds > 450 {
		t.Errorf("in 50 s: %+v", w.Stats)
	}
	page := weirtest.Decode[weirtest.Page[weirtest.Worker]](s.Get("/v1/workers?window_seconds=60").Want(http.StatusOK))
	if len(page.Items) != 2 || page.Items[0].Stats.Completed != 0 || page.Items[1].Stats.Failed != 2 {
		t.Errorf("all: %+v", page.Items)
	}

	var running []string
	cursor := ""
	for range 5 {
		page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/workers/w/jobs?limit=2&cursor=" + cursor).Want(http.StatusOK))
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
			page := weirtest.Decode[weirtest.Page[weirtest.Attempt]](s.Get(fmt.Sprintf("/v1/workers/w/history?limit=%d&cursor=%s", limit, cursor)).Want(http.StatusOK))
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
	s.Exec("update weir.job set created_at = created_at - interval '9 days'")
	s.Exec("update weir.job_outcome set finished_at = finished_at - interval '9 days'")
	page2 := weirtest.Decode[weirtest.Page[weirtest.Attempt]](s.Get("/v1/workers/w/history").Want(http.StatusOK))
	if len(page2.Items) != 6 || page2.Items[5].Outcome != "completed" {
		t.Errorf("with some of it nine days ago, its history is %+v", page2.Items)
	}
}
