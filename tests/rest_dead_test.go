package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTADeadLetterHasItsWholeHistory(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"n": 1}, "tags": []string{"x"}, "metadata": obj{"m": 1}, "max_attempts": 2})
	for attempt := range 2 {
		j := s.ClaimOne("q")
		s.Post("/v1/jobs/"+id+"/fail", obj{"token": j.Token, "retry_in_seconds": 0, "error": obj{"message": fmt.Sprint("no ", attempt), "type": "T"}}).Want(http.StatusOK)
	}
	l := weirtest.Decode[weirtest.DeadLetter](s.Get("/v1/dead/" + id).Want(http.StatusOK))
	if l.ID != id || l.State != "dead" || l.Attempt != 2 || len(l.Errors) != 2 || l.Errors[0].Message != "no 0" || string(l.Args) != `{"n":1}` && string(l.Args) != `{"n": 1}` || l.DiedAt.IsZero() || l.Redrives != 0 {
		t.Errorf("the letter is %+v", l)
	}
	var events []string
	for _, m := range l.Timeline {
		events = append(events, m.Event)
	}
	if want := []string{"enqueued", "available", "started", "failed", "available", "started", "failed", "dead"}; !slices.Equal(events, want) {
		t.Errorf("its timeline is %q, want %q", events, want)
	}
	alive := s.Enqueue(obj{"kind": "k"})
	for _, other := range []string{alive, "123456", "9223372036854775807"} {
		s.Get("/v1/dead/"+other).Problem(http.StatusNotFound, "dead_letter_not_found")
	}
	s.Get("/v1/dead/x").Problem(http.StatusUnprocessableEntity, "invalid_argument")
}

