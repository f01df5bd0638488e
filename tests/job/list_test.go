package job

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestListIsWalkedOnceWhileJobsArrive(t *testing.T) {
	weirtest.Long(t, "it walks a long list")
	t.Parallel()
	s := weirtest.StartNode(t)
	before := map[string]bool{}
	var batch []obj
	for i := range 457 {
		batch = append(batch, obj{"kind": "old", "queue": fmt.Sprintf("q%d", i%3), "priority": 1 + i%10})
	}
	for _, id := range s.EnqueueAll(batch) {
		before[id] = true
	}
	for _, query := range []string{"limit=10", "limit=100&kind=old", "limit=7&state=available&queue=q1", "limit=1000", ""} {
		want := map[string]bool{}
		for id := range before {
			want[id] = true
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if q := values.Get("queue"); q != "" {
			clear(want)
			for i, id := range slices.SortedFunc(sortedKeys(before), weirtest.CompareIDs) {
				if fmt.Sprintf("q%d", i%3) == q {
					want[id] = true
				}
			}
		}
		last := ""
		for pages := 0; ; pages++ {
			page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?" + values.Encode()).Want(http.StatusOK))
			if limit := values.Get("limit"); limit != "" && fmt.Sprint(len(page.Items)) > limit && len(fmt.Sprint(len(page.Items))) >= len(limit) {
				t.Fatalf("%s: a page of %d", query, len(page.Items))
			}
			for _, j := range page.Items {
				if last != "" && weirtest.CompareIDs(j.ID, last) >= 0 {
					t.Fatalf("%s: job %s comes after job %s", query, j.ID, last)
				}
				last = j.ID
				if !want[j.ID] && before[j.ID] {
					t.Fatalf("%s: job %s is not asked for, or comes a second time", query, j.ID)
				}
				delete(want, j.ID)
			}
			if page.NextCursor == nil {
				break
			}
			values.Set("cursor", *page.NextCursor)
			s.EnqueueAll([]obj{{"kind": "new", "queue": "q1"}, {"kind": "new", "queue": "q2"}}) // newer than the current page
			if pages > 500 {
				t.Fatalf("%s: the walk does not end", query)
			}
		}
		if len(want) > 0 {
			t.Errorf("%s: %d jobs were passed over", query, len(want))
		}
	}
}

func sortedKeys(m map[string]bool) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func timeInQuery(at time.Time) string { return url.QueryEscape(at.Format(time.RFC3339Nano)) }

func TestEachFilterSelectsItsJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	// One job in each state, told apart by kind.
	end := func(kind string, outcome obj) string {
		t.Helper()
		id := s.Enqueue(obj{"kind": kind, "queue": "work"})
		outcome["id"], outcome["token"] = id, s.ClaimAs("w-"+kind, 1, "work")[0].Token
		s.Post("/v1/acks", obj{"acks": []obj{outcome}}).Want(http.StatusOK)
		return id
	}
	end("completed", obj{"outcome": "complete", "result": 1})
	halfway := s.Job(s.Enqueue(obj{"kind": "cancelled", "queue": "work", "args": obj{"text": "Needle in args 50%_"}}))
	s.Post("/v1/jobs/"+halfway.ID+"/cancel", nil).Want(http.StatusOK)
	dead := end("dead", obj{"outcome": "fail", "retry": false, "error": obj{"message": "Haystack burnt"}})
	end("retryable", obj{"outcome": "fail", "retry_in_seconds": 3600, "error": obj{"message": "not yet"}})
	s.Enqueue(obj{"kind": "scheduled", "queue": "work", "delay_seconds": 3600, "tenant": "acme"})
	s.Enqueue(obj{"kind": "available", "queue": "other", "tags": []string{"red", "blue"}, "priority": 9})
	s.Enqueue(obj{"kind": "running", "queue": "busy", "tags": []string{"blue"}})
	s.ClaimAs("w-running", 1, "busy")
	again := s.Job(dead)

	for query, want := range map[string]string{
		"":                           "available cancelled completed dead retryable running scheduled",
		"state=completed":            "completed",
		"state=cancelled":            "cancelled",
		"state=dead":                 "dead",
		"state=retryable":            "retryable",
		"state=scheduled":            "scheduled",
		"state=available":            "available",
		"state=running":              "running",
		"state=held":                 "",
		"queue=work":                 "cancelled completed dead retryable scheduled",
		"queue=nothing":              "",
		"kind=dead":                  "dead",
		"tenant=acme":                "scheduled",
		"tag=blue":                   "available running",
		"tag=red":                    "available",
		"worker=w-completed":         "completed",
		"worker=w-running":           "running",
		"priority=9":                 "available",
		"priority=5":                 "cancelled completed dead retryable running scheduled",
		"min_attempts=1":             "completed dead retryable running",
		"min_attempts=2":             "",
		"has_error=true":             "dead retryable",
		"has_error=false":            "available cancelled completed running scheduled",
		"q=needle":                   "cancelled",
		"q=HAYSTACK":                 "dead",
		"q=yet":                      "retryable",
		"q=nowhere":                  "",
		"queue=work&state=available": "",
		"tag=blue&priority=9":        "available",
		"created_after=" + timeInQuery(halfway.CreatedAt):                                            "available cancelled dead retryable running scheduled",
		"created_before=" + timeInQuery(halfway.CreatedAt):                                           "completed",
		"finished_after=" + timeInQuery(*again.FinishedAt):                                           "dead",
		"finished_before=" + timeInQuery(*again.FinishedAt):                                          "cancelled completed",
		"finished_after=" + timeInQuery(again.CreatedAt.Add(-time.Hour)) + "&state=dead":             "dead",
		"created_after=" + url.QueryEscape(halfway.CreatedAt.Format("2006-01-02T15:04:05")+"+23:59"): "available cancelled completed dead retryable running scheduled",
	} {
		page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?" + query).Want(http.StatusOK))
		var kinds []string
		for _, j := range page.Items {
			kinds = append(kinds, j.Kind)
		}
		slices.Sort(kinds)
		if got := strings.Join(kinds, " "); got != want || page.NextCursor != nil {
			t.Errorf("%s: %s; want %s", query, got, want)
		}
	}
}
