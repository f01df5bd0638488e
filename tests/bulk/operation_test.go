package bulk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCancelledOperationStops(t *testing.T) {
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

// A node is killed in the middle of the operation and another finishes it. No letter is redriven twice, although each
// job dies again at once.
func TestOperationOutlivesItsNode(t *testing.T) {
	weirtest.Long(t, "it kills a node during a paced operation")
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
	s.Exec("update weir.operation set rate_per_second = 100") // the rest need not take its time
	defer s.RunChores()()
	s.Eventually("it ends", func() bool { again(); return s.Operation(o.ID).FinishedAt != nil })
	if o = s.Operation(o.ID); o.State != "completed" || o.Done != 300 || o.Failed != 0 {
		t.Errorf("it ends as %+v", o)
	}
	if n := s.Count("select count(*) from weir.jobs where redrives = 1"); n != 300 {
		t.Errorf("%d jobs were redriven once, want all 300", n)
	}
}

func TestOperationsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t) // without chores they stay as they are
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

func TestOperationIsFollowedToItsEnd(t *testing.T) {
	weirtest.Long(t, "it follows a paced operation")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 40)
	s.KillMany("r", 3)
	s.CLI("dead", "redrive", "--queue", "q", "--dry-run").Says(0, "40 dead letters would be redriven")
	r := s.CLI("dead", "redrive", "--queue", "q", "--rate", "40", "--by", "ann").Says(0, "completed", "40 dead letters redriven")
	if strings.TrimSpace(r.Stderr) != "" {
		t.Errorf("there is a progress bar without a terminal:\n%s", r.Stderr)
	}
	if n := s.Count("select count(*) from weir.jobs where redriven_by = 'ann'"); n != 40 {
		t.Errorf("%d were redriven", n)
	}
	if r := s.CLI("dead", "purge", "--all"); r.Status != 1 || !strings.Contains(r.Stderr, "Purge 3 dead letters?") || !strings.Contains(r.Stderr, "nothing was purged") {
		t.Errorf("not asked: %d\n%s", r.Status, r.Stderr)
	}
	if n := s.Count("select count(*) from weir.job_dead"); n != 3 {
		t.Fatalf("%d letters are left, want 3", n)
	}
	var o weirtest.Operation
	if err := json.Unmarshal([]byte(s.CLI("dead", "purge", "--all", "--json", "--yes").Says(0).Stdout), &o); err != nil || o.State != "completed" || o.Done != 3 {
		t.Errorf("--json shows %+v, %v", o, err)
	}
	s.CLI("operations").Says(0, "redrive dead", "purge dead", "40", "ann", "completed")
	s.CLI("operations", "watch", o.ID).Says(0, "3 dead letters purged")
	s.CLI("operations", "cancel", o.ID).Says(1, "has ended")
	s.CLI("operations", "watch", "4711").Says(1, "there is no operation 4711")

	s.KillMany("slow", 1000)
	started := s.CLI("dead", "redrive", "--queue", "slow", "--rate", "0.5", "--no-wait").Says(0, "pending", "0 of 1000 dead letters redriven").Stdout
	id := strings.Fields(started)[1]
	s.CLI("operations", "list", "--state", "completed", "--limit", "1").Says(0, o.ID)
	s.CLI("operations", "cancel", id).Says(0, fmt.Sprintf("operation %s is cancelled", id))
}