func TestRESTDeadLettersAreListedLastDiedFirst(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var want []string
	for _, queue := range []string{"q", "r", "q", "q", "r"} {
		want = append([]string{s.Kill(obj{"kind": "k", "queue": queue})}, want...)
	}
	s.Exec("update weir.job_dead set died_at = now() where queue_id = (select id from weir.queue where name = 'q')") // at the same time, and last
	want = []string{want[1], want[2], want[4], want[0], want[3]}
	var got []string
	for path := "/v1/dead?limit=2"; ; {
		page := weirtest.Decode[weirtest.Page[weirtest.DeadLetter]](s.Get(path).Want(http.StatusOK))
		for _, l := range page.Items {
			got = append(got, l.ID)
		}
		if page.NextCursor == nil {
			break
		}
		path = "/v1/dead?limit=2&cursor=" + url.QueryEscape(*page.NextCursor)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the list is %v, want %v", got, want)
	}
	for _, cursor := range []string{"nonsense", "am9iczox", "ZGVhZDp4LDE"} {
		s.Get("/v1/dead?cursor="+cursor).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
}

func TestRESTEachFilterOfDeadLettersChoosesIts(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	one := s.Kill(obj{"kind": "k1", "queue": "q", "tenant": "t", "tags": []string{"a", "b"}, "args": "Needle"})
	two := s.Kill(obj{"kind": "k2", "queue": "r", "tags": []string{"a"}})
	died := weirtest.Decode[weirtest.DeadLetter](s.Get("/v1/dead/" + two)).DiedAt.Format(time.RFC3339Nano)
	for query, want := range map[string][]string{
		"": {two, one}, "queue=q": {one}, "queue=none": nil, "kind=k2": {two}, "tenant=t": {one}, "tag=a": {two, one}, "tag=b": {one}, "error_type=T": {two, one}, "error_type=U": nil,
		"q=needle": {one}, "q=NO%20" + two: {two}, "min_attempts=1": {two, one}, "min_attempts=2": nil, "died_after=" + died: {two}, "died_before=" + died: {one}, "queue=q&kind=k2": nil,
	} {
		var got []string
		for _, l := range weirtest.Decode[weirtest.Page[weirtest.DeadLetter]](s.Get("/v1/dead?" + query).Want(http.StatusOK)).Items {
			got = append(got, l.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q gives %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"kinds=x", "min_attempts=0", "died_after=soon", "queue=", "limit=0"} {
		s.Get("/v1/dead?"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
}

func TestRESTARedrivenJobSaysHowOftenAndByWhom(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Kill(obj{"kind": "k", "queue": "q"})
	redriven := weirtest.Decode[weirtest.DeadLetter](s.Post("/v1/dead/"+id+"/redrive", obj{"by": "ann"}).Want(http.StatusOK))
	if redriven.ID != id || redriven.State != "available" || redriven.Attempt != 0 || redriven.Redrives != 1 || redriven.RedrivenBy != "ann" {
		t.Errorf("it is %+v", redriven)
	}
	s.Post("/v1/dead/"+id+"/redrive", nil).Problem(http.StatusNotFound, "dead_letter_not_found")
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+id+"/fail", obj{"token": j.Token, "retry": false, "error": obj{"message": "again"}}).Want(http.StatusOK)
	kept := weirtest.Decode[weirtest.DeadLetter](s.Post("/v1/dead/"+id+"/redrive", obj{"keep_attempts": true}).Want(http.StatusOK))
	if kept.Attempt != 1 || kept.Redrives != 2 || kept.RedrivenBy != "" || len(kept.Errors) != 2 {
		t.Errorf("the second time it is %+v", kept)
	}
	for _, body := range []string{`{"by": ""}`, `{"by": 5}`, `{"reset": true}`, `[]`} {
		s.Post("/v1/dead/"+id+"/redrive", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
}

func TestRESTAPurgedLetterLeavesTheJobDead(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Kill(obj{"kind": "k", "queue": "q"})
	s.Do(http.MethodDelete, "/v1/dead/"+id+"?by=bob", nil).Want(http.StatusNoContent)
	s.Do(http.MethodDelete, "/v1/dead/"+id, nil).Problem(http.StatusNotFound, "dead_letter_not_found")
	if j := s.Job(id); j.State != "dead" {
		t.Errorf("the job is %+v", j)
	}
	if by := s.Count("select count(*) from weir.job_event where kind = 'purged' and detail ->> 'by' = 'bob'"); by != 1 {
		t.Errorf("%d events say who did it", by)
	}
}

func TestRESTADryRunCountsAndStoresNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 3)
	s.KillMany("r", 2)
	for _, path := range []string{"/v1/dead/redrive", "/v1/dead/purge"} {
		o := weirtest.Decode[weirtest.Operation](s.Post(path, obj{"filter": obj{"queue": "q"}, "dry_run": true}).Want(http.StatusOK))
		if o.State != "dry_run" || o.ID != "" || o.Total != 3 || o.Done != 0 {
			t.Errorf("%s: %+v", path, o)
		}
	}
	time.Sleep(2 * time.Second)
	if n := s.Count("select (select count(*) from weir.operation) * 100 + (select count(*) from weir.job_dead)"); n != 5 {
		t.Errorf("operations and letters: %d, want none and 5", n)
	}
}

func TestRESTLettersAreRedrivenByFilter(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 1200)
	s.KillMany("r", 5)
	o := s.StartOperation("/v1/dead/redrive", obj{"filter": obj{"queue": "q"}, "by": "ann"})
	if o.Kind != "redrive_dead" || o.State != "pending" || o.Total != 1200 || o.Done != 0 || o.By != "ann" || o.CreatedAt.IsZero() || string(o.Filter) != `{"queue":"q"}` {
		t.Errorf("it begins as %+v", o)
	}
	s.KillMany("q", 1) // died too late to be meant
	o = s.WaitForOperation(o.ID)
	if o.State != "completed" || o.Total != 1200 || o.Done != 1200 || o.Failed != 0 || o.StartedAt == nil {
		t.Errorf("it ends as %+v", o)
	}
	if n := s.Count("select count(*) from weir.jobs where queue = 'q' and state = 'available' and redrives = 1 and redriven_by = 'ann' and attempt = 0"); n != 1200 {
		t.Errorf("%d jobs were redriven, want 1200", n)
	}
	if n := s.Count("select count(distinct xmin::text) from weir.job_event where kind = 'redriven'"); n != 3 {
		t.Errorf("it took %d transactions, want 3 of 500", n)
	}
	if n := s.Count("select count(*) from weir.job_dead"); n != 6 {
		t.Errorf("%d letters are left, want 6", n)
	}
	s.Post("/v1/operations/"+o.ID+"/cancel", nil).Problem(http.StatusConflict, "operation_ended")
}

func TestRESTLettersArePurgedByFilter(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 700)
	keep := s.Kill(obj{"kind": "other", "queue": "q"})
	o := s.WaitForOperation(s.StartOperation("/v1/dead/purge", obj{"filter": obj{"kind": "k"}, "by": "bob"}).ID)
	if o.State != "completed" || o.Kind != "purge_dead" || o.Done != 700 {
		t.Errorf("it ends as %+v", o)
	}
	if n := s.Count("select count(*) from weir.job_dead where job_id <> $1::bigint", keep); n != 0 {
		t.Errorf("%d letters are left", n)
	}
	if n := s.Count("select count(*) from weir.job_event where kind = 'purged' and detail ->> 'by' = 'bob'"); n != 700 {
		t.Errorf("%d events say who did it", n)
	}
}

func TestRESTARedriveKeepsToItsRate(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 30)
	o := s.WaitForOperation(s.StartOperation("/v1/dead/redrive", obj{"filter": obj{}, "rate_per_second": 10}).ID)
	// Batches of 3 (10/4, rounded up), ten of them; the last but one is due 9 * 0.3 s after the first.
	if took := o.FinishedAt.Sub(*o.StartedAt); o.Done != 30 || took < 2500*time.Millisecond {
		t.Errorf("%d in %v, want 30 in about 3 s", o.Done, took)
	}
	fastest := s.Count(`select max(n) from (select count(*) over (order by at range between current row and '1 second' following) as n from weir.job_event where kind = 'redriven') x`)
	if fastest > 20 { // those of a second, what a node that was late for up to half a second makes up for, and a batch at either end
		t.Errorf("%d were redriven within one second, at 10 a second", fastest)
	}
}

func TestRESTACancelledOperationDoesNoMore(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 200)
	o := s.StartOperation("/v1/dead/redrive", obj{"filter": obj{}, "rate_per_second": 5})
	s.Eventually("it has begun", func() bool { return s.Operation(o.ID).Done > 0 })
	cancelled := weirtest.Decode[weirtest.Operation](s.Post("/v1/operations/"+o.ID+"/cancel", nil).Want(http.StatusOK))
	if cancelled.State != "cancelled" || cancelled.FinishedAt == nil || cancelled.Done == 0 || cancelled.Done > 150 {
		t.Errorf("it is %+v", cancelled)
	}
	time.Sleep(2 * time.Second)
	if left := s.Count("select count(*) from weir.job_dead"); left != 200-cancelled.Done {
		t.Errorf("%d letters are left, want %d", left, 200-cancelled.Done)
	}
	s.Post("/v1/operations/"+o.ID+"/cancel", nil).Problem(http.StatusConflict, "operation_ended")
	s.Get("/v1/operations/99").Problem(http.StatusNotFound, "operation_not_found")
	s.Post("/v1/operations/99/cancel", nil).Problem(http.StatusNotFound, "operation_not_found")
}

