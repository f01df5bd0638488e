package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCLIDeadLettersAreListedAndShown(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("dead").Says(0, "no such dead letters")
	first := s.Kill(obj{"kind": "mail", "queue": "q", "tags": []string{"x"}})
	second := s.Kill(obj{"kind": "other", "queue": "q"})
	all := s.CLI("dead", "list").Says(0, "JOB", "ERROR", "mail", "other", "no "+first, "1 of 5").Stdout
	if strings.Index(all, second) > strings.Index(all, "mail") {
		t.Errorf("the last that died is not first:\n%s", all)
	}
	for _, filter := range [][]string{{"--kind", "mail"}, {"--tag", "x"}, {"--text", "NO " + first}, {"--queue=q", "--kind=mail", "--error-type=T", "--min-attempts=1", "--died-after=2020-01-01T00:00:00Z"}} {
		var page weirtest.Page[weirtest.DeadLetter]
		r := s.CLI(append([]string{"dead", "list", "--json"}, filter...)...).Says(0)
		if err := json.Unmarshal([]byte(r.Stdout), &page); err != nil || len(page.Items) != 1 || page.Items[0].ID != first {
			t.Errorf("%v gives %s", filter, r.Stdout)
		}
	}
	s.CLI("dead", "list", "--limit", "1").Says(0, "There are more")
	s.CLI("dead", "show", first).Says(0, "mail", "dead", "no "+first, "enqueued", "failed", "worker")
	var letter weirtest.DeadLetter
	if err := json.Unmarshal([]byte(s.CLI("dead", "show", first, "--json").Says(0).Stdout), &letter); err != nil || letter.ID != first || len(letter.Timeline) == 0 {
		t.Errorf("--json shows %+v, %v", letter, err)
	}
	s.CLI("dead", "show", "4711").Says(1, "there is no dead letter 4711")
	s.CLI("dead", "list", "--limit", "0").Says(2, "--limit")
	s.CLI("dead", "list", "--died-after", "soon").Says(2, "soon")
}

func TestCLILettersAreRedrivenAndPurgedByID(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var ids []string
	for range 4 {
		ids = append(ids, s.Kill(obj{"kind": "k", "queue": "q"}))
	}
	s.CLI("dead", "redrive", ids[0], ids[1], "--by", "ann").Says(0, "job "+ids[0]+" runs again in q", "job "+ids[1])
	if n := s.Count("select count(*) from weir.jobs where redriven_by = 'ann' and state = 'available' and attempt = 0"); n != 2 {
		t.Errorf("%d were redriven", n)
	}
	s.CLI("dead", "redrive", ids[2], "--keep-attempts").Says(0)
	if n := s.Count("select count(*) from weir.jobs where redriven_by is not null and attempt = 1 and id = $1::bigint", ids[2]); n != 1 {
		t.Error("without --by nobody is said to have done it, or the attempts are not kept")
	}
	s.CLI("dead", "redrive", ids[0]).Says(1, "there is no dead letter "+ids[0])
	s.CLI("dead", "purge", ids[3], "--yes").Says(0, ids[3]+" is gone")
	s.CLI("dead", "purge", ids[3]).Says(1, "there is no dead letter "+ids[3])
	for _, args := range [][]string{{}, {ids[0], "--queue", "q"}, {ids[0], "--all"}, {"--all", "--queue", "q"}, {"--all", "--rate", "-1"}, {ids[0], "--dry-run"}} {
		s.CLI(append([]string{"dead", "purge"}, args...)...).Says(2)
	}
}

func TestCLIOperationsAreFollowedToTheirEnd(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.KillMany("q", 40)
	s.KillMany("r", 3)
	s.CLI("dead", "redrive", "--queue", "q", "--dry-run").Says(0, "40 dead letters would be redriven")
	r := s.CLI("dead", "redrive", "--queue", "q", "--rate", "40", "--by", "ann").Says(0, "completed", "40 dead letters redriven")
	if strings.TrimSpace(r.Stderr) != "" {
		t.Errorf("there is a progress bar where nobody sees it:\n%s", r.Stderr)
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
