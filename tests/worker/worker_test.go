package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// claimAs claims for a worker and returns how many jobs it got.
func claimAs(t testing.TB, q weirtest.Querier, worker string, n int) int {
	t.Helper()
	return weirtest.Value[int](t, q, "select count(*)::int from weir.claim(array['q'], $1, $2)", worker, n)
}

func fillQueue(t testing.TB, q weirtest.Querier, n int) {
	t.Helper()
	weirtest.Exec(t, q, "select weir.enqueue('a', queue => 'q') from generate_series(1, $1)", n)
}

func refusalOf(t testing.TB, q weirtest.Querier, worker string) string {
	t.Helper()
	return weirtest.Value[string](t, q, "select coalesce(weir.claim_refusal($1), 'none')", worker)
}

func stateOfWorker(t testing.TB, q weirtest.Querier, worker string) string {
	t.Helper()
	return weirtest.Value[string](t, q, "select coalesce((select state || ' ' || running from weir.workers where name = $1), 'unknown')", worker)
}

func tryClaimAs(q weirtest.Querier, worker string, n int) ([]int64, error) {
	rows, err := q.Query(context.Background(), "select job_id from weir.claim(array['q'], $1, $2)", worker, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

func TestWorkerRegisters(t *testing.T) {
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
		t.Errorf("registered again, it is %+v", w)
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

func TestClaimRegistersWorker(t *testing.T) {
	t.Parallel()
	t.Run("SQL", claimRegistersWorkerSQL)
	t.Run("REST", claimRegistersWorkerREST)
}

func claimRegistersWorkerSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 20)
	if n := claimAs(t, d, "w", 15); n != 15 {
		t.Errorf("claimed %d", n)
	}
	if got := stateOfWorker(t, d, "w"); got != "active 15" {
		t.Errorf("it is %s", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.worker"); n != 0 {
		t.Errorf("%d workers registered", n)
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.job_lease where counted is not null"); n != 0 {
		t.Errorf("%d leases are counted", n)
	}
}

func claimRegistersWorkerREST(t *testing.T) {
	weirtest.Long(t, "metrics of workers are counted every ten seconds")
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
	// A worker with a parked claim is alive, however long the claim waits.
	waiting := s.Park(obj{"worker": "patient", "queues": []string{"empty"}, "wait_seconds": 60})
	s.Eventually("it is known", func() bool { return s.Get("/v1/workers/patient").Status == http.StatusOK })
	tx, err := s.DB.Begin(t.Context()) // until it commits, the node cannot save that the worker is alive
	if err != nil {
		t.Fatal(err)
	}
	weirtest.Exec(t, tx, "update weir.worker_seen set last_seen_at = now() - interval '1 hour'")
	if state := weirtest.Value[string](t, tx, "select state from weir.workers where name = 'patient'"); state != "lost" {
		t.Errorf("silent for an hour it is %s", state)
	}
	weirtest.Commit(t, tx)
	s.Eventually("its claim is seen", func() bool { return s.Worker("patient").State == "active" })
	s.Eventually("/metrics counts the silent worker as lost", func() bool { return s.Metric("weir_workers", `state="lost"`) == 1 })
	s.Enqueue(obj{"kind": "k", "queue": "empty"})
	s.Answer(waiting)
}

func TestInvalidWorkerIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("SQL", invalidWorkerIsRefusedSQL)
	t.Run("REST", invalidWorkerIsRefusedREST)
}

func invalidWorkerIsRefusedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"capacity\": 4, \"hostname\": \"h\", \"queues\": [\"a\"], \"labels\": {\"x\": \"y\"}, \"version\": \"1\"}')")
	d.Unchanged("bad input", func() {
		for settings, field := range map[string]string{
			`{"capacity": 10001}`: "capacity", `{"capacity": -1}`: "capacity", `{"capacity": 1.5}`: "capacity", `{"capacity": "4"}`: "capacity",
			`{"hostname": 1}`: "hostname", `{"version": {}}`: "version", `{"hostname": "` + strings.Repeat("x", 256) + `"}`: "hostname",
			`{"queues": "a"}`: "queues", `{"queues": ["a b"]}`: "queues", `{"queues": [1]}`: "queues",
			`{"labels": []}`: "labels", `{"labels": {"a": 1}}`: "labels", `{"labels": {"a": "` + strings.Repeat("x", 9000) + `"}}`: "labels",
			`{"capactiy": 1}`: "capactiy", `[]`: "settings",
		} {
			for _, call := range []string{"register_worker", "edit_worker"} {
				if e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call+"('w', $1)", settings), "WR010"); e.ColumnName != field {
					t.Errorf("%s of %.60s: the field is %q, want %q", call, settings, e.ColumnName, field)
				}
			}
		}
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.register_worker('')"), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.register_worker(null)"), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.register_worker(repeat('x', 201))"), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.worker_heartbeat('w', -1)"), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.worker_heartbeat('w', 'NaN')"), "WR010")
		for _, call := range []string{"edit_worker($1, '{}')", "worker_heartbeat($1)", "pause_worker($1)", "drain_worker($1)", "resume_worker($1)", "remove_worker($1)"} {
			weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, "nobody"), "WR015")
		}
	})
	told := func() string {
		return weirtest.Value[string](t, d, "select concat_ws(' ', hostname, version, queues, labels, coalesce(capacity, 0)) from weir.workers where name = 'w'")
	}
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"version\": \"2\"}')")
	if got := told(); got != `h 2 {a} {"x": "y"} 4` {
		t.Errorf("changed, it is %s", got)
	}
	weirtest.Exec(t, d, "select weir.register_worker('w', '{\"version\": \"3\"}')")
	if got := told(); got != `3 {} {} 10` {
		t.Errorf("registered again, it is %s", got)
	}
	weirtest.Exec(t, d, "select weir.edit_worker('w', '{\"capacity\": 0}')")
	if got := told(); got != `3 {} {} 0` {
		t.Errorf("without a limit it is %s", got)
	}
}