// A node is killed in the midst of it, another ends it, and no letter is redriven twice, although each job dies again at once.
func TestRESTAnOperationOutlivesItsNode(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	s := weirtest.StartNodeOn(t, database)
	s.KillMany("q", 300)
	_, first := weirtest.StartServe(t, database)
	o := s.StartOperation("/v1/dead/redrive", obj{"filter": obj{"kind": "k"}, "rate_per_second": 15})
	again := func() {
		s.Exec(`select weir.fail(c.job_id, c.token, '{"message": "again"}', retry => false) from weir.claim(array['q'], 'w', 1000) c`)
	}
	s.Eventually("the first node has begun", func() bool { again(); return s.Operation(o.ID).Done >= 12 })
	first.Kill()
	before := s.Operation(o.ID)
	if before.FinishedAt != nil {
		t.Fatalf("it has ended already: %+v", before)
	}
	s.Exec("update weir.operation set rate_per_second = 100") // what is left need not take its time
	defer s.RunChores()()
	s.Eventually("it ends", func() bool { again(); return s.Operation(o.ID).FinishedAt != nil })
	if o = s.Operation(o.ID); o.State != "completed" || o.Done != 300 || o.Failed != 0 {
		t.Errorf("it ends as %+v", o)
	}
	if n := s.Count("select count(*) from weir.jobs where redrives = 1"); n != 300 {
		t.Errorf("%d jobs were redriven once, want all 300", n)
	}
}

