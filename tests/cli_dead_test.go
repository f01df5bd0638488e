package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestCLIDeadLettersAreListedAndShown(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.cli("dead").says(0, "no such dead letters")
	first := s.kill(obj{"kind": "mail", "queue": "q", "tags": []string{"x"}})
	second := s.kill(obj{"kind": "other", "queue": "q"})
	all := s.cli("dead", "list").says(0, "JOB", "ERROR", "mail", "other", "no "+first, "1 of 5").stdout
	if strings.Index(all, second) > strings.Index(all, "mail") {
		t.Errorf("the last that died is not first:\n%s", all)
	}
	for _, filter := range [][]string{{"--kind", "mail"}, {"--tag", "x"}, {"--text", "NO " + first}, {"--queue=q", "--kind=mail", "--error-type=T", "--min-attempts=1", "--died-after=2020-01-01T00:00:00Z"}} {
		var page servedPage[servedLetter]
		r := s.cli(append([]string{"dead", "list", "--json"}, filter...)...).says(0)
		if err := json.Unmarshal([]byte(r.stdout), &page); err != nil || len(page.Items) != 1 || page.Items[0].ID != first {
			t.Errorf("%v gives %s", filter, r.stdout)
		}
	}
	s.cli("dead", "list", "--limit", "1").says(0, "There are more")
	s.cli("dead", "show", first).says(0, "mail", "dead", "no "+first, "enqueued", "failed", "worker")
	var letter servedLetter
	if err := json.Unmarshal([]byte(s.cli("dead", "show", first, "--json").says(0).stdout), &letter); err != nil || letter.ID != first || len(letter.Timeline) == 0 {
		t.Errorf("--json shows %+v, %v", letter, err)
	}
	s.cli("dead", "show", "4711").says(1, "there is no dead letter 4711")
	s.cli("dead", "list", "--limit", "0").says(2, "--limit")
	s.cli("dead", "list", "--died-after", "soon").says(2, "soon")
}

func TestCLILettersAreRedrivenAndPurgedByID(t *testing.T) {
	t.Parallel()
	s := startService(t)
	var ids []string
	for range 4 {
		ids = append(ids, s.kill(obj{"kind": "k", "queue": "q"}))
	}
	s.cli("dead", "redrive", ids[0], ids[1], "--by", "ann").says(0, "job "+ids[0]+" runs again in q", "job "+ids[1])
	if n := s.count("select count(*) from weir.jobs where redriven_by = 'ann' and state = 'available' and attempt = 0"); n != 2 {
		t.Errorf("%d were redriven", n)
	}
	s.cli("dead", "redrive", ids[2], "--keep-attempts").says(0)
	if n := s.count("select count(*) from weir.jobs where redriven_by is not null and attempt = 1 and id = $1::bigint", ids[2]); n != 1 {
		t.Error("without --by nobody is said to have done it, or the attempts are not kept")
	}
	s.cli("dead", "redrive", ids[0]).says(1, "there is no dead letter "+ids[0])
	s.cli("dead", "purge", ids[3], "--yes").says(0, ids[3]+" is gone")
	s.cli("dead", "purge", ids[3]).says(1, "there is no dead letter "+ids[3])
	for _, args := range [][]string{{}, {ids[0], "--queue", "q"}, {ids[0], "--all"}, {"--all", "--queue", "q"}, {"--all", "--rate", "-1"}, {ids[0], "--dry-run"}} {
		s.cli(append([]string{"dead", "purge"}, args...)...).says(2)
	}
}

func TestCLIOperationsAreFollowedToTheirEnd(t *testing.T) {
	t.Parallel()
	s := startServiceWithChores(t)
	s.killMany("q", 40)
	s.killMany("r", 3)
	s.cli("dead", "redrive", "--queue", "q", "--dry-run").says(0, "40 dead letters would be redriven")
	r := s.cli("dead", "redrive", "--queue", "q", "--rate", "40", "--by", "ann").says(0, "completed", "40 dead letters redriven")
	if strings.TrimSpace(r.stderr) != "" {
		t.Errorf("there is a progress bar where nobody sees it:\n%s", r.stderr)
	}
	if n := s.count("select count(*) from weir.jobs where redriven_by = 'ann'"); n != 40 {
		t.Errorf("%d were redriven", n)
	}
	if r := s.cli("dead", "purge", "--all"); r.status != 1 || !strings.Contains(r.stderr, "Purge 3 dead letters?") || !strings.Contains(r.stderr, "nothing was purged") {
		t.Errorf("not asked: %d\n%s", r.status, r.stderr)
	}
	if n := s.count("select count(*) from weir.job_dead"); n != 3 {
		t.Fatalf("%d letters are left, want 3", n)
	}
	var o servedOperation
	if err := json.Unmarshal([]byte(s.cli("dead", "purge", "--all", "--json", "--yes").says(0).stdout), &o); err != nil || o.State != "completed" || o.Done != 3 {
		t.Errorf("--json shows %+v, %v", o, err)
	}
	s.cli("operations").says(0, "redrive dead", "purge dead", "40", "ann", "completed")
	s.cli("operations", "watch", o.ID).says(0, "3 dead letters purged")
	s.cli("operations", "cancel", o.ID).says(1, "has ended")
	s.cli("operations", "watch", "4711").says(1, "there is no operation 4711")

	s.killMany("slow", 1000)
	started := s.cli("dead", "redrive", "--queue", "slow", "--rate", "0.5", "--no-wait").says(0, "pending", "0 of 1000 dead letters redriven").stdout
	id := strings.Fields(started)[1]
	s.cli("operations", "list", "--state", "completed", "--limit", "1").says(0, o.ID)
	s.cli("operations", "cancel", id).says(0, fmt.Sprintf("operation %s is cancelled", id))
}
