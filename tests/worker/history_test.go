package worker

import (
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

func TestWorkerHistoryCountsEndedJobs(t *testing.T) {
	t.Parallel()
	t.Run("SQL", workerHistoryCountsEndedJobsSQL)
	t.Run("REST", workerHistoryCountsEndedJobsREST)
}

func workerHistoryCountsEndedJobsSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 8)
	jobs := weirtest.Claim(t, d, "q", 6)
	weirtest.Exec(t, d, "select weir.claim(array['q'], 'other', 1)")
	weirtest.Exec(t, d, "update weir.job_lease set leased_at = leased_at - interval '1000 s'") // long enough that the seconds of this test do not matter
	weirtest.Complete(t, d, jobs[0], jobs[1])
	jobs[2].Call(t, d, "fail($1, $2, '{\"message\": \"no\"}')")
	jobs[3].Call(t, d, "fail($1, $2, '{\"message\": \"never\"}', retry => false)")
	jobs[4].Call(t, d, "release($1, $2)")
	if got := weirtest.Value[string](t, d, "select format('%s %s %s', completed, failed, round(extract(epoch from busy) / 100)) from weir.worker_stats() where worker = 'worker'"); got != "2 2 60" {
		t.Errorf("it did %s; want 2 completed, 2 failed, 60 times 100 s", got)
	}
	if got := weirtest.Value[string](t, d, "select format('%s %s %s', completed, failed, round(extract(epoch from busy) / 100)) from weir.worker_stats('500 s', 'worker')"); got != "2 2 30" {
		t.Errorf("in the last 500 s it did %s; want 2 completed, 2 failed, 30 times 100 s", got)
	}
	if names := weirtest.Values[string](t, d, "select worker from weir.worker_stats() order by 1"); !slices.Equal(names, []string{"other", "worker"}) {
		t.Errorf("figures are of %q", names)
	}
	want := []string{"released", "failed never", "failed no", "completed", "completed"}
	history := "select outcome || coalesce(' ' || error, '') from weir.worker_history('worker', now() - interval '1 h'"
	if got := weirtest.Values[string](t, d, history+")"); !slices.Equal(got, want) {
		t.Errorf("its history is %q, want %q", got, want)
	}
	var paged []string
	rows := "select ended_at, job_id, outcome || coalesce(' ' || error, '') from weir.worker_history('worker', now() - interval '1 h', $1, $2, 2)"
	type row struct {
		At  time.Time
		Job int64
		Was string
	}
	before, job := time.Now().Add(time.Hour), new(int64)
	*job = 1 << 62
	for range 4 {
		r, err := d.Query(t.Context(), rows, before, job)
		if err != nil {
			t.Fatal(err)
		}
		page, err := pgx.CollectRows(r, pgx.RowToStructByPos[row])
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page {
			paged = append(paged, p.Was)
			before, *job = p.At, p.Job
		}
	}
	if !slices.Equal(paged, want) {
		t.Errorf("page by page it is %q, want %q", paged, want)
	}
}

func workerHistoryCountsEndedJobsREST(t *testing.T) {
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
	// Old attempts are found too.
	s.Exec("update weir.job set created_at = created_at - interval '9 days'")
	s.Exec("update weir.job_outcome set finished_at = finished_at - interval '9 days'")
	page2 := weirtest.Decode[weirtest.Page[weirtest.Attempt]](s.Get("/v1/workers/w/history").Want(http.StatusOK))
	if len(page2.Items) != 6 || page2.Items[5].Outcome != "completed" {
		t.Errorf("with some of it nine days ago, its history is %+v", page2.Items)
	}
}