func TestRESTAnOldLetterIsPurgedByTheService(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	s := weirtest.StartNodeOn(t, database)
	s.KillMany("q", 3)
	s.Exec("update weir.job_dead set died_at = now() - interval '30 days 1 minute' where job_id > 1")
	s.Exec("insert into weir.operation (kind, filter, total, state, finished_at) values ('purge_dead', '{}', 0, 'completed', now() - interval '31 days')")
	defer s.RunChores()()
	s.Eventually("the old letters and the old operation are gone", func() bool {
		return s.Count("select (select count(*) from weir.job_dead) * 10 + (select count(*) from weir.operation)") == 10
	})
}

func TestRESTOperationsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t) // without chores: they stay as they are
	var ids []string
	for i := range 5 {
		o := s.StartOperation([]string{"/v1/dead/redrive", "/v1/dead/purge"}[i%2], obj{"filter": obj{}})
		ids = append([]string{o.ID}, ids...)
	}
	s.Post("/v1/operations/"+ids[0]+"/cancel", nil).Want(http.StatusOK)
	for query, want := range map[string][]string{
		"": ids, "kind=purge_dead": {ids[1], ids[3]}, "state=pending": ids[1:], "state=cancelled": ids[:1], "kind=purge_dead&state=cancelled": nil,
	} {
		var got []string
		for cursor := ""; ; {
			page := weirtest.Decode[weirtest.Page[weirtest.Operation]](s.Get("/v1/operations?limit=2&" + query + cursor).Want(http.StatusOK))
			for _, o := range page.Items {
				got = append(got, o.ID)
			}
			if page.NextCursor == nil {
				break
			}
			cursor = "&cursor=" + *page.NextCursor
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q gives %v, want %v", query, got, want)
		}
	}
}

func TestRESTBadBulkCallsStartNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.KillMany("q", 1)
	for _, path := range []string{"/v1/dead/redrive", "/v1/dead/purge"} {
		for body, location := range map[string]string{
			`{}`: "body", `{"filter": []}`: "body.filter", `{"filter": {"states": "x"}}`: "body.filter.states", `{"filter": {"min_attempts": 0}}`: "body.filter.min_attempts", `{"filter": {"died_after": "soon"}}`: "body.filter.died_after",
			`{"filter": {}, "rate_per_second": 0}`: "body.rate_per_second", `{"filter": {}, "rate_per_second": -1}`: "body.rate_per_second", `{"filter": {}, "by": ""}`: "body.by", `{"filter": {}, "dry": true}`: "body.dry",
		} {
			p := s.Post(path, body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			if len(p.Errors) == 0 || p.Errors[0].Location != location {
				t.Errorf("%s %s: %+v, want the place %s", path, body, p, location)
			}
		}
	}
	if n := s.Count("select count(*) from weir.operation"); n != 0 {
		t.Errorf("%d operations were started", n)
	}
}

func TestRESTARoutedJobTellsOfItsCopy(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	q := weirtest.Decode[struct {
		DeadLetterQueue string `json:"dead_letter_queue"`
		Retention       int    `json:"dead_retention_seconds"`
	}](s.Do(http.MethodPut, "/v1/queues/q", obj{"dead_letter_queue": "graves", "dead_retention_seconds": 3600}).Want(http.StatusOK))
	if q.DeadLetterQueue != "graves" || q.Retention != 3600 {
		t.Errorf("the queue is %+v", q)
	}
	id := s.Kill(obj{"kind": "k", "queue": "q", "args": []int{1}})
	s.Get("/v1/dead/"+id).Problem(http.StatusNotFound, "dead_letter_not_found")
	copied := s.ClaimOne("graves")
	var meta struct {
		DeadLetter struct {
			JobID    string `json:"job_id"`
			Queue    string
			Attempts int
		} `json:"dead_letter"`
	}
	if err := json.Unmarshal(copied.Metadata, &meta); err != nil || meta.DeadLetter.JobID != id || meta.DeadLetter.Queue != "q" || meta.DeadLetter.Attempts != 1 || copied.Kind != "k" {
		t.Errorf("the copy is %+v", copied)
	}
	p := s.Do(http.MethodPatch, "/v1/queues/graves", obj{"dead_letter_queue": "q"}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if p.Errors[0].Location != "body.dead_letter_queue" {
		t.Errorf("the place is %+v", p.Errors)
	}
	s.Do(http.MethodPatch, "/v1/queues/q", obj{"dead_letter_queue": ""}).Want(http.StatusOK)
	s.Do(http.MethodPatch, "/v1/queues/graves", obj{"dead_letter_queue": "q"}).Want(http.StatusOK)
}
