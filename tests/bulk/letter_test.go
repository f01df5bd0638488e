package bulk

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A dead job whose letter was purged stays dead: it is listed and exported, and no bulk action runs it again.
func TestPurgedLettersAreListedAndLeftAlone(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	kept := s.EndedJob("q", "fail", obj{"retry": false, "error": obj{"message": "m"}})
	purged := s.EndedJob("q", "fail", obj{"retry": false, "error": obj{"message": "m"}})
	s.Do(http.MethodDelete, "/v1/dead/"+purged, nil).Want(http.StatusNoContent)
	listed := string(s.Get("/v1/jobs?state=dead").Want(http.StatusOK).Body)
	o := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"state": "dead"}, "format": "ndjson"}).ID)
	exported := string(s.Get("/v1/operations/" + o.ID + "/result").Want(http.StatusOK).Body)
	for _, id := range []string{kept, purged} {
		if field := `"id":"` + id + `"`; !strings.Contains(listed, field) || !strings.Contains(strings.ReplaceAll(exported, ": ", ":"), field) {
			t.Errorf("job %s is not in the list or in the export:\n%s\n%s", id, listed, exported)
		}
	}
	for _, filter := range []obj{{"state": "dead"}, {}} {
		if got := weirtest.Decode[weirtest.Operation](s.Post("/v1/jobs/bulk", obj{"action": "retry", "filter": filter, "dry_run": true}).Want(http.StatusOK)); got.Total != 1 {
			t.Errorf("a retry of %v would run %d jobs", filter, got.Total)
		}
	}
	if o := s.WaitForOperation(s.StartOperation("/v1/jobs/bulk", obj{"action": "retry", "filter": obj{"queue": "q"}}).ID); o.Done != 1 || o.Failed != 0 {
		t.Errorf("the retry is %+v", o)
	}
	if got := s.Job(purged).State; got != "dead" {
		t.Errorf("the purged job is %s", got)
	}
	if got := s.Job(kept).State; got != "available" {
		t.Errorf("the other job is %s", got)
	}
}