func invalidWorkerIsRefusedREST(t *testing.T) {
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

func TestWorkersAreListed(t *testing.T) {
	t.Parallel()
	t.Run("REST", workersAreListedREST)
	t.Run("CLI", workersAreListedCLI)
}

func workersAreListedREST(t *testing.T) {
	weirtest.Long(t, "metrics of workers are counted every ten seconds")
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
	s.Exec("update weir.worker_seen set last_seen_at = now() + case when name in ('w07', 'w08') then interval '-31 s' else interval '1 hour' end") // however long this takes
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

func workersAreListedCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("workers").Says(0, "no such workers")
	s.Do(http.MethodPut, weirtest.WorkerPath("mill/1"), `{"hostname": "h1", "capacity": 7, "queues": ["q", "r"], "version": "1.2", "labels": {"zone": "eu"}}`).Want(http.StatusOK)
	s.Post(weirtest.WorkerPath("mill/1")+"/heartbeat", `{"load": 0.5}`).Want(http.StatusOK)
	s.Register("other", 0)
	s.Fill(5)
	jobs := s.TryClaim("mill/1", 4, 0).Jobs
	s.Post("/v1/jobs/"+jobs[0].ID+"/complete", obj{"token": jobs[0].Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+jobs[1].ID+"/fail", obj{"token": jobs[1].Token, "error": obj{"message": "no\x1b[31m luck"}}).Want(http.StatusOK)

	s.CLI("workers").Says(0, "WORKER", "mill/1", "h1", "1.2", "q,r", "0.5", "active", "other", "no limit", "last 60 min")
	if out := s.CLI("workers", "list", "--hostname", "h1", "--state", "active", "--queue", "r").Says(0, "mill/1").Stdout; strings.Contains(out, "other") {
		t.Errorf("the filters let through:\n%s", out)
	}
	var page weirtest.Page[weirtest.Worker]
	if err := json.Unmarshal([]byte(s.CLI("workers", "list", "--json").Says(0).Stdout), &page); err != nil || len(page.Items) != 2 || page.Items[0].Stats.Completed != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if err := json.Unmarshal([]byte(s.CLI("workers", "list", "--json", "--window-seconds", "0").Says(0).Stdout), &page); err != nil || page.Items[0].Name != "mill/1" {
		t.Errorf("%v %+v", err, page)
	}
	shown := s.CLI("workers", "show", "mill/1").Says(0, "mill/1", "active", "2, capacity 7", "0.5", "h1", "zone=eu", "1 done, 1 failed", jobs[2].ID, "completed", "failed: no").Stdout
	if strings.Contains(shown, "\x1b[31m") {
		t.Error("it prints what a terminal would obey")
	}
	var details struct {
		Worker  weirtest.Worker
		Jobs    []weirtest.Job
		History []weirtest.Attempt
	}
	if err := json.Unmarshal([]byte(s.CLI("workers", "show", "mill/1", "--json").Says(0).Stdout), &details); err != nil || details.Worker.Running != 2 || len(details.Jobs) != 2 || len(details.History) != 2 {
		t.Errorf("%v %+v", err, details)
	}
	s.CLI("workers", "pause", "mill/1").Says(0, "mill/1 is paused and has 2 jobs")
	s.CLI("workers", "list", "--state", "paused").Says(0, "mill/1")
	s.CLI("workers", "resume", "mill/1").Says(0, "mill/1 is active")
	var w weirtest.Worker
	if err := json.Unmarshal([]byte(s.CLI("workers", "drain", "mill/1", "--json").Says(0).Stdout), &w); err != nil || w.State != "draining" {
		t.Errorf("%v %+v", err, w)
	}
	s.CLI("workers", "remove", "mill/1", "--yes").Says(0, "mill/1 is removed; 2 jobs went back")
	for _, action := range []string{"show", "pause", "resume", "drain", "remove"} {
		s.CLI("workers", action, "mill/1").Says(1, `there is no worker`, "mill/1")
	}
	s.CLI("workers", "list", "--state", "well").Says(2, "--state")
}
